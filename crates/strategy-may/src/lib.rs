//! Stackful coroutines: each connection has one, with a stack of its own, on may's scheduler.
//!
//! - **Who accepts:** a coroutine, one connection a turn. Every process is woken for it: may does not register with
//!   EPOLLEXCLUSIVE, so over many processes this is a chart of that, too.
//! - **Who reads:** each connection's own coroutine, in straight line, when its socket is readable, into one buffer
//!   that all share.
//! - **Where a request waits:** in its session; its connection's coroutine is suspended until the first is due, by a
//!   timer descriptor.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each. And the mappings that a
//!   process may have (vm.max_map_count), of which a stack takes two.
//! - **What one process holds:** many connections, up to 30,000, many requests on each.
//!
//! All coroutines run on one thread, may's only worker. So a thread-local is the same before and after a wait, in our
//! code and in every library's; and what coroutines share is given back before a wait. That is why two things of may
//! are not used. Its sleep and its timeouts resume a coroutine on the timers' thread. A second worker may resume one,
//! and free what it waits by, while the first still looks at that (`RawIoBlock::subscribe` in may 0.3.51).
//!
//! A turn ends with a wait until now: may's `yield_now` goes on with whoever is ready already, and does not ask the
//! kernel who else is.

use std::io;
use std::iter;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fcgi_worker::{
    Accepting, Alarm, Capacity, Config, ConnectionLimit, Handler, Listener, READ_BYTES, Session, Shared,
    Timers, Wakeups, drain,
};
use may::coroutine::{self, JoinHandle};
use may::io::{CoIo, WaitIo, WaitIoWaker};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use slab::Slab;
use socket2::Socket;

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::AtMost(30_000), threads: None, multiplexes: true };

/// A coroutine's stack: 64 KiB, in words, as may counts.
const STACK: usize = (64 << 10) / size_of::<usize>();
/// Stacks that are kept for connections to come.
const SPARE_STACKS: usize = 64;

/// The key of the coroutine that accepts.
const ACCEPTOR: usize = 0;

/// Reads of one turn, as long as they complete no request: a large body comes in many.
const READS: usize = 8;

/// What a socket is ready for, where it has one of these.
const READABLE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(GONE);
const WRITABLE: EventFlags = EventFlags::OUT.union(GONE);
const GONE: EventFlags = EventFlags::HUP.union(EventFlags::ERR);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    may::config().set_workers(1).set_stack_size(STACK).set_pool_capacity(SPARE_STACKS).set_worker_pin(false);
    listener.socket().set_nonblocking(true)?;
    let (alarm, wakeups) = (Alarm::new()?, Wakeups::new()?);
    let descriptors =
        [listener.socket().as_raw_fd(), alarm.as_raw_fd(), wakeups.as_raw_fd(), drain::wake().as_raw_fd()];
    let worker = Arc::new(Worker(Mutex::new(Lent {
        shared: Shared::new(Arc::new(handler), config),
        input: vec![0; READ_BYTES],
        accepting: Accepting::new(listener, config.connections),
        wakers: Slab::new(),
        timers: Timers::new(),
        alarm,
        wakeups,
    })));
    // In this order: the first has the key ACCEPTOR.
    let [listening, ringing, woken, drained] = descriptors.map(|descriptor| Wait::new(descriptor, &worker));
    wake_at(ringing?, |lent| iter::from_fn(|| lent.timers.expired(Instant::now())).collect());
    wake_at(woken?, |lent| lent.wakeups.take());
    wake_at(drained?, |lent| lent.wakers.iter().map(|(key, _)| key).collect());
    let listening = listening?;
    let accepting = spawn(move || accept(&listening));
    accepting.join().unwrap_or_else(|_| Err(io::Error::other("the coroutine that accepts panicked")))
}

