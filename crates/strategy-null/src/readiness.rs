//! The floor of the models that wait for all connections at once: one thread, epoll through mio.
//!
//! - **Who accepts:** the loop, one connection a turn; one process is woken for it, not all.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** nowhere; it is answered when its last byte has been counted.
//! - **What bounds it:** `--connections`, and one read's answers for each.
//! - **What one process holds:** many connections, many requests on each.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use fcgi_worker::{Accepting, Capacity, Config, ConnectionLimit, Handler, Listener, drain};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;
use socket2::Socket;

use crate::count::{Count, Then};

/// Many connections. It is not announced: that would be protocol work.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

/// Connections have the slab's keys as tokens.
const LISTENER: Token = Token(usize::MAX - 1);
const DRAIN: Token = Token(usize::MAX - 2);

/// Serves until the drain.
pub fn serve(listener: Listener, _: impl Handler, config: &Config) -> io::Result<()> {
    let mut poll = Poll::new()?;
    listener.socket().set_nonblocking(true)?;
    poll.registry().register(&mut SourceFd(&drain::wake().as_raw_fd()), DRAIN, Interest::READABLE)?;

    let mut worker = Worker {
        registry: poll.registry().try_clone()?,
        accepting: Accepting::new(listener, config.connections),
        watches_listener: false,
        clients: Slab::new(),
        unfinished: Vec::new(),
        is_draining: false,
        now: Instant::now(),
        input: vec![0; 64 << 10],
        output: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    while !worker.accepting.is_over() {
        worker.watch_listener()?;
        match poll.poll(&mut events, worker.timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        worker.turn(&events)?;
    }
    Ok(())
}

struct Worker {
    registry: mio::Registry,
    accepting: Accepting,
    /// Whether the poll announces connections that wait: only while there is a place for one.
    watches_listener: bool,
    clients: Slab<Client>,
    /// Connections that have more to read.
    unfinished: Vec<usize>,
    is_draining: bool,
    /// The time at the turn's begin.
    now: Instant,
    input: Vec<u8>,
    output: Vec<u8>,
}

struct Client {
    socket: Socket,
    count: Count,
    registered: bool,
    /// The peer has shut its side: read on to the end, however short a read is.
    hung_up: bool,
    then: Then,
    /// Answers that the socket did not take: nothing is read before they are written.
    unsent: Vec<u8>,
}

/// Where a connection stands after a turn.
enum State {
    /// It waits for its socket.
    Waiting,
    /// There may be more to read.
    Unfinished,
    Closed,
}

impl Worker {
    /// Everything that is to be done until the next poll.
    fn turn(&mut self, events: &Events) -> io::Result<()> {
        self.now = Instant::now();
        let mut acceptable = self.accepting.accepts_at_once(self.now);
        for event in events {
            match event.token() {
                LISTENER => {
                    self.unwatch_listener()?;
                    acceptable = true;
                }
                DRAIN => self.drain()?,
                Token(key) => {
                    let Some(client) = self.clients.get_mut(key) else { continue };
                    client.hung_up |= event.is_read_closed() || event.is_error();
                    self.drive(key);
                }
            }
        }
        for key in mem::take(&mut self.unfinished) {
            self.drive(key);
        }
        if acceptable { self.accept() } else { Ok(()) }
    }

    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.accepting.listener(self.now) else { return Ok(()) };
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        if let Some(socket) = self.accepting.accepted(accepted, self.now)? {
            let key = self.clients.insert(Client::new(socket.into()));
            self.drive(key);
        }
        Ok(())
    }

    /// Asks to be told of connections that wait, if there is a place for one. EPOLLEXCLUSIVE is what mio does not offer:
    /// without it each connection wakes every process (epoll_ctl(2)).
    fn watch_listener(&mut self) -> io::Result<()> {
        if self.watches_listener || self.accepting.accepts_at_once(self.now) {
            return Ok(());
        }
        let Some(listener) = self.accepting.listener(self.now) else { return Ok(()) };
        let data = epoll::EventData::new_u64(LISTENER.0 as u64);
        epoll::add(&self.registry, listener, data, epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE)?;
        self.watches_listener = true;
        Ok(())
    }

    /// After each connection, so that the next is another process's: the kernel wakes whoever has watched for longest.
    fn unwatch_listener(&mut self) -> io::Result<()> {
        match self.accepting.listener(self.now) {
            Some(listener) if mem::take(&mut self.watches_listener) => {
                self.registry.deregister(&mut SourceFd(&listener.socket().as_raw_fd()))
            }
            _ => Ok(()),
        }
    }

    /// Reads and writes once for one connection.
    fn drive(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        // An error in a connection is that connection's end.
        let state = client.turn(&mut self.input, &mut self.output, self.is_draining).unwrap_or(State::Closed);
        match state {
            State::Waiting if client.register(key, &self.registry).is_ok() => {}
            State::Unfinished => self.unfinished.push(key),
            _ => {
                self.clients.remove(key);
                self.accepting.closed();
            }
        }
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) -> io::Result<()> {
        // Now: to close the listener would not end the poll's interest, since other processes hold it too.
        self.unwatch_listener()?;
        self.accepting.drain();
        self.is_draining = true;
        self.unfinished.extend(self.clients.iter().map(|(key, _)| key));
        Ok(())
    }

    /// How long nothing is to be done, unless a descriptor says otherwise.
    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() || self.accepting.accepts_at_once(self.now) {
            return Some(Duration::ZERO);
        }
        self.accepting.deadline(self.now).map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl Client {
    fn new(socket: Socket) -> Self {
        Self {
            socket,
            count: Count::default(),
            registered: false,
            hung_up: false,
            then: Then::Read,
            unsent: Vec::new(),
        }
    }

    /// One read, and one write of what it gives.
    fn turn(&mut self, input: &mut [u8], output: &mut Vec<u8>, draining: bool) -> io::Result<State> {
        if !self.unsent.is_empty() {
            let sent = self.write(&self.unsent)?;
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return Ok(State::Waiting);
            }
            if self.then == Then::Close {
                return Ok(State::Closed);
            }
        }
        let read = match (&self.socket).read(input) {
            Ok(0) => return Ok(State::Closed),
            Ok(read) => read,
            // All that has come is served: the drain lets go.
            Err(error) if error.kind() == ErrorKind::WouldBlock && draining && self.count.is_idle() => {
                return Ok(State::Closed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(State::Waiting),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(State::Unfinished),
            Err(error) => return Err(error),
        };
        output.clear();
        self.then = self.count.take(&input[..read], output);
        let sent = self.write(output)?;
        if sent < output.len() {
            self.unsent.extend_from_slice(&output[sent..]);
            return Ok(State::Waiting);
        }
        if self.then == Then::Close {
            return Ok(State::Closed);
        }
        // A short read has emptied the socket; what comes later is announced anew (epoll(7)).
        let emptied = read < input.len() && !self.hung_up && !draining;
        Ok(if emptied { State::Waiting } else { State::Unfinished })
    }

    /// Writes what the socket takes, and returns how much that was.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match (&self.socket).write(&bytes[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Asks to be told when the socket is ready: not before a connection has outlived its first turn.
    fn register(&mut self, key: usize, registry: &mio::Registry) -> io::Result<()> {
        if !self.registered {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut SourceFd(&self.socket.as_raw_fd()), Token(key), interest)?;
            self.registered = true;
        }
        Ok(())
    }
}
