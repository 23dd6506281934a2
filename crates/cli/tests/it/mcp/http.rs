//! The guards of the HTTP server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{Served, Station, TOKEN};
use crate::support::PATIENCE;

const ONE: &str = r#"[{ "id": "one", "command": "true" }]"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;

/// Sends bytes as they are and returns the status of the answer.
fn status(server: &Served, head: &str, body: &[u8]) -> u16 {
    let authority = server.url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early may hang up before it has read all.
    drop(
        stream
            .write_all(head.replace("AUTHORITY", authority).as_bytes())
            .and_then(|()| stream.write_all(body)),
    );
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).parse().unwrap()
}

fn post(headers: &str, length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
}

#[test]
fn only_who_has_the_token_is_let_in() {
    let station = Station::with_stages(ONE);
    let server = Served::start(&station, &[]);
    let host = "Host: AUTHORITY\r\n";
    let with = |authorization: &str| post(&format!("{host}{authorization}"), PING.len());
    let try_with = |authorization: &str| status(&server, &with(authorization), PING.as_bytes());
    assert_eq!(try_with(&format!("Authorization: Bearer {TOKEN}\r\n")), 200);
    assert_eq!(try_with(""), 401);
    assert_eq!(try_with("Authorization: Bearer wrong-token-wrong-token\r\n"), 401);
    assert_eq!(try_with(&format!("Authorization: Basic {TOKEN}\r\n")), 401);
    assert_eq!(try_with(&format!("Authorization: Bearer {TOKEN}x\r\n")), 401);
    assert_eq!(status(&server, "GET /mcp HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n", b""), 401);
    assert_eq!(status(&server, "GET /other HTTP/1.1\r\nHost: AUTHORITY\r\n\r\n", b""), 404);
}

#[test]
fn pages_of_strangers_are_kept_out() {
    let station = Station::with_stages(ONE);
    let server =
        Served::start(&station, &["--allow-host", "name.test", "--allow-origin", "https://app.test:443"]);
    let authorized = format!("Authorization: Bearer {TOKEN}\r\n");
    let try_with = |headers: &str| {
        status(&server, &post(&format!("{authorized}{headers}"), PING.len()), PING.as_bytes())
    };
    assert_eq!(try_with("Host: AUTHORITY\r\nOrigin: http://localhost:5000\r\n"), 200);
    assert_eq!(try_with("Host: name.test\r\nOrigin: https://app.test\r\n"), 200);
    assert_eq!(try_with("Host: evil.test\r\n"), 403);
    assert_eq!(try_with("Host: AUTHORITY\r\nOrigin: https://evil.test\r\n"), 403);
    assert_eq!(try_with("Host: AUTHORITY\r\nOrigin: null\r\n"), 403);
}

#[test]
fn a_request_has_bounds() {
    let station = Station::with_stages(ONE);
    let server = Served::start(&station, &[]);
    let authorized = format!("Host: AUTHORITY\r\nAuthorization: Bearer {TOKEN}\r\n");
    let huge = vec![b'x'; 11 << 20];
    assert_eq!(status(&server, &post(&authorized, huge.len()), &huge), 413);
    assert_eq!(status(&server, &post(&authorized, 3), b"{{{"), 415, "no JSON at all");
    let long = format!("GET /mcp HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    assert_eq!(status(&server, &long, b""), 431);
    assert_eq!(status(&server, &post(&authorized, PING.len()), PING.as_bytes()), 200, "it serves on");
}

#[test]
fn a_server_without_a_token_or_at_a_public_address_must_be_wanted() {
    let mut station = Station::with_stages(ONE);
    let none = station.run(&["mcp", "serve", "--http", "127.0.0.1:0"]).expect(2);
    assert!(none.stderr.contains("--token-file"), "{}", none.stderr);
    station.repository().write("token", "short");
    let short = station.run(&["mcp", "serve", "--http", "127.0.0.1:0", "--token-file", "token"]).expect(2);
    assert!(short.stderr.contains("16 to 4096") && !short.stderr.contains("short"), "{}", short.stderr);
    station.run(&["mcp", "serve", "--http", "127.0.0.1:0", "--token-file", "missing"]).expect(3);
    station.project.set("CODEX_ORCHESTRATOR_MCP_TOKEN", TOKEN);
    let public = station.run(&["mcp", "serve", "--http", "0.0.0.0:0"]).expect(2);
    assert!(public.stderr.contains("--allow-remote"), "{}", public.stderr);
    station.run(&["mcp", "serve", "--http", "0.0.0.0:0", "--allow-remote", "--no-token"]).expect(2);
    station.run(&["mcp", "serve", "--token-file", "token"]).expect(2);
}

#[test]
fn the_token_may_be_in_a_file_and_the_server_ends_when_told() {
    let station = Station::with_stages(ONE);
    station.repository().write("token", "another-token-in-a-file\n");
    let token = station.path("token");
    let server = Served::start(&station, &["--token-file", token.to_str().unwrap()]);
    let of = |token: &str| post(&format!("Host: AUTHORITY\r\nAuthorization: Bearer {token}\r\n"), PING.len());
    assert_eq!(status(&server, &of("another-token-in-a-file"), PING.as_bytes()), 200);
    assert_eq!(status(&server, &of(TOKEN), PING.as_bytes()), 401, "the file counts, not the variable");
    assert_eq!(server.terminate(), Some(0));
}
