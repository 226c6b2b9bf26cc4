//! select(2) over all connections, a thread per request, a lock per connection. What 2007 called "multiplexed".
//!
//! - **Who accepts:** the main thread, when select(2) says that the listener is readable.
//! - **Who reads:** the main thread, whichever connection is readable; it never writes, so nobody's reading stalls it.
//! - **Where a request waits:** in its own thread, on a condition that an abort signals.
//! - **What bounds it:** `--threads` requests at a time; beyond, nothing is read until a thread has ended. And
//!   FD_SETSIZE: select(2) cannot watch a descriptor from 1024 on.
//! - **What one process holds:** about a thousand connections, many requests on each.

mod read_set;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, Event, Request, RequestId, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use crate::read_set::ReadSet;

/// Connections up to FD_SETSIZE less what the process itself has open; an abort is read while its request waits.
pub const CAPACITY: Capacity = Capacity {
    connections: Held::AtMost(read_set::LIMIT - 24),
    threads: Some(128),
    multiplexes: true,
    sees_aborts: true,
};

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait for descriptors or memory when there are none left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let shared =
        Shared { handler, config: *config, running: AtomicUsize::new(0), changed: eventfd(0, flags)? };
    let mut worker = Worker {
        listener: Some(listener),
        shared: Arc::new(shared),
        clients: Vec::new(),
        tasks: VecDeque::new(),
        accept_again: None,
        draining: false,
        input: vec![0; 64 << 10],
    };
    while worker.listener.is_some() || !worker.clients.is_empty() || worker.running() > 0 {
        let ready = worker.wait()?;
        worker.draining |= drain::requested();
        worker.accept(&ready)?;
        worker.drive(&ready);
        worker.start_tasks();
    }
    Ok(())
}

/// The main thread's side.
struct Worker<H> {
    /// Until the drain has emptied its queue.
    listener: Option<Listener>,
    shared: Arc<Shared<H>>,
    clients: Vec<Arc<Client>>,
    /// What waits for a thread; while something does, nothing is read.
    tasks: VecDeque<(Arc<Client>, Task)>,
    /// Not before this time: there were no descriptors left.
    accept_again: Option<Instant>,
    draining: bool,
    input: Vec<u8>,
}

/// What the threads see too.
struct Shared<H> {
    handler: H,
    config: Config,
    /// Threads that run.
    running: AtomicUsize,
    /// Wakes the main thread.
    changed: OwnedFd,
}

struct Client {
    socket: Socket,
    /// Held for moments.
    state: Mutex<State>,
    /// Held while output is written, so that records of several threads do not mix. A slow peer holds up its own
    /// threads with it, and nobody else.
    writing: Mutex<()>,
    /// Until when what still comes is read and thrown away.
    linger_until: OnceLock<Instant>,
}

struct State {
    connection: Connection,
    spares: Spares,
    waiting: Vec<(RequestId, Arc<Abort>)>,
    /// Replies that the protocol itself owes: written by the next thread that has something to write, so that none
    /// of them closes the connection before.
    owed: Vec<u8>,
}

/// What a thread is started for.
enum Task {
    /// A request, and how it learns that it is aborted.
    Serve(Request, Arc<Abort>),
    /// Replies that the protocol itself owes.
    Reply,
}

impl<H: Handler> Worker<H> {
    /// Waits for something to do.
    fn wait(&self) -> io::Result<ReadSet> {
        let mut set = ReadSet::new();
        set.insert(self.shared.changed.as_fd());
        let now = Instant::now();
        let mut next = self.accept_again;
        if !self.draining {
            set.insert(drain::wake());
        }
        if let Some(listener) = self.listener.as_ref().filter(|_| self.has_place(now)) {
            set.insert(listener.as_fd());
        }
        let reads = self.tasks.is_empty() && self.running() < self.shared.config.threads;
        for client in &self.clients {
            let linger = client.linger_until.get().copied();
            next = next.into_iter().chain(linger).min();
            if reads || linger.is_some() {
                set.insert(client.socket.as_fd());
            }
        }
        if self.draining && self.listener.is_some() {
            next = Some(now);
        }
        set.select(next.map(|next| next.saturating_duration_since(now)))?;
        Ok(set)
    }

    fn has_place(&self, now: Instant) -> bool {
        self.clients.len() < self.shared.config.connections
            && self.accept_again.is_none_or(|time| time <= now)
    }

