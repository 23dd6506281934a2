//! Identifiers: one newtype each, parsed once, never repaired.
//!
//! Task, run, pipeline and stage ids become path segments and table keys, so everything that
//! could leave a folder, break a terminal or collide on another file system is refused here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id in bytes. Leaves room for prefixes and suffixes under the 255 bytes of a file name.
const LONGEST_ID: usize = 120;

/// Says why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty or blank.
    #[error("{kind} is empty")]
    Empty {
        /// Which kind of id was parsed.
        kind: &'static str,
    },
    /// The text is longer than 120 bytes.
    #[error("{kind} is {bytes} bytes long; at most {LONGEST_ID} are allowed")]
    TooLong {
        /// Which kind of id was parsed.
        kind: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A character that is unsafe in a path, on a terminal or on Windows.
    #[error("{kind} `{}` contains {character:?}, which is not allowed", .value.escape_debug())]
    Character {
        /// Which kind of id was parsed.
        kind: &'static str,
        /// The refused text.
        value: String,
        /// The first refused character.
        character: char,
    },
    /// A leading dot or dash, surrounding blanks, a trailing dot, or a reserved name.
    #[error("{kind} `{value}` is not allowed: {reason}")]
    Shape {
        /// Which kind of id was parsed.
        kind: &'static str,
        /// The refused text.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Names Windows reserves for devices, with or without an extension.
const DEVICE_NAMES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

fn check_segment(kind: &'static str, value: &str) -> Result<(), IdError> {
    let shape = |reason| Err(IdError::Shape { kind, value: value.to_owned(), reason });
    if value.trim().is_empty() {
        return Err(IdError::Empty { kind });
    }
    if value.len() > LONGEST_ID {
        return Err(IdError::TooLong { kind, bytes: value.len() });
    }
    let refused = |c: char| c.is_control() || is_invisible(c) || r#"<>:"/\|?*"#.contains(c);
    if let Some(character) = value.chars().find(|&c| refused(c)) {
        return Err(IdError::Character { kind, value: value.to_owned(), character });
    }
    if value.starts_with('.') {
        return shape("it starts with a dot");
    }
    if value.starts_with('-') {
        return shape("it starts with a dash, as an option does");
    }
    if value.trim() != value || value.ends_with('.') {
        return shape("it starts or ends with a blank, or ends with a dot");
    }
    let stem = value.split('.').next().unwrap_or(value);
    if DEVICE_NAMES.iter().any(|name| stem.eq_ignore_ascii_case(name)) {
        return shape("it is a device name on Windows");
    }
    Ok(())
}

/// Bidirectional and zero-width controls can make one id look like another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

macro_rules! segment_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, reserved: [$($reserved:literal),*]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an id; refuses, never repairs.
            ///
            /// # Errors
            /// [`IdError`] with the value and what is wrong with it.
            pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
                let value = value.into();
                check_segment($kind, &value)?;
                let reserved: &[&str] = &[$($reserved),*];
                if reserved.iter().any(|name| value.eq_ignore_ascii_case(name)) {
                    return Err(IdError::Shape {
                        kind: $kind,
                        value,
                        reason: "the name is used by the orchestrator itself",
                    });
                }
                Ok(Self(value))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

segment_id!(
    /// Names a task: what is wanted. Chosen by the user; a folder below `.runs/` and `out/`.
    TaskId, "task id",
    reserved: ["orchestrator.db", "orchestrator.db-wal", "orchestrator.db-shm", "learning-snapshots"]
);
segment_id!(
    /// Names a run: one recorded execution for a task. Generated by [`RunId::generate`].
    RunId, "run id", reserved: ["cli", "mcp", "metrics", "metrics.json"]
);
segment_id!(
    /// Names a pipeline within one `codex.orchestrator.json`.
    PipelineId, "pipeline id", reserved: []
);
segment_id!(
    /// Names a stage within one pipeline.
    StageId, "stage id", reserved: []
);

impl RunId {
    /// Builds a run id from the creation time and 32 random bits drawn at the edge, in the
    /// seeds' form `2026-11-21T08-00-09-528Z-5f8b6b44`; sorts by time.
    pub fn generate(now: crate::Timestamp, random: u32) -> Self {
        let time = now.to_string().replace([':', '.'], "-");
        Self(format!("{time}-{random:08x}"))
    }

    /// Derives the id of the child run that a nested-pipeline stage owns.
    ///
    /// Derived instead of drawn, so that a restart finds the child it had started.
    ///
    /// # Errors
    /// [`IdError::TooLong`] when pipelines are nested too deeply for a file name.
    pub fn child(&self, stage: &StageId) -> Result<Self, IdError> {
        Self::new(format!("{self}.{stage}"))
    }

    /// Whether the run is a child that a nested-pipeline stage of `parent` owns.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.0.strip_prefix(parent.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// Names an agent's conversation, in the agent's own words; never a path segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ThreadId(pub String);

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a tool call within its run: `<stage>#<attempt>` for a stage's own command, the stage, the
/// attempt and the agent's own id for what an agent asks. Never a path segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a consent: `<run>/<call>`, so that the same answer never makes two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub String);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says who asked for something: a person, a surface, a service. Shown, never trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// Makes an actor from any text: control characters become blanks, 200 characters are kept.
    pub fn new(text: &str) -> Self {
        Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect())
    }

    /// The actor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies one command, so that a repetition is answered with the first result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandKey(pub String);

impl fmt::Display for CommandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_leave_its_folder() {
        for bad in [
            "",
            " ",
            "../x",
            "a/b",
            "a\\b",
            ".hidden",
            "a:b",
            "a*",
            "a\u{7}",
            "a\u{202e}b",
            "-x",
            " x",
            "x ",
            "x.",
            "CON",
            "nul.txt",
            "a\nb",
            "a|b",
            "a?b",
            "<a",
            "\"a",
        ] {
            assert!(TaskId::new(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(TaskId::new("x".repeat(300)).is_err());
        assert!(TaskId::new("orchestrator.db").is_err());
        assert!(RunId::new("cli").is_err());
    }

    #[test]
    fn keeps_ordinary_ids_as_they_are() {
        for good in ["0101", "My-Task", "x..y", "tâche 7", "a_b.c"] {
            assert_eq!(TaskId::new(good).map(String::from), Ok(good.to_owned()));
        }
    }

    #[test]
    fn generated_ids_sort_by_time_and_parse() {
        let early = RunId::generate(crate::Timestamp::from_millis(1_763_712_009_528), 0x5f8b_6b44);
        let late = RunId::generate(crate::Timestamp::from_millis(1_763_712_009_529), 1);
        assert_eq!(early.as_str(), "2025-11-21T08-00-09-528Z-5f8b6b44");
        assert!(early < late);
        assert_eq!(RunId::new(early.as_str()), Ok(early));
    }
}
