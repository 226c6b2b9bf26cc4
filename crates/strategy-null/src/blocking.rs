//! The floor of the models that block: T threads, each accepts for itself.
//!
//! - **Who accepts:** each thread, blocking in accept(2), when it has no connection.
//! - **Who reads:** the same thread, blocking in read(2), until the connection is closed.
//! - **Where a request waits:** nowhere; it is answered when its last byte has been counted.
//! - **What bounds it:** T connections, one read's answers each; the kernel's backlog queues the others.
//! - **What one process holds:** one connection per thread.

use std::io::{self, Write};
use std::sync::Arc;

use fcgi_worker::{
    Capacity, Config, ConnectionLimit, Handler, Listener, PerThread, blocking, drain, threads,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use crate::count::{Count, Then};

/// One connection per thread. It is not announced: that would be protocol work.
pub const CAPACITY: Capacity = Capacity {
    connections: ConnectionLimit::OnePerThread,
    threads: Some(PerThread::Request(64)),
    multiplexes: false,
};

/// Serves one connection after the other in each thread, until the drain.
pub fn serve(listener: Listener, _: impl Handler, config: &Config) -> io::Result<()> {
    let listener = Arc::new(listener);
    drain::join(threads::start("serve", config.threads, || {
        let listener = Arc::clone(&listener);
        move || serve_connections(&listener)
    })?)
}

/// One thread.
fn serve_connections(listener: &Listener) -> io::Result<()> {
    let (mut input, mut output) = (vec![0; 64 << 10], Vec::new());
    while let Some(socket) = blocking::accept(listener).inspect_err(|_| drain::request())? {
        // An error in a connection is that connection's end.
        let _ = drive(&socket, &mut input, &mut output);
        output.clear();
    }
    Ok(())
}

/// Reads a connection and answers its requests, until it ends.
fn drive(mut socket: &Socket, input: &mut [u8], output: &mut Vec<u8>) -> io::Result<()> {
    let mut count = Count::default();
    loop {
        let read = read(socket, &count, input)?;
        if read == 0 {
            return Ok(());
        }
        let then = count.take(&input[..read], output);
        if !output.is_empty() {
            socket.write_all(output)?;
            output.clear();
        }
        if then == Then::Close {
            return Ok(());
        }
    }
}

/// The next bytes; 0 at the connection's end. While draining, an idle connection is not waited for: it ends.
fn read(socket: &Socket, count: &Count, input: &mut [u8]) -> io::Result<usize> {
    loop {
        let let_go = drain::requested() && count.is_idle();
        match recv(socket, &mut *input, if let_go { RecvFlags::DONTWAIT } else { RecvFlags::empty() }) {
            Ok((_, read)) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