    fn running(&self) -> usize {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Takes in one connection a turn, so that the other processes get theirs.
    fn accept(&mut self, ready: &ReadSet) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        if !self.has_place(Instant::now()) || !(self.draining || ready.contains(listener.as_fd())) {
            return Ok(());
        }
        if self.draining && !listener.has_pending() {
            self.listener = None;
            return Ok(());
        }
        self.accept_again = None;
        match listener.socket().accept() {
            Ok((socket, _)) if !ReadSet::can_hold(socket.as_fd()) => {
                let limit = read_set::LIMIT;
                let _ = writeln!(
                    io::stderr(),
                    "connection refused: select(2) watches no descriptor from {limit} on"
                );
            }
            Ok((socket, _)) if listener.admits(&socket) => {
                self.clients.push(Arc::new(Client::new(socket, self.shared.config.connection())));
            }
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error) {
                AcceptError::Empty | AcceptError::Again => {}
                AcceptError::Exhausted => self.accept_again = Some(Instant::now() + EXHAUSTED),
                AcceptError::Fatal => return Err(error),
            },
        }
        Ok(())
    }

    /// Reads once from each connection that is readable, and lets go of those that have ended.
    fn drive(&mut self, ready: &ReadSet) {
        if ready.contains(self.shared.changed.as_fd()) {
            // Read to be told again; that it was readable is all there is to know.
            let _ = rustix::io::read(&self.shared.changed, &mut [0; 8]);
        }
        let now = Instant::now();
        let Self { clients, tasks, input, draining, .. } = self;
        clients.retain(|client| {
            if client.linger_until.get().is_some_and(|until| *until <= now) {
                return false;
            }
            // The drain wants to be sure that nothing has come before it lets go of a connection.
            let worth_a_read = ready.contains(client.socket.as_fd()) || *draining && tasks.is_empty();
            if !worth_a_read {
                return true;
            }
            // An error in a connection is that connection's end.
            let open = read(client, input, tasks).unwrap_or(false);
            if !open {
                client.abort_all();
            }
            open
        });
    }

    /// A thread for each task, as many as there may be.
    fn start_tasks(&mut self) {
        while self.running() < self.shared.config.threads {
            let Some((client, task)) = self.tasks.pop_front() else { return };
            self.shared.running.fetch_add(1, Ordering::AcqRel);
            let (shared, thread_client) = (Arc::clone(&self.shared), Arc::clone(&client));
            let thread = thread::Builder::new().spawn(move || {
                // An error in a connection is that connection's end.
                if finish(&shared, &thread_client, task).is_err() {
                    let _ = thread_client.socket.shutdown(Shutdown::Both);
                }
                shared.thread_ends(&thread_client);
            });
            if thread.is_err() {
                // No thread to be had: that costs the connection whose request it was.
                let _ = client.socket.shutdown(Shutdown::Both);
                self.shared.thread_ends(&client);
            }
        }
    }
}

/// Reads what has come and takes requests from it. False: the connection has ended.
fn read(
    client: &Arc<Client>,
    input: &mut [u8],
    tasks: &mut VecDeque<(Arc<Client>, Task)>,
) -> io::Result<bool> {
    let read = match recv(&client.socket, &mut *input, RecvFlags::DONTWAIT).map_err(io::Error::from) {
        Ok((_, 0)) => return Ok(false),
        Ok((_, read)) => read,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            if drain::requested() {
                client.let_go()?;
            }
            return Ok(true);
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error),
    };
    if client.linger_until.get().is_some() {
        return Ok(true);
    }
    let mut input = &input[..read];
    let mut state = client.state();
    let State { connection, spares, waiting, owed } = &mut *state;
    while let Some(event) = connection.receive(&mut input, owed, spares).map_err(io::Error::other)? {
        match event {
            Event::Request(request) => {
                let abort = Arc::new(Abort::default());
                waiting.push((request.id(), Arc::clone(&abort)));
                tasks.push_back((Arc::clone(client), Task::Serve(request, abort)));
            }
            Event::Abort(id) => {
                if let Some((_, abort)) = waiting.iter().find(|(waiting, _)| *waiting == id) {
                    abort.request();
                }
            }
        }
    }
    if !owed.is_empty() {
        tasks.push_back((Arc::clone(client), Task::Reply));
    }
    Ok(true)
}

