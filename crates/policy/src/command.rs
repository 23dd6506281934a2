//! The canonical form of a command: what rules are weighed against and, with the shell that reads it, what a
//! consent is bound to.

use std::fmt;

use crate::shell::{self, Certainty, Joint, Plain};

/// Shells whose `-c` and `-lc` scripts are looked into.
const SHELLS: [&str; 3] = ["bash", "sh", "zsh"];

/// Where programs are the system's own; a file of the same name elsewhere can be anybody's.
const SYSTEM_FOLDERS: [&str; 8] = [
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
    "/run/current-system/sw/bin",
];

/// A command with everything taken off that does not change what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    argv: Vec<String>,
    plain: Plain,
    /// Whether the parts were read out of a shell's script.
    is_script: bool,
}

impl Canonical {
    /// The commands it consists of, each a list of words; at least one.
    ///
    /// A shell script of plain words is taken apart; anything else is one unit.
    pub fn parts(&self) -> &[Vec<String>] {
        &self.plain.commands
    }

    /// Whether the parts are all there is to it, so that a rule may allow it by them.
    pub fn is_certain(&self) -> bool {
        self.plain.certainty < Certainty::Doubtful
    }

    /// Whether the parts say it all, so that two commands with equal parts do the same.
    pub(crate) fn is_exact(&self) -> bool {
        self.plain.certainty == Certainty::Exact
    }

    pub(crate) fn joints(&self) -> &[Joint] {
        &self.plain.joints
    }

    /// The shell, and its flag, whose script the parts were read out of.
    pub(crate) fn shell(&self) -> Option<(&str, &str)> {
        match self.argv.as_slice() {
            [shell, flag, _] if self.is_script => Some((shell, flag)),
            _ => None,
        }
    }

    pub(crate) fn argv(&self) -> &[String] {
        &self.argv
    }
}

impl fmt::Display for Canonical {
    /// As a person would type it; what shows nothing of itself is written out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_exact() {
            return f.write_str(&quoted(&self.argv));
        }
        for (index, words) in self.plain.commands.iter().enumerate() {
            match index.checked_sub(1).and_then(|before| self.plain.joints.get(before)) {
                Some(Joint::Then) => f.write_str("; ")?,
                Some(joint) => write!(f, " {} ", joint.as_str())?,
                None => {}
            }
            f.write_str(&quoted(words))?;
        }
        Ok(())
    }
}

/// Brings a command into its canonical form.
///
/// `bash`, `sh` or `zsh` with `-c` or `-lc` and one script of plain words joined by `&&`, `||`, `;`,
/// `|` is split into its parts, as Codex does. Blanks, the login flag and the style of quoting make
/// no difference to rules then. With words that the shell expands (`*`, `~`) the parts are still those words,
/// but the script itself is what a consent is bound to. Everything else is one opaque unit.
pub fn canonical(argv: &[String]) -> Canonical {
    let opaque = || Plain { commands: vec![argv.to_vec()], joints: Vec::new(), certainty: Certainty::Exact };
    let read = wrapped(argv).and_then(|(shell, script)| Some((shell, shell::read(script).plain?)));
    let is_script = read.is_some();
    let plain = match read {
        None => opaque(),
        Some((shell, plain)) if !shell.contains('/') || is_of_the_system(shell) => plain,
        // A file that merely has a shell's name may do anything with the script.
        Some((_, plain)) => Plain { certainty: Certainty::Doubtful, ..plain },
    };
    Canonical { argv: argv.to_vec(), plain, is_script }
}

/// The shell and the script of a wrapper that is looked into.
fn wrapped(argv: &[String]) -> Option<(&str, &str)> {
    match argv {
        [shell, flag, script] if matches!(flag.as_str(), "-c" | "-lc") => {
            SHELLS.contains(&program_name(shell)).then_some((shell, script))
        }
        _ => None,
    }
}

/// The last component of a program's path.
pub(crate) fn program_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Whether a path names a program in one of the system's folders.
pub(crate) fn is_of_the_system(program: &str) -> bool {
    program.rsplit_once('/').is_some_and(|(folder, _)| SYSTEM_FOLDERS.contains(&folder))
}

/// Joins words as a person would type them; what shows nothing of itself is written out.
pub(crate) fn quoted(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        // NUL is the only thing that cannot be quoted, and no argument has one.
        let quoted = shlex::try_quote(word).unwrap_or_else(|_| word.escape_debug().to_string().into());
        text.push_str(&co_model::visible(&quoted));
    }
    text
}
