//! Takes secrets out of streams before anything is kept, shown or sent.
//!
//! A [`Guard`] is compiled once from [`GuardSettings`] and shared. Each stream gets a [`Redactor`], which finds
//! secrets wherever the stream was cut: known key formats, private keys, credentials in URLs and headers, values
//! assigned to telling names, the user's patterns, and values that were named, in their common encodings. In place
//! of each stands what was taken: `[redacted:github-token]`. What is found is counted and never quoted.
//!
//! A guard stands in the path of every byte that is printed, so most bytes must cost next to nothing: they are seen
//! by one sieve alone, where they lie, and [`Redactor::pass`] hands back what needs no change. Values that were named
//! cost a second pass over the bytes. So do patterns; one without any fixed text costs several times all the rest.
//!
//! The room does no IO, reads no environment and starts no thread.

pub use guard::Guard;
pub use redactor::Redactor;
pub use settings::{GuardError, GuardSettings, Kind, Mode, NamedPattern, SecretValue, UnknownModeError};

mod settings;

mod guard;
mod redactor;

mod found;
mod probe;
mod scanner;
mod sieve;

mod assigned;
mod credentials;
mod formats;
mod known;
mod mark;
mod names;
mod patterns;
mod pem;
mod values;
