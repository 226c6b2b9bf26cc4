//! Completion loop: one thread, io_uring; one system call submits what is to be sent and received, and waits for what
//! is done.
//!
//! - **Who accepts:** the loop, one connection a turn; one process is woken for it, not all.
//! - **Who reads:** the kernel, into a buffer that it takes from a ring when bytes have come; the loop serves them.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.
//!
//! What one may look for, and why it is not here:
//!
//! - **Multishot accept** would give all connections to one process: its poll stays first in the listener's queue.
//! - **Direct descriptors** save a reference to a file for each operation, but accept(2), getpeername(2), shutdown(2)
//!   and the drain's look at a socket need ordinary ones.
//! - **A registered ring descriptor** saves one reference to a file for each call, and a call is for all connections.
//! - **SEND_ZC** does not send over unix sockets, has two completions, and pays for replies larger than most.
//! - **SQPOLL** is a second thread that spins, for each process, and excludes DEFER_TASKRUN.
//!
//! A send is silent, without a completion, where nothing follows from it. With a timeout set (`--idle-timeout` and its
//! like) something does, as its session counts from then: a reply may cost one call more.

mod buffers;
mod client;
mod ring;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fcgi_worker::{
    Accepting, Capacity, Config, ConnectionLimit, Handler, Listener, Session, Shared, Timers, Wakeups, drain,
};
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;

use crate::buffers::Buffers;
use crate::client::{Client, Flight};
use crate::ring::{Operation, Ring, poll};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut ring = Ring::new(ring::SUBMISSIONS, ring::COMPLETIONS)?;
    let buffers = Buffers::register(&ring.io_uring.submitter())?;
    listener.socket().set_nonblocking(true)?;
    ring.push(poll(drain::wake()), Operation::Drain, 0)?;
    let wakeups = Wakeups::new()?;
    ring.push(poll(&wakeups), Operation::Woken, 0)?;

    // Never dropped: where serving fails, the kernel may still be sending what the clients own.
    let mut worker = ManuallyDrop::new(Worker {
        ring,
        buffers,
        readiness: watch(&listener)?,
        accepting: Accepting::new(listener, config.connections),
        watches_listener: false,
        clients: Slab::new(),
        due: BTreeSet::new(),
        closing: 0,
        silent: Vec::new(),
        starved: VecDeque::new(),
        timers: Timers::new(),
        wakeups,
        now: Instant::now(),
        shared: Shared::new(Arc::new(handler), config),
    });
    worker.accept()?;
    while !worker.accepting.is_over() {
        worker.turn()?;
    }
    Ok(())
}

/// What to watch in place of a listener that nobody shares. The kernel closes a ring, and whatever its operations wait
/// for, some milliseconds after the process has died: a lone worker's listener would still take connections, and
/// lighttpd, which asks before it spawns another worker, believe that one is there. An epoll instance does not hold what
/// it watches. It would wake every process of a pool, though: EPOLLEXCLUSIVE counts for who waits in epoll_wait(2).
fn watch(listener: &Listener) -> io::Result<Option<OwnedFd>> {
    if listener.is_shared() {
        return Ok(None);
    }
    let readiness = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&readiness, listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    Ok(Some(readiness))
}

struct Worker<H: Handler> {
    ring: Ring,
    buffers: Buffers,
    accepting: Accepting,
    /// Says when connections wait for a listener that nobody shares.
    readiness: Option<OwnedFd>,
    /// Whether the kernel announces a connection that waits: only while there is a place for one.
    watches_listener: bool,
    clients: Slab<Client<H>>,
    /// Connections to which something has happened in this turn.
    due: BTreeSet<usize>,
    /// Descriptors that the next call closes.
    closing: usize,
    /// Connections with a silent send.
    silent: Vec<usize>,
    /// Connections whose receive has found no buffer.
    starved: VecDeque<usize>,
    timers: Timers,
    wakeups: Wakeups,
    /// The time at the turn's begin.
    now: Instant,
    shared: Shared<H>,
}

impl<H: Handler> Worker<H> {
    /// Waits, and does everything that is to be done until the next wait: each connection at most once, so that what
    /// several completions made goes out together.
    fn turn(&mut self) -> io::Result<()> {
        self.ring.enter(1, self.timeout())?;
        self.now = Instant::now();
        (0..mem::take(&mut self.closing)).for_each(|_| self.accepting.closed());
        while let Some(completion) = self.ring.completions.pop_front() {
            match Operation::of(completion.user_data()) {
                (Operation::Drain, _) => self.drain()?,
                (Operation::Accept, _) => self.watches_listener = false,
                (Operation::Receive, key) => self.received(key, &completion),
                (Operation::Send, key) => self.sent(key, completion.result()),
                (Operation::Woken, _) => {
                    self.due
                        .extend(self.wakeups.take().into_iter().filter(|key| self.clients.contains(*key)));
                    self.ring.push(poll(&self.wakeups), Operation::Woken, 0)?;
                }
                (Operation::Unobserved, _) => {}
            }
        }
        // Those that are submitted, and of which no completion tells otherwise, have sent all.
        for key in self.silent.drain(..) {
            let client = &mut self.clients[key];
            if client.send == Flight::Silent {
                client.sent(None, self.now, &mut self.shared);
            }
        }
        // All buffers are the kernel's again: as many receives may find one.
        for _ in 0..buffers::COUNT {
            let Some(key) = self.starved.pop_front() else { break };
            self.clients[key].receive = Flight::None;
            self.due.insert(key);
        }
        while let Some(key) = self.timers.expired(self.now) {
            self.due.insert(key);
        }
        for key in mem::take(&mut self.due) {
            self.drive(key)?;
        }
        self.accept()
    }

