//! Files that are not what they should be, and places that refuse.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its file ends here")]

use std::fs;
use std::path::Path;

use co_log::{DecodeError, Durability, EventLog, LogError, RunFilter};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::EventSeq;
use rusqlite::Connection;

use crate::support::{append, create, fact, new_path, open, run};

const MODES: [OpenMode; 3] = [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly];

/// Writes a database of some size and closes it, so that everything is in its one file.
fn written(path: &Path) {
    let log = open(path);
    for number in 0..20 {
        let lease = create(&log, &run(number), "owner");
        let events: Vec<_> = (0..50).map(fact).collect();
        append(&log, &lease, 1, &events, Durability::Buffered).unwrap();
        log.release(&lease).unwrap();
    }
}

#[test]
fn garbage_is_damaged_and_left_alone() {
    let path = new_path();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for garbage in [&b"this is no database, and never was one".repeat(300)[..], b"short", &[0xFF; 4096]] {
        fs::write(&path, garbage).unwrap();
        for mode in MODES {
            match SqliteLog::open(&path, mode) {
                Err(LogError::Damaged { location, detail }) => {
                    assert_eq!(location, path.display().to_string());
                    assert!(detail.contains("put back a copy"), "{detail}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
}

#[test]
fn a_truncated_file_is_damaged_wherever_it_ends() {
    let path = new_path();
    written(&path);
    let whole = fs::read(&path).unwrap();
    // SQLite takes a file of one byte for an empty one.
    for kept in [2, 99, 100, 4_096, 8_192, 20_000, whole.len() / 2, whole.len() - 4_096] {
        fs::write(&path, &whole[..kept]).unwrap();
        for mode in MODES {
            let found = SqliteLog::open(&path, mode).and_then(|log| log.verify());
            assert!(matches!(found, Err(LogError::Damaged { .. })), "{kept} bytes kept: {found:?}");
        }
    }
    fs::write(&path, &whole).unwrap();
    open(&path).verify().unwrap();
}

#[test]
fn a_scratched_page_is_found_by_verify_and_never_read_as_events() {
    let path = new_path();
    written(&path);
    let whole = fs::read(&path).unwrap();
    for page in 1..whole.len() / 4_096 {
        let mut scratched = whole.clone();
        scratched[page * 4_096..(page + 1) * 4_096].fill(0xA5);
        fs::write(&path, &scratched).unwrap();
        let found = SqliteLog::open(&path, OpenMode::Existing).and_then(|log| log.verify());
        assert!(matches!(found, Err(LogError::Damaged { .. })), "page {page}: {found:?}");
    }
}

#[test]
fn a_missing_table_is_damage() {
    let path = new_path();
    written(&path);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE runs").unwrap();
    let found = SqliteLog::open(&path, OpenMode::Existing).and_then(|log| log.head(&run(1)));
    assert!(matches!(found, Err(LogError::Damaged { .. })), "{found:?}");
}

#[test]
fn values_that_are_none_are_damage() {
    let path = new_path();
    written(&path);
    let raw = Connection::open(&path).unwrap();
    for change in ["status = 'resting'", "task = '../x'", "last_seq = -1", "stages_passed = 5000000000"] {
        raw.execute_batch(&format!("BEGIN; UPDATE runs SET {change}")).unwrap();
        raw.execute_batch("COMMIT").unwrap();
        let found = SqliteLog::open(&path, OpenMode::ReadOnly).and_then(|log| log.head(&run(1)));
        assert!(matches!(found, Err(LogError::Damaged { .. })), "{change}: {found:?}");
    }
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let path = new_path();
    written(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&path).unwrap();
    for mode in MODES {
        match SqliteLog::open(&path, mode) {
            Err(LogError::TooNew { location, found: 7, supported: 2 }) => {
                assert_eq!(location, path.display().to_string());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn events_of_a_newer_or_broken_format_are_refused() {
    let path = new_path();
    written(&path);
    let log = open(&path);
    let raw = Connection::open(&path).unwrap();
    let read = || log.events(&run(3), EventSeq(0), 100);
    raw.execute("UPDATE events SET version = 9 WHERE run = ?1 AND seq = 30", [run(3).as_str()]).unwrap();
    match read() {
        Err(LogError::Decode { run: id, source: DecodeError::TooNew { kind, version: 9 } }) => {
            assert_eq!((id, kind.as_str()), (run(3), "attempt_starting"));
        }
        other => panic!("{other:?}"),
    }
    for body in ["{", "{}", "{\"stage\":\"build\"}", "null", "{\"stage\":\"a\",\"attempt\":1},\"type\":\"x\""]
    {
        raw.execute("UPDATE events SET version = 1, body = ?1 WHERE seq = 30", [body]).unwrap();
        let found = read();
        let Err(LogError::Decode { source: DecodeError::Body { .. }, .. }) = found else {
            panic!("`{body}` was read: {found:?}");
        };
    }
    assert_eq!(log.events(&run(3), EventSeq(0), 29).unwrap().len(), 29, "the events before it can be read");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let path = new_path();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    for mode in MODES {
        let found = SqliteLog::open(&path, mode);
        assert!(
            matches!(&found, Err(LogError::Unusable { detail, .. }) if detail.contains("another program")),
            "{found:?}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn places_that_cannot_hold_a_database_are_unusable() {
    let path = new_path();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    let refused = |path: &Path, mode: OpenMode, why: &str| match SqliteLog::open(path, mode) {
        Err(LogError::Unusable { location, detail }) => {
            assert_eq!(location, path.display().to_string());
            assert!(detail.contains(why), "{detail}");
        }
        other => panic!("{}: {other:?}", path.display()),
    };
    refused(&path.join("below-a-file.db"), OpenMode::Create, "its folder cannot be made");
    refused(&path.join("below-a-file.db"), OpenMode::Existing, "Not a directory");
    refused(path.parent().unwrap(), OpenMode::Create, "it is not a file");
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        refused(&path.with_file_name("missing.db"), mode, "No such file");
        assert!(!path.with_file_name("missing.db").exists());
    }
    refused(&path, OpenMode::ReadOnly, "it is empty or older");
    #[cfg(target_os = "linux")]
    refused(Path::new("/proc/orchestrator.db"), OpenMode::Create, "No such file");
}

#[test]
fn a_log_opened_for_reading_refuses_to_write() {
    let path = new_path();
    written(&path);
    let log = SqliteLog::open(&path, OpenMode::ReadOnly).unwrap();
    assert_eq!(log.heads(&RunFilter::default()).unwrap().len(), 20);
    assert_eq!(log.events(&run(1), EventSeq(0), 100).unwrap().len(), 51);
    let found = log.views_written(&run(1), EventSeq(1));
    assert!(matches!(found, Err(LogError::Unusable { .. })), "{found:?}");
}

#[test]
fn a_reader_sees_what_others_write_and_holds_up_nobody() {
    let path = new_path();
    let writer = open(&path);
    let lease = create(&writer, &run(1), "owner");
    let reader = SqliteLog::open(&path, OpenMode::ReadOnly).unwrap();
    for after in 1..20 {
        append(&writer, &lease, after, &[fact(1)], Durability::Buffered).unwrap();
        assert_eq!(reader.head(&run(1)).unwrap().unwrap().last_seq, EventSeq(after + 1));
        assert_eq!(reader.heads(&RunFilter::default()).unwrap().len(), 1);
        assert_eq!(reader.events(&run(1), EventSeq(0), 2).unwrap().len(), 2);
    }
    // A reader that kept its lock would keep the write-ahead log from being emptied.
    let raw = Connection::open(&path).unwrap();
    let busy: i64 = raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
}
