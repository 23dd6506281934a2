//! Finds and reads the layers: the system's, the user's, a profile, and those of a trusted project.

use std::fs;
use std::path::{Path, PathBuf};

use co_model::PolicySource;
use sha2::{Digest as _, Sha256};

use super::reader::{Reader, Scope};
use super::tree::{self, Layer, Node, Table};
use super::{CodexError, CodexSettings, InstructionSettings, managed, read, rules};
use crate::environment::Environment;
use crate::files::{Content, read_bounded};
use crate::problem::Report;
use crate::settings::Source;

const LONGEST_FILE: u64 = 256 * 1024;

/// Keys that a project cannot set, not even a trusted one, with what reads a user's own credentials
/// or speaks for the user.
const NOT_FOR_PROJECTS: [&str; 10] = [
    "openai_base_url",
    "chatgpt_base_url",
    "model_provider",
    "model_providers",
    "notify",
    "profile",
    "profiles",
    "otel",
    "projects",
    "project_root_markers",
];

/// Where to look for settings.
#[derive(Debug, Clone)]
pub struct CodexPlaces<'p> {
    /// For `CODEX_HOME` and `HOME`.
    pub environment: &'p Environment,
    /// Where the run works.
    pub cwd: &'p Path,
    /// The profile to lay over the user's settings.
    pub profile: Option<&'p str>,
    /// The system's folder; `/etc/codex`.
    pub system: PathBuf,
}

impl<'p> CodexPlaces<'p> {
    /// The usual places for a run in `cwd`.
    pub fn new(environment: &'p Environment, cwd: &'p Path) -> Self {
        Self { environment, cwd, profile: None, system: PathBuf::from("/etc/codex") }
    }
}

/// Reads the user's Codex settings.
///
/// Weakest first: the system's `config.toml`, the user's, the profile, then `.codex/config.toml` of
/// each folder from the project's root to `cwd` if the user trusts the project. Files that are not
/// there are no problem; unknown keys are ignored. Managed requirements are applied last.
///
/// # Errors
/// [`CodexError`] names the file, the line and the value that cannot be used.
pub fn load_codex(places: &CodexPlaces<'_>) -> Result<CodexSettings, CodexError> {
    let home = codex_home(places.environment)?;
    let mut stack = Stack::default();
    stack.add(&places.system.join("config.toml"))?;
    if let Some(home) = &home {
        stack.add(&home.join("config.toml"))?;
        if let Some(name) = places.profile {
            stack.add_profile(home, name)?;
        }
    }
    let mut notes = Vec::new();
    let cwd = fs::canonicalize(places.cwd).unwrap_or_else(|_| places.cwd.to_owned());
    let project_root = project_root(&cwd, &stack)?;
    let mut folders: Vec<PathBuf> = std::iter::once(places.system.clone()).chain(home.clone()).collect();
    let trust = Trust::of(&stack, &cwd, &project_root);
    let mut is_trusted = trust.covers(&cwd);
    for folder in project_folders(&project_root, &cwd) {
        let settings = folder.join(".codex");
        // An empty folder says nothing: a sandbox puts one there to hold the place of the name.
        if is_empty(&settings) || home.as_ref().is_some_and(|home| same(home, &settings)) {
            continue;
        }
        if trust.covers(&folder) {
            stack.add_project(&settings.join("config.toml"), &mut notes)?;
            folders.push(settings);
        } else {
            is_trusted = false;
            notes.push(format!("`{}` is ignored: the project is not trusted", settings.display()));
        }
    }
    let user_home = places.environment.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let reader = Reader::new(&stack.layers);
    let scope = Scope::top(&reader, &stack.merged);
    let mut settings = read::settings(scope, user_home.as_deref(), &mut notes);
    settings.explained = finish(reader)?;
    settings.files = stack.sources(&settings);
    managed::apply(&places.system.join("requirements.toml"), &mut settings, &mut notes)?;
    rules::load(&folders, &mut settings)?;
    Ok(CodexSettings { home, project_root, is_trusted, notes, ..settings })
}

/// Whether there is no such folder, or nothing in it.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn finish(reader: Reader<'_>) -> Result<Vec<super::ExplainedKey>, CodexError> {
    reader.finish().map_err(|(problems, omitted)| CodexError::Invalid { problems, omitted })
}

fn codex_home(environment: &Environment) -> Result<Option<PathBuf>, CodexError> {
    match environment.get("CODEX_HOME").map(PathBuf::from) {
        Some(path) if path.is_dir() => Ok(Some(path)),
        Some(path) => Err(CodexError::HomeNotADirectory { path }),
        None => Ok(environment.get("HOME").map(|home| Path::new(home).join(".codex"))),
    }
}

/// The layers so far and what they amount to.
#[derive(Default)]
struct Stack {
    layers: Vec<Layer>,
    merged: Table,
}

impl Stack {
    fn add(&mut self, path: &Path) -> Result<bool, CodexError> {
        let Some(table) = self.read(path)? else { return Ok(false) };
        tree::merge(&mut self.merged, table);
        Ok(true)
    }

    fn add_profile(&mut self, home: &Path, name: &str) -> Result<(), CodexError> {
        let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if !is_name {
            return Err(CodexError::ProfileName { name: name.to_owned() });
        }
        if let Some(Node::Table(profiles)) = self.merged.get("profiles").map(|value| &value.node)
            && let Some(old) = profiles.get(name)
        {
            let reader = Reader::new(&self.layers);
            let hint = format!("move its keys to `{}`", home.join(format!("{name}.config.toml")).display());
            reader.problem(&old.place, format!("the table `profiles.{name}` is no longer read"), Some(hint));
            finish(reader)?;
        }
        let path = home.join(format!("{name}.config.toml"));
        if self.add(&path)? { Ok(()) } else { Err(CodexError::NoProfile { name: name.to_owned(), path }) }
    }

