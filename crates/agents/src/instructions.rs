//! Finds the instruction files that an agent reads, and proves which bytes they were.
//!
//! The rules are Codex's own: one global file from its home, then at most one file per directory from the project's
//! root down to the working directory, within a budget of bytes. Further places that projects use, and Codex does not,
//! are listed after them if they are asked for. Why each file is or is not told is said for each. Nothing here can fail
//! a run: what cannot be read, and a stamp that is not true, is a warning.

mod place;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use place::{Place, Reason};

use crate::text::hexadecimal;

/// Bounds how much of a file without a budget of its own is read.
const READ_LIMIT: usize = 1024 * 1024;

/// Begins and ends the comment that states the hash of the rest of its file.
const STAMP: (&str, &str) = ("<!-- codex:instruction-stamp ", "-->");
/// Stands before the hash in any other comment that states it.
const STAMP_WORD: &str = "sha256:";

const OVERRIDE: &str = "AGENTS.override.md";
const ORDINARY: &str = "AGENTS.md";
/// Names the places below the root that projects use and Codex does not look at by itself.
pub const USUAL_PLACES: [&str; 2] = ["docs/AGENTS.md", ".agent/AGENTS.md"];

/// Asks which instructions apply in a directory.
#[derive(Debug, Clone)]
pub struct InstructionRequest {
    /// The directory in which the agent works, absolute and as the agent is told it.
    ///
    /// Codex takes the directories above it from this spelling; links in it are not resolved.
    pub cwd: PathBuf,
    /// The agent's home (`$CODEX_HOME`, else `~/.codex`); none leaves the global file out.
    pub agent_home: Option<PathBuf>,
    /// The files or directories that mark a project's root (`project_root_markers`).
    pub root_markers: Vec<String>,
    /// The budget of all project files together, in bytes (`project_doc_max_bytes`); 0 leaves them out.
    pub max_bytes: usize,
    /// Further places, as paths below the root, that are listed after what Codex reads; see [`USUAL_PLACES`].
    ///
    /// The agent does not read them by itself: whoever lists them has to tell it.
    pub additional: Vec<String>,
    /// Names that stand in where a directory has no `AGENTS.md` (`project_doc_fallback_filenames`).
    pub fallback_names: Vec<String>,
}

impl InstructionRequest {
    /// Asks with Codex's defaults; `codex_home` and `home` are the values of `CODEX_HOME` and `HOME`.
    pub fn new(cwd: impl Into<PathBuf>, codex_home: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        let codex_home = codex_home.filter(|home| !home.as_os_str().is_empty());
        Self {
            cwd: cwd.into(),
            agent_home: codex_home.or_else(|| home.map(|home| home.join(".codex"))),
            root_markers: vec![".git".to_owned()],
            max_bytes: 32 * 1024,
            additional: Vec::new(),
            fallback_names: Vec::new(),
        }
    }
}

/// Lists the instruction files that apply in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// The files, in the order in which the agent reads them.
    pub sources: Vec<InstructionSource>,
    /// The SHA-256, in hexadecimal, over the hexadecimal hashes of the sources, each followed by a newline.
    pub combined_sha256: String,
    /// What could not be read, and why, and stamps that are not true.
    pub warnings: Vec<String>,
    /// Every file that was found, told or not, and what became of it, in the order in which they were looked at.
    pub places: Vec<Place>,
}

impl Instructions {
    /// Says of each file that was found, in one line, whether it is told and why.
    pub fn explain(&self) -> Vec<String> {
        let line = |place: &Place| format!("{}: {}", place.path.display(), place.reason);
        self.places.iter().map(line).collect()
    }
}

/// Describes one instruction file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionSource {
    /// The absolute path.
    pub path: PathBuf,
    /// Why the file applies.
    pub scope: InstructionScope,
    /// The SHA-256, in hexadecimal, of the bytes that count: the first [`bytes`](Self::bytes) of the file.
    pub sha256: String,
    /// How many bytes count.
    pub bytes: u64,
    /// Whether the file is longer than that.
    pub truncated: bool,
    /// Whether the file states a hash of itself, and states it truly.
    pub stamp: Stamp,
}

/// Says why an instruction file applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstructionScope {
    /// It lies in the agent's home and applies everywhere.
    Global,
    /// It lies between the project's root and the working directory.
    Project,
    /// It lies in a place that projects use and the agent does not read by itself.
    Additional,
}

/// Says what became of a file's stamp, a comment as its first line that states the SHA-256 of the rest.
///
/// That is `<!-- codex:instruction-stamp <hash> -->`, or any comment with `sha256:<hash>` in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// There is none; none is needed.
    Absent,
    /// It states the hash of the rest of the file.
    Verified,
    /// It states something else, or the file is too long to tell.
    Mismatch,
}

