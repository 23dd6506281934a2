//! What a policy means on this machine: resolved paths, in the order in which they are mounted.
//!
//! Looks at the file system and changes nothing. Every renderer works from the same plan.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use co_model::{NetworkAccess, SandboxMode};

use crate::placeholder::is_placeholder;
use crate::request::{Request, SandboxError};

/// What stays read-only under every writable root: repositories and the settings of agents.
pub(crate) const PROTECTED_NAMES: [&str; 3] = [".git", ".codex", ".agents"];

/// What must not be made writable, nor anything in it or around it: `/` would bring all of the host's own back.
const SYSTEM_FOLDERS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The most that is read of a `.git` file.
const POINTER_BYTES: u64 = 8 << 10;

/// How a path appears to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    /// As its surroundings, but it cannot be moved away, nor anything be put in its place.
    Held,
    Writable,
    ReadOnly,
    HiddenFolder,
    HiddenFile,
}

/// What may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    AllowedHosts,
    Everything,
}

#[cfg(target_os = "linux")]
impl Reach {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "off",
            Self::AllowedHosts => "allowed",
            Self::Everything => "on",
        }
    }

    pub(crate) fn parse(text: &OsStr) -> Option<Self> {
        [Self::Nothing, Self::AllowedHosts, Self::Everything].into_iter().find(|reach| reach.as_str() == text)
    }
}

/// A resolved policy. Everything that is not named is visible and read-only.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Shallow paths first, so that a deeper one decides.
    pub(crate) views: Vec<(PathBuf, View)>,
    /// Protected names that do not exist, whose place has to be held.
    pub(crate) missing: Vec<PathBuf>,
    /// Protected names that are symbolic links: what they point to is protected, they themselves cannot be.
    pub(crate) links: Vec<PathBuf>,
    pub(crate) reach: Reach,
}

impl Plan {
    pub(crate) fn resolve(request: &Request<'_>) -> Result<Self, SandboxError> {
        check(request)?;
        let workspace = canonical(request.workspace)?;
        let roots = writable_roots(request, &workspace)?;
        let mut plan = Self {
            views: roots.iter().map(|root| (root.clone(), View::Writable)).collect(),
            missing: Vec::new(),
            links: Vec::new(),
            reach: match request.policy.network {
                NetworkAccess::Off => Reach::Nothing,
                NetworkAccess::On => Reach::Everything,
                NetworkAccess::Allowed(_) => Reach::AllowedHosts,
            },
        };
        for root in &roots {
            plan.protect(root, &roots)?;
        }
        for repository in repositories_around(&roots) {
            plan.protect(&repository, &roots)?;
        }
        plan.hide(request.secrets)?;
        for path in request.readable.iter().filter(|path| path.exists()) {
            plan.views.push((canonical(path)?, View::ReadOnly));
        }
        // What the program cannot do without stays visible inside a hidden folder.
        for needed in [&workspace, &canonical(request.helper)?] {
            plan.keep_visible(needed);
        }
        if let Some(scratch) = request.scratch {
            plan.views.push((canonical(scratch)?, View::Writable));
        }
        plan.hold(request.held)?;
        plan.sort();
        Ok(plan)
    }

    /// Holds what was named, and every folder on the way from a writable root to what has a view of its own: whoever
    /// could move such a folder away would have all of it writable there, and could leave something else in its place.
    ///
    /// What cannot be written cannot be moved either, and must not become writable by being held.
    fn hold(&mut self, named: &[PathBuf]) -> Result<(), SandboxError> {
        let named: Vec<PathBuf> = named
            .iter()
            .filter(|path| path.exists())
            .map(|path| canonical(path))
            .collect::<Result<_, _>>()?;
        let above = self.views.iter().filter_map(|(path, _)| path.parent());
        let mut held = Vec::new();
        for nearest in above.chain(named.iter().map(PathBuf::as_path)) {
            for folder in nearest.ancestors() {
                let is_open = matches!(self.covering(folder), Some((_, View::Writable)));
                if !is_open || self.views.iter().any(|(other, _)| other == folder) {
                    break;
                }
                held.push((folder.to_owned(), View::Held));
            }
        }
        self.views.extend(held);
        Ok(())
    }

    /// What decides how a path appears.
    fn covering(&self, path: &Path) -> Option<&(PathBuf, View)> {
        let covers = self.views.iter().filter(|(other, _)| path.starts_with(other));
        covers.max_by_key(|(other, view)| (other.components().count(), *view))
    }

