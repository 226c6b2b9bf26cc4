//! Thread per connection: a thread for each connection, with blocking calls. What most people write first.
//!
//! - **Who accepts:** the main thread, blocking in accept(2); it starts a thread, which takes the connection.
//! - **Who reads:** that thread, blocking in recv(2), until the connection is closed; then it ends.
//! - **Where a request waits:** in its thread, which does nothing else meanwhile.
//! - **What bounds it:** `--connections` threads, 10,000 at most; then the process stops accepting. Where no thread can be
//!   had, the connection waits for one.
//! - **What one process holds:** one connection for each of its threads.
//!
//! A thread's 2 MiB of stack are addresses: a connection that waits has touched 14 KiB, its heap included; the thread's stack
//! in the kernel comes on top. Nobody joins a thread: its handle is kept as long as it runs, for the drain to interrupt it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread, ThreadId};
use std::time::Instant;

use fcgi_worker::{BACK_OFF, Capacity, Config, ConnectionLimit, Handler, Listener, Shared, blocking, drain};
use fcgi_worker::{log::Flood, threads::Lack};
use socket2::Socket;

/// Many connections, one request of each at a time; an abort is read when the request has ended.
///
/// A thread takes four mappings of memory: its stack, one for signals, and a guard page for each. A process may have 65,530
/// of them (vm.max_map_count), and std panics where a new thread lacks one: so many threads leave a third of them.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::AtMost(10_000), threads: None, multiplexes: false };

/// Starts a thread for each connection until the drain, then waits for the threads to end.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let (handler, accepting, mut waiting) = (Arc::new(handler), thread::current(), Flood::default());
    let threads = Arc::new(Threads { handler, config: *config, accepting, running: Mutex::default() });
    let draining = Arc::clone(&threads);
    let draining = thread::Builder::new().name("drain".to_owned()).spawn(move || draining.drain());
    draining.map_err(|error| io::Error::other(format!("no thread for the drain: {}", Lack(&error))))?;
    while let Some(socket) = blocking::accept(&listener)? {
        start(&Arc::new(socket), &threads, &mut waiting);
        threads.wait_for_fewer_than(config.connections);
    }
    threads.wait_for_fewer_than(1);
    Ok(())
}

/// Starts a thread for the connection just accepted. Where there is none to be had, the connection waits for one.
fn start<H: Handler>(socket: &Arc<Socket>, threads: &Arc<Threads<H>>, waiting: &mut Flood) {
    if let Err(error) = threads.start(socket) {
        waiting.say(format_args!("a connection waits for a thread: {}", Lack(&error)), Instant::now());
        while threads.start(socket).is_err() {
            thread::sleep(BACK_OFF);
        }
    }
    waiting.settle(Instant::now());
}

/// The threads that serve connections.
struct Threads<H: Handler> {
    handler: Arc<H>,
    config: Config,
    /// The main thread, which may wait for others to end.
    accepting: Thread,
    /// `None`: it has ended, and its handle is still to come.
    running: Mutex<HashMap<ThreadId, Option<JoinHandle<()>>>>,
}

impl<H: Handler> Threads<H> {
    fn start(self: &Arc<Self>, socket: &Arc<Socket>) -> io::Result<()> {
        let (threads, socket) = (Arc::clone(self), Arc::clone(socket));
        let thread = thread::Builder::new().spawn(move || threads.serve(socket));
        thread.map(|thread| self.note(thread.thread().id(), Some(thread)))
    }

    /// A thread's whole life. Its place is free when the connection is closed.
    fn serve(&self, socket: Arc<Socket>) {
        blocking::serve_connection(&socket, &mut Shared::new(Arc::clone(&self.handler), &self.config));
        drop(socket);
        self.note(thread::current().id(), None);
        self.accepting.unpark();
    }

    /// Notes a thread's handle when it was started, and none when it has ended. Whichever comes second removes what the
    /// first has noted: to hold the lock until a thread is started would let those wait that end.
    fn note(&self, id: ThreadId, thread: Option<JoinHandle<()>>) {
        let mut running = self.running();
        if running.remove(&id).is_none() {
            running.insert(id, thread);
        }
    }

    fn wait_for_fewer_than(&self, count: usize) {
        while self.running().len() >= count {
            thread::park();
        }
    }

    /// Once the worker drains, interrupts the calls that threads block in, again and again until the process ends.
    fn drain(&self) {
        drain::wait();
        let mut pauses = drain::pauses();
        loop {
            self.running().values().flatten().for_each(drain::interrupt);
            thread::sleep(pauses.next_pause());
        }
    }

    /// No thread panics while it holds the lock; where one did, the process is gone (`panic = "abort"`).
    fn running(&self) -> MutexGuard<'_, HashMap<ThreadId, Option<JoinHandle<()>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
