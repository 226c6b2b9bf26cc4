//! Prefork: one connection per process, with blocking calls. What 2007 called "not multiplexed".
//!
//! - **Who accepts:** the process itself, blocking in accept(2), when it has no connection.
//! - **Who reads:** the same process, blocking in read(2), until the connection is closed.
//! - **Where a request waits:** in `thread::sleep`; the process does nothing else meanwhile.
//! - **What bounds it:** one connection, one request, one output buffer; the kernel's backlog queues the others.
//! - **What one process holds:** one connection. Concurrency is the number of processes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, Event, Request, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

/// One connection, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::One, threads: None, multiplexes: false, sees_aborts: false };

/// Serves one connection after the other until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut buffers = Buffers { input: vec![0; 64 << 10], output: Vec::new(), spares: Spares::new() };
    while let Some(socket) = accept(&listener)? {
        // An error in a connection is that connection's end.
        let _ = drive(&socket, &handler, config, &mut buffers);
        buffers.output.clear();
    }
    Ok(())
}

/// What a connection needs while it is served, kept for the next one.
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    spares: Spares,
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

/// Reads a connection and serves its requests, until it ends.
fn drive(socket: &Socket, handler: &impl Handler, config: &Config, buffers: &mut Buffers) -> io::Result<()> {
    let mut connection = config.connection();
    let Buffers { input, output, spares } = buffers;
    loop {
        let read = match read(socket, &connection, input) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return linger(socket),
            Err(error) => return Err(error),
        };
        let mut input = &input[..read];
        while let Some(event) = connection.receive(&mut input, output, spares).map_err(io::Error::other)? {
            // No abort can come: nothing is in flight while this process reads.
            if let Event::Request(request) = event {
                let request = finish(socket, handler, config, request, output)?;
                connection.recycle(request, spares);
            }
        }
        flush(socket, output)?;
        if connection.is_finished() {
            if connection.was_answered_early() {
                linger(socket)?;
            }
            return Ok(());
        }
    }
}

/// Takes a request through all its steps, waits included.
fn finish<H: Handler>(
    socket: &Socket,
    handler: &H,
    config: &Config,
    request: Request,
    output: &mut Vec<u8>,
) -> io::Result<Request> {
    let mut exchange = Exchange::start(handler, request);
    loop {
        let room = config.output_bytes.saturating_sub(output.len());
        match exchange.step(handler, output, room) {
            Step::Done(_) => return Ok(exchange.into_request()),
            Step::Flush => flush(socket, output)?,
            Step::Wait(duration) => {
                flush(socket, output)?;
                thread::sleep(duration);
            }
        }
    }
}

/// Writes all output.
fn flush(mut socket: &Socket, output: &mut Vec<u8>) -> io::Result<()> {
    if !output.is_empty() {
        socket.write_all(output)?;
        output.clear();
    }
    Ok(())
}

/// The next bytes; 0 at the connection's end. While draining, an idle connection is not waited for: `WouldBlock` says
/// that all it has been sent is read.
fn read(socket: &Socket, connection: &Connection, input: &mut [u8]) -> io::Result<usize> {
    loop {
        let let_go = drain::requested() && connection.is_idle();
        match recv(socket, &mut *input, if let_go { RecvFlags::DONTWAIT } else { RecvFlags::empty() }) {
            Ok((_, read)) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lets the peer read what was written: closing a connection under input that still comes would reset it.
fn linger(mut socket: &Socket) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(LINGER))?;
    let deadline = Instant::now() + LINGER;
    let mut unwanted = [0; 16 << 10];
    while Instant::now() < deadline {
        match socket.read(&mut unwanted) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
