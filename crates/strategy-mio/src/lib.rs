//! Readiness loop: one thread, epoll through mio, no call that blocks but the one that waits for all descriptors.
//!
//! - **Who accepts:** the loop, one connection a turn; one process is woken for it, not all.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due, by a timer descriptor.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fcgi_worker::{
    Accepting, Alarm, Capacity, Config, ConnectionLimit, Handler, Listener, READ_BYTES, Session, Shared,
    Timers, Wakeups, drain, nonblocking::Client,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

/// Connections have the slab's keys as tokens.
const LISTENER: Token = Token(usize::MAX - 1);
const DRAIN: Token = Token(usize::MAX - 2);
const ALARM: Token = Token(usize::MAX - 3);
const WAKEUPS: Token = Token(usize::MAX - 4);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut poll = Poll::new()?;
    listener.socket().set_nonblocking(true)?;
    poll.registry().register(&mut SourceFd(&drain::wake().as_raw_fd()), DRAIN, Interest::READABLE)?;
    let alarm = Alarm::new()?;
    poll.registry().register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)?;
    let wakeups = Wakeups::new()?;
    poll.registry().register(&mut SourceFd(&wakeups.as_raw_fd()), WAKEUPS, Interest::READABLE)?;
    let mut worker = Worker {
        registry: poll.registry().try_clone()?,
        accepting: Accepting::new(listener, config.connections),
        watches_listener: false,
        clients: Slab::new(),
        due: BTreeSet::new(),
        timers: Timers::new(),
        alarm,
        wakeups,
        now: Instant::now(),
        input: vec![0; READ_BYTES],
        shared: Shared::new(Arc::new(handler), config),
    };
    let mut events = Events::with_capacity(1024);
    while !worker.accepting.is_over() {
        worker.watch_listener()?;
        worker.alarm.set(worker.timers.next())?;
        match poll.poll(&mut events, worker.timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        worker.turn(&events)?;
    }
    Ok(())
}

struct Worker<H: Handler> {
    registry: mio::Registry,
    accepting: Accepting,
    /// Whether the poll announces connections that wait: only while there is a place for one.
    watches_listener: bool,
    clients: Slab<Client<H>>,
    /// Connections that are driven in the next turn whatever their sockets say.
    due: BTreeSet<usize>,
    timers: Timers,
    alarm: Alarm,
    wakeups: Wakeups,
    /// The time at the turn's begin.
    now: Instant,
    input: Vec<u8>,
    shared: Shared<H>,
}

impl<H: Handler> Worker<H> {
    /// Everything that is to be done until the next poll: each connection once for what its socket says, and once for the rest.
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
                ALARM => {}
                WAKEUPS => self.due.extend(self.wakeups.take()),
                Token(key) => {
                    let Some(client) = self.clients.get_mut(key) else { continue };
                    client.hung_up |= event.is_read_closed();
                    client.readable |= event.is_readable();
                    client.writable |= event.is_writable();
                    self.drive(key);
                }
            }
        }
        while let Some(key) = self.timers.expired(self.now) {
            self.due.insert(key);
        }
        if !self.due.is_empty() {
            mem::take(&mut self.due).into_iter().for_each(|key| self.drive(key));
        }
        if acceptable { self.accept() } else { Ok(()) }
    }

    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.accepting.listener(self.now) else { return Ok(()) };
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        if let Some(socket) = self.accepting.accepted(accepted, self.now)? {
            let session = Session::new(&self.shared, self.now);
            let key = self.clients.insert(Client::new(socket.into(), session));
            self.drive(key);
            // Not before it has outlived its first turn.
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Some(client) = self.clients.get(key)
                && self
                    .registry
                    .register(&mut SourceFd(&client.socket.as_raw_fd()), Token(key), interest)
                    .is_err()
            {
                self.close(key);
            }
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

    /// One turn of one connection.
    fn drive(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        // An error in a connection is that connection's end.
        let served = client.turn(&mut self.input, self.now, &mut self.shared);
        if served.is_err() || client.session.is_over() {
            return self.close(key);
        }
        if client.session.wants_waker() {
            client.session.set_waker(self.wakeups.waker(key));
        }
        self.timers.set(key, client.session.deadline());
        if client.has_more() {
            self.due.insert(key);
        }
    }

    fn close(&mut self, key: usize) {
        self.clients.remove(key);
        self.timers.remove(key);
        self.accepting.closed();
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) -> io::Result<()> {
        // Now: to close the listener would not end the poll's interest, since other processes hold it too.
        self.unwatch_listener()?;
        self.accepting.drain();
        self.shared.drain();
        for (key, client) in &mut self.clients {
            client.drain();
            self.due.insert(key);
        }
        Ok(())
    }

    /// How long nothing is to be done, unless a descriptor says otherwise. Deadlines of sessions are the alarm's.
    fn timeout(&self) -> Option<Duration> {
        if !self.due.is_empty() || self.accepting.accepts_at_once(self.now) {
            return Some(Duration::ZERO);
        }
        self.accepting.deadline(self.now).map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}
