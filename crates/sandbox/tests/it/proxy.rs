//! The egress proxy with real servers on the loopback, from outside and from inside a sandbox.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use co_model::{HostRule, NetworkAccess, RuleDecision};
use co_sandbox::{Egress, EgressError, EgressProxy, EgressVerdict, Resolve};
use tempfile::TempDir;

use crate::world::World;

/// Answers every connection with what it received up to the end of a head.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut seen = Vec::new();
                let mut byte = [0];
                while !seen.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    seen.push(byte[0]);
                }
                let body = String::from_utf8_lossy(&seen).into_owned();
                drop(write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                ));
            });
        }
    });
    port
}

fn rule(host: &str, port: Option<u16>, decision: RuleDecision) -> HostRule {
    HostRule { host: host.into(), port, decision }
}

fn allow(host: &str) -> HostRule {
    rule(host, None, RuleDecision::Allow)
}

/// Knows some names; everything else does not exist.
struct Names(&'static [(&'static str, &'static [&'static str])]);

impl Resolve for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (_, addresses) = self.0.iter().find(|(name, _)| *name == host).ok_or(io::ErrorKind::NotFound)?;
        Ok(addresses.iter().map(|text| SocketAddr::new(text.parse().unwrap(), port)).collect())
    }
}

struct Fixture {
    proxy: EgressProxy,
    _folder: TempDir,
}

