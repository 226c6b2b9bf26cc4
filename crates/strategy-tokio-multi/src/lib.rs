//! Async: tasks on tokio's work-stealing runtime, whose threads take them from each other.
//!
//! - **Who accepts:** a task, one connection at a time. Every process is woken for it: tokio does not register with
//!   EPOLLEXCLUSIVE, so over many processes this is a chart of that, too.
//! - **Who reads:** each connection's own task, on whichever of the threads runs it, when the runtime says that its
//!   socket is readable.
//! - **Where a request waits:** in its session; the task's sleep in `tokio::time` ends when the first is due. Its timers
//!   are those of a wheel with slots of a millisecond: a wait ends up to one later.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.
//!
//! Each thread has for itself what sessions lend each other. A task borrows that of the thread that runs it, so nobody
//! waits for the lock around it.

use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use fcgi_worker::{
    Accepting, BACK_OFF, Capacity, Config, ConnectionLimit, Handler, Listener, PerThread, READ_BYTES,
    Session, Shared, drain, threads,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, worker_index};
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: Some(PerThread::Step(2)), multiplexes: true };

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    // Tokio panics where it gets fewer than it is told.
    let threads = threads::count(config.threads)?;
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    listener.socket().set_nonblocking(true)?;
    let socket = listener.socket().try_clone()?;
    let handler = Arc::new(handler);
    let lent = || Lent { shared: Shared::new(Arc::clone(&handler), config), input: vec![0; READ_BYTES] };
    let worker = Arc::new(Worker {
        lent: (0..threads).map(|_| Mutex::new(lent())).collect(),
        draining: Notify::new(),
    });
    let accepting = Accepting::new(listener, config.connections);
    runtime.block_on(async {
        // A task of its own: what is awaited here runs on this thread, which is none of the runtime's.
        let accepts = if socket.local_addr()?.is_unix() {
            tokio::spawn(accept(UnixListener::from_std(socket.into())?, accepting, worker))
        } else {
            tokio::spawn(accept(TcpListener::from_std(socket.into())?, accepting, worker))
        };
        accepts.await?
    })
}

/// What all tasks share.
struct Worker<H: Handler> {
    /// One for each thread.
    lent: Box<[Mutex<Lent<H>>]>,
    /// Wakes the connections when the drain begins.
    draining: Notify,
}

/// What a connection borrows while it has its turn, and no other can have one.
struct Lent<H: Handler> {
    shared: Shared<H>,
    input: Vec<u8>,
}

impl<H: Handler> Worker<H> {
    /// What the thread has that runs this task.
    fn lend(&self) -> MutexGuard<'_, Lent<H>> {
        lock(&self.lent[worker_index().unwrap_or_default()])
    }

    /// Connections are drained that have begun, and those that will.
    fn drain(&self) {
        self.lent.iter().for_each(|lent| lock(lent).shared.drain());
        self.draining.notify_waiters();
    }
}

fn lock<H: Handler>(lent: &Mutex<Lent<H>>) -> MutexGuard<'_, Lent<H>> {
    lent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener of either family.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<Self::Stream>;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Accepts until the drain, then waits for the connections to finish.