/// Finds the instructions that apply in a directory.
pub fn discover(request: &InstructionRequest) -> Instructions {
    let mut search = Search::default();
    if let Some(home) = &request.agent_home {
        search.global(home);
    }
    let root = project_root(&request.cwd, &request.root_markers);
    search.project(request, root);
    search.additional(request, root);
    let mut combined = Sha256::new();
    for source in &search.sources {
        combined.update(&source.sha256);
        combined.update("\n");
    }
    Instructions {
        combined_sha256: hexadecimal(combined),
        sources: search.sources,
        warnings: search.warnings,
        places: search.places,
    }
}

/// Returns the nearest directory at or above `cwd` that holds a marker, else `cwd`.
pub(crate) fn project_root<'a>(cwd: &'a Path, markers: &[String]) -> &'a Path {
    let is_root = |directory: &&Path| markers.iter().any(|marker| directory.join(marker).exists());
    cwd.ancestors().find(is_root).unwrap_or(cwd)
}

#[derive(Debug, Default)]
struct Search {
    sources: Vec<InstructionSource>,
    warnings: Vec<String>,
    places: Vec<Place>,
    /// How many files could not be read.
    unreadable: usize,
}

impl Search {
    /// Takes the first of the two global files that is not blank.
    fn global(&mut self, home: &Path) {
        let scope = InstructionScope::Global;
        let mut taken = None;
        for name in [OVERRIDE, ORDINARY] {
            let path = home.join(name);
            match (taken, self.read(&path, scope, READ_LIMIT)) {
                (_, None) => {}
                (Some(taken), Some(_)) => {
                    self.note(path, scope, Reason::HiddenBy { name: str::to_owned(taken) });
                }
                (None, Some(content)) if content.is_blank() => self.note(path, scope, Reason::Blank),
                (None, Some(content)) => {
                    self.take(path, scope, &content);
                    taken = Some(name);
                }
            }
        }
    }

    /// Takes at most one file per directory from the root down, until the budget is spent.
    ///
    /// Within a directory existence decides: a blank override hides the ordinary file. If one file is there and cannot
    /// be read, Codex reads none of the project's files, and none is listed. It looks for all of them before it reads
    /// the first, so that this holds below a spent budget too.
    fn project(&mut self, request: &InstructionRequest, root: &Path) {
        let scope = InstructionScope::Project;
        if request.max_bytes == 0 {
            return;
        }
        let above = request.cwd.ancestors().take_while(|directory| directory.starts_with(root));
        let directories: Vec<&Path> = above.collect();
        let (fallbacks, refused): (Vec<&str>, Vec<&str>) =
            request.fallback_names.iter().map(String::as_str).partition(|name| is_plain_name(name));
        for name in refused {
            self.note(PathBuf::from(name), scope, Reason::NotInside);
        }
        let names: Vec<&str> = [OVERRIDE, ORDINARY].into_iter().chain(fallbacks).collect();
        let (before, noted) = (self.sources.len(), self.places.len());
        let mut left = request.max_bytes;
        for directory in directories.into_iter().rev() {
            let mut candidates = names.iter().copied();
            let unreadable = self.unreadable;
            let name = candidates.find(|name| self.is_there(&directory.join(name), scope));
            let found = match name {
                Some(name) if left == 0 => {
                    let reason = Reason::BudgetSpent { bytes: request.max_bytes as u64 };
                    self.note(directory.join(name), scope, reason);
                    None
                }
                Some(name) => self.read(&directory.join(name), scope, left).map(|content| (name, content)),
                None => None,
            };
            if self.unreadable > unreadable {
                return self.give_up(before, noted);
            }
            let Some((name, content)) = found else { continue };
            let path = directory.join(name);
            if content.is_blank() {
                self.note(path, scope, Reason::Blank);
            } else {
                left -= content.bytes.len();
                self.take(path, scope, &content);
            }
            for hidden in candidates.map(|hidden| directory.join(hidden)).filter(|hidden| is_file(hidden)) {
                self.note(hidden, scope, Reason::HiddenBy { name: name.to_owned() });
            }
        }
    }

    /// Takes back what was found of the project, because a part of it cannot be read.
    fn give_up(&mut self, sources: usize, places: usize) {
        self.sources.truncate(sources);
        for place in self.places[places..].iter_mut().filter(|place| place.reason.is_told()) {
            place.reason = Reason::OtherUnreadable;
        }
        self.warnings.push("codex therefore reads no instructions of the project".to_owned());
    }

