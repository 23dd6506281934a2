//! The stored format, frozen: `fixtures/v<version>/<kind>[.<case>].json` holds the exact bytes of one
//! body, which must decode for ever. Never edit one; a changed shape is a new version beside them.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read ends its test here")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use co_log::{FORMAT_VERSION, StoredEvent, decode, encode};
use co_model::{Envelope, Event};

use crate::samples;

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("v{version}"))
}

/// File names without `.json`, and what is in them.
fn read(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap().trim_end().to_owned());
        }
    }
    found
}

fn kind(name: &str) -> &str {
    name.split('.').next().unwrap()
}

/// The names of all variants, as serde lists them when it is given one that does not exist.
fn every_kind() -> BTreeSet<String> {
    let unknown = StoredEvent { kind: "no_such_kind".to_owned(), version: 1, body: "null".to_owned() };
    let error = std::error::Error::source(&decode(&unknown).unwrap_err()).unwrap().to_string();
    let list = error.split_once("expected one of").unwrap().1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_stored_event_decodes_and_encodes_to_the_same_bytes() {
    for (name, body) in read(&folder(FORMAT_VERSION)) {
        let stored = StoredEvent { kind: kind(&name).to_owned(), version: FORMAT_VERSION, body };
        let event = decode(&stored).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(encode(&event).unwrap(), stored, "{name}");
    }
}

#[test]
fn every_older_event_still_decodes() {
    for version in 1..=FORMAT_VERSION {
        let fixtures = read(&folder(version));
        assert!(!fixtures.is_empty(), "the fixtures of version {version} are gone");
        for (name, body) in fixtures {
            let stored = StoredEvent { kind: kind(&name).to_owned(), version, body };
            assert_eq!(decode(&stored).unwrap().name(), stored.kind, "{name} of version {version}");
        }
    }
}

#[test]
fn every_event_has_a_fixture_of_what_is_written_today() {
    let fixtures = read(&folder(FORMAT_VERSION));
    let samples: BTreeMap<String, Event> = samples::events().into_iter().collect();
    for (name, event) in &samples {
        let stored = encode(event).unwrap();
        assert_eq!(stored.kind, kind(name));
        assert_eq!(fixtures.get(name), Some(&stored.body), "{name}.json should hold what is written");
        assert_eq!(decode(&stored).unwrap(), *event, "{name}");
    }
    assert_eq!(samples.keys().collect::<Vec<_>>(), fixtures.keys().collect::<Vec<_>>());
    let covered: BTreeSet<String> = fixtures.keys().map(|name| kind(name).to_owned()).collect();
    assert!(covered.len() >= 24);
    assert_eq!(covered, every_kind(), "every variant of `Event` needs a fixture");
}

#[test]
fn every_stored_command_decodes_and_encodes_to_the_same_bytes() {
    let fixtures = read(&folder(FORMAT_VERSION).join("inbox"));
    let written: BTreeMap<String, String> = samples::commands()
        .into_iter()
        .map(|(name, envelope)| (name, serde_json::to_string(&envelope).unwrap()))
        .collect();
    assert_eq!(fixtures, written);
    for (name, body) in &fixtures {
        let envelope: Envelope = serde_json::from_str(body).unwrap();
        assert_eq!(serde_json::to_string(&envelope).unwrap(), *body, "{name}");
    }
}