    /// Adds what stands in for missing protected names.
    #[cfg(target_os = "linux")]
    pub(crate) fn add_read_only(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.views.extend(paths.into_iter().map(|path| (path, View::ReadOnly)));
        self.sort();
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn of_view(&self, wanted: &[View]) -> impl Iterator<Item = &PathBuf> {
        self.views.iter().filter(move |(_, view)| wanted.contains(view)).map(|(path, _)| path)
    }

    fn sort(&mut self) {
        self.views.sort_by_cached_key(|(path, view)| (path.components().count(), path.clone(), *view));
        self.views.dedup();
    }

    /// Makes the protected names under a root read-only, wherever they lead.
    fn protect(&mut self, root: &Path, roots: &[PathBuf]) -> Result<(), SandboxError> {
        // A root inside a protected folder was opened on purpose.
        if root.components().any(|part| PROTECTED_NAMES.iter().any(|name| part.as_os_str() == *name)) {
            return Ok(());
        }
        for path in PROTECTED_NAMES.map(|name| root.join(name)) {
            if roots.contains(&path) {
                continue;
            }
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.missing.push(path);
                    continue;
                }
                Err(source) => return Err(SandboxError::Resolve { path, source }),
            };
            if is_placeholder(&path) {
                self.missing.push(path);
            } else if found.is_symlink() {
                if let Ok(target) = path.canonicalize() {
                    self.protect_inside(target, root, roots);
                }
                self.links.push(path);
            } else {
                for folder in repository_of(&path, found.is_file()) {
                    self.protect_inside(folder, root, roots);
                }
                self.views.push((path, View::ReadOnly));
            }
        }
        Ok(())
    }

    /// Protects what a protected name leads to, where it would be writable otherwise.
    fn protect_inside(&mut self, path: PathBuf, root: &Path, roots: &[PathBuf]) {
        // A pointer to the root itself, or above, would close the root: it is not believed.
        let is_open = roots.iter().any(|open| path.starts_with(open) && path != *open);
        if is_open && !root.starts_with(&path) {
            self.views.push((path, View::ReadOnly));
        }
    }

    fn hide(&mut self, secrets: &[PathBuf]) -> Result<(), SandboxError> {
        for secret in secrets {
            match secret.canonicalize() {
                Ok(path) => {
                    let view = if path.is_dir() { View::HiddenFolder } else { View::HiddenFile };
                    self.views.push((path, view));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(SandboxError::Resolve { path: secret.clone(), source }),
            }
        }
        Ok(())
    }

    fn keep_visible(&mut self, path: &Path) {
        if matches!(self.covering(path), Some((hidden, View::HiddenFolder)) if hidden != path) {
            self.views.push((path.to_owned(), View::ReadOnly));
        }
    }
}

fn check(request: &Request<'_>) -> Result<(), SandboxError> {
    let has_nul = |text: &OsStr| text.as_bytes().contains(&0);
    if request.argv.is_empty() || request.argv.iter().any(|argument| has_nul(argument)) {
        return Err(SandboxError::Unusable { what: "argument list" });
    }
    if !request.cwd.is_absolute() || has_nul(request.cwd.as_os_str()) {
        return Err(SandboxError::Unusable { what: "working directory" });
    }
    if !request.helper.is_absolute() {
        return Err(SandboxError::Unusable { what: "helper" });
    }
    Ok(())
}

fn canonical(path: &Path) -> Result<PathBuf, SandboxError> {
    path.canonicalize().map_err(|source| SandboxError::Resolve { path: path.to_owned(), source })
}

/// The folders that may be written, resolved; those that do not exist cannot be written anyway.
fn writable_roots(request: &Request<'_>, workspace: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    if request.policy.mode != SandboxMode::WorkspaceWrite {
        return Ok(Vec::new());
    }
    let tmpdir =
        request.env.iter().rev().find(|(name, _)| name == "TMPDIR").map(|(_, value)| value.as_os_str());
    let declared = request.policy.writable_roots.iter().map(|root| OsStr::new(root.as_str()));
    let slash_tmp = (!request.policy.exclude_slash_tmp).then_some(OsStr::new("/tmp"));
    let tmpdir = tmpdir.filter(|_| !request.policy.exclude_tmpdir);
    let mut roots = vec![workspace.to_owned()];
    for root in declared.chain(slash_tmp).chain(tmpdir).map(Path::new).filter(|root| root.is_absolute()) {
        match root.canonicalize() {
            Ok(root) if root.is_dir() => roots.push(root),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SandboxError::Resolve { path: root.to_owned(), source }),
        }
    }
    roots.sort();
    roots.dedup();
    let opens_system = |root: &&PathBuf| {
        SYSTEM_FOLDERS
            .map(Path::new)
            .iter()
            .any(|folder| root.starts_with(folder) || folder.starts_with(root))
    };
    match roots.iter().find(opens_system) {
        Some(root) => Err(SandboxError::ForbiddenRoot { path: root.clone() }),
        None => Ok(roots),
    }
}

/// The repositories that lie between one writable root and another in it: who works in a folder below `/tmp` can
/// write all of `/tmp`, and with it what surrounds that folder.
fn repositories_around(roots: &[PathBuf]) -> Vec<PathBuf> {
    let is_open = |folder: &Path| roots.iter().any(|root| folder.starts_with(root) && folder != root);
    let folders = roots.iter().flat_map(|root| root.ancestors().skip(1));
    let around = folders.filter(|folder| is_open(folder) && !roots.iter().any(|root| root == folder));
    around.filter(|folder| fs::symlink_metadata(folder.join(".git")).is_ok()).map(Path::to_owned).collect()
}

/// Where a `.git` file leads: the worktree's own folder and the repository that it shares with others.
fn repository_of(path: &Path, is_file: bool) -> Vec<PathBuf> {
    let Some(folder) = path.parent() else { return Vec::new() };
    if !is_file || path.file_name() != Some(OsStr::new(".git")) {
        return Vec::new();
    }
    let pointer = first_line(path).unwrap_or_default();
    let Some(target) = pointer.strip_prefix(b"gitdir: ") else { return Vec::new() };
    let Ok(own) = folder.join(OsStr::from_bytes(target)).canonicalize() else { return Vec::new() };
    let shared = first_line(&own.join("commondir"))
        .ok()
        .and_then(|line| own.join(OsStr::from_bytes(&line)).canonicalize().ok());
    [own].into_iter().chain(shared).collect()
}

fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(POINTER_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii_end().to_vec())
}