fn spawn<T: Send + 'static>(coroutine: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: a coroutine never leaves the one worker thread, so its thread-locals stay the same. Its stack holds what
    // the limits allow (tests/stack.rs), and below it is a page that ends the process (`accept`).
    unsafe { coroutine::spawn(coroutine) }
}

/// What all coroutines share.
struct Worker<H: Handler>(Mutex<Lent<H>>);

/// What a coroutine borrows, until its next wait at the longest.
struct Lent<H: Handler> {
    shared: Shared<H>,
    input: Vec<u8>,
    accepting: Accepting,
    /// What resumes each coroutine that waits.
    wakers: Slab<WaitIoWaker>,
    timers: Timers,
    alarm: Alarm,
    /// Coroutines with a request that another thread has woken.
    wakeups: Wakeups,
}

impl<H: Handler> Worker<H> {
    fn lend(&self) -> MutexGuard<'_, Lent<H>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a coroutine waits by. It is dropped before its descriptor is closed, whose number another may have then.
struct Wait<H: Handler> {
    descriptor: CoIo<RawFd>,
    key: usize,
    worker: Arc<Worker<H>>,
}

impl<H: Handler> Wait<H> {
    fn new(descriptor: RawFd, worker: &Arc<Worker<H>>) -> io::Result<Self> {
        let descriptor = CoIo::new(descriptor)?;
        let key = worker.lend().wakers.insert(descriptor.waker());
        Ok(Self { descriptor, key, worker: Arc::clone(worker) })
    }

    /// Lets the others run until the descriptor has become ready for something, the time has come, or somebody wakes
    /// this coroutine; perhaps for nothing. Returns what the descriptor has become ready for.
    fn until(&self, time: Option<Instant>) -> io::Result<EventFlags> {
        let mut lent = self.worker.lend();
        lent.timers.set(self.key, time);
        let next = lent.timers.next();
        lent.alarm.set(next)?;
        drop(lent);
        Ok(EventFlags::from_bits_truncate(self.descriptor.wait_io() as u32))
    }
}

impl<H: Handler> Drop for Wait<H> {
    fn drop(&mut self) {
        let mut lent = self.worker.lend();
        lent.wakers.remove(self.key);
        lent.timers.remove(self.key);
    }
}

/// A coroutine that wakes others whenever its descriptor becomes ready.
fn wake_at<H: Handler>(wait: Wait<H>, whom: fn(&mut Lent<H>) -> Vec<usize>) {
    spawn(move || {
        loop {
            wait.until(None).expect("timerfd_settime(2) takes any time");
            let lent = &mut *wait.worker.lend();
            let keys = whom(lent).into_iter().filter(|key| *key != wait.key);
            keys.filter_map(|key| lent.wakers.get(key)).for_each(WaitIoWaker::wakeup);
        }
    });
}

/// Accepts until the drain, then waits for the connections to finish.
fn accept<H: Handler>(listening: &Wait<H>) -> io::Result<()> {
    // May would abandon a coroutine that overflows its stack, with all that it holds. It is to end the process, as a
    // panic does.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: signal(2) takes two numbers. May's own handlers were installed when the first coroutine began, once.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    loop {
        let (now, mut waits) = (Instant::now(), true);
        let mut lent = listening.worker.lend();
        if drain::requested() {
            lent.accepting.drain();
        }
        if let Some(listener) = lent.accepting.listener(now) {
            let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
            waits = matches!(accepted, Err(Errno::AGAIN));
            if let Some(socket) = lent.accepting.accepted(accepted, now)? {
                let worker = Arc::clone(&listening.worker);
                spawn(move || serve_connection(socket.into(), &worker));
                // The others have their turn first, and the other processes theirs: it wakes us.
                waits = true;
            }
        }
        if lent.accepting.is_over() {
            return Ok(());
        }
        let time = lent.accepting.deadline(now);
        drop(lent);
        if waits {
            listening.until(time)?;
        }
    }
}

