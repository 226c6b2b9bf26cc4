//! A connection's whole life with blocking calls, from its accept on, for the models that give each connection a process or
//! a thread.
//!
//! A request that is parked ([`crate::Step::Park`]) blocks its process or thread, too, in poll(2), which a descriptor ends
//! that is made for the first such request of a thread.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use socket2::Socket;

use crate::{Accepted, BACK_OFF, Handler, Listener, READ_BYTES, Session, Shared, drain};

/// The next connection, waited for in accept(2), which the drain's signal interrupts; `None` once the worker drains and
/// none waits that had come before.
///
/// # Errors
///
/// The listener is of no use any more. What a single connection fails of, and a lack of descriptors, are none.
pub fn accept(listener: &Listener) -> io::Result<Option<Socket>> {
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

/// Serves a connection until it ends: reads, runs the steps, waits and writes, one after the other, each in a call that
/// blocks. A call that waits is interrupted by the drain's signal ([`crate::drain`]).
///
/// An error in a connection is that connection's end, and nobody else's: there is none to return.
pub fn serve_connection<H: Handler>(socket: &Socket, shared: &mut Shared<H>) {
    let mut session = Session::new(shared, Instant::now());
    let mut input = std::mem::take(&mut shared.input);
    // Not zeroed: a thread or a process that serves one connection would touch all of it for a few hundred bytes.
    // Empty first: what the last connection has left there is no reason to have more.
    input.clear();
    input.reserve_exact(READ_BYTES);
    let _ = serve(socket, &mut session, &mut input, shared);
    shared.input = input;
}

fn serve<H: Handler>(
    socket: &Socket,
    session: &mut Session<H>,
    input: &mut Vec<u8>,
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
            if session.wants_waker() {
                session.set_waker(shared.wakeups().map_or(Waker::noop().clone(), |wakeups| wakeups.waker(0)));
                continue;
            }
            now = wait_for_time(socket, session, now, shared)?;
            session.resume(now, shared);
        }
    }
    Ok(())
}

/// Reads once, and serves what came. In a drain an idle connection is not waited for. Returns the time.
fn read<H: Handler>(
    socket: &Socket,
    session: &mut Session<H>,
    input: &mut Vec<u8>,
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
    input.clear();
    let received = recv(socket, spare_capacity(input), flags);
    let now = Instant::now();
    match received {
        Ok((_, 0)) => session.end_of_input(now, shared),
        Ok(_) => session.receive(input, now, shared),
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

/// Waits until the session's deadline has come, a parked request is woken, or the peer has gone. Returns the time.
fn wait_for_time<H: Handler>(
    socket: &Socket,
    session: &Session<H>,
    now: Instant,
    shared: &mut Shared<H>,
) -> io::Result<Instant> {
    let Some(wakeups) = session.is_parked().then(|| shared.wakeups()) else {
        return wait(socket, session, PollFlags::empty(), now).map(|(_, now)| now);
    };
    let mut timeout = session.deadline().map(|deadline| deadline.saturating_duration_since(now));
    if wakeups.is_none() {
        // For lack of a descriptor nobody can tell: look now and then.
        timeout = Some(timeout.unwrap_or(BACK_OFF).min(BACK_OFF));
    }
    let socket = PollFd::new(socket, PollFlags::empty());
    let woken = wakeups.map_or(socket.clone(), |wakeups| PollFd::new(wakeups, PollFlags::IN));
    let mut polled = [socket, woken];
    match poll(&mut polled, timespec(timeout).as_ref()) {
        Ok(_) if !polled[0].revents().is_empty() => return Err(ErrorKind::BrokenPipe.into()),
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(wakeups) = wakeups {
        // Which key it was is known: there is one.
        wakeups.take();
    }
    Ok(Instant::now())
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
    let timeout = timespec(timeout);
    let mut polled = [PollFd::new(socket, ready)];
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ok((false, Instant::now())),
        // What nobody asked for is told all the same: the peer has gone.
        Ok(_) if ready.is_empty() => Err(ErrorKind::BrokenPipe.into()),
        Ok(_) => Ok((true, Instant::now())),
        Err(error) => Err(error.into()),
    }
}

/// A time that no clock can hold is none.
fn timespec(timeout: Option<Duration>) -> Option<Timespec> {
    timeout.and_then(|timeout| Timespec::try_from(timeout).ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use socket2::{Domain, Type};

    use super::*;
    use crate::{AppStatus, Config, Error, Limits, Request, Response, Step, Timeouts, Values, listener};

    /// A request of id 1 with no parameters, the last of its connection (spec 3.3, 5.1).
    const REQUEST: [u8; 32] = [
        1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, // FCGI_BEGIN_REQUEST
        1, 4, 0, 1, 0, 0, 0, 0, // FCGI_PARAMS
        1, 5, 0, 1, 0, 0, 0, 0, // FCGI_STDIN
    ];

    /// Answers nothing, at once.
    struct Nothing;

    impl Handler for Nothing {
        type Job = ();

        fn start(&self, _: Request<'_>) {}

        fn step(&self, _: Request<'_>, _: &mut (), _: &mut Response<'_>) -> Result<Step, Error> {
            Ok(Step::Done(AppStatus::SUCCESS))
        }
    }

    #[test]
    fn one_connection_after_the_other_is_read_into_the_same_memory() {
        let config = Config {
            limits: Limits::default(),
            values: Values { connections: 1, requests: 1, multiplexes: false },
            connections: 1,
            threads: 1,
            output_bytes: 64 << 10,
            timeouts: Timeouts::NONE,
        };
        let mut shared = Shared::new(Arc::new(Nothing), &config);
        for _ in 0..3 {
            let (mut peer, socket) = UnixStream::pair().unwrap();
            peer.write_all(&REQUEST).unwrap();
            serve_connection(&OwnedFd::from(socket).into(), &mut shared);
            assert_eq!(shared.input.capacity(), READ_BYTES);
        }
    }

    #[test]
    fn in_a_drain_those_that_wait_are_accepted_and_then_nobody_is() {
        let listener = listener::unnamed().unwrap();
        let address = listener.socket().local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..2 {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.connect(&address).unwrap();
            clients.push(client);
        }
        drain::request();
        for _ in &clients {
            assert!(accept(&listener).unwrap().is_some());
        }
        assert!(accept(&listener).unwrap().is_none());
    }
}
