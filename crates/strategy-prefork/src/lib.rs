//! Prefork: one connection per process, with blocking calls. What 2007 called "not multiplexed".
//!
//! - **Who accepts:** the process itself, blocking in accept(2), when it has no connection.
//! - **Who reads:** the same process, blocking in recv(2), until the connection is closed.
//! - **Where a request waits:** in the process, which does nothing else meanwhile.
//! - **What bounds it:** one connection, one request, one output buffer; the kernel's backlog queues the others.
//! - **What one process holds:** one connection. Concurrency is the number of processes.

use std::io;
use std::sync::Arc;

use fcgi_worker::{Capacity, Config, ConnectionLimit, Handler, Listener, Shared, blocking};

/// One connection, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::One, threads: None, multiplexes: false };

/// Serves one connection after the other until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut shared = Shared::new(Arc::new(handler), config);
    while let Some(socket) = blocking::accept(&listener)? {
        blocking::serve_connection(&socket, &mut shared);
    }
    Ok(())
}
