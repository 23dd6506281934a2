//! Any number of clients over streamable HTTP, on this machine unless told otherwise.
//!
//! Three guards stand before the protocol: the `Host` and `Origin` headers (against pages of
//! strangers in a browser), the bearer token, and bounds on connections, time and size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ServeError;
use crate::desk::Desk;
use crate::host::Host;
use crate::server::Server;
use crate::token::Token;

/// The one path that is served.
const PATH: &str = "/mcp";
/// How many connections are open at most; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// How many sessions there are at most.
const MOST_SESSIONS: usize = 1_000;
/// The largest request, in bytes.
const LARGEST_REQUEST: usize = 10 << 20;
/// How long a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to send the rest of it.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long no connection is accepted after one that could not be.
const PAUSE: Duration = Duration::from_millis(50);
/// How long requests under way may take when the server ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who may use the server.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever presents the token.
    Token(Token),
    /// Every program on this machine.
    Everyone,
}

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Whether the address may be reached from other machines. Needs a token.
    pub remote: bool,
    /// Who may use it.
    pub access: Access,
    /// Further names that clients reach the server by, with or without a port.
    pub hosts: Vec<String>,
    /// Further origins that browsers may call from, as `https://name:port`.
    pub origins: Vec<String>,
}

type Body = BoxBody<Bytes, Infallible>;
type Service = StreamableHttpService<Server, LocalSessionManager>;

/// Serves until SIGINT or SIGTERM; `listening` is told the address once connections are accepted.
///
/// # Errors
/// [`ServeError`] when the server cannot begin; later failures are those of single connections.
pub fn serve_http(
    host: Arc<dyn Host>,
    options: &HttpOptions,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let address = options.address;
    let wanted = options.remote && matches!(options.access, Access::Token(_));
    if !wanted && !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { address });
    }
    let runtime = crate::runtime()?;
    let served = runtime.block_on(async {
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|source| ServeError::Runtime { source })?;
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|source| ServeError::Runtime { source })?;
        let end = CancellationToken::new();
        let sessions = Arc::new(LocalSessionManager::default());
        let door = Arc::new(Door {
            service: service(host, options, &sessions, &end),
            sessions,
            access: options.access.clone(),
        });
        listening(bound);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        tokio::select! {
            () = accept(&listener, &door, &places, &end) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        end.cancel();
        let all = u32::try_from(MOST_CONNECTIONS).unwrap_or(u32::MAX);
        // What is still under way after that is cut off.
        drop(timeout(FAREWELL, places.acquire_many(all)).await);
        Ok(())
    });
    runtime.shutdown_background();
    served
}

fn service(
    host: Arc<dyn Host>,
    options: &HttpOptions,
    sessions: &Arc<LocalSessionManager>,
    end: &CancellationToken,
) -> Service {
    let local = ["localhost", "127.0.0.1", "::1"];
    let own = [options.address.ip().to_string()];
    let hosts = local.iter().map(ToString::to_string).chain(own).chain(options.hosts.iter().cloned());
    let origins = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"];
    let origins = origins.iter().map(ToString::to_string).chain(options.origins.iter().cloned());
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .with_max_request_body_bytes(LARGEST_REQUEST)
        .with_cancellation_token(end.child_token());
    let desk = Desk::new(host);
    StreamableHttpService::new(move || Ok(Server::new(desk.clone())), Arc::clone(sessions), config)
}

async fn accept(listener: &TcpListener, door: &Arc<Door>, places: &Arc<Semaphore>, end: &CancellationToken) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the client was gone at once: neither is helped by hurry.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (door, end) = (Arc::clone(door), end.clone());
        tokio::spawn(async move {
            serve_connection(stream, door, end).await;
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, door: Arc<Door>, end: CancellationToken) {
    // Answers are small and somebody waits for each.
    drop(stream.set_nodelay(true));
    let answer = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A connection that breaks has nobody to be told.
        ended = connection.as_mut() => drop(ended),
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// What every request passes before the protocol sees it.
struct Door {
    service: Service,
    sessions: Arc<LocalSessionManager>,
    access: Access,
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != PATH {
            return refusal(StatusCode::NOT_FOUND, "there is nothing here; the server is at /mcp");
        }
        if let Access::Token(token) = &self.access {
            let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            if !header.is_some_and(|header| token.is_presented_by(header)) {
                let mut response = refusal(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong");
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return response;
            }
        }
        let begins = request.method() == Method::POST && !request.headers().contains_key("mcp-session-id");
        if begins && self.sessions.sessions.read().await.len() >= MOST_SESSIONS {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "there are too many sessions");
        }
        let (head, body) = request.into_parts();
        let body = match timeout(BODY_PATIENCE, Limited::new(body, LARGEST_REQUEST).collect()).await {
            Ok(Ok(body)) => Full::new(body.to_bytes()),
            Ok(Err(_)) => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the request is cut off or too large");
            }
            Err(_) => return refusal(StatusCode::REQUEST_TIMEOUT, "the request takes too long"),
        };
        self.service.handle(Request::from_parts(head, body)).await
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
