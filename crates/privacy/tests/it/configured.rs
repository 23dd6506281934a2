//! Patterns, values, allowed texts, modes, JSON and command lines.

use std::borrow::Cow;

use co_privacy::{Guard, GuardError, GuardSettings, Kind, Mode, SecretValue};
use serde_json::json;

use crate::cases::{configured, guard, in_mode, pattern, show, through};

fn with_pattern(text: &str) -> Result<Guard, GuardError> {
    Guard::new(&GuardSettings { patterns: vec![pattern("mine", text)], ..GuardSettings::default() })
}

fn with_value(text: &str) -> Result<Guard, GuardError> {
    Guard::new(&GuardSettings { values: vec![SecretValue::new("MINE", text)], ..GuardSettings::default() })
}

#[test]
fn a_guard_goes_to_any_thread() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&guard());
}

#[test]
fn modes_are_read_and_typos_refused() {
    for mode in [Mode::Off, Mode::Shadow, Mode::Enforce] {
        assert_eq!(mode.as_str().to_uppercase().parse(), Ok(mode));
    }
    let refused = "enfroce".parse::<Mode>().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`enfroce` is no mode of the privacy guard: it is `off`, `shadow` or `enforce`"
    );
}

#[test]
fn patterns_and_values_are_found_at_every_cut() {
    let guard = configured();
    let cases = [
        ("see TICKET-12345.", "see [redacted:ticket]."),
        ("TICKET-123 TICKET-1234567 XTICKET-1234", "TICKET-123 TICKET-1234567 XTICKET-1234"),
        ("a\nInternal: the plan\nb", "a\n[redacted:line]\nb"),
        ("not internal: the plan", "not internal: the plan"),
        ("x<hide>a\nb</hide>y<hide>z", "x[redacted:span]y<hide>z"),
        ("as hunter2!x is", "as [redacted:DB] is"),
        ("hunter2!hunter2!x", "hunter2![redacted:DB]"),
        ("url hunter2%21x, aHVudGVyMiF4.", "url [redacted:DB], [redacted:DB]."),
        ("correct+horse+battery%2Fstaple%2B1", "[redacted:LONG]"),
        ("correct horse battery\\/staple+1", "correct horse battery\\/staple+1"),
        ("password=hunter2!x;", "password=[redacted:DB];"),
        ("hunter2!xghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5", "[redacted:DB][redacted:github-token]"),
    ];
    for (text, wanted) in cases {
        for at in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(at);
            assert_eq!(show(&through(&guard, [left, right])), wanted, "{text:?} cut at {at}");
        }
        assert_eq!(guard.redact_text(wanted), wanted, "of what was redacted");
    }
}

#[test]
fn overlapping_secrets_are_withheld_as_one() {
    let guard = with_pattern("key: [a-z]{3}").unwrap();
    let text = format!("key: abcdef_ghp_{}", "a1".repeat(20));
    assert_eq!(guard.redact_text(&text), "[redacted:mine]def_[redacted:github-token]");
    let guard = with_pattern("x ghp_a1").unwrap();
    let text = format!("x ghp_{} y", "a1".repeat(20));
    assert_eq!(guard.redact_text(&text), "[redacted:github-token] y");
}

#[test]
fn a_pattern_that_cannot_be_used_is_named() {
    let message = |text: &str| with_pattern(text).unwrap_err().to_string();
    assert_eq!(message("a("), "the pattern `mine` is no regular expression");
    assert_eq!(message("a*"), "the pattern `mine` matches the empty text, or nothing");
    assert!(message(r"\Aabc").starts_with("the pattern `mine` is bound to the ends of the whole text"));
    assert_eq!(message(r"(\w{200}){200}x"), "the pattern `mine` is too large when compiled");
    assert_eq!(message(&"a".repeat(2000)), "the pattern `mine` has 2000 bytes, more than 1024");
    let settings = GuardSettings { patterns: vec![pattern("no]mark", "abc")], ..GuardSettings::default() };
    assert!(matches!(Guard::new(&settings), Err(GuardError::Name { name, .. }) if name == "no]mark"));
}

#[test]
fn a_pattern_without_end_is_bounded_by_the_window() {
    let guard = with_pattern("(?s)BEGIN.*").unwrap();
    let text = format!("BEGIN{}", "x".repeat(20_000));
    let whole = through(&guard, [text.as_bytes()]);
    assert_eq!(show(&whole), format!("[redacted:mine]{}", "x".repeat(20_005 - 8192)));
    for size in [1, 100, 8191, 8192, 8193] {
        assert_eq!(through(&guard, text.as_bytes().chunks(size)), whole, "in pieces of {size}");
    }
}

#[test]
fn bounds_of_words_are_those_of_unicode() {
    let guard = with_pattern(r"\b[a-z]+-[0-9]{4}\b").unwrap();
    let text = "abc-1234, x abc-12345 \u{e9}abc-1234 \u{e9} abc-1234\u{e9} z-0000";
    let wanted = "[redacted:mine], x abc-12345 \u{e9}abc-1234 \u{e9} abc-1234\u{e9} [redacted:mine]";
    for at in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(at);
        assert_eq!(show(&through(&guard, [left, right])), wanted, "cut at {at}");
    }
}

#[test]
fn values_are_never_printed() {
    let value = SecretValue::new("MINE", "geheimnis");
    let settings = GuardSettings { values: vec![value], ..GuardSettings::default() };
    let guard = Guard::new(&settings).unwrap();
    let printed = format!("{settings:?} {guard:?} {:?}", guard.stream(Kind::Output));
    assert!(!printed.contains("geheimnis") && !printed.contains("103, 101, 104"), "{printed}");
    let short = with_value("abcde").unwrap_err().to_string();
    assert_eq!(short, "the value of `MINE` has 5 bytes; a value to be withheld has at least 6");
    assert_eq!(with_value("").unwrap().redact_text("nothing is empty"), "nothing is empty");
}

