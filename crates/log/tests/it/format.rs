//! What decoding refuses.

use co_log::{DecodeError, FORMAT_VERSION, StoredEvent, decode, encode};
use co_model::Event;

fn stored(kind: &str, version: u32, body: &str) -> StoredEvent {
    StoredEvent { kind: kind.to_owned(), version, body: body.to_owned() }
}

#[test]
fn a_newer_version_is_refused_even_if_it_would_parse() {
    let event = encode(&Event::RunStarted).unwrap();
    assert_eq!(event, stored("run_started", FORMAT_VERSION, "null"));
    let newer = StoredEvent { version: FORMAT_VERSION + 1, ..event };
    match decode(&newer) {
        Err(DecodeError::TooNew { kind, version }) => {
            assert_eq!((kind.as_str(), version), ("run_started", FORMAT_VERSION + 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_does_not_fit_its_kind_is_refused() {
    let starting = r#"{"stage":"build","attempt":1}"#;
    assert!(decode(&stored("attempt_starting", 1, starting)).is_ok());
    for (kind, body) in [
        ("attempt_starting", ""),
        ("attempt_starting", "null"),
        ("attempt_starting", r#"{"stage":"build"}"#),
        ("attempt_starting", r#"{"stage":"../build","attempt":1}"#),
        ("attempt_starting", r#"{"stage":"build","attempt":-1}"#),
        ("attempt_starting", r#"{"stage":"build","attempt":1"#),
        ("attempt_starting", r#"{"stage":"build","attempt":1},"more":2"#),
        ("attempt_starting", r#"{"stage":"build","attempt":1}}"#),
        ("attempt_started", starting),
        ("no_such_kind", starting),
        ("", starting),
        ("run_started\",\"type\":\"run_started", "null"),
    ] {
        match decode(&stored(kind, 1, body)) {
            Err(DecodeError::Body { kind: named, .. }) => assert_eq!(named, kind),
            other => panic!("`{kind}` with `{body}`: {other:?}"),
        }
    }
}
