//! What outlives a host: one small file for each session, so that a later list can say what became of it.
//!
//! Written before a program is started and when it has ended. A file without an exit whose host is gone tells of a
//! session that was ended with its host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::MAX_SESSIONS;
use crate::{HostError, SessionExit, SessionId, SessionInfo};

/// The ledger of a running host.
pub(crate) struct Ledger {
    directory: PathBuf,
}

impl Ledger {
    /// Takes over the ledger of an earlier host: what that left running is lost, and the oldest files go.
    pub(crate) fn take_over(directory: PathBuf) -> Result<(Self, Vec<SessionInfo>), HostError> {
        fs::create_dir_all(&directory).map_err(|source| HostError::File {
            step: "make",
            path: directory.clone(),
            source,
        })?;
        let mut past = read(&directory)?;
        let ledger = Self { directory };
        let surplus = past.len().saturating_sub(MAX_SESSIONS);
        for info in past.drain(..surplus) {
            ledger.forget(&info.session);
        }
        for info in &past {
            ledger.write(info).map_err(|source| HostError::File {
                step: "write",
                path: ledger.path(&info.session),
                source,
            })?;
        }
        Ok((ledger, past))
    }

    /// Writes what is known of a session, replacing what was written before.
    pub(crate) fn write(&self, info: &SessionInfo) -> io::Result<()> {
        let path = self.path(&info.session);
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(info)?)?;
        fs::rename(new, path)
    }

    /// Forgets a session.
    pub(crate) fn forget(&self, id: &SessionId) {
        // One that is left behind is forgotten by a later host.
        drop(fs::remove_file(self.path(id)));
    }

    fn path(&self, id: &SessionId) -> PathBuf {
        // A suffix of its own: a session's name may end like one of ours.
        self.directory.join(format!("{id}.session.json"))
    }
}

/// Reads a ledger that no host writes, the oldest session first.
pub(crate) fn read(directory: &Path) -> Result<Vec<SessionInfo>, HostError> {
    let failed = |source| HostError::File { step: "read", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut past = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // A file that does not parse was never ours: ours appear whole or not at all.
        let Ok(mut info) = fs::read(&path)
            .map_err(drop)
            .and_then(|bytes| serde_json::from_slice::<SessionInfo>(&bytes).map_err(drop))
        else {
            continue;
        };
        info.exit.get_or_insert(SessionExit::Lost);
        past.push(info);
    }
    past.sort_by(|a, b| (a.started_at, &a.session).cmp(&(b.started_at, &b.session)));
    Ok(past)
}
