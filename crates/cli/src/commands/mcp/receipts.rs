//! Which run a key has started, so that a repeated request starts no second one.
//!
//! One small file per key in `.runs/.mcp/starts`, named by the key's hash; a task cannot have that
//! name. Whoever begins a run holds the file's lock until the receipt is in it, so of two requests
//! at once the second waits and finds the first one's run. A request that dies before its run
//! exists leaves an empty file, which is none.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use co_mcp::{Errand, Receipt};
use co_views::Layout;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{CliError, Exit};

/// The largest receipt, in bytes.
const LARGEST: u64 = 64 << 10;

/// What is written.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Hash of the request: a key stands for one request only.
    request_sha256: String,
    receipt: Receipt,
}

/// The page of one key, locked while it is open.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    request_sha256: String,
    earlier: Option<Receipt>,
}

impl Ledger {
    /// Opens the page of `key`; waits for whoever has it open.
    pub(super) fn open(layout: &Layout, key: &str, errand: &Errand) -> Result<Self, CliError> {
        let directory = layout.runs_dir.join(".mcp").join("starts");
        let path = directory.join(format!("{}.json", sha256_hex(key.as_bytes())));
        let request = serde_json::to_vec(errand).map_err(|error| CliError::of(Exit::Bug, &error))?;
        let request_sha256 = sha256_hex(&request);
        let (file, text) = std::fs::create_dir_all(&directory)
            .and_then(|()| read(&path))
            .map_err(|error| failed(&path, &error))?;
        // What cannot be read was never finished.
        let entry = serde_json::from_str::<Entry>(&text).ok();
        if entry.as_ref().is_some_and(|entry| entry.request_sha256 != request_sha256) {
            let message =
                format!("the idempotency key `{}` was used for another request", key.escape_debug());
            return Err(CliError::new(Exit::Refused, message));
        }
        Ok(Self { path, file, request_sha256, earlier: entry.map(|entry| entry.receipt) })
    }

    /// The run that the key has started before.
    pub(super) fn earlier(&self) -> Option<&Receipt> {
        self.earlier.as_ref()
    }

    /// Writes down which run the key has started, durably.
    pub(super) fn settle(&mut self, receipt: &Receipt) -> Result<(), CliError> {
        let entry = Entry { request_sha256: self.request_sha256.clone(), receipt: receipt.clone() };
        let text = serde_json::to_string(&entry).map_err(|error| CliError::of(Exit::Bug, &error))?;
        let written = (|| {
            self.file.rewind()?;
            self.file.set_len(0)?;
            self.file.write_all(text.as_bytes())?;
            self.file.sync_all()
        })();
        written.map_err(|error| failed(&self.path, &error))
    }
}

fn read(path: &PathBuf) -> io::Result<(File, String)> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut text = String::new();
    (&file).take(LARGEST).read_to_string(&mut text)?;
    Ok((file, text))
}

fn failed(path: &std::path::Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Setup, format!("failed to keep the receipt `{}`: {error}", path.display()))
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