async fn accept<H: Handler>(
    listener: impl Accept,
    mut accepting: Accepting,
    worker: Arc<Worker<H>>,
) -> io::Result<()> {
    let drain = pipe::Receiver::from_owned_fd(drain::wake().try_clone_to_owned()?)?;
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    while !accepting.is_over() {
        let now = Instant::now();
        let next = async {
            match listener.as_ref().filter(|_| accepting.listener(now).is_some()) {
                Some(listener) if accepting.is_draining() => {
                    // The thread that looks for the runtime may not have come to it yet.
                    let waited = timeout(BACK_OFF, listener.accept()).await;
                    let waits = || accepting.listener(now).is_some_and(Listener::has_pending);
                    let nobody = || if waits() { ErrorKind::Interrupted } else { ErrorKind::WouldBlock };
                    waited.unwrap_or_else(|_| Err(nobody().into()))
                }
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = drain.readable(), if !accepting.is_draining() => {
                accepting.drain();
                worker.drain();
            }
            Some(ended) = connections.join_next() => {
                // A panic is the process's end, as in every model.
                ended.map_err(io::Error::other)?;
                accepting.closed();
            }
            accepted = next => {
                if let Some(stream) = accepting.accepted(accepted, Instant::now())? {
                    connections.spawn(serve_connection(stream, Arc::clone(&worker)));
                    // The others have their turn first, and the other processes theirs.
                    yield_now().await;
                }
                listener = listener.filter(|_| !accepting.has_stopped());
            }
            () = sleep_until(accepting.deadline(now)) => {}
        }
    }
    Ok(())
}

/// A connection's task.
async fn serve_connection<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + AsFd + Unpin,
    worker: Arc<Worker<H>>,
) {
    // An error in a connection is that connection's end.
    let _ = run(stream, &worker).await;
}

/// Reads, serves and writes until the connection ends.
async fn run<H: Handler>(
    mut stream: impl AsyncRead + AsyncWrite + AsFd + Unpin,
    worker: &Worker<H>,
) -> io::Result<()> {
    // Before the session: one that begins as the drain does learns of it in either way.
    let mut drained = pin!(worker.draining.notified());
    drained.as_mut().enable();
    let mut session = Session::new(&worker.lend().shared, Instant::now());
    while !session.is_over() {
        let deadline = session.deadline();
        tokio::select! {
            biased;
            () = &mut drained, if !session.is_draining() => session.drain(),
            driven = poll_fn(|context| drive(&mut stream, &mut session, worker, context)) => {
                if driven? {
                    // A peer that is always ready must not keep the others waiting.
                    yield_now().await;
                }
            }
            () = sleep_until(deadline) => session.resume(Instant::now(), &mut worker.lend().shared),
        }
        if session.shuts_write(Instant::now()) {
            stream.shutdown().await?;
        }
    }
    Ok(())
}

/// Writes, or reads and serves, or goes on with what is left, whichever is possible first. Ready with whether there is
/// more to do.
fn drive<H: Handler>(
    stream: &mut (impl AsyncRead + AsyncWrite + AsFd + Unpin),
    session: &mut Session<H>,
    worker: &Worker<H>,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    let Lent { shared, input } = &mut *worker.lend();
    let now = Instant::now();
    if session.wants_write()
        && let Poll::Ready(sent) = Pin::new(&mut *stream).poll_write(context, session.unsent())
    {
        session.sent(sent?, now, shared);
        return Poll::Ready(Ok(session.has_more()));
    }
    if session.wants_read() {
        let mut buffer = ReadBuf::new(input);
        if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            read?;
            match buffer.filled() {
                [] => session.end_of_input(now, shared),
                input => session.receive(input, now, shared),
            }
            // A large body comes in many reads, as many as the runtime's budget lets pass; one that completes requests has had
            // its turn.
            let is_full = buffer.remaining() == 0;
            return Poll::Ready(Ok(session.has_more() || is_full && session.wants_write()));
        }
        // What the runtime knows of the socket is as old as another thread's last look.
        if session.wants_last_read() && has_no_input(stream) {
            // In a drain that changes what is waited for.
            session.end_of_available_input(now, shared);
            return Poll::Ready(Ok(false));
        }
    }
    if session.wants_waker() {
        session.set_waker(context.waker().clone());
    }
    if session.has_more() {
        session.resume(now, shared);
        return Poll::Ready(Ok(session.has_more()));
    }
    Poll::Pending
}

/// Whether a read would block. An end of input is input.
fn has_no_input(stream: &impl AsFd) -> bool {
    let peeked = recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    peeked.is_err_and(|error| error == Errno::WOULDBLOCK)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
