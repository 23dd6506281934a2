//! The program that the tests of the sandbox enter again as its stages.

use std::process::ExitCode;

fn main() -> ExitCode {
    co_sandbox::inner::enter(std::env::args_os()).unwrap_or(ExitCode::from(2))
}
