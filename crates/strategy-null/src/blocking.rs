//! The floor of the models that block: T threads, each accepts for itself.
//!
//! - **Who accepts:** each thread, blocking in accept(2), when it has no connection.
//! - **Who reads:** the same thread, blocking in read(2), until the connection is closed.
//! - **Where a request waits:** nowhere; it is answered when its last byte has been counted.
//! - **What bounds it:** T connections, one read's answers each; the kernel's backlog queues the others.
//! - **What one process holds:** one connection per thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fcgi_worker::{AcceptError, Capacity, Config, Handler, Held, Listener, drain};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use crate::count::{Count, Then};

/// One connection per thread. It is not announced: that would be protocol work.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::OnePerThread, threads: Some(64), multiplexes: false, sees_aborts: false };

/// How often threads that block although the worker drains are interrupted.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Serves one connection after the other in each thread, until the drain.
pub fn serve(listener: Listener, _: impl Handler, config: &Config) -> io::Result<()> {
    let listener = Arc::new(listener);
    let mut threads = Vec::with_capacity(config.threads);
    for number in 0..config.threads {
        let listener = Arc::clone(&listener);
        let builder = thread::Builder::new().name(format!("serve-{number}"));
        threads.push(builder.spawn(move || serve_connections(&listener))?);
    }
    let wake = drain::wake();
    while !drain::requested() {
        // Interrupted or not, the flag is what counts.
        let _ = poll(&mut [PollFd::new(&wake, PollFlags::IN)], None);
    }
    while !threads.iter().all(JoinHandle::is_finished) {
        threads.iter().for_each(drain::interrupt);
        thread::sleep(DRAIN_TICK);
    }
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::ErrorKind::Other)?)
}

/// One thread.
fn serve_connections(listener: &Listener) -> io::Result<()> {
    let (mut input, mut output) = (vec![0; 64 << 10], Vec::new());
    while let Some(socket) = accept(listener)? {
        // An error in a connection is that connection's end.
        let _ = drive(&socket, &mut input, &mut output);
        output.clear();
    }
    Ok(())
}

/// The next connection; `None` once the worker drains and none waits.
fn accept(listener: &Listener) -> io::Result<Option<Socket>> {
    loop {
        if drain::requested() && !listener.has_pending() {
            return Ok(None);
        }
        match listener.socket().accept() {
            Ok((socket, _)) if listener.admits(&socket) => return Ok(Some(socket)),
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error) {
                AcceptError::Again => {}
                AcceptError::Empty | AcceptError::Exhausted => thread::sleep(Duration::from_millis(10)),
                AcceptError::Fatal => return Err(error),
            },
        }
    }
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
