//! Commands that are asked about although no rule speaks of them.

use std::borrow::Cow;

use crate::command::program_name;
use crate::shell;

/// Wrappers inside wrappers beyond this are made to hide something.
const DEEPEST: usize = 8;

/// Shells whose scripts are looked through, however they are started.
const SHELLS: [&str; 7] = ["bash", "sh", "zsh", "dash", "ksh", "ash", "fish"];

/// Programs that run the command that follows their options, with the options that take a value.
const WRAPPERS: [(&str, &[&str]); 13] = [
    (
        "sudo",
        &["-u", "-g", "-h", "-p", "-C", "-D", "-R", "-r", "-t", "-T", "-U", "--user", "--group", "--host"],
    ),
    ("doas", &["-u", "-C"]),
    ("env", &["-u", "-C", "-S", "--unset", "--chdir"]),
    ("nice", &["-n", "--adjustment"]),
    ("nohup", &[]),
    ("setsid", &[]),
    ("stdbuf", &["-i", "-o", "-e"]),
    ("time", &["-f", "-o"]),
    ("command", &[]),
    ("builtin", &[]),
    ("exec", &["-a"]),
    ("busybox", &[]),
    ("xargs", &["-a", "-d", "-E", "-I", "-L", "-n", "-P", "-s"]),
];

/// Why a command is dangerous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// `rm` with its force option.
    ForcedRemoval,
    /// Too long or too tangled to be looked through.
    Unreadable,
}

/// The commands that can be seen in one, itself first.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) is_unreadable: bool,
}

impl Seen {
    pub(crate) fn danger(&self) -> Option<Danger> {
        if self.commands.iter().any(|words| is_forced_removal(words)) {
            return Some(Danger::ForcedRemoval);
        }
        self.is_unreadable.then_some(Danger::Unreadable)
    }
}

/// Looks through wrappers, scripts, substitutions and traps for the commands inside.
///
/// What is found can only make a decision stricter: a script can always hide more.
pub(crate) fn look_through(words: &[String]) -> Seen {
    let mut seen = Seen::default();
    let mut open = vec![(words.to_vec(), 0)];
    while let Some((words, depth)) = open.pop() {
        if depth > DEEPEST {
            seen.is_unreadable = true;
            continue;
        }
        if let Some(script) = script(&words) {
            let reading = shell::read(&script);
            seen.is_unreadable |= reading.is_unreadable;
            open.extend(reading.seen.into_iter().map(|inner| (inner, depth + 1)));
        }
        open.extend(unwrapped(&words).map(|inner| (inner.to_vec(), depth + 1)));
        seen.commands.push(words);
    }
    seen
}

/// The shell script among a command's arguments.
fn script(words: &[String]) -> Option<Cow<'_, str>> {
    let (program, arguments) = words.split_first()?;
    match program_name(program) {
        name if SHELLS.contains(&name) => {
            let is_flag = |argument: &&String| {
                argument.strip_prefix('-').is_some_and(|flags| !flags.starts_with('-') && flags.contains('c'))
            };
            let flag = arguments.iter().position(|argument| is_flag(&argument))?;
            arguments[flag + 1..].iter().find(|argument| !argument.starts_with('-')).map(Cow::from)
        }
        "trap" => arguments.iter().find(|argument| !argument.starts_with('-')).map(Cow::from),
        "eval" => Some(arguments.join(" ").into()),
        _ => None,
    }
}

/// The command that a wrapper such as `sudo` or `env` runs.
fn unwrapped(words: &[String]) -> Option<&[String]> {
    let (program, mut arguments) = words.split_first()?;
    let (name, with_value) = WRAPPERS.iter().find(|(name, _)| *name == program_name(program))?;
    loop {
        let (first, rest) = arguments.split_first()?;
        match first.as_str() {
            "--" => return Some(rest).filter(|rest| !rest.is_empty()),
            option if with_value.contains(&option) => arguments = rest.get(1..)?,
            option if option.starts_with('-') => arguments = rest,
            assignment if *name == "env" && assignment.contains('=') => arguments = rest,
            assignment if matches!(*name, "sudo" | "doas") && is_assignment(assignment) => arguments = rest,
            _ => return Some(arguments),
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn is_forced_removal(words: &[String]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    program_name(program) == "rm"
        && arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
            argument == "--force"
                || argument
                    .strip_prefix('-')
                    .is_some_and(|flags| !flags.starts_with('-') && flags.contains('f'))
        })
}