#[test]
fn a_value_of_many_lines_is_found_raw_and_in_json() {
    let value = "first line\nsecond \"line\"";
    let guard = with_value(value).unwrap();
    assert_eq!(guard.redact_text(&format!("<{value}>")), "<[redacted:MINE]>");
    let text = json!({ "x": value }).to_string();
    assert_eq!(guard.redact_text(&text), r#"{"x":"[redacted:MINE]"}"#);
}

#[test]
fn what_is_allowed_passes_only_whole_and_never_a_value() {
    let settings = GuardSettings {
        allowed: vec![pattern("samples", "AKIA[A-Z0-9]*EXAMPLE"), pattern("dev", "devpass|value-1")],
        values: vec![SecretValue::new("MINE", "value-1")],
        ..GuardSettings::default()
    };
    let guard = Guard::new(&settings).unwrap();
    assert_eq!(guard.redact_text("AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAMPLE");
    assert_eq!(guard.redact_text("AKIAIOSFODNN7EXAMPLE1"), "[redacted:aws-access-key]");
    assert_eq!(guard.redact_text("password=devpass"), "password=devpass");
    assert_eq!(guard.redact_text("password=devpass2"), "password=[redacted:assigned-secret]");
    assert_eq!(guard.redact_text("value-1"), "[redacted:MINE]");
}

#[test]
fn shadow_counts_and_changes_nothing_and_off_does_neither() {
    let text = "password=hunter2 AKIAQ3R5T7Y2U4I6O8P2 password=hunter3";
    for (mode, count) in [(Mode::Shadow, 2), (Mode::Off, 0)] {
        let guard = in_mode(mode);
        let mut stream = guard.stream(Kind::Output);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(3) {
            let before = out.len();
            stream.push(piece, &mut out);
            assert_eq!(&out[before..], piece, "{mode} delays nothing");
        }
        stream.finish(&mut out);
        assert_eq!(show(&out), text);
        assert_eq!(stream.counts().get("assigned-secret").copied().unwrap_or_default(), count);
        assert_eq!(stream.bytes_redacted(), if count == 0 { 0 } else { 7 + 20 + 7 });
        assert_eq!(guard.counts(), *stream.counts());
        let mut value = json!({ "password": text });
        guard.redact_json(&mut value);
        assert_eq!(value, json!({ "password": text }));
        assert!(matches!(guard.redact_text(text), Cow::Borrowed(_)));
    }
}

#[test]
fn in_source_a_name_alone_takes_nothing_out() {
    let text = "let password = \"hunter22\"; // ghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5";
    let mut stream = guard().stream(Kind::Source);
    let mut out = Vec::new();
    stream.push(text.as_bytes(), &mut out);
    stream.finish(&mut out);
    assert_eq!(show(&out), "let password = \"hunter22\"; // [redacted:github-token]");
}

#[test]
fn json_is_redacted_by_name_and_by_text() {
    let mut value = json!({
        "password": "abc",
        "apiKey": "0123456789abcdef",
        "token": "none",
        "token_count": 12,
        "secret": null,
        "credentials": ["a1b2c3d4", "plain words"],
        "nested": { "env": ["A=1", "DB_PASSWORD=hunter2"], "db_passphrase": "x" },
        "ghp_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5": "key",
        "password_hint": "the usual"
    });
    let guard = guard();
    guard.redact_json(&mut value);
    let wanted = json!({
        "password": "[redacted:assigned-secret]",
        "apiKey": "[redacted:assigned-secret]",
        "token": "none",
        "token_count": 12,
        "secret": null,
        "credentials": ["[redacted:assigned-secret]", "plain words"],
        "nested": { "env": ["A=1", "DB_PASSWORD=[redacted:assigned-secret]"], "db_passphrase": "[redacted:assigned-secret]" },
        "[redacted:github-token]": "key",
        "password_hint": "the usual"
    });
    assert_eq!(value, wanted);
    guard.redact_json(&mut value);
    assert_eq!(value, wanted, "a second time");
}

#[test]
fn json_is_looked_into_only_so_deep() {
    let mut value = json!("bottom");
    for _ in 0..1_000 {
        value = json!([value]);
    }
    let guard = guard();
    guard.redact_json(&mut value);
    let mut depth = 0;
    let mut inner = &value;
    while let Some(next) = inner.get(0) {
        (inner, depth) = (next, depth + 1);
    }
    assert_eq!((inner, depth), (&json!("[redacted:too-deep]"), 128));
}

#[test]
fn command_lines_are_redacted_across_arguments() {
    let shown = |argv: &[&str]| guard().redact_argv(argv).join(" ");
    assert_eq!(
        shown(&["mysql", "--password", "abc", "-v"]),
        "mysql --password [redacted:assigned-secret] -v"
    );
    assert_eq!(shown(&["x", "--token=a1b2c3d4e5"]), "x --token=[redacted:assigned-secret]");
    assert_eq!(shown(&["x", "--token", "--verbose", "a1b2c3d4e5"]), "x --token --verbose a1b2c3d4e5");
    assert_eq!(shown(&["x", "--password", "$PASS"]), "x --password $PASS");
    assert_eq!(
        shown(&["curl", "-H", "Authorization: Bearer abcdef12", "https://u:p@h/"]),
        "curl -H Authorization: Bearer [redacted:authorization] https://u:[redacted:url-password]@h/"
    );
}
