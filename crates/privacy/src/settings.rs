//! What a guard is made of, and what can be wrong with it. Values only; `co-config` reads them.

use std::fmt;
use std::str::FromStr;

use crate::{mark, values};

/// Whether secrets are looked for, and what happens to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing is looked for.
    Off,
    /// Secrets are counted and pass.
    Shadow,
    /// Secrets are counted and taken out.
    #[default]
    Enforce,
}

impl Mode {
    /// The mode as settings and manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownModeError;

    /// Reads a mode in any case; a word that is none is refused, as a typo must not weaken the guard.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let modes = [Self::Off, Self::Shadow, Self::Enforce];
        let meant = modes.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text.trim()));
        meant.ok_or_else(|| UnknownModeError { given: text.to_owned() })
    }
}

/// A word that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no mode of the privacy guard: it is `off`, `shadow` or `enforce`")]
pub struct UnknownModeError {
    /// The word.
    pub given: String,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// What programs and agents print, and records of it: everything is looked for.
    #[default]
    Output,
    /// Source text and patches: values are not judged by the name they are assigned to, which in code is a guess
    /// too many. Known formats, credentials in URLs and headers, patterns and values are looked for.
    Source,
}

/// A regular expression with the name under which its matches are counted.
///
/// `^` and `$` are the ends of a line; a match spans at most 8 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPattern {
    /// Letters, digits, `_`, `-` and `.`; stands in the mark that replaces a match.
    pub name: String,
    /// In the syntax of the `regex` crate.
    pub text: String,
}

/// A value that must never be seen, such as that of an environment variable.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    name: String,
    text: String,
}

impl SecretValue {
    /// Names a value; blanks around it are not part of it.
    pub fn new(name: impl Into<String>, text: &str) -> Self {
        Self { name: name.into(), text: text.trim().to_owned() }
    }

    /// The name under which it is counted and which stands in its mark.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretValue").field("name", &self.name).field("text", &"****").finish()
    }
}

/// What a guard looks for beside the formats it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// Whether secrets are looked for, and what happens to them.
    pub mode: Mode,
    /// The user's own patterns.
    pub patterns: Vec<NamedPattern>,
    /// Values that must never be seen, in any of their common encodings. Empty ones are no secret.
    pub values: Vec<SecretValue>,
    /// What passes although it looks like a secret: a pattern must match all that would be withheld. Values that
    /// were named never pass.
    pub allowed: Vec<NamedPattern>,
}

/// Why a guard cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// A name that cannot stand in a mark.
    #[error("the rule name `{name}` is not 1 to {longest} letters, digits, `_`, `-` and `.`")]
    Name {
        /// The name.
        name: String,
        /// The longest name that is taken.
        longest: usize,
    },
    /// A value so short that it would be found everywhere.
    #[error("the value of `{name}` has {length} bytes; a value to be withheld has at least {shortest}")]
    ValueTooShort {
        /// The value's name.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The shortest that is taken.
        shortest: usize,
    },
    /// The values cannot be compiled.
    #[error("failed to compile the values to be withheld")]
    Values {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pattern that is no regular expression.
    #[error("the pattern `{name}` is no regular expression")]
    Pattern {
        /// The pattern's name.
        name: String,
        /// What is wrong, and where.
        #[source]
        source: Box<regex_syntax::Error>,
    },
    /// A pattern with too long a text.
    #[error("the pattern `{name}` has {length} bytes, more than {longest}")]
    PatternTooLong {
        /// The pattern's name.
        name: String,
        /// The length of its text in bytes.
        length: usize,
        /// The longest that is taken.
        longest: usize,
    },
    /// A pattern that takes too much memory.
    #[error("the pattern `{name}` is too large when compiled")]
    PatternTooLarge {
        /// The pattern's name.
        name: String,
        /// The cause.
        #[source]
        source: Box<regex_automata::meta::BuildError>,
    },
    /// A pattern bound to the beginning or the end of a text, which a stream does not have.
    #[error(
        "the pattern `{name}` is bound to the ends of the whole text; use `^` and `$` for the ends of a line"
    )]
    PatternAnchored {
        /// The pattern's name.
        name: String,
    },
    /// A pattern that matches nothing everywhere.
    #[error("the pattern `{name}` matches the empty text, or nothing")]
    PatternEmpty {
        /// The pattern's name.
        name: String,
    },
    /// More patterns than are compiled into one guard.
    #[error("{count} patterns are more than {most}")]
    TooManyPatterns {
        /// How many were given.
        count: usize,
        /// How many are taken.
        most: usize,
    },
    /// The patterns cannot be compiled together.
    #[error("failed to compile the patterns together")]
    Patterns {
        /// The cause.
        #[source]
        source: Box<regex_automata::meta::BuildError>,
    },
}

impl GuardSettings {
    /// Checks names and lengths, and leaves out values that are empty.
    pub(crate) fn checked_values(&self) -> Result<Vec<SecretValue>, GuardError> {
        let names = self.patterns.iter().map(|pattern| &pattern.name);
        for name in names.chain(self.values.iter().map(|value| &value.name)) {
            if name.is_empty() || name.len() > mark::LONGEST_NAME || !name.bytes().all(mark::is_name) {
                return Err(GuardError::Name { name: name.clone(), longest: mark::LONGEST_NAME });
            }
        }
        let values: Vec<_> = self.values.iter().filter(|value| !value.text.is_empty()).cloned().collect();
        let short = values.iter().find(|value| value.text.len() < values::SHORTEST);
        if let Some(SecretValue { name, text }) = short {
            let (name, length) = (name.clone(), text.len());
            return Err(GuardError::ValueTooShort { name, length, shortest: values::SHORTEST });
        }
        Ok(values)
    }
}