    fn add_project(&mut self, path: &Path, notes: &mut Vec<String>) -> Result<(), CodexError> {
        let Some(mut table) = self.read(path)? else { return Ok(()) };
        for key in NOT_FOR_PROJECTS {
            if table.shift_remove(key).is_some() {
                notes.push(format!("`{key}` in `{}` is ignored: a project cannot set it", path.display()));
            }
        }
        tree::merge(&mut self.merged, table);
        Ok(())
    }

    fn read(&mut self, path: &Path) -> Result<Option<Table>, CodexError> {
        let Some(bytes) = read_file(path, LONGEST_FILE)? else { return Ok(None) };
        let report = Report::on_bytes(path, &bytes);
        let table = tree::parse(self.layers.len(), &report);
        let text = report.text().to_owned();
        report.finish().map_err(|(problems, omitted)| CodexError::Invalid { problems, omitted })?;
        self.layers.push(Layer { path: path.to_owned(), text, sha256: sha256(&bytes) });
        Ok(Some(table))
    }

    fn sources(&self, settings: &CodexSettings) -> Vec<PolicySource> {
        let decided_in = |layer: &Layer| {
            let is_here =
                |source: &Source| matches!(source, Source::UserFile { path, .. } if *path == layer.path);
            let here = settings.explained.iter().filter(|row| is_here(&row.source));
            here.map(|row| row.key.clone()).collect()
        };
        let source = |layer: &Layer| PolicySource {
            name: layer.path.display().to_string(),
            sha256: Some(layer.sha256.clone()),
            keys: decided_in(layer),
        };
        self.layers.iter().map(source).collect()
    }
}

/// Reads a file of Codex's; `None` when it is not there.
pub(super) fn read_file(path: &Path, bound: u64) -> Result<Option<Vec<u8>>, CodexError> {
    match read_bounded(path, bound) {
        Ok(Content::Bytes(bytes)) => Ok(Some(bytes)),
        Ok(Content::Missing) => Ok(None),
        Ok(Content::TooLarge) => Err(CodexError::TooLarge { path: path.to_owned(), bytes: bound }),
        Err(source) => Err(CodexError::Read { path: path.to_owned(), source }),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The nearest folder from `cwd` up that holds a marker; `cwd` itself when there is none.
fn project_root(cwd: &Path, stack: &Stack) -> Result<PathBuf, CodexError> {
    let reader = Reader::new(&stack.layers);
    let markers = Scope::top(&reader, &stack.merged)
        .texts("project_root_markers")
        .unwrap_or_else(|| InstructionSettings::default().root_markers);
    finish(reader)?;
    let is_root = |folder: &&Path| {
        markers.iter().any(|marker| !marker.is_empty() && folder.join(marker).symlink_metadata().is_ok())
    };
    Ok(cwd.ancestors().find(is_root).unwrap_or(cwd).to_owned())
}

/// The folders from the root down to `cwd`.
fn project_folders(root: &Path, cwd: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        cwd.ancestors().take_while(|folder| folder.starts_with(root)).map(Path::to_owned).collect();
    folders.reverse();
    folders
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// Which folders the user's own layers trust.
struct Trust {
    levels: Vec<(PathBuf, bool)>,
    /// Whose level counts for a folder that has none: the project's root, then the repository's.
    fallbacks: Vec<PathBuf>,
}

impl Trust {
    fn of(stack: &Stack, cwd: &Path, project_root: &Path) -> Self {
        let mut levels = Vec::new();
        if let Some(Node::Table(projects)) = stack.merged.get("projects").map(|value| &value.node) {
            for (path, project) in projects {
                let Node::Table(project) = &project.node else { continue };
                let Some(Node::Text(level)) = project.get("trust_level").map(|value| &value.node) else {
                    continue;
                };
                let path = PathBuf::from(path);
                levels.push((fs::canonicalize(&path).unwrap_or(path), level == "trusted"));
            }
        }
        let fallbacks = std::iter::once(project_root.to_owned()).chain(repository_root(cwd)).collect();
        Self { levels, fallbacks }
    }

    fn covers(&self, folder: &Path) -> bool {
        std::iter::once(folder)
            .chain(self.fallbacks.iter().map(PathBuf::as_path))
            .find_map(|folder| self.levels.iter().find(|(path, _)| path == folder))
            .is_some_and(|(_, is_trusted)| *is_trusted)
    }
}

/// The main working tree of the repository that a folder belongs to.
///
/// A linked worktree names its repository in a file. The repository has to name the worktree too:
/// otherwise anybody's archive could claim to belong to a trusted one.
fn repository_root(cwd: &Path) -> Option<PathBuf> {
    let top = cwd.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok())?;
    let mark = top.join(".git");
    if mark.is_dir() {
        return Some(top.to_owned());
    }
    let line = |path: &Path| {
        let bytes = read_file(path, 4096).ok()??;
        Some(String::from_utf8(bytes).ok()?.trim().to_owned())
    };
    let named = top.join(line(&mark)?.strip_prefix("gitdir:")?.trim_start());
    let data = fs::canonicalize(named).ok()?;
    let back = data.join(line(&data.join("gitdir"))?);
    if !same(&back, &mark) {
        return None;
    }
    let worktrees = data.parent().filter(|folder| folder.ends_with("worktrees"))?;
    let repository = worktrees.parent().filter(|folder| folder.ends_with(".git"))?;
    repository.parent().map(Path::to_owned)
}
