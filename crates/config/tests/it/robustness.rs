//! No bytes make the reader panic, and what it refuses has a place.

use std::sync::LazyLock;

use co_config::{LoadError, load};
use proptest::prelude::*;

use crate::corpus::{GOOD_FILE, bad_files};
use crate::schema::{validator, without_comments};
use crate::{bare, repository};

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(validator);

fn check(bytes: &[u8]) {
    let root = repository(&[]);
    std::fs::write(root.path().join("codex.orchestrator.json"), bytes).unwrap();
    match load(root.path(), &bare(root.path())) {
        Ok(loaded) => {
            assert!(loaded.set.pipelines.values().all(|pipeline| !pipeline.stages.is_empty()));
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let value = without_comments(&text).expect("what was read is JSON");
            assert!(VALIDATOR.is_valid(&value), "the schema is stricter than the reader: {text}");
        }
        Err(LoadError::Invalid { problems, .. }) => {
            assert!((1..=20).contains(&problems.len()));
            for problem in problems {
                assert!(problem.line >= 1 && problem.column >= 1, "{problem}");
                assert!(problem.to_string().len() < 2_000, "{problem}");
            }
        }
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"id\"", "\"stages\"", "\"pipelines\"", "\"command\"", "\"needs\"", "\"ä\u{202e}\\u0000\"",
                "1e999", "-1", "true", "null", "// c\n", "/* c", "\"plan\"", "\"retry\"", "\"on\"", "\u{feff}", "\r\n", "\"kind\"", "\"pipeline\"",
            ]),
            0..60,
        ),
    ) {
        check(words.concat().as_bytes());
    }

    #[test]
    fn a_good_file_with_any_damage_is_read_or_refused(at in 0..GOOD_FILE.len(), length in 0..40_usize, with in ".{0,8}") {
        let mut bytes = GOOD_FILE.as_bytes().to_vec();
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, with.into_bytes());
        check(&bytes);
    }
}

#[test]
fn bombs_are_refused() {
    for text in [
        "[".repeat(500_000),
        "{\"pipelines\":".repeat(60_000),
        format!("{{\"pipelines\":{}", "[".repeat(900_000)),
    ] {
        check(text.as_bytes());
    }
    // Nested objects where an object is read recursively.
    let depth = 400;
    let nested = format!("{}1{}", "{\"plan\":".repeat(depth), "}".repeat(depth));
    check(format!("{{\"pipelines\":[{{\"id\":\"p\",\"stages\":[{nested}]}}]}}").as_bytes());
    // Many names, each unlike the other, all unknown.
    let keys = (0..30_000).fold(String::new(), |keys, n| keys + &format!("\"k{n}\":0,"));
    check(format!("{{{keys}\"pipelines\":[]}}").as_bytes());
}

#[test]
fn a_wide_graph_is_checked_in_reasonable_time() {
    let stages: Vec<String> = (0..900)
        .map(|n| {
            let needs: Vec<String> = (n.max(30) - 30..n).map(|need| format!("\"s{need}\"")).collect();
            let inputs = if n == 0 { String::new() } else { ", \"inputs\": { \"a\": \"s0.o\" }".to_owned() };
            format!(
                "{{\"id\":\"s{n}\",\"command\":\"true\",\"outputs\":{{\"o\":\"o\"}},\"needs\":[{}]{inputs}}}",
                needs.join(",")
            )
        })
        .collect();
    let text = format!("{{\"pipelines\":[{{\"id\":\"p\",\"stages\":[{}]}}]}}", stages.join(","));
    let root = repository(&[("codex.orchestrator.json", &text)]);
    let loaded = load(root.path(), &bare(root.path())).expect("the graph has no circle");
    assert_eq!(loaded.set.pipelines[0].stages.len(), 900);
}

#[test]
fn every_prefix_of_every_bad_file_is_refused_or_read() {
    for (_, text) in bad_files().into_iter().take(30) {
        for end in (0..text.len()).step_by(7).filter(|&end| text.is_char_boundary(end)) {
            check(&text.as_bytes()[..end]);
        }
    }
}
