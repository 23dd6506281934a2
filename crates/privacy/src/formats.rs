//! Key formats that their issuers made recognisable. A table; owns nothing.

use crate::found::{Answer, Hit, HoldFrom, Surety, Tail};
use crate::probe::{Alphabet, More, View, WINDOW};

/// A key that begins with words of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) name: &'static str,
    /// Public; matched in this very spelling.
    pub(crate) prefix: &'static str,
    alphabet: Alphabet,
    /// Fewer bytes than this after the prefix are something else.
    least: usize,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Prefix and body are the key.
    Whole,
    /// Like whole, and the body has digits and letters in a run, as words joined by dashes have not.
    Mixed,
    /// The prefix is an address or a number and stays.
    AfterPrefix,
    /// Three parts joined by dots, the first two JSON.
    Jwt,
    /// `<bot number>:A…`; the number stays.
    Telegram,
}

const fn format(name: &'static str, prefix: &'static str, alphabet: Alphabet, least: usize) -> Format {
    Format { name, prefix, alphabet, least, shape: Shape::Whole }
}

const fn shaped(shape: Shape, format: Format) -> Format {
    Format { shape, ..format }
}

/// Lengths are what the issuers document, or a little less where they say that it may change.
pub(crate) static FORMATS: &[Format] = &[
    shaped(Shape::Mixed, format("openai-key", "sk-", dashed, 20)),
    format("github-token", "ghp_", word, 30),
    format("github-token", "gho_", word, 30),
    format("github-token", "ghu_", word, 30),
    format("github-token", "ghs_", dotted, 30),
    format("github-token", "ghr_", word, 30),
    format("github-token", "github_pat_", word, 22),
    format("gitlab-token", "glpat-", dotted, 20),
    format("gitlab-token", "gldt-", dashed, 20),
    format("gitlab-token", "glrt-", dotted, 20),
    format("gitlab-token", "glptt-", dashed, 20),
    format("gitlab-token", "glcbt-", dashed, 20),
    format("slack-token", "xoxa-", dashed, 10),
    format("slack-token", "xoxb-", dashed, 10),
    format("slack-token", "xoxp-", dashed, 10),
    format("slack-token", "xoxr-", dashed, 10),
    format("slack-token", "xoxs-", dashed, 10),
    format("slack-token", "xoxe-", dashed, 10),
    format("slack-token", "xoxe.", dotted, 10),
    format("slack-token", "xapp-", dashed, 20),
    shaped(Shape::AfterPrefix, format("slack-webhook", "hooks.slack.com/services/", pathlike, 20)),
    shaped(Shape::AfterPrefix, format("discord-webhook", "discord.com/api/webhooks/", pathlike, 40)),
    format("aws-access-key", "AKIA", upper, 16),
    format("aws-access-key", "ASIA", upper, 16),
    format("aws-access-key", "ABIA", upper, 16),
    format("google-key", "AIza", dashed, 35),
    format("google-key", "ya29.", dotted, 20),
    format("google-key", "GOCSPX-", dashed, 24),
    format("stripe-key", "sk_live_", word, 16),
    format("stripe-key", "rk_live_", word, 16),
    format("stripe-key", "sk_test_", word, 16),
    format("stripe-key", "rk_test_", word, 16),
    format("stripe-key", "whsec_", base64, 24),
    format("npm-token", "npm_", alphanumeric, 36),
    format("pypi-token", "pypi-", dashed, 40),
    format("digitalocean-token", "dop_v1_", alphanumeric, 40),
    format("digitalocean-token", "doo_v1_", alphanumeric, 40),
    format("digitalocean-token", "dor_v1_", alphanumeric, 40),
    format("sendgrid-key", "SG.", dotted, 60),
    format("huggingface-token", "hf_", alphanumeric, 30),
    format("docker-token", "dckr_pat_", dashed, 20),
    format("shopify-token", "shpat_", alphanumeric, 32),
    format("shopify-token", "shpss_", alphanumeric, 32),
    format("shopify-token", "shpca_", alphanumeric, 32),
    format("linear-key", "lin_api_", alphanumeric, 32),
    format("notion-token", "ntn_", alphanumeric, 40),
    format("figma-token", "figd_", dashed, 32),
    format("postman-key", "PMAK-", dashed, 40),
    format("grafana-token", "glsa_", word, 32),
    format("vault-token", "hvs.", dotted, 24),
    format("vault-token", "hvb.", dotted, 24),
    format("age-key", "AGE-SECRET-KEY-1", upper, 40),
    format("groq-key", "gsk_", alphanumeric, 32),
    format("xai-key", "xai-", alphanumeric, 40),
    format("replicate-token", "r8_", alphanumeric, 30),
    format("perplexity-key", "pplx-", alphanumeric, 32),
    format("tailscale-key", "tskey-", dashed, 20),
    format("sentry-token", "sntrys_", base64, 32),
    format("sentry-token", "sntryu_", alphanumeric, 32),
    format("rubygems-key", "rubygems_", alphanumeric, 32),
    format("netlify-token", "nfp_", alphanumeric, 32),
    format("atlassian-token", "ATATT3", base64url_padded, 40),
    format("databricks-token", "dapi", hex, 32),
    shaped(Shape::Telegram, format("telegram-token", ":A", dashed, 32)),
    // The alphabet is that of the rest of a token longer than the window.
    shaped(Shape::Jwt, format("jwt", "eyJ", dotted, 10)),
];

