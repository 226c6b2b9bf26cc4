//! Thread pool: T threads with blocking calls, fed through a bounded channel.
//!
//! - **Who accepts:** the main thread, blocking in accept(2); it hands connections over through the channel.
//! - **Who reads:** the thread that took the connection, blocking in read(2), until the connection is closed.
//! - **Where a request waits:** in `thread::sleep`; its thread does nothing else meanwhile.
//! - **What bounds it:** T connections; then the main thread accepts no more, and another process may.
//! - **What one process holds:** one connection per thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use fcgi_proto::{Connection, Event, Request, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

/// One connection per thread, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::OnePerThread, threads: Some(16), multiplexes: false, sees_aborts: false };

/// How long the main thread waits before it interrupts threads that block although the worker drains.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Accepts until the drain, then waits for the threads to finish what they have.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let (connections, taken) = bounded(config.threads);
    let (free, free_threads) = bounded(config.threads);
    let handler = Arc::new(handler);
    let mut threads = Vec::with_capacity(config.threads);
    for number in 0..config.threads {
        let (taken, free, handler, config) = (taken.clone(), free.clone(), Arc::clone(&handler), *config);
        let builder = thread::Builder::new().name(format!("serve-{number}"));
        threads.push(builder.spawn(move || serve_connections(&taken, &free, &*handler, &config))?);
    }

    loop {
        wait_for_one(&free_threads, &threads);
        let Some(socket) = accept(&listener)? else { break };
        connections.send(socket).map_err(io::Error::other)?;
    }
    drop(connections);
    while !threads.iter().all(JoinHandle::is_finished) {
        threads.iter().for_each(drain::interrupt);
        thread::sleep(DRAIN_TICK);
    }
    Ok(())
}

/// One thread: serves one connection after the other until the channel is closed.
fn serve_connections(taken: &Receiver<Socket>, free: &Sender<()>, handler: &impl Handler, config: &Config) {
    let mut buffers = Buffers { input: vec![0; 64 << 10], output: Vec::new(), spares: Spares::new() };
    while free.send(()).is_ok() {
        let Ok(socket) = taken.recv() else { return };
        // An error in a connection is that connection's end.
        let _ = drive(&socket, handler, config, &mut buffers);
        buffers.output.clear();
    }
}

/// What a connection needs while it is served, kept for the thread's next one.
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    spares: Spares,
}

/// Waits for a thread that is free: what is accepted before would wait here, while another process might serve it.
/// While draining, a thread is made free by letting go of an idle connection.
fn wait_for_one(free_threads: &Receiver<()>, threads: &[JoinHandle<()>]) {
    while let Err(RecvTimeoutError::Timeout) = free_threads.recv_timeout(DRAIN_TICK) {
        if drain::requested() {
            threads.iter().for_each(drain::interrupt);
        }
    }
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
            // No abort can come: nothing is in flight while this thread reads.
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
