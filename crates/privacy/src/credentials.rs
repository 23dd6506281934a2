//! Credentials that a protocol puts in a known place: URLs and authorization headers. Owns nothing.

use crate::assigned::{self, is_reference};
use crate::found::{Answer, Hit, HoldFrom, Surety, Tail};
use crate::probe::{More, View, WINDOW};

/// What stands between a scheme and its authority, plain and in JSON.
pub(crate) const AUTHORITIES: [&str; 2] = ["://", r":\/\/"];
pub(crate) const AUTHORIZATION: &str = "authorization";
pub(crate) const BEARER: &str = "bearer ";

/// The password in `scheme://user:password@host`; the user's name stays.
pub(crate) fn in_url(view: &View<'_>, authority: usize) -> Answer<'static> {
    const LONGEST_USER: usize = 256;
    const LONGEST_AUTHORITY: usize = 2 * 1024;
    let user_end =
        view.run(authority, LONGEST_USER, |byte| is_authority(byte) && !matches!(byte, b':' | b'@'));
    let user_end = user_end.hold_nothing()?;
    if view.at(user_end).hold_nothing()? != Some(b':') {
        return Ok(None);
    }
    let start = user_end + 1;
    let authority_end = view.run(start, LONGEST_AUTHORITY, is_authority).hold_from(start)?;
    let Some(length) = view.bytes[start..authority_end].iter().rposition(|&byte| byte == b'@') else {
        return Ok(None);
    };
    let password = &view.bytes[start..start + length];
    if password.is_empty() || is_reference(password) || assigned::is_masked(password) {
        return Ok(None);
    }
    Ok(Some(Hit { rule: "url-password", surety: Surety::Guess, start, end: start + length, tail: None }))
}

/// The credentials of `Authorization: <scheme> <credentials>`, in a header, JSON or code; the scheme stays.
pub(crate) fn in_header(view: &View<'_>, name_end: usize) -> Answer<'static> {
    let Some(value) = assigned::value_start(view, name_end, false).hold_nothing()? else { return Ok(None) };
    let scheme_end = view.run(value.start, 16, |byte| byte.is_ascii_alphabetic()).hold_from(value.start)?;
    let after = view.at(scheme_end).hold_from(value.start)?;
    if scheme_end > value.start && after == Some(b' ') {
        return credentials(view, scheme_end + 1, 6, |_| true);
    }
    credentials(view, value.start, 16, assigned::is_random)
}

/// The token of a `Bearer <token>` without its header's name.
pub(crate) fn bearer(view: &View<'_>, start: usize) -> Answer<'static> {
    credentials(view, start, 16, assigned::is_random)
}

fn credentials(view: &View<'_>, start: usize, least: usize, judge: fn(&[u8]) -> bool) -> Answer<'static> {
    let start = spaces(view, start).hold_from(start)?;
    let end = view.run(start, WINDOW, is_credential).hold_from(start)?;
    let taken = &view.bytes[start..end];
    if taken.len() < least || is_reference(taken) || assigned::is_masked(taken) || !judge(taken) {
        return Ok(None);
    }
    let tail = (taken.len() == WINDOW).then_some(Tail::Run(is_credential));
    Ok(Some(Hit { rule: "authorization", surety: Surety::Guess, start, end, tail }))
}

fn spaces(view: &View<'_>, from: usize) -> Result<usize, More> {
    view.run(from, 8, |byte| byte == b' ')
}

fn is_authority(byte: u8) -> bool {
    byte > b' '
        && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'[' | 0x7f)
}

fn is_credential(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b',' | b';' | 0x7f)
}
