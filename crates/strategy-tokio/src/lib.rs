//! Async: tasks on tokio's current-thread runtime.
//!
//! - **Who accepts:** a task, one connection at a time.
//! - **Who reads:** each connection's own task, when the runtime says that its socket is readable.
//! - **Where a request waits:** in a task of its own, in `tokio::time`; one that need not wait is served in the
//!   connection's task and never becomes one.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use fcgi_proto::{Connection, Event, RequestId, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::Many, threads: None, multiplexes: true, sees_aborts: true };

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait for descriptors when there are none left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Rc::new(Worker {
        handler,
        config: *config,
        places: Semaphore::new(config.connections),
        draining: Notify::new(),
        input: RefCell::new(vec![0; 64 << 10]),
        output: RefCell::default(),
        spares: RefCell::new(Spares::new()),
    });
    LocalSet::new().block_on(&runtime, serve_connections(listener, worker))
}

/// What all tasks share. Everything here is borrowed between two awaits only.
struct Worker<H> {
    handler: H,
    config: Config,
    /// One for each connection that may still be accepted.
    places: Semaphore,
    /// Wakes the connections when the drain begins.
    draining: Notify,
    /// One buffer for all connections.
    input: RefCell<Vec<u8>>,
    /// An output buffer for the next connection that needs one.
    output: RefCell<Vec<u8>>,
    spares: RefCell<Spares>,
}

/// A connection, as its own task and those of its requests see it.
struct Client<H> {
    worker: Rc<Worker<H>>,
    connection: RefCell<Connection>,
    output: RefCell<Vec<u8>>,
    /// The requests that wait in tasks of their own, and how to abort them.
    waiting: RefCell<Vec<(RequestId, Rc<Notify>)>>,
    /// A request's task has appended output.
    produced: Notify,
    /// The unsent output is under its limit again.
    flushed: Notify,
}

/// Accepts until the drain, then waits for the connections to finish.
async fn serve_connections<H: Handler>(listener: Listener, worker: Rc<Worker<H>>) -> io::Result<()> {
    listener.socket().set_nonblocking(true)?;
    let readiness = register(listener.as_fd())?;
    let drain = register(drain::wake())?;
    loop {
        let socket = tokio::select! {
            biased;
            _ = drain.readable() => break,
            socket = accept(&listener, &readiness, &worker) => socket?,
        };
        spawn_connection(socket, &worker);
    }
    worker.draining.notify_waiters();
    while listener.has_pending() {
        if let Ok(socket) = timeout(EXHAUSTED, accept(&listener, &readiness, &worker)).await {
            spawn_connection(socket?, &worker);
        }
    }
    drop(readiness);
    drop(listener);
    // Every place is free again when every connection has gone.
    while worker.places.available_permits() < worker.config.connections {
        sleep(EXHAUSTED).await;
    }
    Ok(())
}

/// The next connection, once there is a place for it; its place is taken.
async fn accept<H: Handler>(
    listener: &Listener,
    readiness: &AsyncFd<BorrowedFd<'_>>,
    worker: &Worker<H>,
) -> io::Result<Socket> {
    let place = worker.places.acquire().await.map_err(io::Error::other)?;
    loop {
        let mut ready = readiness.readable().await?;
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) if listener.admits(&socket) => {
                place.forget();
                return Ok(socket.into());
            }
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error.into()) {
                AcceptError::Empty => ready.clear_ready(),
                AcceptError::Again => {}
                AcceptError::Exhausted => sleep(EXHAUSTED).await,
                AcceptError::Fatal => return Err(error.into()),
            },
        }
    }
}

fn spawn_connection<H: Handler>(socket: Socket, worker: &Rc<Worker<H>>) {
    let worker = Rc::clone(worker);
    spawn_local(async move {
        // An error in a connection is that connection's end.
        let _ = drive(socket, &worker).await;
        worker.places.add_permits(1);
    });
}

/// A connection's task: reads, serves and writes until the connection ends.
async fn drive<H: Handler>(socket: Socket, worker: &Rc<Worker<H>>) -> io::Result<()> {
    let socket = register(socket)?;
    let client = Rc::new(Client {
        worker: Rc::clone(worker),
        connection: RefCell::new(worker.config.connection()),
        output: RefCell::default(),
        waiting: RefCell::default(),
        produced: Notify::new(),
        flushed: Notify::new(),
    });
    let driven = exchange(&socket, &client).await;
    // The transport has closed, which aborts whatever still waits (spec 5.4).
    for (_, abort) in client.waiting.take() {
        abort.notify_one();
    }
    driven
}

async fn exchange<H: Handler>(socket: &AsyncFd<Socket>, client: &Rc<Client<H>>) -> io::Result<()> {
    loop {
        flush(socket, client)?;
        let unsent = client.output.borrow().len();
        if unsent == 0 && client.connection.borrow().is_finished() {
            if client.connection.borrow().was_answered_early() {
                linger(socket, client).await?;
            }
            return Ok(());
        }
        if drain::requested() && unsent == 0 && client.connection.borrow().is_idle() {
            // What has come is served; more is not waited for.
            match read(socket.get_ref(), client)? {
                Came::Some | Came::All => continue,
                Came::Nothing => return linger(socket, client).await,
                Came::End => return Ok(()),
            }
        }
        tokio::select! {
            biased;
            ready = socket.readable(), if unsent < client.worker.config.output_bytes => {
                let mut ready = ready?;
                match read(socket.get_ref(), client)? {
                    Came::Some => {}
                    Came::All | Came::Nothing => ready.clear_ready(),
                    Came::End => return finish_output(socket, client).await,
                }
            }
            ready = socket.writable(), if unsent > 0 => drop(ready?),
            () = client.produced.notified() => {}
            () = client.worker.draining.notified() => {}
        }
    }
}

