//! A thread per request, a lock per connection, select(2) over all connections. What 2007 called multiplexed.
//!
//! - **Who accepts:** the main thread, one connection a turn; each wakes all processes.
//! - **Who reads:** the main thread, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in its own thread, on its connection's condition; for a thread, in its session.
//! - **What bounds it:** `--threads` requests at a time, and a quarter of those for one connection; who waits for a thread
//!   gets it in turn. Where no thread can be had, a request is refused (503). The requests in flight and the unsent output of
//!   each connection, and one step's output in each thread. And FD_SETSIZE: select(2) watches no descriptor from 1024 on,
//!   so the process opens none.
//! - **What one process holds:** about 1,000 connections, many requests on each.
//!
//! Locks are taken in one order: a connection's state, then what all of them share. Neither is held while a
//! thread sends or receives, so that no other has to wait for it: what is being sent is taken out of the session, and as
//! long as it is, that has nothing to send for anybody else.
//!
//! [`Form`] takes the model's costs apart.

mod form;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use fcgi_worker::{
    Accepting, Capacity, Config, ConnectionLimit, DescriptorSets, Exchange, Handler, Listener, PerThread,
    READ_BYTES, Session, Shared, Step, drain,
};
use rustix::event::{EventfdFlags, Timespec, eventfd, select};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use socket2::Socket;

pub use form::Form;
use form::{AtWork, Starter};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity = Capacity {
    connections: ConnectionLimit::Selectable,
    threads: Some(PerThread::Request(128)),
    multiplexes: true,
};

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    serve_as(Form::Created, listener, handler, config)
}

/// The same, in a form of the model.
pub fn serve_as(form: Form, listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    // One heap for all threads: glibc would make up to eight for each core, and each keeps what was freed in it.
    // The threads meet at its lock instead: a futex call or two for every forty requests.
    // SAFETY: mallopt(3) takes two numbers, and no other thread runs yet.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    let starter = Starter::new(form, config.threads)?;
    let mut worker = Worker {
        accepting: Accepting::new(listener, config.connections),
        clients: VecDeque::new(),
        input: vec![0; READ_BYTES],
        threads: Arc::new(Threads {
            shared: Mutex::new(Shared::new(Arc::new(handler), config).with_steps_elsewhere()),
            config: Config { threads: starter.threads(), ..*config },
            running: AtomicUsize::new(0),
            at_work: starter.at_work(),
            changed: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        }),
        starter,
    };
    while !worker.accepting.is_over() {
        match worker.select() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ready => worker.turn(ready?)?,
        }
    }
    worker.starter.end()
}

/// The main thread's side.
struct Worker<H: Handler> {
    accepting: Accepting,
    /// In the order in which they get threads.
    clients: VecDeque<Arc<Client<H>>>,
    input: Vec<u8>,
    threads: Arc<Threads<H>>,
    starter: Starter,
}

/// What all threads share.
struct Threads<H: Handler> {
    shared: Mutex<Shared<H>>,
    config: Config,
    /// Those that serve requests.
    running: AtomicUsize,
    at_work: AtWork,
    /// Wakes the main thread.
    changed: OwnedFd,
}

struct Client<H: Handler> {
    socket: Socket,
    state: Mutex<State<H>>,
    /// Room appeared, a request was aborted, or the connection is over.
    changed: Condvar,
}

struct State<H: Handler> {
    session: Session<H>,
    /// The main thread waits, or will, for the socket to take more output: others need not try.
    awaits_writable: bool,
    /// How many threads its requests have.
    threads: usize,
    /// Requests whose threads have not begun to run.
    starting: VecDeque<Exchange<H>>,
}

type Guard<'a, H> = MutexGuard<'a, State<H>>;

impl<H: Handler> Worker<H> {
    /// Waits until there is something to do. What is readable, and what is writable.
    fn select(&self) -> io::Result<DescriptorSets> {
        let (mut watched, now) = (DescriptorSets::default(), Instant::now());
        watched.add_readable(&self.threads.changed)?;
        if !self.accepting.is_draining() {
            watched.add_readable(&drain::wake())?;
            if let Some(listener) = self.accepting.listener(now) {
                watched.add_readable(listener.socket())?;
            }
        }
        let mut next = self.accepting.accepts_at_once(now).then_some(now).or(self.accepting.deadline(now));
        for client in &self.clients {
            let mut state = lock(&client.state);
            if state.session.wants_read() {
                watched.add_readable(&client.socket)?;
            }
            state.awaits_writable = state.session.wants_write();
            if state.awaits_writable {
                watched.add_writable(&client.socket)?;
            }
            let is_closable = state.session.is_over() && state.threads == 0;
            let at_once = is_closable || state.session.has_more() || state.session.wants_last_read();
            next = next.into_iter().chain(at_once.then_some(now).or(state.session.deadline())).min();
        }
        let timeout = next.and_then(|next| Timespec::try_from(next.saturating_duration_since(now)).ok());
        let (bound, readable, writable) = watched.for_select();
        // SAFETY: the sets hold the drain's pipe, which is never closed, and what `self` owns and holds open.
        unsafe { select(bound, Some(readable), Some(writable), None, timeout.as_ref())? };
        Ok(watched)
    }