    /// Takes the places that are asked for, and names the usual ones that are not.
    fn additional(&mut self, request: &InstructionRequest, root: &Path) {
        let scope = InstructionScope::Additional;
        for place in &request.additional {
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if place.is_empty() || !Path::new(place).components().all(inside) {
                self.note(PathBuf::from(place), scope, Reason::NotInside);
                continue;
            }
            let path = root.join(place);
            match self.read(&path, scope, READ_LIMIT) {
                None => {}
                Some(content) if content.is_blank() => self.note(path, scope, Reason::Blank),
                Some(content) => self.take(path, scope, &content),
            }
        }
        for place in
            USUAL_PLACES.iter().filter(|&&place| request.additional.iter().all(|asked| asked != place))
        {
            let path = root.join(place);
            if is_file(&path) {
                self.note(path, scope, Reason::NotAsked);
            }
        }
    }

    fn note(&mut self, path: PathBuf, scope: InstructionScope, reason: Reason) {
        self.places.push(Place { path, scope, reason });
    }

    /// Tells whether a file is there; what cannot be told (a loop of links) is a warning and counts as not there.
    fn is_there(&mut self, path: &Path, scope: InstructionScope) -> bool {
        match fs::metadata(path) {
            Ok(metadata) => metadata.is_file(),
            Err(error) => {
                self.warn_unless_absent(path, scope, &error);
                false
            }
        }
    }

    fn read(&mut self, path: &Path, scope: InstructionScope, limit: usize) -> Option<Content> {
        // Asked first: to open a pipe would wait for somebody to write into it.
        if !self.is_there(path, scope) {
            return None;
        }
        let read = || {
            let mut bytes = Vec::new();
            // One byte more than counts tells whether there is more.
            File::open(path)?.take(limit.saturating_add(1) as u64).read_to_end(&mut bytes)?;
            let truncated = bytes.len() > limit;
            bytes.truncate(limit);
            Ok(Content { bytes, truncated })
        };
        read().map_err(|error| self.warn_unless_absent(path, scope, &error)).ok()
    }

    fn warn_unless_absent(&mut self, path: &Path, scope: InstructionScope, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.unreadable += 1;
            self.warnings.push(format!("instructions `{}` cannot be read: {error}", path.display()));
            self.note(path.to_owned(), scope, Reason::Unreadable { error: error.to_string() });
        }
    }

    fn take(&mut self, path: PathBuf, scope: InstructionScope, content: &Content) {
        let stamp = match stated_hash(&content.bytes) {
            None => Stamp::Absent,
            Some((stated, rest)) => self.verify(&path, scope, content, stated, rest),
        };
        if stamp == Stamp::Mismatch {
            let path = path.display();
            self.warnings.push(format!("instructions `{path}` are not what their stamp says they are"));
        }
        let reason = if content.truncated {
            Reason::ToldInPart { bytes: content.bytes.len() as u64 }
        } else {
            Reason::Told
        };
        self.note(path.clone(), scope, reason);
        self.sources.push(InstructionSource {
            path,
            scope,
            sha256: hexadecimal(Sha256::new_with_prefix(&content.bytes)),
            bytes: content.bytes.len() as u64,
            truncated: content.truncated,
            stamp,
        });
    }

    /// Compares a stamp with the rest of its file, all of it, even if the budget counts only a part.
    fn verify(
        &mut self,
        path: &Path,
        scope: InstructionScope,
        content: &Content,
        stated: &str,
        rest: &[u8],
    ) -> Stamp {
        let first_line = content.bytes.len() - rest.len();
        let whole;
        let rest = if content.truncated {
            whole = self.read(path, scope, READ_LIMIT);
            match &whole {
                Some(whole) if !whole.truncated => whole.bytes.get(first_line..).unwrap_or_default(),
                _ => return Stamp::Mismatch,
            }
        } else {
            rest
        };
        if hexadecimal(Sha256::new_with_prefix(rest)).eq_ignore_ascii_case(stated) {
            Stamp::Verified
        } else {
            Stamp::Mismatch
        }
    }
}

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Content {
    fn is_blank(&self) -> bool {
        String::from_utf8_lossy(&self.bytes).trim().is_empty()
    }
}

/// Tells whether a file is there, without a word about what cannot be told.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

/// Splits a stamped file into the stated hash and the rest after the first line; none if there is no stamp.
fn stated_hash(content: &[u8]) -> Option<(&str, &[u8])> {
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&content[..end]).ok()?.trim_end();
    let own = line.strip_prefix(STAMP.0).and_then(|rest| rest.strip_suffix(STAMP.1)).map(str::trim);
    let other = || {
        let comment = line.strip_prefix("<!--")?.strip_suffix("-->")?;
        comment.split_whitespace().find_map(|word| word.strip_prefix(STAMP_WORD))
    };
    let stated = own.or_else(other)?;
    Some((stated, &content[end + 1..]))
}
