//! The little HTTP that a proxy needs: one request head in, one answer or one rewritten head out.

use std::io::{Read, Write};

use super::rules::Host;

/// The largest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;

pub(crate) const BUSY: (u16, &str) = (503, "too many connections at once");
pub(crate) const MALFORMED: (u16, &str) = (400, "this is no request for a proxy");
pub(crate) const TOO_LARGE: (u16, &str) = (431, "the head of the request is too large");

/// Where a request wants to go, and what to send there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// What goes to the host first: nothing of ours for a tunnel, the rewritten head of a plain request.
    pub(crate) opening: Vec<u8>,
    pub(crate) is_tunnel: bool,
}

/// Reads one head and what follows it in the same bytes.
///
/// # Errors
/// What to answer; the connection is not to be used further.
pub(crate) fn read_target(stream: &mut impl Read) -> Result<Target, Option<(u16, &'static str)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            // Gone, or silent for too long.
            Ok(0) | Err(_) => return Err(None),
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(head)) => {
                let rest = bytes.get(head..).unwrap_or_default();
                return target(&request, rest).ok_or(Some(MALFORMED));
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Some(TOO_LARGE));
            }
            Err(_) => return Err(Some(MALFORMED)),
        }
    }
}

fn target(request: &httparse::Request<'_, '_>, rest: &[u8]) -> Option<Target> {
    let (method, uri) = (request.method?, request.path?);
    if method == "CONNECT" {
        let (host, port) = authority(uri, None)?;
        return Some(Target { host, port, opening: rest.to_vec(), is_tunnel: true });
    }
    let after_scheme =
        uri.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(uri.get(7..))?;
    let end = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (named, path) = after_scheme.split_at(end);
    let (host, port) = authority(named, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut opening = format!("{method} {slash}{path} HTTP/1.1\r\nHost: {named}\r\n").into_bytes();
    for header in request.headers.iter() {
        let is_ours = ["host", "connection", "keep-alive", "upgrade"]
            .iter()
            .any(|name| header.name.eq_ignore_ascii_case(name))
            || header.name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
        if !is_ours {
            opening.extend([header.name.as_bytes(), b": ", header.value, b"\r\n"].concat());
        }
    }
    // One request for each connection: the next one may want to go elsewhere, and is judged anew.
    opening.extend_from_slice(b"Connection: close\r\n\r\n");
    opening.extend_from_slice(rest);
    Some(Target { host, port, opening, is_tunnel: false })
}

/// Reads `host:port`. A name with a user before it is none.
fn authority(text: &str, default_port: Option<u16>) -> Option<(Host, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None => default_port?,
    };
    (port != 0).then_some((Host::parse(host)?, port))
}

/// Answers that something is not done; whoever does not read it learns nothing.
pub(crate) fn refuse(mut stream: impl Write, (status, why): (u16, &str)) {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        _ => "Service Unavailable",
    };
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    );
    drop(stream.write_all(answer.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(String, u16, String), Option<u16>> {
        read_target(&mut &*bytes)
            .map(|target| (target.host.text(), target.port, String::from_utf8(target.opening).unwrap()))
            .map_err(|answer| answer.map(|(status, _)| status))
    }

    #[test]
    fn tunnels_and_plain_requests_are_read() {
        assert_eq!(
            read(b"CONNECT Example.org:443 HTTP/1.1\r\nHost: other\r\n\r\n\x16\x03"),
            Ok(("example.org".into(), 443, "\x16\x03".into()))
        );
        assert_eq!(read(b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n"), Ok(("::1".into(), 443, String::new())));
        assert_eq!(
            read(b"POST http://a.b:81/x?y=1 HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: s\r\nA: b\r\nConnection: keep-alive\r\n\r\nbody"),
            Ok(("a.b".into(), 81, "POST /x?y=1 HTTP/1.1\r\nHost: a.b:81\r\nA: b\r\nConnection: close\r\n\r\nbody".into()))
        );
        assert_eq!(
            read(b"GET http://a.b?q HTTP/1.1\r\n\r\n"),
            Ok(("a.b".into(), 80, "GET /?q HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n".into()))
        );
    }

    #[test]
    fn what_is_no_request_for_a_proxy_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET https://a/ HTTP/1.1\r\n\r\n",
            "GET http://user@a/ HTTP/1.1\r\n\r\n",
            "GET http://a:/ HTTP/1.1\r\n\r\n",
            "GET http://a:+80/ HTTP/1.1\r\n\r\n",
            "GET http:///x HTTP/1.1\r\n\r\n",
            "CONNECT a HTTP/1.1\r\n\r\n",
            "CONNECT a:0 HTTP/1.1\r\n\r\n",
            "CONNECT a:99999 HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01",
            "CONNECT a:1 HTTP/1.1\r\nBad Header\r\n\r\n",
        ] {
            assert_eq!(read(head.as_bytes()), Err(Some(400)), "{head:?}");
        }
        let long = format!("GET http://a/{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(read(long.as_bytes()), Err(Some(431)));
        let many = format!("GET http://a/ HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(read(many.as_bytes()), Err(Some(431)));
        assert_eq!(read(b"GET http://a/ HTTP/1.1\r\n"), Err(None));
    }
}
