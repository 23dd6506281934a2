//! A scripted model behind the Responses API and the Messages API, on loopback.
//!
//! Owns one listener and one thread per connection. Every connection carries one request: the answer ends by closing
//! it, which is how a cut stream is told apart from a complete one.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use crate::model_dialect::Dialect;
use crate::{End, Script, Step};

/// Bounds a request's body; the real client sends some tens of kilobytes.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Bounds the request line and the headers together.
const MAX_HEAD: u64 = 256 * 1024;

/// Plays a [`Script`] on a loopback port until it is dropped.
///
/// Dropping it releases hanging answers and stops listening.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// Holds one request as the server saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedRequest {
    /// The method, for example `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body; `null` if it is not JSON.
    pub body: Value,
    /// The index of the step that answered, or none if none was left or the path is not the model's.
    pub step: Option<usize>,
}

impl RecordedRequest {
    /// Tells whether any text of the request's input contains `text`.
    pub fn input_contains(&self, text: &str) -> bool {
        let dialect = Dialect::of(&self.method, &self.path).unwrap_or(Dialect::Responses);
        Step::default().when(text).matches(dialect.input(&self.body))
    }
}

#[derive(Debug)]
struct Shared {
    script: Script,
    state: Mutex<State>,
    changed: Condvar,
    record: Option<Mutex<std::fs::File>>,
}

#[derive(Debug, Default)]
struct State {
    used: Vec<bool>,
    outputs_sent: usize,
    requests: Vec<RecordedRequest>,
    releases: usize,
    closed: bool,
}

impl ModelServer {
    /// Starts playing `script` on a free loopback port.
    pub fn start(script: Script) -> Self {
        Self::start_recording(script, None).expect("a loopback port can be bound")
    }

    /// Starts playing `script` and appends each request to `record`, one JSON object per line.
    ///
    /// # Errors
    /// If no loopback port can be bound.
    pub fn start_recording(script: Script, record: Option<std::fs::File>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = State { used: vec![false; script.steps.len()], ..State::default() };
        let shared = Arc::new(Shared {
            script,
            state: Mutex::new(state),
            changed: Condvar::new(),
            record: record.map(Mutex::new),
        });
        let acceptor = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if acceptor.lock().closed {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&acceptor);
                std::thread::spawn(move || {
                    // A client that hangs up in mid-answer is an ordinary end here: tests kill clients.
                    shared.serve(&stream).ok();
                    stream.shutdown(Shutdown::Both).ok();
                });
            }
        });
        Ok(Self { address, shared, listener: Some(listener) })
    }

    /// Returns the address that a provider's `base_url` names.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the address that Claude Code takes as `ANTHROPIC_BASE_URL`.
    pub fn root_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().requests.clone()
    }

    /// Waits until at least `count` requests have arrived and returns them.
    ///
    /// # Panics
    /// If they have not arrived within `patience`.
    pub fn wait_for_requests(&self, count: usize, patience: Duration) -> Vec<RecordedRequest> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.requests.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} requests arrived in {patience:?}", state.requests.len());
            state = self.shared.wait(state, left);
        }
        state.requests.clone()
    }

    /// Lets every answer that hangs now end, by closing its connection.
    pub fn release(&self) {
        self.shared.lock().releases += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        // The acceptor waits in `accept`; one last connection wakes it up to see that it is closed.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            listener.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let Some(mut request) = read_request(stream)? else { return Ok(()) };
        let dialect = Dialect::of(&request.method, &request.path);
        let (step, first_id) = self.take_step(&mut request, dialect);
        match (dialect, step) {
            (Some(dialect), Some(step)) => self.answer(stream, dialect, &request.body, step, first_id),
            (Some(dialect), None) => respond(stream, 400, &dialect.exhausted()),
            (None, _) => respond(stream, 404, &json!({"error": {"message": "not found"}})),
        }
    }

    /// Records the request, picks its step and reserves ids for the outputs, all under one lock.
    fn take_step(&self, request: &mut RecordedRequest, dialect: Option<Dialect>) -> (Option<&Step>, usize) {
        let mut state = self.lock();
        let steps = &self.script.steps;
        let chosen = dialect.and_then(|dialect| {
            let input = dialect.input(&request.body);
            let open = |index: &usize| !state.used[*index] && steps[*index].matches(input);
            let conditional = (0..steps.len()).filter(|&index| steps[index].is_conditional()).find(open);
            conditional.or_else(|| (0..steps.len()).find(open))
        });
        request.step = chosen;
        if let Some(index) = chosen {
            state.used[index] = !steps[index].repeat;
        }
        let first_id = state.outputs_sent;
        state.outputs_sent += chosen.map_or(0, |index| steps[index].output.len());
        if let Some(record) = &self.record {
            let mut file = record.lock().unwrap_or_else(PoisonError::into_inner);
            let line = serde_json::to_string(&request).expect("a recorded request is JSON");
            writeln!(file, "{line}").expect("the record file can be written");
        }
        state.requests.push(request.clone());
        drop(state);
        self.changed.notify_all();
        (chosen.map(|index| &steps[index]), first_id)
    }

    fn answer(
        &self,
        mut stream: &TcpStream,
        dialect: Dialect,
        request: &Value,
        step: &Step,
        first_id: usize,
    ) -> io::Result<()> {
        if let End::Http { status, body } = &step.end {
            return respond(stream, *status, body);
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
        )?;
        // Read before the first output: who has seen that may release what hangs after it.
        let releases = self.lock().releases;
        for event in dialect.opening(first_id, request, step) {
            send(stream, &event)?;
        }
        for (offset, output) in step.output.iter().enumerate() {
            for event in dialect.output(output, first_id + offset, offset) {
                send(stream, &event)?;
            }
        }
        for event in dialect.end(step, first_id) {
            send(stream, &event)?;
        }
        if step.end == End::Hang {
            self.hang(releases);
        }
        Ok(())
    }

    /// Waits for a release beyond the first `releases`.
    fn hang(&self, releases: usize) {
        let mut state = self.lock();
        while state.releases == releases && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn send(mut stream: &TcpStream, event: &Value) -> io::Result<()> {
    let kind = event["type"].as_str().unwrap_or_default();
    stream.write_all(format!("event: {kind}\ndata: {event}\n\n").as_bytes())
}

fn respond(mut stream: &TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let reason = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    };
    let body = body.to_string();
    let length = body.len();
    stream.write_all(
        format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

/// Reads one request; none if the client closed without one.
fn read_request(stream: &TcpStream) -> io::Result<Option<RecordedRequest>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut limited = (&mut reader).take(MAX_HEAD);
    while !head.ends_with("\r\n\r\n") {
        if limited.read_line(&mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(invalid("the headers do not end")) };
        }
    }
    let mut lines = head.lines();
    let mut request_line = lines.next().unwrap_or_default().split(' ');
    let method = request_line.next().unwrap_or_default().to_owned();
    let path = request_line.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > MAX_BODY {
        return Err(invalid("the body is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Some(RecordedRequest { method, path, headers, body, step: None }))
}
