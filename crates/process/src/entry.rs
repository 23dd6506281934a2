//! Starting our own program again without executing it.
//!
//! A leader is a fork of the program, so when it is to become that very program it is there already: executing it
//! would only have the system map, link and relocate the same file once more.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::wire::Launch;
use crate::{platform, sys};

/// A part of the caller's program that begins with a word of its own on the command line, and needs nothing that
/// `main` prepares.
///
/// `run` is called with the arguments after the word, in a process with one thread, the program's environment and
/// directory, default signals but for an ignored SIGPIPE, and no descriptor but the standard streams. It returns
/// the exit code. It must do the same when the program is executed with that word: whoever looks sees no difference.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The first argument.
    pub word: &'static str,
    /// What it does.
    pub run: fn(&[OsString]) -> u8,
}

/// An [`Entry`] and the executable it is a part of.
#[derive(Debug)]
pub(crate) struct OwnProgram {
    path: OsString,
    entry: Entry,
}

impl OwnProgram {
    /// `None` where the system does not tell which executable we are: then it is executed, as any other.
    pub(crate) fn with(entry: Entry) -> Option<Self> {
        Some(Self { path: env::current_exe().ok()?.into_os_string(), entry })
    }

    /// Whether `launch` is this program at its entry.
    pub(crate) fn is_meant_by(&self, launch: &Launch) -> bool {
        let is = |argument: Option<&CString>, text: &OsStr| {
            argument.is_some_and(|argument| argument.to_bytes() == text.as_bytes())
        };
        is(launch.argv.first(), &self.path) && is(launch.argv.get(1), OsStr::new(self.entry.word))
    }

    /// Goes on as the program; closes every descriptor but the standard streams.
    pub(crate) fn become_it(&self, launch: &Launch) -> ! {
        platform::close_descriptors(3, -1);
        platform::set_process_name(c"co-entry");
        sys::default_signals();
        // As the runtime of every Rust program does before its `main`.
        sys::ignore_signals(&[libc::SIGPIPE]);
        sys::set_environment(&launch.env);
        let arguments = launch.argv.iter().skip(2);
        let arguments: Vec<OsString> =
            arguments.map(|argument| OsString::from_vec(argument.to_bytes().to_vec())).collect();
        sys::exit_now((self.entry.run)(&arguments).into())
    }
}
