//! Rule files: `prefix_rule`, `host_executable` and `network_rule` in Starlark.
//!
//! Only the part of Starlark that rule files need is read: strings, lists, names, `+`, `for` and list
//! comprehensions. A file is cut into words ([`words`], [`literal`]), put together ([`syntax`]) and
//! evaluated ([`evaluate`]). The crates that read all of Starlark, and the grammars that editors read it
//! with, take much more than that, and as much time as a hostile file wants. Here each byte is looked at
//! a fixed number of times, there is no way to repeat without a list, and every step is counted, so no
//! file can hang or fill the memory. A file that cannot be read is an error: to go on without its rules
//! could allow what they forbid.

mod builtins;
mod evaluate;
mod literal;
mod syntax;
mod words;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use co_model::PolicySource;

use super::layers::{read_file, sha256};
use super::{CodexError, CodexSettings};
use crate::problem::Report;
use builtins::Rules;

const LONGEST_FILE: u64 = 256 * 1024;
const MOST_FILES: usize = 256;

const UNSUPPORTED: &str = "is not supported in rule files; write strings, lists, names, `+` and `for`";

/// How many brackets, blocks or clauses may stand in each other.
const DEEPEST: usize = 32;

/// Where something is wrong, and what.
type Failure = (Range<usize>, String);

fn too_deep(place: Range<usize>) -> Failure {
    (place, "the file nests deeper than rule files do".to_owned())
}

/// A part of a file and where it stands.
struct At<T> {
    place: Range<usize>,
    part: T,
}

/// Reads the `rules` folder of each settings folder, weakest first, files by name.
pub(super) fn load(folders: &[PathBuf], settings: &mut CodexSettings) -> Result<(), CodexError> {
    let mut rules = Rules::default();
    for folder in folders {
        for path in files(&folder.join("rules"))? {
            let Some(bytes) = read_file(&path, LONGEST_FILE)? else { continue };
            let report = Report::on_bytes(&path, &bytes);
            read(&mut rules, &report);
            report.finish().map_err(|(problems, omitted)| CodexError::Invalid { problems, omitted })?;
            settings.files.push(PolicySource {
                name: path.display().to_string(),
                sha256: Some(sha256(&bytes)),
                keys: vec!["rules".to_owned()],
            });
        }
    }
    // Managed rules, which are there already, stand behind all others; the order decides nothing.
    settings.rules.splice(0..0, rules.prefixes);
    settings.host_executables = rules.host_executables;
    settings.hosts = rules.hosts;
    Ok(())
}

/// The rule files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CodexError> {
    let failed = |source| CodexError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(failed(source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // A rule file that is a link counts too: leaving it out could allow what it forbids.
        if path.extension().is_some_and(|extension| extension == "rules") && !path.is_dir() {
            if files.len() == MOST_FILES {
                return Err(CodexError::TooManyRules { path: folder.to_owned(), count: MOST_FILES });
            }
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Adds a file's rules to those of the files before; what is wrong is reported.
fn read(rules: &mut Rules, report: &Report<'_>) {
    if !report.is_clean() {
        return;
    }
    if let Err((range, message)) = evaluate_text(rules, report.text()) {
        report.add(range, message);
    }
}

fn evaluate_text(rules: &mut Rules, text: &str) -> Result<(), Failure> {
    evaluate::run(&syntax::read(text)?, rules)?;
    rules.check_examples()
}
