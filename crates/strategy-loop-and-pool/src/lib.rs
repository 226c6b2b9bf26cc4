//! Half synchronous, half asynchronous: one loop for all descriptors, epoll through mio, and a pool of T threads for the steps.
//!
//! - **Who accepts:** the loop, one connection a turn; one process is woken for it, not all.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in its session; the call that waits ends when the first is due, by a timer descriptor. For a
//!   thread: first in its session, where its connection has its turn, then in the channel of the pool.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each. And for each thread
//!   sixteen steps that run, wait for it, or wait for the loop; together they write what one connection may have unsent.
//! - **What one process holds:** many connections, many requests on each.
//!
//! The loop alone has the sessions, so none has a lock. A thread takes an exchange from one channel, runs a step, and puts it
//! into another; it does not wait for anything but the next. What wakes the loop is written for the first step that it has not
//! seen.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use fcgi_worker::{
    Accepting, Alarm, Capacity, Config, ConnectionLimit, Exchange, Handler, Listener, PerThread, Shared,
    Step, Wakeups, drain, nonblocking::Clients, threads,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: Some(PerThread::Step(4)), multiplexes: true };

/// Connections have their keys as tokens.
const LISTENER: Token = Token(usize::MAX - 1);
const DRAIN: Token = Token(usize::MAX - 2);
const ALARM: Token = Token(usize::MAX - 3);
const WAKEUPS: Token = Token(usize::MAX - 4);
const POOL: Token = Token(usize::MAX - 5);

/// Steps for each thread that run, wait for it, or wait for the loop to take them back. While there are some, neither has to be
/// woken; and whoever comes anew waits for no more than these.
const STEPS: usize = 16;

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let (mut poll, alarm, wakeups) = (Poll::new()?, Alarm::new()?, Wakeups::new()?);
    let (handler, room) = (Arc::new(handler), config.output_bytes.div_ceil(STEPS));
    let accepting = Accepting::new(listener, config.connections);
    let shared = Shared::new(Arc::clone(&handler), config).with_steps_elsewhere();
    let clients = Clients::new(accepting, shared)?;
    for (descriptor, token) in [
        (drain::wake().as_raw_fd(), DRAIN),
        (alarm.as_raw_fd(), ALARM),
        (clients.wakeups().as_raw_fd(), WAKEUPS),
        (wakeups.as_raw_fd(), POOL),
    ] {
        poll.registry().register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
    }
    let most_steps = STEPS * config.threads;
    let (tasks, waiting) = bounded(most_steps);
    let (done, finished) = bounded(most_steps);
    let threads = threads::start("step", config.threads, || {
        let (handler, waiting, done) = (Arc::clone(&handler), waiting.clone(), done.clone());
        let waker = wakeups.waker(POOL.0);
        move || run_steps(&*handler, room, &waiting, &done, &waker)
    })?;
    let mut worker = Worker {
        registry: poll.registry().try_clone()?,
        watches_listener: false,
        alarm,
        wakeups,
        tasks,
        finished,
        steps: 0,
        most_steps: STEPS * threads.len(),
        ready: BTreeSet::new(),
        last: 0,
        now: Instant::now(),
        clients,
    };
    let mut events = Events::with_capacity(1024);
    while !worker.clients.accepting.is_over() {
        worker.watch_listener()?;
        worker.alarm.set(worker.clients.next(worker.now))?;
        let timeout = worker.clients.has_more(worker.now).then_some(Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        worker.turn(&events)?;
    }
    // With the channel of the tasks; no step is left.
    drop(worker);
    drain::join(threads)
}

/// A step that is to be run.
struct Task<H: Handler> {
    /// Of its connection.
    key: usize,
    exchange: Exchange<H>,
    /// What the step writes.
    output: Vec<u8>,
}

/// A thread of the pool: runs one step after the other until the loop has ended.
fn run_steps<H: Handler>(
    handler: &H,
    room: usize,
    tasks: &Receiver<Task<H>>,
    done: &Sender<(Task<H>, Step)>,
    waker: &Waker,
) -> io::Result<()> {
    for mut task in tasks {
        let step = task.exchange.step(handler, &mut task.output, room);
        if done.send((task, step)).is_err() {
            break;
        }
        waker.wake_by_ref();
    }
    Ok(())
}

