//! Readiness loop: one thread, select(2), no call that blocks but the one that waits for all descriptors.
//!
//! - **Who accepts:** the loop, one connection a turn; each wakes all processes.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each. And FD_SETSIZE: select(2)
//!   watches no descriptor from 1024 on, so the process opens none.
//! - **What one process holds:** about 1,000 connections, many requests on each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fcgi_worker::{
    Accepting, Capacity, Config, ConnectionLimit, DescriptorSets, Handler, Listener, READ_BYTES, Session,
    Shared, Timers, Wakeups, drain, nonblocking::Client,
};
use rustix::event::{Timespec, select};
use rustix::net::{SocketFlags, accept_with};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Selectable, threads: None, multiplexes: true };

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let mut worker = Worker {
        accepting: Accepting::new(listener, config.connections),
        clients: BTreeMap::new(),
        due: BTreeSet::new(),
        timers: Timers::new(),
        wakeups: Wakeups::new()?,
        now: Instant::now(),
        input: vec![0; READ_BYTES],
        shared: Shared::new(Arc::new(handler), config),
    };
    while !worker.accepting.is_over() {
        match worker.select() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ready => worker.turn(&ready?)?,
        }
    }
    Ok(())
}

struct Worker<H: Handler> {
    accepting: Accepting,
    /// By descriptor: that is how select(2) names them.
    clients: BTreeMap<usize, Client<H>>,
    /// Connections that the next turn is for: they are readable or writable, or have more to do than one turn allows.
    due: BTreeSet<usize>,
    timers: Timers,
    wakeups: Wakeups,
    /// The time at the turn's begin.
    now: Instant,
    input: Vec<u8>,
    shared: Shared<H>,
}

impl<H: Handler> Worker<H> {
    /// Waits until there is something to do. What is readable, and what is writable.
    fn select(&self) -> io::Result<DescriptorSets> {
        let mut watched = DescriptorSets::default();
        watched.add_readable(&self.wakeups)?;
        if !self.accepting.is_draining() {
            watched.add_readable(&drain::wake())?;
            if let Some(listener) = self.accepting.listener(self.now) {
                watched.add_readable(listener.socket())?;
            }
        }
        for client in self.clients.values() {
            if client.session.wants_read() && !client.readable {
                watched.add_readable(&client.socket)?;
            }
            if client.session.wants_write() && !client.writable {
                watched.add_writable(&client.socket)?;
            }
        }
        let timeout = self.timeout().and_then(|timeout| Timespec::try_from(timeout).ok());
        let (bound, readable, writable) = watched.for_select();
        // SAFETY: the sets hold the drain's pipe, which is never closed, and what `self` owns and holds open.
        unsafe { select(bound, Some(readable), Some(writable), None, timeout.as_ref())? };
        Ok(watched)
    }

    /// Everything that is to be done until the next call: each connection at most once.
    fn turn(&mut self, ready: &DescriptorSets) -> io::Result<()> {
        self.now = Instant::now();
        let listener = self.accepting.listener(self.now).map(|listener| listener.socket().as_raw_fd());
        let wakeups = self.wakeups.as_raw_fd();
        let mut acceptable = self.accepting.accepts_at_once(self.now);
        for descriptor in ready.readable() {
            if let Some(client) = self.clients.get_mut(&(descriptor as usize)) {
                client.readable = true;
                self.due.insert(descriptor as usize);
            } else if Some(descriptor) == listener {
                acceptable = true;
            } else if descriptor == wakeups {
                self.due.extend(self.wakeups.take());
            } else {
                self.drain();
            }
        }
        for descriptor in ready.writable() {
            if let Some(client) = self.clients.get_mut(&(descriptor as usize)) {
                client.writable = true;
                self.due.insert(descriptor as usize);
            }
        }
        while let Some(key) = self.timers.expired(self.now) {
            self.due.insert(key);
        }
        for key in mem::take(&mut self.due) {
            self.drive(key);
        }
        if acceptable { self.accept() } else { Ok(()) }
    }

    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.accepting.listener(self.now) else { return Ok(()) };
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        let Some(socket) = self.accepting.accepted(accepted, self.now)? else { return Ok(()) };
        let key = socket.as_raw_fd() as usize;
        let session = Session::new(&self.shared, self.now);
        self.clients.insert(key, Client::new(socket.into(), session));
        self.drive(key);
        Ok(())
    }

    /// One turn of one connection.
    fn drive(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(&key) else { return };
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
        self.clients.remove(&key);
        self.timers.remove(key);
        self.accepting.closed();
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) {
        self.accepting.drain();
        self.shared.drain();
        for (key, client) in &mut self.clients {
            client.drain();
            self.due.insert(*key);
        }
    }

    /// How long nothing is to be done, unless a descriptor says otherwise.
    fn timeout(&self) -> Option<Duration> {
        if !self.due.is_empty() || self.accepting.accepts_at_once(self.now) {
            return Some(Duration::ZERO);
        }
        let next = self.accepting.deadline(self.now).into_iter().chain(self.timers.next()).min();
        next.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}
