//! What is found and what is not, line by line, wherever the line is cut.
//!
//! `~` stands for a body of letters and digits, so that no line of this table is itself taken for a leaked key.

use crate::cases::{guard, show, through};

const BODY: &str = "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7b";
const UPPER: &str = "Q3R5T7Y2U4I6O8P2";
const HEX: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn filled(text: &str) -> String {
    text.replace('~', BODY).replace('^', UPPER).replace("%h", HEX)
}

/// Text, and what is left of it.
const FOUND: &[(&str, &str)] = &[
    // Known formats.
    ("sk-~", "[redacted:openai-key]"),
    ("sk-proj-~_~-T3", "[redacted:openai-key]"),
    ("sk-svcacct-~", "[redacted:openai-key]"),
    ("sk-ant-api03-~-AA", "[redacted:anthropic-key]"),
    ("sk-or-v1-%h", "[redacted:openrouter-key]"),
    ("see ghp_~.", "see [redacted:github-token]."),
    ("gho_~", "[redacted:github-token]"),
    ("ghu_~", "[redacted:github-token]"),
    ("ghs_~", "[redacted:github-token]"),
    ("ghr_~", "[redacted:github-token]"),
    ("github_pat_11ABCDEFG_~", "[redacted:github-token]"),
    ("glpat-~", "[redacted:gitlab-token]"),
    ("glrt-~", "[redacted:gitlab-token]"),
    ("xoxb-123456789012-~", "[redacted:slack-token]"),
    ("xoxp-123456789012-~", "[redacted:slack-token]"),
    ("xapp-1-A0-~", "[redacted:slack-token]"),
    (
        "https://hooks.slack.com/services/T00000000/B00000000/~",
        "https://hooks.slack.com/services/[redacted:slack-webhook]",
    ),
    ("AKIA^", "[redacted:aws-access-key]"),
    ("id ASIA^!", "id [redacted:aws-access-key]!"),
    ("aws_secret_access_key = ~", "aws_secret_access_key = [redacted:assigned-secret]"),
    ("AIza~", "[redacted:google-key]"),
    ("ya29.~", "[redacted:google-key]"),
    ("GOCSPX-~", "[redacted:google-key]"),
    ("sk_live_~", "[redacted:stripe-key]"),
    ("rk_live_~", "[redacted:stripe-key]"),
    ("whsec_~", "[redacted:stripe-key]"),
    ("npm_~", "[redacted:npm-token]"),
    ("pypi-AgEIcHlwaS5vcmc~", "[redacted:pypi-token]"),
    ("dop_v1_%h", "[redacted:digitalocean-token]"),
    ("SG.~.~", "[redacted:sendgrid-key]"),
    ("hf_~", "[redacted:huggingface-token]"),
    ("dckr_pat_~", "[redacted:docker-token]"),
    ("shpat_%h", "[redacted:shopify-token]"),
    ("glsa_~_0f1e2d3c", "[redacted:grafana-token]"),
    ("hvs.~", "[redacted:vault-token]"),
    ("gsk_~", "[redacted:groq-key]"),
    ("tskey-auth-~", "[redacted:tailscale-key]"),
    ("dapi%h", "[redacted:databricks-token]"),
    ("bot 123456789:AA~ on", "bot 123456789:[redacted:telegram-token] on"),
    ("/bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/getMe", "/bot123456:[redacted:telegram-token]/getMe"),
    ("jwt eyJ~.eyJ~.~-_x end", "jwt [redacted:jwt] end"),
    ("eyJ~.eyJ~.", "[redacted:jwt]"),
    // Private keys.
    (
        "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE~\n~\nQ7rS==\n-----END RSA PRIVATE KEY-----\nb",
        "a\n[redacted:private-key]\nb",
    ),
    (
        "-----BEGIN PRIVATE KEY-----\r\n~~\r\nab==\r\n-----END PRIVATE KEY-----\r\nb",
        "[redacted:private-key]\r\nb",
    ),
    (
        r#"{"key":"-----BEGIN EC PRIVATE KEY-----\n~~\nab=\n-----END EC PRIVATE KEY-----\n","x":1}"#,
        r#"{"key":"[redacted:private-key]\n","x":1}"#,
    ),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F\n\n~\n-----END RSA PRIVATE KEY-----",
        "[redacted:private-key]",
    ),
    (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n~~\n=aB3d\n-----END PGP PRIVATE KEY BLOCK-----\n",
        "[redacted:private-key]\n",
    ),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n~~\n~~\n$ echo cut off", "[redacted:private-key]\n$ echo cut off"),
    // Credentials in URLs and headers.
    ("postgres://app:hunter2@db:5432/x", "postgres://app:[redacted:url-password]@db:5432/x"),
    ("redis://:s3cr3t@cache/0", "redis://:[redacted:url-password]@cache/0"),
    ("https://u:p@ss:w@host/", "https://u:[redacted:url-password]@host/"),
    (r#""https:\/\/u:pass@host\/""#, r#""https:\/\/u:[redacted:url-password]@host\/""#),
    (
        "https://x-access-token:ghp_~@github.com/a/b",
        "https://x-access-token:[redacted:github-token]@github.com/a/b",
    ),
    ("https://ghp_~@github.com/a/b", "https://[redacted:github-token]@github.com/a/b"),
    ("https://AKIA^:~@host/", "https://[redacted:aws-access-key]:[redacted:url-password]@host/"),
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer [redacted:authorization]"),
    ("authorization: Basic dXNlcjpwYXNz\r\n", "authorization: Basic [redacted:authorization]\r\n"),
    (r#""Authorization": "token ~""#, r#""Authorization": "token [redacted:authorization]""#),
    ("curl -H 'Authorization: Bearer ~' x", "curl -H 'Authorization: Bearer [redacted:authorization]' x"),
    ("sent bearer ~ there", "sent bearer [redacted:authorization] there"),
    // Assigned values.
    ("DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted:assigned-secret]"),
    ("password=changeme", "password=[redacted:assigned-secret]"),
    ("password = \"hunter22\"", "password = \"[redacted:assigned-secret]\""),
    ("password: 'with space and \" in'", "password: '[redacted:assigned-secret]'"),
    (r#"password: "with \" quote in" x"#, r#"password: "[redacted:assigned-secret]" x"#),
    ("password: hunter2", "password: [redacted:assigned-secret]"),
    ("PGPASSWORD=abcdef psql", "PGPASSWORD=[redacted:assigned-secret] psql"),
    ("MYSQL_PASS=abcdef;", "MYSQL_PASS=[redacted:assigned-secret];"),
    (r#"{"password":"letmein","a":1}"#, r#"{"password":"[redacted:assigned-secret]","a":1}"#),
    (r#""out":"{\"password\":\"letmein\"}""#, r#""out":"{\"password\":\"[redacted:assigned-secret]\"}""#),
    ("client_secret: '0a1b2c3d4e'", "client_secret: '[redacted:assigned-secret]'"),
    ("clientSecret = 'abcdef'", "clientSecret = '[redacted:assigned-secret]'"),
    ("SECRET_KEY='django-insecure-~'", "SECRET_KEY='[redacted:assigned-secret]'"),
    ("passphrase: \"my dog spot\"", "passphrase: \"[redacted:assigned-secret]\""),
    ("api_key=0123456789abcdef", "api_key=[redacted:assigned-secret]"),
    ("apiKey: \"a1b2c3d4e5\",", "apiKey: \"[redacted:assigned-secret]\","),
    ("X-Api-Key: 0123456789abcdef", "X-Api-Key: [redacted:assigned-secret]"),
    ("--token ~ --verbose", "--token [redacted:assigned-secret] --verbose"),
    ("--password hunter2 -v", "--password [redacted:assigned-secret] -v"),
    ("--api-key=a1b2c3d4e5", "--api-key=[redacted:assigned-secret]"),
    ("?access_token=a1b2c3d4e5&x=1", "?access_token=[redacted:assigned-secret]&x=1"),
    ("access_token%3Da1b2c3d4e5", "access_token%3D[redacted:assigned-secret]"),
    ("//registry/:_authToken=~", "//registry/:_authToken=[redacted:assigned-secret]"),
    ("_auth=dXNlcjpwYXNzd29yZDE=", "_auth=[redacted:assigned-secret]"),
    ("token := \"AbCdEfGhIjKlMnOpQr\"", "token := \"[redacted:assigned-secret]\""),
    ("'token' => 'a1b2c3d4e5'", "'token' => '[redacted:assigned-secret]'"),
    ("os.environ['API_TOKEN'] = 'a1b2c3d4e5'", "os.environ['API_TOKEN'] = '[redacted:assigned-secret]'"),
    ("AccountKey=a1b2c3d4e5==;Suffix=x", "AccountKey=[redacted:assigned-secret];Suffix=x"),
    ("(password=abcdef)", "(password=[redacted:assigned-secret])"),
    ("token=ghp_~", "token=[redacted:github-token]"),
    ("api_key: \"sk-ant-~\"", "api_key: \"[redacted:anthropic-key]\""),
    // Colours and escapes.
    ("\x1b[31mghp_~\x1b[0m", "\x1b[31m[redacted:github-token]\x1b[0m"),
    (
        "\x1b[1mpassword\x1b[0m: \x1b[32mhunter2\x1b[0m",
        "\x1b[1mpassword\x1b[0m: \x1b[32m[redacted:assigned-secret]\x1b[0m",
    ),
    (
        "\x1b[1;34m\"token\"\x1b[0m: \x1b[32m\"a1b2c3d4\"",
        "\x1b[1;34m\"token\"\x1b[0m: \x1b[32m\"[redacted:assigned-secret]\"",
    ),
    (r"\u001b[31mghp_~", r"\u001b[31m[redacted:github-token]"),
    (r"line\nghp_~\n", r"line\n[redacted:github-token]\n"),
    ("q=a%20ghp_~", "q=a%20[redacted:github-token]"),
    // Side by side.
    ("ghp_~ ghp_~", "[redacted:github-token] [redacted:github-token]"),
    (
        "a=\u{e4}\u{f6} password=\u{fc}ber-geheim\u{df} z",
        "a=\u{e4}\u{f6} password=[redacted:assigned-secret] z",
    ),
    // A mark that is not ours hides nothing.
    ("[redacted:ghp_~]", "[redacted:[redacted:github-token]]"),
    ("[redacted:password=hunter2]", "[redacted:password=[redacted:assigned-secret]]"),
];

/// Text that stays as it is.
const PASSES: &[&str] = &[
    "",
    "ordinary output, nothing in it",
    "token: null",
    "\"token\": null,",
    "password=${VAR}",
    "password=$VAR",
    "password: {{ vault.password }}",
    "password=$(pass show x)",
    "PASSWORD=%PASSWORD%",
    "secret: true",
    "secret: required",
    "api_key: str",
    "api_key: Optional[str] = None",
    "token: string;",
    "fn f(token: &str, secret: Secret) {}",
    "prompt_token_count = 123456",
    "\"total_tokens\": 123456",
    "token_count: 12a34b56c",
    "tokens: 1234567",
    "max_tokens=40960",
    "tokenizer = 'bert-base-2023v1'",
    "tokenization: a1b2c3d4",
    "token_url: https://example.com/oauth2/v1",
    "access_token_expires_at: 2026-01-02T03:04:05Z",
    "password_policy: strict12",
    "passwordMinLength=12",
    "Password: ",
    "Password:",
    "Enter password for user: ",
    "Password: incorrect",
    "the password is wrong",
    "forgot your password? reset it",
    "if password == other_password {",
    "if token != expected1234 {",
    "password = get_password()",
    "password=self.password",
    "f(password=password)",
    "secret = config.secret_value",
    "token::Kind::Ident12",
    "use crate::secret::Secret42;",
    "password: ********",
    "password=xxxxxxxx",
    "password=abc",
    "PWD=/home/user/project7",
    "OLDPWD=/tmp/a1b2c3",
    "secret_name: my-secret-1a2b",
    "token=getToken(a1)",
    "let token = parser.next_token();",
    "secrets.GITHUB_TOKEN",
    "password: ${{ secrets.DEPLOY_PASSWORD }}",
    "api_key=os.environ[\"API_KEY\"]",
    "api_key = process.env.API_KEY2",
    "your api_key=your-api-key-1234",
    "http://localhost:3000/",
    "http://localhost:3000",
    "https://user@host/path",
    "https://host/a:b@c",
    "git@github.com:owner/repo.git",
    "http://[::1]:8080/",
    "postgres://user:${PASSWORD}@host/db",
    "postgres://user:****@host/db",
    "bearer of good news",
    "Bearer token required",
    "WWW-Authenticate: Bearer realm",
    "Authorization: ",
    "Authorization: Bearer $TOKEN",
    "Authorization: Bearer <token>",
    "sk-loading-indicator-large-animated",
    "task-0123456789abcdef0123456789",
    "disk-a1b2c3d4e5f6a7b8c9d0e1f2",
    "risk-free",
    "ghp_short",
    "ghp_",
    "AKIA",
    "AKIAlowercase0123456789",
    "MAKIAQ3R5T7Y2U4I6O8P2",
    "npm_config_registry=x",
    "npm_lifecycle_event=test",
    "eyJ",
    "eyJhbGciOiJIUzI1NiJ9",
    "xeyJhbGciOiJI.eyJzdWIiOiIx.abc",
    "SG.short",
    "hf_hub_download(repo)",
    "pypi-server==1.2.3",
    "time 12:34:56:AAAA",
    "123456:Apple",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END CERTIFICATE-----",
    "grep -- '-----BEGIN RSA PRIVATE KEY-----' *",
    "-----BEGIN PRIVATE KEY-----\nhello\n",
    "if s.starts_with(\"-----BEGIN PRIVATE KEY-----\") { return aLongEnoughNameToLookLikeBase64AtFirstSight(); }",
    "----------",
    "[redacted:github-token]",
    "password=[redacted:assigned-secret]",
    "[redacted:",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "monkey: banana12",
    "keyboard=qwerty123",
    "compass: north123",
    "the secret_manager: v2beta99",
    "\"secret\": \"<redacted>\"",
];

#[test]
fn what_is_secret_is_found() {
    for (text, wanted) in FOUND {
        let text = filled(text);
        assert_eq!(guard().redact_text(&text), *wanted, "of {text:?}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in PASSES {
        assert_eq!(guard().redact_text(text), *text);
    }
}

#[test]
fn the_place_of_a_cut_changes_nothing() {
    let guard = guard();
    let found = FOUND.iter().map(|(text, wanted)| (filled(text), *wanted));
    for (text, wanted) in found.chain(PASSES.iter().map(|text| ((*text).to_owned(), *text))) {
        let bytes = text.as_bytes();
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(show(&through(&guard, [left, right])), wanted, "{text:?} cut at {at}");
        }
        assert_eq!(show(&through(&guard, bytes.chunks(1))), wanted, "{text:?} byte by byte");
    }
}

#[test]
fn what_was_redacted_stays() {
    for (_, wanted) in FOUND {
        assert_eq!(guard().redact_text(wanted), *wanted);
    }
}

#[test]
fn secrets_are_found_between_any_neighbours() {
    let guard = guard();
    for (text, _) in FOUND.iter().take(40) {
        let text = filled(text);
        let alone = guard.redact_text(&text).into_owned();
        for (before, after) in
            [("\"", "\""), ("(", ")"), ("\t", "\n"), ("\u{e9} ", " \u{e9}"), ("<b>", "</b>")]
        {
            let wanted = format!("{before}{alone}{after}");
            assert_eq!(guard.redact_text(&format!("{before}{text}{after}")), wanted);
        }
    }
}
