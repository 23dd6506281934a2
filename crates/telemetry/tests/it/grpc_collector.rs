//! A gRPC receiver on loopback, made of HTTP/2 alone: it keeps the bytes of each message as they arrived.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use h2::server::SendResponse;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tonic::codegen::http::{HeaderMap, Request, Response};

/// One message as it arrived.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) message: Vec<u8>,
}

pub(crate) struct GrpcCollector {
    pub(crate) url: String,
    pub(crate) calls: Receiver<Call>,
}

impl GrpcCollector {
    /// Takes every message and answers each with `status`.
    pub(crate) fn start(status: &'static str) -> Self {
        Self::listen("http", None, status)
    }

    /// The same with TLS; takes everything.
    pub(crate) fn start_tls(tls: Arc<ServerConfig>) -> Self {
        Self::listen("https", Some(TlsAcceptor::from(tls)), "0")
    }

    fn listen(scheme: &str, tls: Option<TlsAcceptor>, status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (sender, calls) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (sender, tls) = (sender.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, sender, status).await,
                            // A client that does not trust us is its own test.
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, sender, status).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Self { url, calls }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, sender: Sender<Call>, status: &'static str) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, sender.clone(), status));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<tonic::codegen::Bytes>,
    calls: Sender<Call>,
    status: &'static str,
) {
    let path = request.uri().path().to_owned();
    let authorization =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let mut body = request.into_body();
    let mut frame = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        frame.extend_from_slice(&chunk);
    }
    // One byte says whether it is compressed, four say how long it is.
    let (prefix, message) = frame.split_at(5);
    assert_eq!(prefix[0], 0, "nobody asked for compression");
    assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
    calls.send(Call { path, authorization, message: message.to_vec() }).ok();

    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    if status == "0" {
        // An empty message: everything was taken.
        stream.send_data(vec![0; 5].into(), false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}