    /// Serves what came. A connection has one turn: what comes to it beyond that is kept for the next.
    fn received(&mut self, key: usize, completion: &cqueue::Entry) {
        self.due.insert(key);
        let client = &mut self.clients[key];
        if !cqueue::more(completion.flags()) {
            client.receive = Flight::None;
        }
        match (completion.result(), cqueue::buffer_select(completion.flags())) {
            (0, _) => client.session.end_of_input(self.now, &mut self.shared),
            (length @ 1.., Some(buffer)) => {
                let input = self.buffers.filled(buffer, length as usize);
                if mem::replace(&mut client.had_turn, true) {
                    client.session.keep(input, self.now, &mut self.shared);
                } else {
                    client.session.receive(input, self.now, &mut self.shared);
                }
                self.buffers.give_back(buffer);
            }
            (error, _) if error == -libc::ENOBUFS && client.receive == Flight::None => {
                client.receive = Flight::Starved;
                self.starved.push_back(key);
            }
            (error, _) if is_passing(error) => {}
            _ => client.session.abandon(),
        }
    }

    /// A send has completed: one that may wait, or a silent one that has not sent all.
    fn sent(&mut self, key: usize, result: i32) {
        self.due.insert(key);
        let client = &mut self.clients[key];
        client.send = Flight::None;
        match result {
            sent @ 0.. => client.sent(Some(sent as usize), self.now, &mut self.shared),
            error if is_passing(error) => {}
            _ => client.session.abandon(),
        }
    }

    /// One turn of one connection. It is closed once the kernel holds nothing of it.
    fn drive(&mut self, key: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        client.turn(&mut self.ring, self.now, &mut self.shared)?;
        if client.send == Flight::Silent {
            self.silent.push(key);
        }
        if client.session.is_over() {
            self.timers.remove(key);
            if client.is_released(&mut self.ring)? {
                self.closing += 1;
                let close = opcode::Close::new(Fd(self.clients.remove(key).socket.into_raw_fd())).build();
                self.ring.push(close.flags(Flags::SKIP_SUCCESS), Operation::Unobserved, 0)?;
            }
            return Ok(());
        }
        if client.session.wants_waker() {
            client.session.set_waker(self.wakeups.waker(key));
        }
        // In a drain, a completion that has come may be its: it is not taken for idle before that is known.
        let has_more =
            client.session.has_more() || self.accepting.is_draining() && !self.ring.completions.is_empty();
        self.timers.set(key, if has_more { Some(self.now) } else { client.session.deadline() });
        Ok(())
    }

    /// Takes in one connection, unless it waits to be told of one; what it has sent is received by the next call. Then
    /// asks to be told of the next one, so that this is another process's: the kernel wakes whoever has asked first.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.accepting.listener(self.now).filter(|_| !self.watches_listener) else {
            return Ok(());
        };
        let accepted = accept_with(listener, SocketFlags::CLOEXEC);
        if let Some(socket) = self.accepting.accepted(accepted, self.now)? {
            let key = self.clients.vacant_key();
            self.clients.insert(Client::new(key, socket.into(), Session::new(&self.shared, self.now)));
            self.drive(key)?;
        }
        let at_once = self.accepting.accepts_at_once(self.now);
        if let Some(listener) = self.accepting.listener(self.now).filter(|_| !at_once) {
            self.watches_listener = true;
            let watched = self.readiness.as_ref().map_or(listener.as_fd(), AsFd::as_fd);
            self.ring.push(poll(watched), Operation::Accept, 0)?;
        }
        Ok(())
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) -> io::Result<()> {
        // Now: to close the listener would not end it, and connections are taken when it has ended.
        self.ring.cancel(Operation::Accept, 0)?;
        self.accepting.drain();
        self.shared.drain();
        for (key, client) in &mut self.clients {
            client.session.drain();
            self.due.insert(key);
        }
        Ok(())
    }

    /// How long nothing is to be done, unless a completion says otherwise.
    fn timeout(&self) -> Option<Duration> {
        let accepts = !self.watches_listener && self.accepting.accepts_at_once(self.now);
        // Where a connection waits for the place, or the end of the drain.
        let closes = self.closing > 0 && self.accepting.listener(self.now).is_none();
        if accepts || closes || !self.starved.is_empty() || !self.ring.completions.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.accepting.deadline(self.now).into_iter().chain(self.timers.next()).min();
        next.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Whether an operation that has failed is simply started again.
fn is_passing(error: i32) -> bool {
    matches!(-error, libc::ECANCELED | libc::EINTR | libc::EAGAIN)
}
