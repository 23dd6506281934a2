//! Says why an instruction file is, or is not, told to an agent.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::InstructionScope;

/// Is a place where instructions lie, or were asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The path; for a name that cannot stand for a file, the name.
    pub path: PathBuf,
    /// Why the place was looked at.
    pub scope: InstructionScope,
    /// What became of it.
    pub reason: Reason,
}

/// Says what became of an instruction file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// It is told.
    Told,
    /// Its beginning is told; with it the budget is spent.
    ToldInPart {
        /// How many bytes are told.
        bytes: u64,
    },
    /// Another file of its directory stands in its place.
    HiddenBy {
        /// That file's name.
        name: String,
    },
    /// There is nothing in it but white space.
    Blank,
    /// The budget is spent by the files above it.
    BudgetSpent {
        /// The budget in bytes.
        bytes: u64,
    },
    /// It cannot be read.
    Unreadable {
        /// Why.
        error: String,
    },
    /// Another file of the project cannot be read, and Codex then reads none of them.
    OtherUnreadable,
    /// It lies in a place that projects use, and nobody asked for that place.
    NotAsked,
    /// It was asked for by a name that leads nowhere in the project.
    NotInside,
}

impl Reason {
    /// Tells whether the agent is told the file, or a part of it.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Told | Self::ToldInPart { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told => write!(formatter, "told"),
            Self::ToldInPart { bytes } => write!(formatter, "told up to byte {bytes}, where the budget ends"),
            Self::HiddenBy { name } => write!(formatter, "not told: `{name}` stands in its place"),
            Self::Blank => write!(formatter, "not told: it is blank"),
            Self::BudgetSpent { bytes } => {
                write!(formatter, "not told: the files above it spend the budget of {bytes} bytes")
            }
            Self::Unreadable { error } => write!(formatter, "not told: it cannot be read: {error}"),
            Self::OtherUnreadable => {
                write!(formatter, "not told: another file of the project cannot be read, so codex reads none")
            }
            Self::NotAsked => {
                write!(formatter, "not told: codex does not look there, and nobody asked for it")
            }
            Self::NotInside => write!(formatter, "not told: it is no name of a file inside the project"),
        }
    }
}
