//! Streams: cuts, pauses, bounds, and bytes of every kind.

use co_privacy::{Kind, Mode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::cases::{configured, cut, guard, in_mode, show, through};

const KEY: &str = "ghp_Zy8Xw6Vu4Ts2Rq0Po9Nm7Lk5Ji3Hg1Fe8Dc6B";

/// What a stream shows after `text` when nothing more comes for now, before and after it is told so.
fn shown_in_pause(text: &str) -> (String, String) {
    let mut stream = configured().stream(Kind::Output);
    let mut out = Vec::new();
    stream.push(text.as_bytes(), &mut out);
    let before = show(&out);
    stream.flush_ready(&mut out);
    (before, show(&out))
}

#[test]
fn prompts_and_progress_show_at_once() {
    for text in [
        "Password: ",
        "Password for 'https://user@host': ",
        "Enter your API token: ",
        "$ ",
        "> ",
        "Continue? [y/N] ",
        "\r 42 %",
        "token",
        "Enter pass",
        "https:/",
        "user: ",
        "password = \"",
        "\x1b[31mPassword:\x1b[0m ",
    ] {
        assert_eq!(shown_in_pause(text).0, text);
    }
}

#[test]
fn a_pause_lets_public_letters_go_and_no_secret() {
    for text in ["10 s", "Menu [", "a\n-----", "xox", "gh"] {
        let (before, after) = shown_in_pause(text);
        assert!(before.len() < text.len(), "{text:?} may begin a key");
        assert_eq!(after, text);
    }
    let held = [
        ("ghp_aB3d", ""),
        ("Password: hunt", "Password: "),
        ("postgres://app:hunt", "postgres://app:"),
        ("see hunter", "see "),
        ("see TICKET-12", "see "),
        ("Authorization: Bearer abcdefghi", "Authorization: Bearer "),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEaB3dE5fG7hI9", ""),
        ("123456789:AA", "123456789:"),
    ];
    for (text, shown) in held {
        assert_eq!(shown_in_pause(text).1, shown, "of {text:?}");
    }
}

#[test]
fn a_key_cut_by_a_pause_leaves_only_its_public_letters() {
    for at in 1..KEY.len() {
        let mut stream = guard().stream(Kind::Output);
        let mut out = Vec::new();
        for piece in [&KEY[..at], &KEY[at..], " end"] {
            stream.push(piece.as_bytes(), &mut out);
            stream.flush_ready(&mut out);
        }
        stream.finish(&mut out);
        let public = if at < 4 { &KEY[..at] } else { "" };
        assert_eq!(show(&out), format!("{public}[redacted:github-token] end"), "cut at {at}");
    }
}

#[test]
fn a_secret_longer_than_the_window_is_withheld_to_its_end() {
    let long = "a1B2c3D4e5".repeat(10_000);
    let guard = guard();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----",
        format!("{}\n", "Ab3/".repeat(16)).repeat(700)
    );
    for (text, wanted) in [
        (format!("ghp_{long} end"), "[redacted:github-token] end"),
        (format!("password={long} end"), "password=[redacted:assigned-secret] end"),
        (format!("password=\"{long}\" end"), "password=\"[redacted:assigned-secret]\" end"),
        (format!("Bearer {long} end"), "Bearer [redacted:authorization] end"),
        (format!("{pem} end"), "[redacted:private-key] end"),
    ] {
        for size in [7, 4096, 65_536, 1 << 20] {
            assert_eq!(show(&through(&guard, text.as_bytes().chunks(size))), wanted, "in pieces of {size}");
        }
    }
}

#[test]
fn a_private_key_without_end_is_bounded() {
    let line = format!("{}\n", "Ab3/".repeat(16));
    let text = format!("-----BEGIN PRIVATE KEY-----\n{}", line.repeat(3_000));
    let guard = guard();
    let whole = through(&guard, [text.as_bytes()]);
    assert!(show(&whole).starts_with("[redacted:private-key]\nAb3/"));
    let passed = text.len() - whole.len();
    assert!((64 * 1024 - 200..64 * 1024 + 200).contains(&passed), "{passed} bytes are withheld");
    assert_eq!(through(&guard, text.as_bytes().chunks(1000)), whole);
}

#[test]
fn what_waits_is_bounded() {
    let guard = configured();
    for text in [
        "ghp_",
        "password=",
        "x://u:",
        "eyJ",
        "<hide>",
        "-----BEGIN RSA PRIVATE KEY-----\n",
        "Bearer ",
        "token ",
    ] {
        let mut stream = guard.stream(Kind::Output);
        let mut out = Vec::new();
        let mut pushed = text.len();
        stream.push(text.as_bytes(), &mut out);
        for _ in 0..40 {
            stream.push(&[b'a'; 1000], &mut out);
            pushed += 1000;
        }
        let seen = out.len() as u64 + stream.bytes_redacted();
        let waiting = (pushed as u64).saturating_sub(seen);
        assert!(waiting <= 8 * 1024 + 128, "{waiting} bytes wait behind `{text}`");
    }
}

#[test]
fn counts_add_up() {
    let guard = guard();
    let mut stream = guard.stream(Kind::Output);
    let mut out = Vec::new();
    for piece in format!("{KEY} password=hunter2 {KEY}\n").repeat(3).as_bytes().chunks(5) {
        stream.push(piece, &mut out);
    }
    stream.finish(&mut out);
    let counts: Vec<_> = stream.counts().iter().map(|(rule, count)| (rule.as_str(), *count)).collect();
    assert_eq!(counts, [("assigned-secret", 3), ("github-token", 6)]);
    assert_eq!(stream.bytes_redacted(), 3 * (2 * KEY.len() as u64 + 7));
}