/// A prefix that says more than the format's own: the same place, another name.
const ISSUERS: &[(&[u8], &str)] = &[(b"sk-ant-", "anthropic-key"), (b"sk-or-", "openrouter-key")];

impl Format {
    /// The bytes of a key of this format whose prefix stands at `anchor`.
    pub(crate) fn find(&self, view: &View<'_>, anchor: usize) -> Answer<'static> {
        let prefix = self.prefix.as_bytes();
        if !view.bytes[anchor..].starts_with(prefix) {
            return Ok(None);
        }
        let body = anchor + prefix.len();
        let start = match self.shape {
            Shape::Whole | Shape::Mixed | Shape::Jwt => {
                if !view.word_begins(anchor) {
                    return Ok(None);
                }
                anchor
            }
            Shape::AfterPrefix => body,
            Shape::Telegram => {
                if !follows_bot_number(view, anchor) {
                    return Ok(None);
                }
                anchor + 1
            }
        };
        let end = if self.shape == Shape::Jwt {
            let Some(end) = jwt_end(view, body, self.least).hold_from(start)? else { return Ok(None) };
            end
        } else {
            view.run(body, WINDOW, self.alphabet).hold_from(start)?
        };
        let taken = &view.bytes[body..end];
        if taken.len() < self.least || (self.shape == Shape::Mixed && !is_mixed(taken)) {
            return Ok(None);
        }
        let issuer = ISSUERS.iter().find(|(prefix, _)| view.bytes[anchor..end].starts_with(prefix));
        let tail = (taken.len() >= WINDOW).then_some(Tail::Run(self.alphabet));
        let rule = issuer.map_or(self.name, |&(_, name)| name);
        Ok(Some(Hit { rule, surety: Surety::Format, start, end, tail }))
    }

    /// Whether its prefix, cut off by the end of the view at `anchor`, could become one.
    pub(crate) fn may_begin(&self, view: &View<'_>, anchor: usize) -> bool {
        match self.shape {
            Shape::Whole | Shape::Mixed | Shape::Jwt => view.word_begins(anchor),
            Shape::AfterPrefix => true,
            Shape::Telegram => follows_bot_number(view, anchor),
        }
    }

    /// Whether nothing of its prefix is worth holding.
    pub(crate) const fn keeps_prefix(&self) -> bool {
        matches!(self.shape, Shape::AfterPrefix | Shape::Telegram)
    }
}

fn jwt_end(view: &View<'_>, body: usize, least: usize) -> Result<Option<usize>, More> {
    const LONGEST_HEADER: usize = 2 * 1024;
    let header = view.run(body, LONGEST_HEADER, dashed)?;
    if header - body < least || view.at(header)? != Some(b'.') {
        return Ok(None);
    }
    let payload = view.run(header + 1, WINDOW, dashed)?;
    if payload - header <= least {
        return Ok(None);
    }
    match view.at(payload)? {
        Some(b'.') => view.run(payload + 1, WINDOW, dashed).map(Some),
        // A payload longer than the window: its rest is of the same alphabet and goes with the tail.
        _ if payload - header > WINDOW => Ok(Some(payload)),
        _ => Ok(None),
    }
}

fn follows_bot_number(view: &View<'_>, colon: usize) -> bool {
    let before = view.before(colon);
    let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    (6..=14).contains(&digits)
}

/// Words joined by dashes (`sk-loading-indicator-large`) are no key.
fn is_mixed(body: &[u8]) -> bool {
    body.split(|byte| matches!(byte, b'-' | b'_')).any(|part| {
        part.len() >= 8
            && part.iter().any(u8::is_ascii_digit)
            && part.iter().filter(|byte| byte.is_ascii_alphabetic()).count() >= 2
    })
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn dashed(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn pathlike(byte: u8) -> bool {
    dashed(byte) || byte == b'/'
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn base64(byte: u8) -> bool {
    word(byte) || matches!(byte, b'+' | b'/' | b'=')
}

fn base64url_padded(byte: u8) -> bool {
    dashed(byte) || byte == b'='
}
