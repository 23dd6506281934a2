//! The way from the program's own network to the egress proxy outside: a port of its loopback, a socket of ours.
//!
//! Runs in threads of the innermost stage that were started before it was confined. It decides nothing: what may be
//! reached is the proxy's business.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::inner::BRIDGE_PORT;

/// Connections at once. More than any tool opens; a program that floods it only harms itself.
const MAX_CONNECTIONS: usize = 128;

/// Listens before it returns, so that the program finds the port open.
pub(super) fn start(socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, BRIDGE_PORT))?;
    let socket = socket.to_owned();
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().name("bridge".into()).spawn(move || {
        for inside in listener.incoming().flatten() {
            // A connection too many, or one that nobody outside takes, is closed at once.
            if open.load(Ordering::Relaxed) < MAX_CONNECTIONS
                && let Ok(outside) = UnixStream::connect(&socket)
            {
                drop(carry(inside, outside, &open));
            }
        }
    })?;
    Ok(())
}

fn carry(inside: TcpStream, outside: UnixStream, open: &Arc<AtomicUsize>) -> io::Result<()> {
    let (mut up_from, mut up_to) = (inside.try_clone()?, outside.try_clone()?);
    let (mut down_from, mut down_to) = (outside, inside);
    let counted = Counted::new(open);
    let up = thread::Builder::new().name("bridge-up".into()).spawn(move || {
        // Either end may break off; the other one then hears the end of the stream.
        drop(io::copy(&mut up_from, &mut up_to));
        drop(up_to.shutdown(Shutdown::Write));
    })?;
    thread::Builder::new().name("bridge-down".into()).spawn(move || {
        drop(io::copy(&mut down_from, &mut down_to));
        drop(down_to.shutdown(Shutdown::Both));
        drop(up.join());
        drop(counted);
    })?;
    Ok(())
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
