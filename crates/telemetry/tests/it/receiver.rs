//! The test kit's receiver, with TLS too.

use std::sync::Arc;

pub(crate) use co_testkit::{HttpReceiver, Reply, Request, nobody};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Receives requests over TLS and replies to each as `reply` says.
pub(crate) fn start_tls(
    tls: Arc<ServerConfig>,
    reply: impl FnMut(&Request) -> Reply + Send + 'static,
) -> HttpReceiver {
    HttpReceiver::listen("https", reply, move |stream| {
        Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&tls)).unwrap(), stream))
    })
}
