//! Thread pool: T threads with blocking calls, fed through a bounded channel.
//!
//! - **Who accepts:** one thread, blocking in accept(2); it hands connections over through the channel.
//! - **Who reads:** the pool's thread that took the connection, blocking in recv(2), until the connection is closed.
//! - **Where a request waits:** in its thread, which does nothing else meanwhile.
//! - **What bounds it:** T connections, or as many as threads can be had for; then no more are accepted, and another process may.
//! - **What one process holds:** one connection per thread.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
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
    let (connections, taken) = bounded(config.threads);
    let (free, free_threads) = bounded(config.threads);
    let builder = thread::Builder::new().name("accept".to_owned());
    let accepting = builder.spawn(move || accept_connections(&listener, &free_threads, &connections));
    let accepting =
        accepting.map_err(|error| io::Error::other(format!("no thread that accepts: {}", Lack(&error))))?;

    // What they announce is known when they are there.
    let (handler, config_of_those) = (Arc::new(handler), Arc::new(OnceLock::new()));
    let mut threads = threads::start("serve", config.threads, || {
        let (taken, free) = (taken.clone(), free.clone());
        let (handler, config) = (Arc::clone(&handler), Arc::clone(&config_of_those));
        move || serve_connections(&taken, &free, &mut Shared::new(handler, config.wait()))
    })?;
    config_of_those.get_or_init(|| config.with_threads(threads.len()));
    threads.push(accepting);
    drain::join(threads)
}

/// One thread of the pool: serves one connection after the other until the channel is closed.
fn serve_connections<H: Handler>(
    taken: &Receiver<Socket>,
    free: &Sender<()>,
    shared: &mut Shared<H>,
) -> io::Result<()> {
    while free.send(()).is_ok()
        && let Ok(socket) = taken.recv()
    {
        blocking::serve_connection(&socket, shared);
    }
    Ok(())
}

/// Accepts when a thread is free: what is accepted before would wait here, while another process might serve it. In a
/// drain a thread becomes free by closing an idle connection.
fn accept_connections(
    listener: &Listener,
    free_threads: &Receiver<()>,
    connections: &Sender<Socket>,
) -> io::Result<()> {
    while free_threads.recv().is_ok()
        && let Some(socket) = blocking::accept(listener).inspect_err(|_| drain::request())?
    {
        connections.send(socket).map_err(io::Error::other)?;
    }
    Ok(())
}
