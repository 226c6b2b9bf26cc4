//! Readiness loop: one thread, select(2), no call that blocks but the one that waits for all descriptors.
//!
//! - **Who accepts:** the loop, one connection a turn; each wakes all processes.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each. And FD_SETSIZE: select(2)
//!   watches no descriptor from 1024 on, so the process opens none.
//! - **What one process holds:** about 1,000 connections, many requests on each.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use fcgi_worker::{
    Accepting, Capacity, Config, ConnectionLimit, DescriptorSets, Handler, Listener, Shared, drain,
    nonblocking::Clients,
};
use rustix::event::{Timespec, select};
use rustix::net::{SocketFlags, accept_with};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Selectable, threads: None, multiplexes: true };

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let accepting = Accepting::new(listener, config.connections);
    let mut worker = Worker {
        now: Instant::now(),
        clients: Clients::new(accepting, Shared::new(Arc::new(handler), config))?,
    };
    while !worker.clients.accepting.is_over() {
        match worker.select() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ready => worker.turn(&ready?)?,
        }
    }
    Ok(())
}

struct Worker<H: Handler> {
    /// The time at the turn's begin.
    now: Instant,
    clients: Clients<H>,
}

impl<H: Handler> Worker<H> {
    /// Waits until there is something to do. What is readable, and what is writable.
    fn select(&self) -> io::Result<DescriptorSets> {
        let (mut watched, clients) = (DescriptorSets::default(), &self.clients);
        watched.add_readable(clients.wakeups())?;
        if !clients.accepting.is_draining() {
            watched.add_readable(&drain::wake())?;
            if let Some(listener) = clients.accepting.listener(self.now) {
                watched.add_readable(listener.socket())?;
            }
        }
        for client in clients.iter() {
            if client.session.wants_read() && !client.readable {
                watched.add_readable(&client.socket)?;
            }
            if client.session.wants_write() && !client.writable {
                watched.add_writable(&client.socket)?;
            }
        }
        let next = if clients.has_more(self.now) { Some(self.now) } else { clients.next(self.now) };
        let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let (bound, readable, writable) = watched.for_select();
        // SAFETY: the sets hold the drain's pipe, which is never closed, and what `self` owns and holds open.
        unsafe { select(bound, Some(readable), Some(writable), None, timeout.as_ref())? };
        Ok(watched)
    }

    /// Everything that is to be done until the next call: each connection at most once.
    fn turn(&mut self, ready: &DescriptorSets) -> io::Result<()> {
        self.now = Instant::now();
        let listener =
            self.clients.accepting.listener(self.now).map(|listener| listener.socket().as_raw_fd());
        let wakeups = self.clients.wakeups().as_raw_fd();
        let mut acceptable = self.clients.accepting.accepts_at_once(self.now);
        for descriptor in ready.readable() {
            let key = descriptor as usize;
            if let Some(client) = self.clients.get_mut(key) {
                client.readable = true;
                self.clients.set_due(key);
            } else if Some(descriptor) == listener {
                acceptable = true;
            } else if descriptor == wakeups {
                self.clients.take_woken();
            } else {
                self.clients.drain();
            }
        }
        for descriptor in ready.writable() {
            let key = descriptor as usize;
            if let Some(client) = self.clients.get_mut(key) {
                client.writable = true;
                self.clients.set_due(key);
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
        }
        Ok(())
    }
}
