//! Thread pool: T threads with blocking calls, fed through a bounded channel.
//!
//! - **Who accepts:** the main thread, blocking in accept(2); it hands connections over through the channel.
//! - **Who reads:** the thread that took the connection, blocking in read(2), until the connection is closed.
//! - **Where a request waits:** in `thread::sleep`; its thread does nothing else meanwhile.
//! - **What bounds it:** T connections served and T in the channel; then the main thread stops accepting.
//! - **What one process holds:** one connection per thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use fcgi_proto::{Connection, Event, Request, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use socket2::Socket;

/// One connection per thread, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::OnePerThread, threads: Some(16), multiplexes: false, sees_aborts: false };

/// How long the main thread waits before it interrupts threads that block although the worker drains.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Accepts until the drain, then waits for the threads to finish what they have.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let (sender, receiver) = bounded(config.threads);
    let handler = Arc::new(handler);
    let mut threads = Vec::with_capacity(config.threads);
    for number in 0..config.threads {
        let (receiver, handler, config) = (receiver.clone(), Arc::clone(&handler), *config);
        let builder = thread::Builder::new().name(format!("serve-{number}"));
        threads.push(builder.spawn(move || serve_connections(&receiver, &*handler, &config))?);
    }
    drop(receiver);

    while let Some(socket) = accept(&listener)? {
        hand_over(socket, &sender, &threads);
    }
    drop(sender);
    while !threads.iter().all(JoinHandle::is_finished) {
        threads.iter().for_each(drain::interrupt);
        thread::sleep(DRAIN_TICK);
    }
    Ok(())
}

/// One thread: serves one connection after the other until the channel is closed.
fn serve_connections(connections: &Receiver<Socket>, handler: &impl Handler, config: &Config) {
    let mut buffers = Buffers { input: vec![0; 64 << 10], output: Vec::new(), spares: Spares::new() };
    for socket in connections {
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

/// Waits for room in the channel. While draining, a thread makes room once it has let go of an idle connection.
fn hand_over(mut socket: Socket, connections: &Sender<Socket>, threads: &[JoinHandle<()>]) {
    loop {
        match connections.send_timeout(socket, DRAIN_TICK) {
            Ok(()) | Err(SendTimeoutError::Disconnected(_)) => return,
            Err(SendTimeoutError::Timeout(unsent)) => socket = unsent,
        }
        if drain::requested() {
            threads.iter().for_each(drain::interrupt);
        }
    }
}

/// Reads a connection and serves its requests, until it ends.
fn drive(socket: &Socket, handler: &impl Handler, config: &Config, buffers: &mut Buffers) -> io::Result<()> {
    let mut connection = config.connection();
    let Buffers { input, output, spares } = buffers;
    loop {
        let read = read(socket, &connection, input)?;
        if read == 0 {
            return Ok(());
        }
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

/// The next bytes; 0 at the connection's end. While draining, an idle connection takes no more requests than it has
/// been sent: its read side is shut, which leaves what has come to be read.
fn read(mut socket: &Socket, connection: &Connection, input: &mut [u8]) -> io::Result<usize> {
    loop {
        if drain::requested() && connection.is_idle() {
            socket.shutdown(Shutdown::Read)?;
        }
        match socket.read(input) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Lets the peer read the refusal before the connection is closed under the input that it still sends.
fn linger(mut socket: &Socket) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(LINGER))?;
    let deadline = Instant::now() + LINGER;
    let mut unwanted = [0; 16 << 10];
    while Instant::now() < deadline && socket.read(&mut unwanted)? > 0 {}
    Ok(())
}

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_secs(1);
