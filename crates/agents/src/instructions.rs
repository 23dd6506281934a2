//! Finds the instruction files that an agent reads, and proves which bytes they were.
//!
//! The rules are Codex's own: one global file from its home, then at most one file per directory from the project's
//! root down to the working directory, within a budget of bytes. Two further places that projects use, and Codex does
//! not, are listed after them. Nothing here can fail a run: what cannot be read is a warning.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bounds how much of a file without a budget of its own is read.
const READ_LIMIT: usize = 1024 * 1024;

/// Begins and ends the comment that states the hash of the rest of its file.
const STAMP: (&str, &str) = ("<!-- codex:instruction-stamp ", "-->");

const OVERRIDE: &str = "AGENTS.override.md";
const ORDINARY: &str = "AGENTS.md";
/// Names the places below the root that Codex does not look at by itself.
const ADDITIONAL: [&str; 2] = ["docs/AGENTS.md", ".agent/AGENTS.md"];

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
    /// Whether to list, after what Codex reads, the places that projects use and it does not read.
    pub additional: bool,
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
            additional: true,
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
    /// What could not be read, and why.
    pub warnings: Vec<String>,
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

/// Says what became of a file's stamp: a first line `<!-- codex:instruction-stamp <sha256> -->` over the rest.
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
    for place in ADDITIONAL.iter().filter(|_| request.additional) {
        search.additional(&root.join(place));
    }
    let mut combined = Sha256::new();
    for source in &search.sources {
        combined.update(&source.sha256);
        combined.update("\n");
    }
    Instructions {
        combined_sha256: hexadecimal(combined),
        sources: search.sources,
        warnings: search.warnings,
    }
}

/// Returns the nearest directory at or above `cwd` that holds a marker, else `cwd`.
fn project_root<'a>(cwd: &'a Path, markers: &[String]) -> &'a Path {
    let is_root = |directory: &&Path| markers.iter().any(|marker| directory.join(marker).exists());
    cwd.ancestors().find(is_root).unwrap_or(cwd)
}

#[derive(Debug, Default)]
struct Search {
    sources: Vec<InstructionSource>,
    warnings: Vec<String>,
}

impl Search {
    /// Takes the first of the two global files that is not blank.
    fn global(&mut self, home: &Path) {
        for name in [OVERRIDE, ORDINARY] {
            let path = home.join(name);
            if let Some(content) = self.read(&path, READ_LIMIT)
                && !content.is_blank()
            {
                self.take(path, InstructionScope::Global, &content);
                return;
            }
        }
    }

    /// Takes at most one file per directory from the root down, until the budget is spent.
    ///
    /// Within a directory existence decides: a blank override hides the ordinary file. If one file is there and cannot
    /// be read, Codex reads none of the project's files, and none is listed.
    fn project(&mut self, request: &InstructionRequest, root: &Path) {
        let above = request.cwd.ancestors().take_while(|directory| directory.starts_with(root));
        let directories: Vec<&Path> = above.collect();
        let fallbacks = request.fallback_names.iter().map(String::as_str).filter(|name| is_plain_name(name));
        let names: Vec<&str> = [OVERRIDE, ORDINARY].into_iter().chain(fallbacks).collect();
        let (before, warned) = (self.sources.len(), self.warnings.len());
        let mut left = request.max_bytes;
        for directory in directories.into_iter().rev() {
            if left == 0 {
                return;
            }
            let file = names.iter().map(|name| directory.join(name)).find(|path| self.is_there(path));
            let found = file.and_then(|path| Some((self.read(&path, left)?, path)));
            if self.warnings.len() > warned {
                self.sources.truncate(before);
                self.warnings.push("codex therefore reads no instructions of the project".to_owned());
                return;
            }
            if let Some((content, path)) = found.filter(|(content, _)| !content.is_blank()) {
                left -= content.bytes.len();
                self.take(path, InstructionScope::Project, &content);
            }
        }
    }

    fn additional(&mut self, path: &Path) {
        if let Some(content) = self.read(path, READ_LIMIT)
            && !content.is_blank()
        {
            self.take(path.to_owned(), InstructionScope::Additional, &content);
        }
    }

    /// Tells whether a file is there; what cannot be told (a loop of links) is a warning and counts as not there.
    fn is_there(&mut self, path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(metadata) => metadata.is_file(),
            Err(error) => {
                self.warn_unless_absent(path, &error);
                false
            }
        }
    }

    fn read(&mut self, path: &Path, limit: usize) -> Option<Content> {
        // Asked first: to open a pipe would wait for somebody to write into it.
        if !self.is_there(path) {
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
        read().map_err(|error| self.warn_unless_absent(path, &error)).ok()
    }

    fn warn_unless_absent(&mut self, path: &Path, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.warnings.push(format!("instructions `{}` cannot be read: {error}", path.display()));
        }
    }

    fn take(&mut self, path: PathBuf, scope: InstructionScope, content: &Content) {
        let stamp = match stated_hash(&content.bytes) {
            None => Stamp::Absent,
            Some((stated, rest)) => self.verify(&path, content, stated, rest),
        };
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
    fn verify(&mut self, path: &Path, content: &Content, stated: &str, rest: &[u8]) -> Stamp {
        let first_line = content.bytes.len() - rest.len();
        let whole;
        let rest = if content.truncated {
            whole = self.read(path, READ_LIMIT);
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

fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(std::path::Component::Normal(only)), None) if only == name)
}

/// Splits a stamped file into the stated hash and the rest after the first line; none if there is no stamp.
fn stated_hash(content: &[u8]) -> Option<(&str, &[u8])> {
    let end = content.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&content[..end]).ok()?.trim_end();
    let stated = line.strip_prefix(STAMP.0)?.strip_suffix(STAMP.1)?.trim();
    Some((stated, &content[end + 1..]))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        text
    })
}