    /// Everything that is to be done until the next call: each connection at most once.
    fn turn(&mut self, mut ready: DescriptorSets) -> io::Result<()> {
        if ready.is_readable(&self.threads.changed) {
            // Read to be told again; that it was readable is all there is to know.
            let _ = rustix::io::read(&self.threads.changed, &mut [0; 8]);
        }
        if drain::requested() {
            self.accepting.drain();
        }
        self.accept(&mut ready)?;
        let before = self.clients.len();
        self.clients.retain(|client| client.drive(&ready, &mut self.input, &self.threads));
        (self.clients.len()..before).for_each(|_| self.accepting.closed());
        self.start_requests();
        Ok(())
    }

    /// Takes in one connection, and reads what it has sent at once: often that is all there is.
    fn accept(&mut self, ready: &mut DescriptorSets) -> io::Result<()> {
        let now = Instant::now();
        let Some(listener) = self.accepting.listener(now) else { return Ok(()) };
        if !self.accepting.accepts_at_once(now) && !ready.is_readable(listener.socket()) {
            return Ok(());
        }
        let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        let Some(socket) = self.accepting.accepted(accepted, now)? else { return Ok(()) };
        ready.add_readable(&socket)?;
        let session = Session::new(&lock(&self.threads.shared), now);
        let state = State { session, awaits_writable: false, threads: 0, starting: VecDeque::new() };
        let client = Client { socket: socket.into(), state: Mutex::new(state), changed: Condvar::new() };
        self.clients.push_back(Arc::new(client));
        Ok(())
    }

    /// Gives threads to requests, as many as there may be: each connection's next one, in turn.
    fn start_requests(&mut self) {
        let mut left = self.clients.len();
        while left > 0 && self.threads.running.load(Ordering::Acquire) < self.threads.config.threads {
            left = if self.clients[0].start(&self.threads, &self.starter) {
                self.clients.len()
            } else {
                left - 1
            };
            self.clients.rotate_left(1);
        }
    }
}

impl<H: Handler> Client<H> {
    /// The main thread's turn. False: the connection is over, and no thread holds its descriptor any more.
    fn drive(self: &Arc<Self>, ready: &DescriptorSets, input: &mut [u8], threads: &Threads<H>) -> bool {
        let (mut state, now) = (lock(&self.state), Instant::now());
        if drain::requested() {
            state.session.drain();
        }
        let session = &mut state.session;
        if (ready.is_readable(&self.socket) || session.wants_last_read()) && session.wants_read() {
            drop(state);
            state = self.read(input, now, threads);
        } else if session.has_more() || session.deadline().is_some_and(|deadline| deadline <= now) {
            session.resume(now, &mut lock(&threads.shared));
        }
        self.flush(state, ready.is_writable(&self.socket), threads);
        !lock(&self.state).session.is_over() || Arc::strong_count(self) > 1
    }

