//! What the tests share: guards, and ways to cut a stream.

use std::sync::LazyLock;

use co_privacy::{Guard, GuardSettings, Kind, Mode, NamedPattern, SecretValue};

/// A guard as it comes; compiled once.
pub(crate) fn guard() -> Guard {
    static GUARD: LazyLock<Guard> = LazyLock::new(|| in_mode(Mode::Enforce));
    GUARD.clone()
}

pub(crate) fn in_mode(mode: Mode) -> Guard {
    made(&GuardSettings { mode, ..GuardSettings::default() })
}

pub(crate) fn pattern(name: &str, text: &str) -> NamedPattern {
    NamedPattern { name: name.to_owned(), text: text.to_owned() }
}

/// A guard with two values and three patterns beside what it knows.
pub(crate) fn configured() -> Guard {
    static GUARD: LazyLock<Guard> = LazyLock::new(|| {
        let settings = GuardSettings {
            patterns: vec![
                pattern("ticket", r"\bTICKET-[0-9]{4,6}\b"),
                pattern("line", r"(?i)^internal: .*$"),
                pattern("span", r"<hide>(?s:.){0,40}?</hide>"),
            ],
            values: vec![
                SecretValue::new("DB", "hunter2!x"),
                SecretValue::new("LONG", "correct horse battery/staple+1"),
            ],
            ..GuardSettings::default()
        };
        made(&settings)
    });
    GUARD.clone()
}

/// Sends `pieces` through one stream of `guard`.
pub(crate) fn through<'p>(guard: &Guard, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut redactor = guard.stream(Kind::Output);
    let mut out = Vec::new();
    for piece in pieces {
        redactor.push(piece, &mut out);
    }
    redactor.finish(&mut out);
    out
}

/// Cuts `bytes` into pieces whose lengths repeat `lengths`.
pub(crate) fn cut<'b>(mut bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut lengths = lengths.iter().copied().cycle();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(lengths.next().unwrap_or(1).clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

pub(crate) fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn made(settings: &GuardSettings) -> Guard {
    match Guard::new(settings) {
        Ok(guard) => guard,
        Err(error) => panic!("{error}"),
    }
}
