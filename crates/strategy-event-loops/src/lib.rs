//! Readiness loops: T threads, each with an epoll, connections and memory of its own, on one listener.
//!
//! - **Who accepts:** each loop for itself, one connection a turn; one loop is woken for it, not all.
//! - **Who reads:** the loop that accepted, whichever connection is readable, into one buffer that all of the loop share.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due, by a timer descriptor.
//! - **What bounds it:** `--connections`, of which each loop has its part, the requests in flight and the unsent output of
//!   each.
//! - **What one process holds:** many connections, many requests on each.
//!
//! A connection stays with its loop, so no loop waits for another's lock. While one computes, the others serve theirs.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fcgi_worker::{
    Accepting, Alarm, Capacity, Config, ConnectionLimit, Handler, Listener, PerThread, Shared, drain,
    nonblocking::Clients, threads,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: Some(PerThread::Loop(2)), multiplexes: true };

/// Connections have their keys as tokens.
const LISTENER: Token = Token(usize::MAX - 1);
const DRAIN: Token = Token(usize::MAX - 2);
const ALARM: Token = Token(usize::MAX - 3);
const WAKEUPS: Token = Token(usize::MAX - 4);

/// Serves until the drain, which ends all loops. An error in one ends the process.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let (listener, handler, config) = (Arc::new(listener), Arc::new(handler), *config);
    // How many there are is known once they have started: there may be fewer.
    let (index, loops) = (Cell::new(0), Arc::new(OnceLock::new()));
    let threads = threads::start("loop", config.threads, || {
        let (index, loops) = (index.replace(index.get() + 1), Arc::clone(&loops));
        let (listener, shared) = (Arc::clone(&listener), Shared::new(Arc::clone(&handler), &config));
        move || {
            // The parts of all loops add up to the whole.
            let accepting = Accepting::new(listener, (config.connections + index) / loops.wait());
            serve_part(accepting, shared).inspect_err(|_| drain::request())
        }
    })?;
    loops.get_or_init(|| threads.len());
    drain::join(threads)
}

/// One loop: serves its part of the connections until the drain.
fn serve_part(accepting: Accepting, shared: Shared<impl Handler>) -> io::Result<()> {
    let (poll, alarm) = (Poll::new()?, Alarm::new()?);
    let clients = Clients::new(accepting, shared)?;
    for (descriptor, token) in [
        (drain::wake().as_raw_fd(), DRAIN),
        (alarm.as_raw_fd(), ALARM),
        (clients.wakeups().as_raw_fd(), WAKEUPS),
    ] {
        poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
    }
    let mut worker = Worker { poll, watches_listener: false, alarm, now: Instant::now(), clients };
    let mut events = Events::with_capacity(1024);
    while !worker.clients.accepting.is_over() {
        worker.watch_listener()?;
        worker.alarm.set(worker.clients.next(worker.now))?;
        let timeout = worker.clients.has_more(worker.now).then_some(Duration::ZERO);
        match worker.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        worker.turn(&events)?;
    }
    Ok(())
}

struct Worker<H: Handler> {
    poll: Poll,
    /// Whether the poll announces connections that wait: only while there is a place for one.
    watches_listener: bool,
    /// Ends the poll when the first of the clients' times has come.
    alarm: Alarm,
    /// The time at the turn's begin.
    now: Instant,
    clients: Clients<H>,
}

impl<H: Handler> Worker<H> {
    /// Everything that is to be done until the next poll: each connection once for what its socket says, and once for the rest.
    fn turn(&mut self, events: &Events) -> io::Result<()> {
        self.now = Instant::now();
        let mut acceptable = self.clients.accepting.accepts_at_once(self.now);
        for event in events {
            match event.token() {
                LISTENER => {
                    self.unwatch_listener()?;
                    acceptable = true;
                }
                DRAIN => self.drain()?,
                ALARM => {}
                WAKEUPS => self.clients.take_woken(),
                Token(key) => {
                    let Some(client) = self.clients.get_mut(key) else { continue };
                    client.hung_up |= event.is_read_closed();
                    client.readable |= event.is_readable();
                    client.writable |= event.is_writable();
                    self.clients.drive(key, self.now);
                }
            }
        }
        for key in self.clients.take_due(self.now) {
            self.clients.drive(key, self.now);
        }
        if acceptable { self.accept() } else { Ok(()) }
    }

    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.clients.accepting.listener(self.now) else { return Ok(()) };
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        if let Some(socket) = self.clients.accepting.accepted(accepted, self.now)? {
            let key = self.clients.insert(socket, self.now);
            self.clients.drive(key, self.now);
            // Not before it has outlived its first turn.
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Some(client) = self.clients.get_mut(key)
                && self
                    .poll
                    .registry()
                    .register(&mut SourceFd(&client.socket.as_raw_fd()), Token(key), interest)
                    .is_err()
            {
                self.clients.close(key);
            }
        }
        Ok(())
    }

    /// Asks to be told of connections that wait, if there is a place for one. EPOLLEXCLUSIVE is what mio does not offer:
    /// without it each connection wakes every loop of every process (epoll_ctl(2)).
    fn watch_listener(&mut self) -> io::Result<()> {
        if self.watches_listener || self.clients.accepting.accepts_at_once(self.now) {
            return Ok(());
        }
        let Some(listener) = self.clients.accepting.listener(self.now) else { return Ok(()) };
        let data = epoll::EventData::new_u64(LISTENER.0 as u64);
        epoll::add(
            self.poll.registry(),
            listener,
            data,
            epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE,
        )?;
        self.watches_listener = true;
        Ok(())
    }

    /// After each connection, so that the next is another loop's: the kernel wakes whoever has watched for longest.
    fn unwatch_listener(&mut self) -> io::Result<()> {
        match self.clients.accepting.listener(self.now) {
            Some(listener) if mem::take(&mut self.watches_listener) => {
                self.poll.registry().deregister(&mut SourceFd(&listener.socket().as_raw_fd()))
            }
            _ => Ok(()),
        }
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) -> io::Result<()> {
        // Now: to close the listener would not end the poll's interest, since other loops hold it too.
        self.unwatch_listener()?;
        self.clients.drain();
        Ok(())
    }
}