/// What a read has found.
enum Came {
    /// As much as there was room for.
    Some,
    /// All that was there: what comes later is announced anew (epoll(7)).
    All,
    Nothing,
    /// The peer sends no more.
    End,
}

/// Reads once and serves what came.
fn read<H: Handler>(mut socket: &Socket, client: &Rc<Client<H>>) -> io::Result<Came> {
    let mut input = client.worker.input.borrow_mut();
    match socket.read(&mut input) {
        Ok(0) => Ok(Came::End),
        Ok(read) => {
            receive(&input[..read], client)?;
            Ok(if read < input.len() { Came::All } else { Came::Some })
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Came::Nothing),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Came::Some),
        Err(error) => Err(error),
    }
}

fn receive<H: Handler>(mut input: &[u8], client: &Rc<Client<H>>) -> io::Result<()> {
    if client.output.borrow().capacity() == 0 {
        client.output.swap(&client.worker.output);
    }
    loop {
        let event = client.connection.borrow_mut().receive(
            &mut input,
            &mut client.output.borrow_mut(),
            &mut client.worker.spares.borrow_mut(),
        );
        match event.map_err(io::Error::other)? {
            Some(Event::Request(request)) => {
                let mut exchange = Exchange::start(&client.worker.handler, request);
                match client.step(&mut exchange) {
                    Step::Done(_) => client.recycle(exchange),
                    step => {
                        let abort = Rc::new(Notify::new());
                        client.waiting.borrow_mut().push((exchange.request().id(), Rc::clone(&abort)));
                        spawn_local(finish(Rc::clone(client), exchange, step, abort));
                    }
                }
            }
            Some(Event::Abort(id)) => {
                if let Some((_, abort)) = client.waiting.borrow().iter().find(|(waiting, _)| *waiting == id) {
                    abort.notify_one();
                }
            }
            None => return Ok(()),
        }
    }
}

/// A request's task: waits and goes on until the request is done or aborted.
async fn finish<H: Handler>(
    client: Rc<Client<H>>,
    mut exchange: Exchange<H>,
    mut step: Step,
    abort: Rc<Notify>,
) {
    loop {
        let resumed = async {
            match step {
                Step::Wait(duration) => sleep(duration).await,
                Step::Flush => {
                    client.has_room().await;
                    // A peer that reads fast always leaves room: the timers and the other connections have their turn.
                    yield_now().await;
                }
                Step::Done(_) => {}
            }
        };
        tokio::select! {
            biased;
            () = abort.notified() => {
                exchange.abort(&mut client.output.borrow_mut());
                break;
            }
            () = resumed => step = client.step(&mut exchange),
        }
        if matches!(step, Step::Done(_)) {
            break;
        }
        client.produced.notify_one();
    }
    client.waiting.borrow_mut().retain(|(_, other)| !Rc::ptr_eq(other, &abort));
    client.recycle(exchange);
    client.produced.notify_one();
}

impl<H: Handler> Client<H> {
    fn step(&self, exchange: &mut Exchange<H>) -> Step {
        let mut output = self.output.borrow_mut();
        let room = self.worker.config.output_bytes.saturating_sub(output.len());
        exchange.step(&self.worker.handler, &mut output, room)
    }

    fn recycle(&self, exchange: Exchange<H>) {
        let mut spares = self.worker.spares.borrow_mut();
        self.connection.borrow_mut().recycle(exchange.into_request(), &mut spares);
    }

    async fn has_room(&self) {
        while self.output.borrow().len() >= self.worker.config.output_bytes {
            self.flushed.notified().await;
        }
    }
}

/// Puts a descriptor under the runtime's watch.
fn register<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: sockets and borrowed descriptors stay open, and the same, until they are dropped, which only the
    // AsyncFd that owns them does, after it has taken the descriptor out of its watch.
    unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)
}

/// Writes what the socket takes.
fn flush<H: Handler>(socket: &AsyncFd<Socket>, client: &Client<H>) -> io::Result<()> {
    let mut output = client.output.borrow_mut();
    let mut sent = 0;
    while sent < output.len() {
        match socket.try_io(Interest::WRITABLE, |mut socket| socket.write(&output[sent..])) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.drain(..sent);
    if sent > 0 && output.len() < client.worker.config.output_bytes {
        client.flushed.notify_waiters();
    }
    if output.is_empty() && output.capacity() > 0 {
        // An idle connection holds no buffer: the next one that reads a request takes it.
        client.worker.output.replace(mem::take(&mut output));
    }
    Ok(())
}

/// The peer sends no more, but may still read what has been written for it.
async fn finish_output<H: Handler>(socket: &AsyncFd<Socket>, client: &Client<H>) -> io::Result<()> {
    while !client.output.borrow().is_empty() {
        drop(socket.writable().await?);
        flush(socket, client)?;
    }
    Ok(())
}

/// Lets the peer read what was written: closing a connection under input that still comes would reset it.
async fn linger<H: Handler>(socket: &AsyncFd<Socket>, client: &Client<H>) -> io::Result<()> {
    socket.get_ref().shutdown(Shutdown::Write)?;
    let read = |mut socket: &Socket| socket.read(&mut client.worker.input.borrow_mut());
    let discard = async {
        while socket.async_io(Interest::READABLE, read).await? > 0 {}
        Ok(())
    };
    timeout(LINGER, discard).await.unwrap_or(Ok(()))
}
