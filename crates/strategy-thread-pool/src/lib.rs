//! Thread pool: T threads with blocking calls, and one that accepts for them.
//!
//! - **Who accepts:** one thread, blocking in accept(2), when a thread of the pool is free; that one gets the connection.
//! - **Who reads:** the pool's thread that was given the connection, blocking in recv(2), until the connection is closed.
//! - **Where a request waits:** in its thread, which does nothing else meanwhile.
//! - **What bounds it:** T connections, or as many as threads can be had for; then no more are accepted, and another process may.
//! - **What one process holds:** one connection per thread.
//!
//! To hand a connection over takes two system calls: one wakes the thread, in the other it has slept.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam::atomic::AtomicCell;
use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::sync::{Parker, Unparker};
use fcgi_worker::{
    Capacity, Config, ConnectionLimit, Handler, Listener, PerThread, Shared, blocking, drain,
    threads::{self, Lack},
};
use socket2::Socket;

/// One connection per thread, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity = Capacity {
    connections: ConnectionLimit::OnePerThread,
    threads: Some(PerThread::Request(16)),
    multiplexes: false,
};

/// Serves until the drain, then waits for the threads to finish what they have.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let (free, free_threads) = bounded(config.threads);
    let builder = thread::Builder::new().name("accept".to_owned());
    let accepting = builder.spawn(move || accept_connections(&listener, &free_threads));
    let accepting =
        accepting.map_err(|error| io::Error::other(format!("no thread that accepts: {}", Lack(&error))))?;

    // What they announce is known when they are there.
    let (handler, config_of_those) = (Arc::new(handler), Arc::new(OnceLock::new()));
    let mut threads = threads::start("serve", config.threads, || {
        let (free, handler, config) = (free.clone(), Arc::clone(&handler), Arc::clone(&config_of_those));
        move || serve_connections(&free, &mut Shared::new(handler, config.wait()))
    })?;
    drop(free);
    config_of_those.get_or_init(|| config.with_threads(threads.len()));
    threads.push(accepting);
    drain::join(threads)
}

/// A thread of the pool that has no connection: where it looks for one when it is woken.
struct FreeThread {
    connection: Arc<AtomicCell<Option<Socket>>>,
    thread: Unparker,
}

/// One thread of the pool: serves one connection after the other until it is woken for none. It is parked, since who
/// receives from a channel yields the processor several times before it sleeps.
fn serve_connections<H: Handler>(free: &Sender<FreeThread>, shared: &mut Shared<H>) -> io::Result<()> {
    let (parker, connection) = (Parker::new(), Arc::new(AtomicCell::new(None)));
    loop {
        let this = FreeThread { connection: Arc::clone(&connection), thread: parker.unparker().clone() };
        free.send(this).map_err(io::Error::other)?;
        parker.park();
        let Some(socket) = connection.take() else { return Ok(()) };
        blocking::serve_connection(&socket, shared);
    }
}

/// Accepts when a thread is free: what is accepted before would wait here, while another process might serve it. In a
/// drain a thread becomes free by closing an idle connection; all are woken for none, and the last takes the channel along.
fn accept_connections(listener: &Listener, free_threads: &Receiver<FreeThread>) -> io::Result<()> {
    let mut result = Ok(());
    for FreeThread { connection, thread } in free_threads {
        connection.store(blocking::accept(listener).unwrap_or_else(|error| {
            drain::request();
            result = Err(error);
            None
        }));
        thread.unpark();
    }
    result
}
