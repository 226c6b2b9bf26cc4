//! Prefork: one connection per process, with blocking calls. What 2007 called "not multiplexed".
//!
//! - **Who accepts:** the process itself, blocking in accept(2), when it has no connection.
//! - **Who reads:** the same process, blocking in recv(2), until the connection is closed.
//! - **Where a request waits:** in the process, which does nothing else meanwhile.
//! - **What bounds it:** one connection, one request, one output buffer; the kernel's backlog queues the others.
//! - **What one process holds:** one connection. Concurrency is the number of processes.

use std::io;
use std::sync::Arc;
use std::thread;

use fcgi_worker::{
    Accepted, BACK_OFF, Capacity, Config, ConnectionLimit, Handler, Listener, Shared, blocking, drain,
};
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;

/// One connection, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::One, threads: None, multiplexes: false };

/// Serves one connection after the other until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut shared = Shared::new(Arc::new(handler), config);
    while let Some(socket) = accept(&listener)? {
        blocking::serve_connection(&socket, &mut shared);
    }
    Ok(())
}

/// The next connection; `None` once the worker drains and none waits.
fn accept(listener: &Listener) -> io::Result<Option<Socket>> {
    while !drain::requested() || listener.has_pending() {
        match listener.judge(accept_with(listener, SocketFlags::CLOEXEC))? {
            Accepted::Connection(socket) => return Ok(Some(socket.into())),
            Accepted::Again | Accepted::Closed => {}
            Accepted::Empty => listener.wait(),
            Accepted::Exhausted => thread::sleep(BACK_OFF),
        }
    }
    Ok(None)
}