/// A fixed sequence of bytes without any order (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_chunk_without_secrets_is_not_copied() {
    let lines = "test engine::decide::a_stage_that_fails_ends_its_run ... ok\n".repeat(2_000);
    let chunk = format!("{lines}see https://host/ for the token of `password`;\n");
    let mut stream = guard().stream(Kind::Output);
    let mut out = Vec::new();
    for _ in 0..3 {
        let passed = stream.pass(chunk.as_bytes(), &mut out);
        assert!(std::ptr::eq(passed, chunk.as_bytes()) && out.is_empty());
    }
    let found = format!("{lines}{KEY} {lines}");
    let passed = stream.pass(found.as_bytes(), &mut out);
    let unchanged = format!(" {lines}");
    assert_eq!((show(passed), show(&out)), (unchanged, format!("{lines}[redacted:github-token]")));
}

#[test]
fn five_megabytes_of_noise_come_out_as_they_went_in() {
    let noise = noise(5 << 20);
    for size in [4093, 65_536, 5 << 20] {
        assert!(through(&configured(), noise.chunks(size)) == noise, "in pieces of {size}");
    }
}

/// Parts of which texts are made that come close to secrets.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let words = select(vec![
        "password",
        "token",
        "secret",
        "_pass",
        "api_key",
        "=",
        ": ",
        " ",
        "\"",
        "'",
        "\\",
        "\\n",
        "\n",
        "\x1b[31m",
        "\x1b[0m",
        "sk-",
        "sk-ant-",
        "ghp_",
        "AKIA",
        "Q3R5T7Y2U4I6O8P2",
        "eyJ",
        ".",
        "://",
        ":",
        "@",
        "Bearer ",
        "Authorization: ",
        "Basic ",
        "aB3dE5fG7hI9jK1lM3nO5pQ7rS9t",
        "hunter2!x",
        "hunter2",
        "aHVudGVyMiF4",
        "TICKET-",
        "12345",
        "<hide>",
        "</hide>",
        "internal: ",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "[redacted:",
        "jwt]",
        "${X}",
        "123456:A",
        "\u{e9}",
        "--token ",
        "s",
        "-",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
        1 => (1_usize..90).prop_map(|length| b"a1B2".repeat(length)),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(part(), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_nothing(text in text(), lengths in vec(1_usize..40, 1..8)) {
        let guard = configured();
        let whole = through(&guard, [text.as_slice()]);
        prop_assert_eq!(show(&through(&guard, cut(&text, &lengths))), show(&whole));
        prop_assert_eq!(show(&through(&guard, text.chunks(1))), show(&whole));
    }

    #[test]
    fn a_second_time_changes_nothing(text in text()) {
        let guard = guard();
        let once = through(&guard, [text.as_slice()]);
        prop_assert_eq!(show(&through(&guard, [once.as_slice()])), show(&once));
    }

    #[test]
    fn planted_secrets_never_come_out(
        text in text(),
        at in any::<Index>(),
        secret in select(vec!["hunter2!x", "hunter2%21x", "aHVudGVyMiF4", "correct horse battery/staple+1"]),
        lengths in vec(1_usize..40, 1..8),
    ) {
        let guard = configured();
        let mut text = text;
        let at = at.index(text.len() + 1);
        text.splice(at..at, secret.bytes());
        let out = through(&guard, cut(&text, &lengths));
        prop_assert!(!show(&out).contains(secret), "{}", show(&out));
    }

    #[test]
    fn planted_keys_never_come_out(text in text(), at in any::<Index>(), lengths in vec(1_usize..40, 1..8)) {
        let mut text = text;
        let at = at.index(text.len() + 1);
        text.splice(at..at, format!(" {KEY} ").bytes());
        let out = through(&guard(), cut(&text, &lengths));
        prop_assert!(!show(&out).contains(KEY), "{}", show(&out));
    }

    #[test]
    fn pauses_let_no_secret_out(text in text(), at in any::<Index>(), lengths in vec(1_usize..10, 1..8)) {
        let mut text = text;
        let at = at.index(text.len() + 1);
        text.splice(at..at, format!(" {KEY} hunter2!x").bytes());
        let mut stream = configured().stream(Kind::Output);
        let mut out = Vec::new();
        for piece in cut(&text, &lengths) {
            stream.push(piece, &mut out);
            stream.flush_ready(&mut out);
        }
        stream.finish(&mut out);
        let out = show(&out);
        prop_assert!(!out.contains(&KEY[5..12]) && !out.contains("hunter2!x"), "{}", out);
    }

    #[test]
    fn shadow_shows_what_came(text in text(), lengths in vec(1_usize..40, 1..8)) {
        prop_assert_eq!(through(&in_mode(Mode::Shadow), cut(&text, &lengths)), text);
    }

    #[test]
    fn any_bytes_are_taken(bytes in vec(any::<u8>(), 0..3000), lengths in vec(1_usize..200, 1..8)) {
        let guard = configured();
        prop_assert_eq!(through(&guard, cut(&bytes, &lengths)), through(&guard, [bytes.as_slice()]));
    }
}