impl Fixture {
    fn new(rules: &[HostRule]) -> Self {
        const NAMES: Names = Names(&[
            ("here.test", &["127.0.0.1"]),
            ("rebound.test", &["127.0.0.1"]),
            ("mixed.test", &["8.8.8.8", "10.0.0.1"]),
            ("metadata.test", &["169.254.169.254"]),
            ("mapped.test", &["::ffff:127.0.0.1"]),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let proxy = EgressProxy::start_with(rules, folder.path(), NAMES).unwrap();
        Self { proxy, _folder: folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.proxy.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn verdict(&self, host: &str, port: u16) -> EgressVerdict {
        let answer = self.ask(&format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
        let verdict = self.proxy.decisions().pop().unwrap().verdict;
        assert_eq!(
            answer.starts_with("HTTP/1.1 200 Connection established"),
            verdict.is_allowed(),
            "{answer}"
        );
        assert_eq!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            !verdict.is_allowed()
        );
        verdict
    }
}

#[test]
fn hosts_are_judged_by_name_and_by_address() {
    let port = echo_server();
    let fixture = Fixture::new(&[
        allow("127.0.0.1"),
        allow("here.test"),
        allow("mixed.test"),
        allow("metadata.test"),
        allow("gone.test"),
        rule("127.0.0.1", Some(1), RuleDecision::Forbidden),
        rule("here.test", Some(2), RuleDecision::Prompt),
    ]);
    let private = |address: &str| EgressVerdict::PrivateAddress(address.parse::<IpAddr>().unwrap());
    for (host, port, wanted) in [
        ("127.0.0.1", port, EgressVerdict::Allowed),
        ("here.test", port, EgressVerdict::Allowed),
        ("HERE.test.", port, EgressVerdict::Allowed),
        ("127.0.0.1", 1, EgressVerdict::Forbidden),
        ("here.test", 1, private("127.0.0.1")),
        ("here.test", 2, EgressVerdict::Forbidden),
        ("mixed.test", port, private("10.0.0.1")),
        ("metadata.test", 80, private("169.254.169.254")),
        ("gone.test", port, EgressVerdict::Unreachable),
        ("other.test", port, EgressVerdict::Unnamed),
        ("127.0.0.2", port, EgressVerdict::Unnamed),
        ("[::1]", port, EgressVerdict::Unnamed),
        ("[::ffff:127.0.0.1]", port, EgressVerdict::Allowed),
    ] {
        assert_eq!(fixture.verdict(host, port), wanted, "{host}:{port}");
    }
    assert_eq!(
        fixture.proxy.decisions()[0],
        Egress { host: "127.0.0.1".into(), port, verdict: EgressVerdict::Allowed }
    );
}

#[test]
fn a_name_that_leads_home_is_refused() {
    let port = echo_server();
    let fixture = Fixture::new(&[allow("rebound.test"), allow("mapped.test")]);
    for host in ["rebound.test", "mapped.test"] {
        assert!(matches!(fixture.verdict(host, port), EgressVerdict::PrivateAddress(_)), "{host}");
    }
}

#[test]
fn plain_requests_are_rewritten() {
    let port = echo_server();
    let fixture = Fixture::new(&[allow("here.test"), allow("127.0.0.1")]);
    let answer = fixture.ask(&format!(
        "GET http://here.test:{port}/a?b HTTP/1.1\r\nHost: evil.test\r\nProxy-Connection: keep-alive\r\nX: y\r\n\r\n"
    ));
    let wanted = format!("GET /a?b HTTP/1.1\r\nHost: here.test:{port}\r\nX: y\r\nConnection: close\r\n\r\n");
    assert!(answer.ends_with(&wanted), "{answer}");
}

#[test]
fn bad_requests_are_answered_and_forgotten() {
    let fixture = Fixture::new(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("\0\0\0\0\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET http://a/ HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(17 << 10)), "HTTP/1.1 431 "),
    ] {
        let mut stream = fixture.connect();
        // The proxy may have answered and hung up before it has read everything.
        drop(stream.write_all(request.as_bytes()));
        let mut status_line = vec![0; status.len()];
        stream.read_exact(&mut status_line).unwrap();
        assert_eq!(String::from_utf8(status_line).unwrap(), status);
    }
    assert_eq!(fixture.proxy.decisions(), []);
}

#[test]
fn connections_and_decisions_are_bounded() {
    let fixture = Fixture::new(&[]);
    let open: Vec<UnixStream> = (0..128).map(|_| fixture.connect()).collect();
    let answer = fixture.ask("");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(open);
    for _ in 0..1031 {
        // A place is free again as soon as the proxy has seen the end of the connection that had it.
        while fixture.ask("CONNECT a.test:1 HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 ") {}
    }
    assert_eq!(fixture.proxy.decisions().len(), 1024);
    assert_eq!(fixture.proxy.dropped_decisions(), 7);
}

#[test]
fn the_end_of_the_proxy_breaks_connections_and_removes_the_socket() {
    let fixture = Fixture::new(&[]);
    let mut waiting = fixture.connect();
    waiting.write_all(b"CONNECT ").unwrap();
    let path = fixture.proxy.socket().to_owned();
    drop(fixture.proxy);
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0);
    assert!(!path.exists());
}

#[test]
fn rules_that_can_never_match_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for host in ["", "*", "a b", "http://a", "a:80"] {
        let refused = EgressProxy::start(&[allow(host)], folder.path());
        assert!(matches!(refused, Err(EgressError::Rule { .. })), "{host}");
    }
}

#[test]
fn a_confined_program_reaches_what_is_allowed_and_nothing_else() {
    let (allowed, other) = (echo_server(), echo_server());
    let folder = tempfile::tempdir().unwrap();
    let rules = vec![rule("127.0.0.1", Some(allowed), RuleDecision::Allow)];
    let proxy = EgressProxy::start(&rules, folder.path()).unwrap();
    let mut world = World::writable().network(NetworkAccess::Allowed(rules));
    world.egress = Some(proxy.socket().to_owned());
    // The proxy's own folder is hidden, as the product's would be.
    world.secrets = vec![folder.path().to_owned()];
    let python = format!(
        "import os, socket, urllib.request as u, urllib.error\n\
         proxies = {{'http': os.environ['HTTP_PROXY']}}\n\
         opener = u.build_opener(u.ProxyHandler(proxies))\n\
         os.environ.pop('no_proxy'); os.environ.pop('NO_PROXY')\n\
         print(opener.open('http://127.0.0.1:{allowed}/x').read().decode().split()[1])\n\
         try:\n    opener.open('http://127.0.0.1:{other}/x')\nexcept urllib.error.HTTPError as e:\n    print(e.code)\n\
         for port in ({allowed}, {other}):\n    try:\n        socket.create_connection(('127.0.0.1', port), 2)\n    except OSError as e:\n        print(e.strerror)\n"
    );
    let ran = world.run(&["python3", "-c", &python]);
    assert_eq!(ran.succeeded(), "/x\n403\nConnection refused\nConnection refused\n", "{ran:?}");
    let verdicts: Vec<EgressVerdict> = proxy.decisions().into_iter().map(|egress| egress.verdict).collect();
    assert_eq!(verdicts, [EgressVerdict::Allowed, EgressVerdict::Unnamed]);
    let variables = world.run(&["/usr/bin/env"]);
    for name in ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy"] {
        assert!(variables.succeeded().contains(&format!("{name}=")), "{variables:?}");
    }
}

#[test]
fn an_open_network_is_the_hosts_own() {
    let port = echo_server();
    let world = World::read_only().network(NetworkAccess::On);
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('open')");
    assert_eq!(world.run(&["python3", "-c", &connect]).succeeded(), "open\n");
}
