//! Names that say that their value is a secret. A table; owns nothing.

/// How much a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    /// The value is a secret unless it plainly is not.
    Plain,
    /// The value is a secret if it looks like one.
    Vague,
}

/// The words, in lower case; found in any case within a longer name. None begins another.
pub(crate) static WORDS: &[(&str, Strength)] = &[
    ("password", Strength::Plain),
    ("passwd", Strength::Plain),
    ("passphrase", Strength::Plain),
    ("_pass", Strength::Plain),
    ("pwd", Strength::Plain),
    ("secret", Strength::Plain),
    ("token", Strength::Vague),
    ("apikey", Strength::Vague),
    ("api_key", Strength::Vague),
    ("api-key", Strength::Vague),
    ("accesskey", Strength::Vague),
    ("access_key", Strength::Vague),
    ("access-key", Strength::Vague),
    ("accountkey", Strength::Vague),
    ("account_key", Strength::Vague),
    ("privatekey", Strength::Vague),
    ("private_key", Strength::Vague),
    ("private-key", Strength::Vague),
    ("signingkey", Strength::Vague),
    ("signing_key", Strength::Vague),
    ("signing-key", Strength::Vague),
    ("encryptionkey", Strength::Vague),
    ("encryption_key", Strength::Vague),
    ("encryption-key", Strength::Vague),
    ("auth_key", Strength::Vague),
    ("authkey", Strength::Vague),
    ("_auth", Strength::Vague),
    ("credential", Strength::Vague),
];

/// Last words of names that describe a secret instead of holding it: `token_count`, `passwordPolicy`.
const DESCRIPTIONS: &[&str] = &[
    "at",
    "budget",
    "bytes",
    "class",
    "cost",
    "count",
    "counts",
    "dir",
    "enabled",
    "endpoint",
    "env",
    "error",
    "expiration",
    "expires",
    "expiry",
    "field",
    "file",
    "format",
    "hint",
    "id",
    "ids",
    "in",
    "index",
    "kind",
    "label",
    "len",
    "length",
    "limit",
    "limits",
    "manager",
    "max",
    "method",
    "min",
    "name",
    "names",
    "path",
    "pattern",
    "policy",
    "prompt",
    "provider",
    "ref",
    "regex",
    "remaining",
    "required",
    "reset",
    "rotation",
    "size",
    "source",
    "status",
    "store",
    "total",
    "ttl",
    "type",
    "types",
    "uri",
    "url",
    "usage",
    "used",
    "valid",
    "var",
    "version",
];

/// Whether `rest`, which follows a word within the same name, leaves it a name of a secret.
pub(crate) fn continues(word: &[u8], rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"s").unwrap_or(rest);
    let (Some(first), Some(last_of_word)) = (rest.first(), word.last()) else { return true };
    let separate = matches!(first, b'_' | b'-')
        || first.is_ascii_digit()
        || (first.is_ascii_uppercase() && last_of_word.is_ascii_lowercase());
    separate
        && !DESCRIPTIONS
            .iter()
            .any(|description| last_part(rest).eq_ignore_ascii_case(description.as_bytes()))
}

/// The last word of a name in snake, kebab or camel case.
fn last_part(name: &[u8]) -> &[u8] {
    let mut start = 0;
    for index in 0..name.len() {
        let byte = name[index];
        if matches!(byte, b'_' | b'-') {
            start = index + 1;
        } else if byte.is_ascii_uppercase() && index > 0 && name[index - 1].is_ascii_lowercase() {
            start = index;
        }
    }
    &name[start..]
}

/// What the whole of `name` says: a JSON key or a flag.
pub(crate) fn strength_of(name: &str) -> Option<Strength> {
    const LONGEST: usize = 128;
    let name = name.as_bytes();
    if name.len() > LONGEST || is_working_directory(name) {
        return None;
    }
    let found = |&&(word, _): &&(&str, Strength)| {
        let last = name.len().checked_sub(word.len());
        last.is_some_and(|last| {
            (0..=last).any(|at| {
                let (_, rest) = name.split_at(at);
                let (here, rest) = rest.split_at(word.len());
                here.eq_ignore_ascii_case(word.as_bytes()) && continues(here, rest)
            })
        })
    };
    let said = |&(_, strength): &(&str, Strength)| strength;
    let exact =
        ["pass", "auth", "authorization"].iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()));
    WORDS.iter().find(found).map(said).or(exact.then_some(Strength::Vague))
}

/// The shell's `PWD`, which is a directory.
pub(crate) fn is_working_directory(name: &[u8]) -> bool {
    matches!(name, b"PWD" | b"OLDPWD" | b"INIT_CWD")
}

/// The bytes a name is made of.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