    /// Reads what came, and takes requests from it.
    fn read(&self, input: &mut [u8], now: Instant, threads: &Threads<H>) -> Guard<'_, H> {
        let read = recv(&self.socket, &mut *input, RecvFlags::empty());
        let mut state = lock(&self.state);
        let (session, shared) = (&mut state.session, &mut lock(&threads.shared));
        match read {
            Ok((_, 0)) => session.end_of_input(now, shared),
            Ok((_, read)) => session.receive(&input[..read], now, shared),
            Err(Errno::AGAIN) => session.end_of_available_input(now, shared),
            Err(Errno::INTR) => {}
            // An error in a connection is that connection's end.
            Err(_) => session.abandon(),
        }
        state
    }

    /// Writes what the socket takes, unless somebody does or the main thread waits for it to take more; then wakes the threads
    /// that wait for what has changed. Whether something is left to the main thread.
    fn flush<'a>(&'a self, mut state: Guard<'a, H>, is_writable: bool, threads: &Threads<H>) -> bool {
        state.awaits_writable &= !is_writable;
        // What others write meanwhile is sent, too, but nobody sends for others for ever.
        let (mut has_room_again, mut is_full, mut sends) = (false, state.awaits_writable, 0..8);
        while !is_full && state.session.wants_write() && sends.next().is_some() {
            let unsent = state.session.take_unsent();
            drop(state);
            let sent = send(&self.socket, &unsent, SendFlags::NOSIGNAL);
            state = lock(&self.state);
            is_full = sent != Ok(unsent.len());
            let shared = &mut lock(&threads.shared);
            has_room_again |= state.session.put_back_unsent(unsent, sent, Instant::now(), shared);
        }
        let State { session, awaits_writable, threads: running, .. } = &mut *state;
        if session.shuts_write(Instant::now()) && self.socket.shutdown(Shutdown::Write).is_err() {
            session.abandon();
        }
        if has_room_again || session.running() < *running {
            self.changed.notify_all();
        }
        let has_unsent = session.wants_write() && !*awaits_writable;
        *awaits_writable |= has_unsent;
        has_unsent || has_room_again || session.deadline().is_some() || session.is_over()
    }

    /// Gives the next request a thread. False: none waits for one, or no more of them may be this connection's.
    fn start(self: &Arc<Self>, threads: &Arc<Threads<H>>, starter: &Starter) -> bool {
        let mut state = lock(&self.state);
        if state.threads == threads.config.threads.div_ceil(4) {
            return false;
        }
        let Some(exchange) = state.session.take_exchange() else { return false };
        state.starting.push_back(exchange);
        state.threads += 1;
        drop(state);
        threads.running.fetch_add(1, Ordering::AcqRel);
        let (client, its_threads) = (Arc::clone(self), Arc::clone(threads));
        let thread = move || {
            let is_awaited = client.serve(&its_threads);
            // Before the main thread looks, which closes the descriptor.
            drop(client);
            wake_main_thread(&its_threads.changed, is_awaited);
        };
        if starter.start(thread).is_err() {
            let mut state = lock(&self.state);
            if let Some(exchange) = state.starting.pop_back() {
                state.session.refuse(exchange, Instant::now(), &mut lock(&threads.shared));
            }
            self.end(state, threads);
        }
        true
    }

    /// A thread's whole life: takes a request through all its steps, waits included. Whether the main thread is to be woken.
    fn serve(self: &Arc<Self>, threads: &Threads<H>) -> bool {
        let Some(mut exchange) = lock(&self.state).starting.pop_front() else { return false };
        let handler = Arc::clone(lock(&threads.shared).handler());
        let (id, mut output) = (exchange.request().id(), lock(&threads.shared).buffer());
        loop {
            let step = exchange.step(&*handler, &mut output, threads.config.output_bytes);
            let mut state = self.wait(&exchange, Step::Flush, lock(&self.state), threads);
            let is_done = matches!(step, Step::Done(_));
            if !is_done {
                state.session.write(id, &output, Instant::now(), &mut lock(&threads.shared));
                output.clear();
                wake_main_thread(&threads.changed, self.flush(state, false, threads));
                state = self.wait(&exchange, step, lock(&self.state), threads);
            }
            if is_done || !state.session.is_wanted(id) {
                state.session.put_back(exchange, step, &output, Instant::now(), &mut lock(&threads.shared));
                lock(&threads.shared).give_back(output);
                return self.end(state, threads);
            }
        }
    }

    /// Waits until what the step waits for has come and there is room for output, or the request is not wanted any more.
    fn wait<'a>(
        self: &'a Arc<Self>,
        exchange: &Exchange<H>,
        step: Step,
        mut state: Guard<'a, H>,
        threads: &Threads<H>,
    ) -> Guard<'a, H> {
        let time = match step {
            Step::Wait(time) => time,
            Step::Park => Duration::MAX,
            _ => Duration::ZERO,
        };
        if step == Step::Park {
            exchange.set_waker(&Waker::from(Arc::clone(self)));
        }
        let is_wanted = |state: &mut State<H>| state.session.is_wanted(exchange.request().id());
        let waits = |state: &mut State<H>| is_wanted(state) && !(step == Step::Park && exchange.take_woken());
        let needs_room = |state: &mut State<H>| is_wanted(state) && !state.session.has_room();
        if time.is_zero() && !needs_room(&mut state) {
            return state;
        }
        threads.at_work.rest();
        let waited = self.changed.wait_timeout_while(state, time, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let state = self.changed.wait_while(state, needs_room).unwrap_or_else(PoisonError::into_inner);
        threads.at_work.resume();
        state
    }

    /// The end of a thread. Another request may have waited for it, and in a drain the main thread for the connection.
    fn end(&self, mut state: Guard<'_, H>, threads: &Threads<H>) -> bool {
        let (running, most) = (threads.running.fetch_sub(1, Ordering::AcqRel), threads.config.threads);
        let is_awaited = running == most || state.threads == most.div_ceil(4);
        state.threads -= 1;
        self.flush(state, false, threads) || is_awaited || drain::requested()
    }
}

/// A request of it that is parked was woken: its thread waits for the condition.
impl<H: Handler> Wake for Client<H> {
    fn wake(self: Arc<Self>) {
        drop(lock(&self.state));
        self.changed.notify_all();
    }
}

fn wake_main_thread(changed: &OwnedFd, is_awaited: bool) {
    if is_awaited {
        // It fails only where the counter is full, and then the main thread is being woken already.
        let _ = rustix::io::write(changed, &1_u64.to_ne_bytes());
    }
}

/// No thread panics while it holds a lock; where one did, the process is gone (`panic = "abort"`).
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
