//! An HTTP receiver on loopback that does what a test tells it to.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// Far longer than anything takes here; only a broken test waits for it.
const LIVENESS: Duration = Duration::from_secs(30);

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Keeps the connection open and says nothing.
    Silence,
    /// Answers with what is not HTTP.
    Garbage,
    /// Ends the connection.
    Close,
}

impl Reply {
    /// An answer with a status alone.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What decides on replies, shared by all connections.
type Judge = Arc<Mutex<dyn FnMut(&Request) -> Reply + Send>>;

/// A connection, plain or encrypted.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The receiver; it listens until the test process ends.
#[derive(Debug)]
pub struct HttpReceiver {
    scheme: &'static str,
    port: u16,
    requests: Receiver<Request>,
    connections: Arc<AtomicUsize>,
}

impl HttpReceiver {
    /// Receives requests and replies to each as `reply` says.
    pub fn start(reply: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::listen("http", reply, |stream| Box::new(stream))
    }

    /// The same over what `open` makes of each connection: TLS, say.
    pub fn listen(
        scheme: &'static str,
        reply: impl FnMut(&Request) -> Reply + Send + 'static,
        open: impl Fn(TcpStream) -> Box<dyn Stream> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let port = listener.local_addr().expect("a bound address").port();
        let (sender, requests) = channel();
        let reply: Judge = Arc::new(Mutex::new(reply));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (sender, reply, open) = (sender.clone(), Arc::clone(&reply), open.clone());
                thread::spawn(move || serve(open(stream.expect("a connection")), &sender, &reply));
            }
        });
        Self { scheme, port, requests, connections }
    }

    /// Its address, without a path.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request, in the order of arrival.
    pub fn next(&self) -> Request {
        self.requests.recv_timeout(LIVENESS).expect("a request arrives")
    }

    /// All requests that have arrived and were not asked for yet.
    pub fn rest(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

/// An address where nobody listens, nor ever will while this process lives.
pub fn nobody() -> String {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    let address = getsockname(&socket).expect("a bound address");
    let address = SocketAddrV4::try_from(address).expect("an address of loopback");
    // A port that was given back could be another's the next moment; one that is bound and does not listen refuses.
    std::mem::forget(socket);
    format!("http://{address}")
}

fn serve(stream: Box<dyn Stream>, requests: &Sender<Request>, reply: &Judge) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let reply = (reply.lock().expect("a judge that has not panicked"))(&request);
        requests.send(request).ok();
        let answer = match reply {
            Reply::Answer(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    write!(head, "{name}: {value}\r\n").expect("a string takes everything");
                }
                [head.as_bytes(), b"\r\n", &body].concat()
            }
            Reply::Silence => {
                // Until the other side gives up.
                stream.fill_buf().ok();
                return;
            }
            Reply::Garbage => b"\x00\x01 no such protocol\r\n\r\n".to_vec(),
            Reply::Close => return,
        };
        let stream = stream.get_mut();
        if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}