/// A thread's whole life: takes a request through all its steps, waits included.
fn finish<H: Handler>(shared: &Shared<H>, client: &Client, task: Task) -> io::Result<()> {
    let (request, abort) = match task {
        Task::Serve(request, abort) => (request, abort),
        Task::Reply => return client.finish(None, &[]),
    };
    let mut exchange = Exchange::start(&shared.handler, request);
    let mut output = Vec::new();
    loop {
        match exchange.step(&shared.handler, &mut output, shared.config.output_bytes) {
            Step::Done(_) => break,
            step => {
                client.flush(&mut output)?;
                if abort.wait(pause(step)) {
                    exchange.abort(&mut output);
                    break;
                }
            }
        }
    }
    client.finish(Some(exchange.into_request()), &output)
}

/// How long to wait after what a step has written is sent.
fn pause(step: Step) -> Duration {
    match step {
        Step::Wait(duration) => duration,
        Step::Flush | Step::Done(_) => Duration::ZERO,
    }
}

impl Client {
    fn new(socket: Socket, connection: Connection) -> Self {
        Self {
            socket,
            state: Mutex::new(State {
                connection,
                spares: Spares::new(),
                waiting: Vec::new(),
                owed: Vec::new(),
            }),
            writing: Mutex::new(()),
            linger_until: OnceLock::new(),
        }
    }

    /// Writes a part of a response.
    fn flush(&self, output: &mut Vec<u8>) -> io::Result<()> {
        let _writing = lock(&self.writing);
        (&self.socket).write_all(output)?;
        output.clear();
        Ok(())
    }

    /// Ends a request: first for us, so that its id is free when the peer learns of it, then for the peer. The last
    /// request of a connection that is not kept closes it: all others have been written by then, as each of them is
    /// ended and written under one lock.
    fn finish(&self, request: Option<Request>, output: &[u8]) -> io::Result<()> {
        let _writing = lock(&self.writing);
        let (finished, early, owed) = {
            let mut state = self.state();
            let State { connection, spares, waiting, owed } = &mut *state;
            if let Some(request) = request {
                waiting.retain(|(id, _)| *id != request.id());
                connection.recycle(request, spares);
            }
            let owed = mem::take(owed);
            (connection.is_finished(), connection.was_answered_early(), owed)
        };
        if !owed.is_empty() {
            (&self.socket).write_all(&owed)?;
        }
        (&self.socket).write_all(output)?;
        match (finished, early) {
            (false, _) => Ok(()),
            (true, false) => self.socket.shutdown(Shutdown::Both),
            (true, true) => self.linger(),
        }
    }

    /// In the drain: what has come is served; more is not waited for.
    fn let_go(&self) -> io::Result<()> {
        // Whoever is writing wakes the main thread when it is done.
        let Ok(_writing) = self.writing.try_lock() else { return Ok(()) };
        let state = self.state();
        if self.linger_until.get().is_none() && state.connection.is_idle() && state.owed.is_empty() {
            self.linger()?;
        }
        Ok(())
    }

    /// Lets the peer read what was written: closing a connection under input that still comes would reset it.
    fn linger(&self) -> io::Result<()> {
        let _ = self.linger_until.set(Instant::now() + LINGER);
        self.socket.shutdown(Shutdown::Write)
    }

    /// The transport has closed, which aborts whatever waits (spec 5.4).
    fn abort_all(&self) {
        for (_, abort) in mem::take(&mut self.state().waiting) {
            abort.request();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl<H> Shared<H> {
    /// The main thread may have waited for this: for a thread to be had, for a linger to begin, for the last one.
    fn thread_ends(&self, client: &Client) {
        let running = self.running.fetch_sub(1, Ordering::AcqRel);
        if running == self.config.threads || client.linger_until.get().is_some() || drain::requested() {
            // It fails only where the counter is full, and then the main thread is being woken already.
            let _ = rustix::io::write(&self.changed, &1_u64.to_ne_bytes());
        }
    }
}

/// Tells a thread that waits that it need not.
#[derive(Default)]
struct Abort {
    requested: Mutex<bool>,
    told: Condvar,
}

impl Abort {
    fn request(&self) {
        *lock(&self.requested) = true;
        self.told.notify_one();
    }

    /// Waits; true as soon as an abort is requested.
    fn wait(&self, duration: Duration) -> bool {
        let requested = lock(&self.requested);
        let waited = self.told.wait_timeout_while(requested, duration, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// No thread panics while it holds a lock; where one did, the process is gone (`panic = "abort"`).
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