/// A connection's coroutine.
fn serve_connection<H: Handler>(socket: Socket, worker: &Arc<Worker<H>>) {
    worker.lend().wakers[ACCEPTOR].wakeup();
    let session = Session::new(&worker.lend().shared, Instant::now());
    // Both are worth a try: often it saves a call that waits.
    let ready = EventFlags::IN | EventFlags::OUT;
    let client = Client { wait: None, socket, session, worker, ready, reads: 0 };
    // An error in a connection is that connection's end.
    let _ = client.drive();
    let lent = &mut *worker.lend();
    if lent.accepting.listener(Instant::now()).is_none() {
        lent.wakers[ACCEPTOR].wakeup();
    }
    lent.accepting.closed();
}

struct Client<'w, H: Handler> {
    /// None before the first wait, which many connections never come to.
    wait: Option<Wait<H>>,
    socket: Socket,
    session: Session<H>,
    worker: &'w Arc<Worker<H>>,
    /// What the socket is known to be ready for.
    ready: EventFlags,
    /// Reads of this turn.
    reads: usize,
}

impl<H: Handler> Client<'_, H> {
    /// The connection's whole life: reads, runs the steps, waits and writes, one after the other.
    fn drive(mut self) -> io::Result<()> {
        let mut was_woken = false;
        while !self.session.is_over() {
            if drain::requested() {
                self.session.drain();
            }
            self.ready
                .set(EventFlags::IN, self.ready.contains(EventFlags::IN) || self.session.wants_last_read());
            if self.session.wants_write() && self.ready.intersects(WRITABLE) {
                self.flush()?;
            } else if self.session.wants_read() && self.ready.intersects(READABLE) && self.reads < READS {
                self.read()?;
            } else if mem::take(&mut was_woken) {
                self.session.resume(Instant::now(), &mut self.worker.lend().shared);
            } else {
                self.wait()?;
                was_woken = true;
            }
            if self.session.shuts_write(Instant::now()) {
                self.socket.shutdown(Shutdown::Write)?;
            }
        }
        Ok(())
    }

    /// Lets the others run: until there is something to do, or only once.
    fn wait(&mut self) -> io::Result<()> {
        if self.wait.is_none() {
            self.wait = Some(Wait::new(self.socket.as_raw_fd(), self.worker)?);
        }
        if let Some(wait) = &self.wait {
            if self.session.wants_waker() {
                self.session.set_waker(self.worker.lend().wakeups.waker(wait.key));
            }
            // A peer that is always ready must not keep the others waiting.
            let has_more = self.session.has_more() || self.reads >= READS;
            let until = if has_more { Some(Instant::now()) } else { self.session.deadline() };
            self.ready |= wait.until(until)?;
        }
        self.reads = 0;
        Ok(())
    }

    /// Reads once, and serves what came.
    fn read(&mut self) -> io::Result<()> {
        let Lent { shared, input, .. } = &mut *self.worker.lend();
        let received = recv(&self.socket, &mut **input, RecvFlags::empty());
        let now = Instant::now();
        match received {
            Ok((_, 0)) => self.session.end_of_input(now, shared),
            Ok((_, read)) => {
                self.session.receive(&input[..read], now, shared);
                if read < input.len() && !self.session.is_draining() {
                    // It has emptied the socket; what comes later is announced anew (epoll(7)). The drain wants to be
                    // sure before it closes an idle connection.
                    self.ready.remove(EventFlags::IN);
                } else {
                    self.reads = if self.session.wants_write() { READS } else { self.reads + 1 };
                }
            }
            Err(Errno::AGAIN) => {
                self.ready.remove(EventFlags::IN | EventFlags::RDHUP);
                self.session.end_of_available_input(now, shared);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        match send(&self.socket, self.session.unsent(), SendFlags::NOSIGNAL) {
            Ok(sent) => self.session.sent(sent, Instant::now(), &mut self.worker.lend().shared),
            Err(Errno::AGAIN) => self.ready.remove(EventFlags::OUT),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
