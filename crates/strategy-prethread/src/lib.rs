//! Prethread: T threads with blocking calls, each accepts for itself. prefork with threads for processes.
//!
//! - **Who accepts:** each thread, blocking in accept(2), when it has no connection; the kernel wakes the one that waits longest.
//! - **Who reads:** the same thread, blocking in recv(2), until the connection is closed.
//! - **Where a request waits:** in its thread, which does nothing else meanwhile.
//! - **What bounds it:** T connections, or as many as threads can be had for; the kernel's backlog queues the others.
//! - **What one process holds:** one connection per thread.

use std::io;
use std::sync::{Arc, OnceLock};

use fcgi_worker::{
    Capacity, Config, ConnectionLimit, Handler, Listener, PerThread, Shared, blocking, drain, threads,
};

/// One connection per thread, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity = Capacity {
    connections: ConnectionLimit::OnePerThread,
    threads: Some(PerThread::Request(16)),
    multiplexes: false,
};

/// Serves one connection after the other in each thread, until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let (listener, handler) = (Arc::new(listener), Arc::new(handler));
    // What the threads announce is known when they are there.
    let config_of_those = Arc::new(OnceLock::new());
    let threads = threads::start("serve", config.threads, || {
        let (listener, handler) = (Arc::clone(&listener), Arc::clone(&handler));
        let config = Arc::clone(&config_of_those);
        move || serve_connections(&listener, &mut Shared::new(handler, config.wait()))
    })?;
    config_of_those.get_or_init(|| config.with_threads(threads.len()));
    drain::join(threads)
}

/// One thread. Where the listener is of no use any more, all of them end.
fn serve_connections<H: Handler>(listener: &Listener, shared: &mut Shared<H>) -> io::Result<()> {
    while let Some(socket) = blocking::accept(listener).inspect_err(|_| drain::request())? {
        blocking::serve_connection(&socket, shared);
    }
    Ok(())
}
