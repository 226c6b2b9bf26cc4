//! A connection's whole life with blocking calls, for the models that give each connection a process or a thread.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use crate::{Handler, READ_BYTES, Session, Shared, drain};

/// Serves a connection until it ends: reads, runs the steps, waits and writes, one after the other, each in a call that
/// blocks. A call that waits is interrupted by the drain's signal ([`crate::drain`]).
///
/// An error in a connection is that connection's end, and nobody else's: there is none to return.
pub fn serve_connection<H: Handler>(socket: &Socket, shared: &mut Shared<H>) {
    let mut session = Session::new(shared, Instant::now());
    let mut input = std::mem::take(&mut shared.input);
    input.resize(READ_BYTES, 0);
    let _ = serve(socket, &mut session, &mut input, shared);
    shared.input = input;
}

fn serve<H: Handler>(
    socket: &Socket,
    session: &mut Session<H>,
    input: &mut [u8],
    shared: &mut Shared<H>,
) -> io::Result<()> {
    let mut now = Instant::now();
    while !session.is_over() {
        if drain::requested() {
            session.drain();
        }
        if session.wants_write() {
            now = write(socket, session, now, shared)?;
        } else if session.shuts_write(now) {
            socket.shutdown(Shutdown::Write)?;
        } else if session.has_more() {
            session.resume(now, shared);
        } else if session.wants_read() {
            now = read(socket, session, input, now, shared)?;
        } else {
            // Nothing but time goes on: a request waits. Its peer may leave meanwhile.
            (_, now) = wait(socket, session, PollFlags::empty(), now)?;
            session.resume(now, shared);
        }
    }
    Ok(())
}

/// Reads once, and serves what came. In a drain an idle connection is not waited for. Returns the time.
fn read<H: Handler>(
    socket: &Socket,
    session: &mut Session<H>,
    input: &mut [u8],
    now: Instant,
    shared: &mut Shared<H>,
) -> io::Result<Instant> {
    let is_last = session.wants_last_read();
    if !is_last && session.deadline().is_some() {
        let (is_readable, now) = wait(socket, session, PollFlags::IN, now)?;
        if !is_readable {
            session.resume(now, shared);
            return Ok(now);
        }
    }
    let flags = if is_last { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
    let received = recv(socket, &mut *input, flags);
    let now = Instant::now();
    match received {
        Ok((_, 0)) => session.end_of_input(now, shared),
        Ok((_, read)) => session.receive(&input[..read], now, shared),
        Err(Errno::AGAIN) => session.end_of_available_input(now, shared),
        Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(now)
}

/// Writes once. Returns the time, which is not asked for where nothing depends on it.
fn write<H: Handler>(
    socket: &Socket,
    session: &mut Session<H>,
    mut now: Instant,
    shared: &mut Shared<H>,
) -> io::Result<Instant> {
    let mut flags = SendFlags::NOSIGNAL;
    if session.deadline().is_some() {
        // What the socket takes at once: the rest may take longer than there is time.
        flags |= SendFlags::DONTWAIT;
        let (is_writable, after) = wait(socket, session, PollFlags::OUT, now)?;
        now = after;
        if !is_writable {
            session.resume(now, shared);
            return Ok(now);
        }
    }
    match send(socket, session.unsent(), flags) {
        Ok(sent) => session.sent(sent, now, shared),
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(now)
}

/// Waits until the socket is ready or the session's deadline has come, whichever is first: whether it is ready, and the
/// time.
fn wait<H: Handler>(
    socket: &Socket,
    session: &Session<H>,
    ready: PollFlags,
    now: Instant,
) -> io::Result<(bool, Instant)> {
    let timeout = session.deadline().map(|deadline| deadline.saturating_duration_since(now));
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut polled = [PollFd::new(socket, ready)];
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ok((false, Instant::now())),
        // What nobody asked for is told all the same: the peer has gone.
        Ok(_) if ready.is_empty() => Err(ErrorKind::BrokenPipe.into()),
        Ok(_) => Ok((true, Instant::now())),
        Err(error) => Err(error.into()),
    }
}
