//! What is taken from a finished attempt besides its exit: a summary line, declared outputs,
//! and the one-line verdict that planner, tester and reviewer stages may print.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use co_model::{AttemptExit, ProducedFile, Role, Stage};
use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::token::hex;

/// Longest summary in characters, as in the seeds.
const LONGEST_SUMMARY: usize = 240;

/// One line for people: the hint, or what the output says.
pub(crate) fn summary(stage: &Stage, exit: &AttemptExit, stdout: &str, stderr: &str) -> String {
    if let (Some(hint), AttemptExit::Code(0)) = (&stage.summary_hint, exit) {
        return shortened(hint);
    }
    let said = last_line(stderr).or_else(|| last_line(stdout));
    let text = match exit {
        AttemptExit::Code(0) => match last_line(stdout).or_else(|| last_line(stderr)) {
            Some(line) => line.to_owned(),
            None => "Completed with code 0".to_owned(),
        },
        AttemptExit::Code(code) => with_output(format!("Exited with code {code}"), said),
        AttemptExit::Signal(signal) => with_output(format!("Ended by signal {signal}"), said),
        AttemptExit::TimedOut { after_ms } => {
            with_output(format!("Timed out after {} s", seconds(*after_ms)), said)
        }
        AttemptExit::Cancelled => "Cancelled".to_owned(),
        AttemptExit::Lost => "Nobody saw how it ended".to_owned(),
        AttemptExit::NotStarted { reason } => format!("Not started: {reason}"),
        AttemptExit::NotRecorded { reason } => format!("Stopped, its output could not be recorded: {reason}"),
    };
    shortened(&text)
}

fn seconds(millis: u64) -> String {
    format!("{}.{}", millis / 1000, millis % 1000 / 100)
}

fn with_output(what: String, said: Option<&str>) -> String {
    match said {
        Some(line) => format!("{what} — {line}"),
        None => what,
    }
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

/// Cuts at 240 characters, and makes blanks of what could harm a terminal.
pub(crate) fn shortened(text: &str) -> String {
    let mut characters = text.chars().map(|c| if co_views::is_plain(c) { c } else { ' ' });
    let kept: String = characters.by_ref().take(LONGEST_SUMMARY).collect();
    if characters.next().is_some() { format!("{kept}…") } else { kept }
}

/// Looks at the declared outputs; the second list names those that are not there.
pub(crate) fn outputs(stage: &Stage, cwd: &Path) -> (IndexMap<String, ProducedFile>, Vec<String>) {
    let (mut found, mut missing) = (IndexMap::new(), Vec::new());
    for (name, relative) in &stage.outputs {
        match measure(&cwd.join(relative)) {
            Ok(file) => drop(found.insert(name.clone(), file)),
            Err(_) => missing.push(name.clone()),
        }
    }
    (found, missing)
}

fn measure(path: &Path) -> io::Result<ProducedFile> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
    let path = path.to_string_lossy().into_owned();
    Ok(ProducedFile { path, bytes, sha256: hex(&hasher.finalize()) })
}

/// What a stage with a deciding role says in its last line, when that is a JSON object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// A planner's `{"stages": ["…"]}`.
    pub(crate) selection: Option<Vec<String>>,
    /// A tester's or reviewer's `{"approved": false, "reason": "…"}`.
    pub(crate) objection: Option<String>,
}

/// Reads the verdict from the last line of a stage's output or an agent's last message.
pub(crate) fn verdict(role: Role, output: &str) -> Verdict {
    let object = last_line(output).and_then(|line| serde_json::from_str::<Value>(line).ok());
    let Some(Value::Object(fields)) = object else { return Verdict::default() };
    match role {
        Role::Planner => {
            let names = fields.get("stages").and_then(Value::as_array);
            let names = names.map(|names| names.iter().map(text).collect());
            Verdict { selection: names, objection: None }
        }
        Role::Tester | Role::Reviewer if fields.get("approved") == Some(&Value::Bool(false)) => {
            let reason = fields.get("reason").map_or_else(|| "not approved".to_owned(), text);
            Verdict { selection: None, objection: Some(shortened(&reason)) }
        }
        Role::Builder | Role::Tester | Role::Reviewer => Verdict::default(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_the_last_line_and_can_only_object() {
        let objects = |role, text| verdict(role, text).objection;
        let no = "thinking…\n{\"approved\": false, \"reason\": \"no tests\"}\n\n";
        assert_eq!(objects(Role::Reviewer, no), Some("no tests".to_owned()));
        assert_eq!(objects(Role::Builder, no), None);
        assert_eq!(objects(Role::Reviewer, "{\"approved\": true}"), None);
        assert_eq!(objects(Role::Reviewer, "not JSON"), None);
        let chosen = verdict(Role::Planner, "{\"stages\": [\"a\", \"b\"]}").selection;
        assert_eq!(chosen, Some(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn long_and_hostile_text_is_cut_and_cleaned() {
        assert_eq!(shortened("a\u{1b}[31mb"), "a [31mb");
        assert_eq!(shortened("exit 0 \u{202e}0 tixe"), "exit 0  0 tixe");
        assert_eq!(shortened(&"x".repeat(500)).chars().count(), LONGEST_SUMMARY + 1);
    }
}
