//! One client over standard input and output.

use std::sync::Arc;

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;

use crate::ServeError;
use crate::desk::Desk;
use crate::host::Host;
use crate::lines::{BoundedLines, LONGEST};
use crate::server::Server;

/// Serves the client at standard input until it hangs up.
///
/// Requests under way are given up then; what they have begun goes on.
///
/// # Errors
/// [`ServeError::Runtime`] and [`ServeError::Handshake`].
pub fn serve_stdio(host: Arc<dyn Host>) -> Result<(), ServeError> {
    let runtime = crate::runtime()?;
    let served = runtime.block_on(async {
        let (input, output) = stdio_pipes();
        let transport = AsyncRwTransport::new_server(BoundedLines::new(input, LONGEST), output)
            .with_max_line_length(LONGEST);
        let running = match Server::new(Desk::new(host)).serve(transport).await {
            Ok(running) => running,
            // It hung up before it began: nothing was asked of us.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(ServeError::Handshake { detail: error.to_string() }),
        };
        // A server that ended badly had nobody left to tell.
        drop(running.waiting().await);
        Ok(())
    });
    // A thread that reads from a terminal cannot be woken.
    runtime.shutdown_background();
    served
}
