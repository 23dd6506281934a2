//! Holds the place of protected names that do not exist, for as long as somebody needs it.
//!
//! A mount needs something to be mounted on. For a name such as `.codex` that is missing, an empty folder is made
//! on the host and taken away again. Several sandboxes, also of several processes, may share one: each holds a
//! shared lock on the folder, and the last one takes it away under an exclusive lock. A folder that nobody locks
//! was left by a process that was killed; the next one adopts it. What tells a placeholder from a folder of the
//! user is its mode, which nobody else uses, and that it is empty.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::plan::PROTECTED_NAMES;

/// Sticky and read-only for everybody: no tool makes such a folder.
const MODE: u32 = 0o1555;
#[cfg(target_os = "linux")]
/// How often the place is fought for with others that come and go.
const ROUNDS: usize = 100;

/// The placeholders that one sandbox uses; dropped, they are gone unless others use them too.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    folder: File,
}

#[cfg(target_os = "linux")]
impl Placeholders {
    /// Holds the place of `path`; `false` if there is no need, since we could not create anything there ourselves.
    pub(crate) fn hold(&mut self, path: &Path) -> io::Result<bool> {
        use std::fs::DirBuilder;
        use std::os::unix::fs::DirBuilderExt as _;

        for _ in 0..ROUNDS {
            match DirBuilder::new().mode(MODE).create(path) {
                // The umask takes bits away from the mode of a new folder.
                Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(MODE))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            match open_shared(path) {
                Ok(Some(folder)) => {
                    self.held.push(Held { path: path.to_owned(), folder });
                    return Ok(true);
                }
                // Taken away by its last user, between our look and our lock.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("it is made and taken away all the time"))
    }
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        for held in &self.held {
            take_away(&held.path, &held.folder);
        }
    }
}

/// Whether the path is a placeholder: an empty folder with the mode that nobody else uses.
pub(crate) fn is_placeholder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.mode() & 0o7777 == MODE)
        && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Takes away placeholders that killed processes left under a folder; those in use stay.
///
/// For whoever recovers after a crash. Only the folder's own entries are looked at.
pub fn sweep(root: &Path) {
    for name in PROTECTED_NAMES {
        let path = root.join(name);
        if is_placeholder(&path)
            && let Ok(folder) = File::open(&path)
        {
            take_away(&path, &folder);
        }
    }
}

#[cfg(target_os = "linux")]
fn open_shared(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    flock(&folder, FlockOperation::LockShared)?;
    Ok(is_same(path, &folder).then_some(folder))
}

fn is_same(path: &Path, folder: &File) -> bool {
    match (fs::symlink_metadata(path), folder.metadata()) {
        (Ok(there), Ok(ours)) => there.dev() == ours.dev() && there.ino() == ours.ino(),
        _ => false,
    }
}

/// Removes the folder if nobody else holds it. A folder that is not empty any more is not ours to remove.
fn take_away(path: &Path, folder: &File) {
    // Turning a shared lock into an exclusive one lets go of it first, so two last users never wait for each other.
    if flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        && is_same(path, folder)
        && let Err(error) = fs::remove_dir(path)
        && error.kind() == io::ErrorKind::DirectoryNotEmpty
    {
        // The user has put something there, so it is the user's now, with the mode that such a folder has.
        drop(fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    }
}
