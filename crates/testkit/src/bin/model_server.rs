//! `co-model-server --script FILE [--record FILE]`: a scripted model for shell tests.
//!
//! Prints its base URL on the first line of stdout and serves until it is killed. With `--record` every request is
//! appended to that file, one JSON object per line.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use co_testkit::{ModelServer, Script};

const USAGE: &str = "usage: co-model-server --script FILE [--record FILE]";

fn main() -> ExitCode {
    match serve() {
        Ok(never) => match never {},
        Err(message) => {
            writeln!(std::io::stderr(), "co-model-server: {message}").ok();
            ExitCode::from(2)
        }
    }
}

fn serve() -> Result<std::convert::Infallible, String> {
    let (script, record) = parse(std::env::args_os().skip(1))?;
    let text = std::fs::read_to_string(&script).map_err(|error| format!("{}: {error}", script.display()))?;
    let script = Script::from_json(&text).map_err(|error| format!("{}: {error}", script.display()))?;
    let record = record
        .map(|path| {
            let opened = std::fs::File::options().create(true).append(true).open(&path);
            opened.map_err(|error| format!("{}: {error}", path.display()))
        })
        .transpose()?;
    let server = ModelServer::start_recording(script, record).map_err(|error| error.to_string())?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", server.base_url())
        .and_then(|()| stdout.flush())
        .map_err(|error| error.to_string())?;
    loop {
        std::thread::park();
    }
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<(PathBuf, Option<PathBuf>), String> {
    let (mut script, mut record) = (None, None);
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let place = match argument.to_str() {
            Some("--script") => &mut script,
            Some("--record") => &mut record,
            _ => return Err(USAGE.to_owned()),
        };
        *place = Some(PathBuf::from(arguments.next().ok_or(USAGE)?));
    }
    Ok((script.ok_or(USAGE)?, record))
}