struct Worker<H: Handler> {
    registry: mio::Registry,
    /// Whether the poll announces connections that wait: only while there is a place for one.
    watches_listener: bool,
    /// Ends the poll when the first of the clients' times has come.
    alarm: Alarm,
    /// End the poll when a step has ended.
    wakeups: Wakeups,
    tasks: Sender<Task<H>>,
    finished: Receiver<(Task<H>, Step)>,
    /// Those that were given to the pool and have not been taken back.
    steps: usize,
    most_steps: usize,
    /// Connections that may have a request that can go on.
    ready: BTreeSet<usize>,
    /// The last one of these whose request went to the pool.
    last: usize,
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
                POOL => self.take_back(),
                Token(key) => {
                    let Some(client) = self.clients.get_mut(key) else { continue };
                    client.hung_up |= event.is_read_closed();
                    client.readable |= event.is_readable();
                    client.writable |= event.is_writable();
                    self.drive(key);
                }
            }
        }
        for key in self.clients.take_due(self.now) {
            self.drive(key);
        }
        if acceptable {
            self.accept()?;
        }
        self.hand_out()
    }

    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = self.clients.accepting.listener(self.now) else { return Ok(()) };
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        if let Some(socket) = self.clients.accepting.accepted(accepted, self.now)? {
            let key = self.clients.insert(socket, self.now);
            self.drive(key);
            // Not before it has outlived its first turn.
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Some(client) = self.clients.get_mut(key)
                && self
                    .registry
                    .register(&mut SourceFd(&client.socket.as_raw_fd()), Token(key), interest)
                    .is_err()
            {
                self.clients.close(key);
            }
        }
        Ok(())
    }

    /// Asks to be told of connections that wait, if there is a place for one. EPOLLEXCLUSIVE is what mio does not offer:
    /// without it each connection wakes every process (epoll_ctl(2)).
    fn watch_listener(&mut self) -> io::Result<()> {
        if self.watches_listener || self.clients.accepting.accepts_at_once(self.now) {
            return Ok(());
        }
        let Some(listener) = self.clients.accepting.listener(self.now) else { return Ok(()) };
        let data = epoll::EventData::new_u64(LISTENER.0 as u64);
        epoll::add(&self.registry, listener, data, epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE)?;
        self.watches_listener = true;
        Ok(())
    }

    /// After each connection, so that the next is another process's: the kernel wakes whoever has watched for longest.
    fn unwatch_listener(&mut self) -> io::Result<()> {
        match self.clients.accepting.listener(self.now) {
            Some(listener) if mem::take(&mut self.watches_listener) => {
                self.registry.deregister(&mut SourceFd(&listener.socket().as_raw_fd()))
            }
            _ => Ok(()),
        }
    }

    /// One turn of one connection. Its requests may be ready for a step then.
    fn drive(&mut self, key: usize) {
        self.clients.drive(key, self.now);
        self.ready.insert(key);
    }

    /// Gives requests to the pool, as many as it takes: each connection's next one, in turn.
    fn hand_out(&mut self) -> io::Result<()> {
        while self.steps < self.most_steps
            && let Some(key) = self.ready.range(self.last + 1..).chain(&self.ready).next().copied()
        {
            let Some((exchange, output)) = self.clients.take_exchange(key) else {
                self.ready.remove(&key);
                continue;
            };
            (self.last, self.steps) = (key, self.steps + 1);
            let sent = self.tasks.send(Task { key, exchange, output });
            sent.map_err(|_| io::Error::other("the pool has ended"))?;
        }
        Ok(())
    }

    /// Takes back what the pool has done.
    fn take_back(&mut self) {
        // Before the look: whoever comes after that wakes the loop again.
        self.wakeups.take();
        for (Task { key, exchange, output }, step) in self.finished.try_iter() {
            self.steps -= 1;
            self.clients.put_back(key, exchange, step, output, self.now);
        }
    }

    /// SIGTERM: connections that wait are still taken, idle ones are closed, the others finish.
    fn drain(&mut self) -> io::Result<()> {
        // Now: to close the listener would not end the poll's interest, since other processes hold it too.
        self.unwatch_listener()?;
        self.clients.drain();
        Ok(())
    }
}
