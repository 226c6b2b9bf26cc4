//! Async on io_uring: tasks on compio's runtime, which has one thread and one ring.
//!
//! - **Who accepts:** a task, one connection at a time. Every process is woken for it: compio waits for a descriptor
//!   without EPOLLEXCLUSIVE, so over many processes this is a chart of that, too.
//! - **Who reads:** the kernel, into a buffer that it takes from the runtime's pool when bytes have come; the
//!   connection's own task serves them.
//! - **Where a request waits:** in its session; the task's sleep in `compio::time` ends when the first is due.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.
//!
//! Why compio: of the runtimes on io_uring it is the one that is released every few months; any thread may wake its
//! tasks; and a connection that waits for input lends the kernel no buffer. Tokio's `select!`, `Notify` and `Semaphore`
//! need no runtime of tokio's.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use compio::BufResult;
use compio::driver::{BufferRef, ProactorBuilder};
use compio::io::{AsyncReadManaged, AsyncWrite};
use compio::net::{TcpStream, UnixStream};
use compio::runtime::fd::PollFd;
use compio::runtime::{Runtime, RuntimeBuilder, spawn};
use fcgi_worker::{
    Accepting, Capacity, Config, ConnectionLimit, Handler, Listener, READ_BYTES, Session, Shared, drain,
};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

/// Of the pool: more bytes in all would leave the cache, since the kernel takes them in turn.
const BUFFERS: NonZeroU16 = NonZeroU16::new(16).unwrap();

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let runtime = start().map_err(unsupported)?;
    listener.socket().set_nonblocking(true)?;
    let is_unix = listener.socket().local_addr()?.is_unix();
    let readiness = watch(&listener)?;
    let accepting = Accepting::new(listener, config.connections);
    let worker = Rc::new(Worker {
        shared: RefCell::new(Shared::new(Arc::new(handler), config)),
        input: RefCell::new(vec![0; READ_BYTES]),
        draining: Notify::new(),
        closed: Semaphore::new(0),
    });
    // A task of its own: what is blocked on is polled whenever the runtime looks at the ring.
    let accepts = if is_unix {
        runtime.spawn(accept::<UnixStream, _>(readiness, accepting, worker))
    } else {
        runtime.spawn(accept::<TcpStream, _>(readiness, accepting, worker))
    };
    runtime.block_on(accepts)?
}

/// The runtime, its ring and its pool of buffers. The newest thing that is asked for is SINGLE_ISSUER, of Linux 6.0.
fn start() -> io::Result<Runtime> {
    let mut ring = ProactorBuilder::new();
    ring.single_issuer(true).coop_taskrun(true);
    ring.buffer_pool_size(BUFFERS).buffer_pool_buffer_len(READ_BYTES);
    let runtime = RuntimeBuilder::new().with_proactor(ring).build()?;
    runtime.buffer_pool()?;
    Ok(runtime)
}

/// Says of an error at the start whether it is the machine's.
fn unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) => {
            let lack = "io_uring as of Linux 6.0, which this kernel lacks or forbids";
            io::Error::new(ErrorKind::Unsupported, format!("{lack}: {error}"))
        }
        _ => error,
    }
}

/// What to watch in place of the listener. The kernel closes a ring, and whatever its operations wait for, some
/// milliseconds after the process has died: a lone worker's listener would still take connections, and lighttpd, which
/// asks before it spawns another worker, believe that one is there. An epoll instance does not hold what it watches.
fn watch(listener: &Listener) -> io::Result<PollFd<OwnedFd>> {
    let readiness = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&readiness, listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    PollFd::new(readiness)
}

/// What all tasks share.
struct Worker<H: Handler> {
    shared: RefCell<Shared<H>>,
    /// What a call reads into.
    input: RefCell<Vec<u8>>,
    /// Wakes the connections when the drain begins.
    draining: Notify,
    /// A permit for each connection whose descriptor is closed, and whose place is not given back yet.
    closed: Semaphore,
}

/// A connection of either family. Its clones are the same connection.
trait Stream: AsyncReadManaged<Buffer = BufferRef> + AsyncWrite + AsFd + Clone + 'static {
    fn adopt(socket: OwnedFd) -> io::Result<Self>;

    async fn close(self) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    async fn close(self) -> io::Result<()> {
        self.close().await
    }
}

impl Stream for TcpStream {
    fn adopt(socket: OwnedFd) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    async fn close(self) -> io::Result<()> {
        self.close().await
    }
}

/// Accepts until the drain, then waits for the connections to finish.
async fn accept<S: Stream, H: Handler>(
    readiness: PollFd<OwnedFd>,
    mut accepting: Accepting,
    worker: Rc<Worker<H>>,
) -> io::Result<()> {
    let drain = PollFd::new(drain::wake())?;
    while !accepting.is_over() {
        let now = Instant::now();
        let next = async {
            let Some(listener) = accepting.listener(now) else { return pending().await };
            if !accepting.is_draining() {
                readiness.accept_ready().await?;
            }
            accept_with(listener, SocketFlags::CLOEXEC).map_err(io::Error::from)
        };
        tokio::select! {
            biased;
            _ = drain.read_ready(), if !accepting.is_draining() => {
                accepting.drain();
                worker.shared.borrow_mut().drain();
                worker.draining.notify_waiters();
            }
            closed = worker.closed.acquire() => {
                closed.map_err(io::Error::other)?.forget();
                accepting.closed();
            }
            accepted = next => {
                if let Some(socket) = accepting.accepted(accepted, Instant::now())? {
                    spawn(serve_connection(S::adopt(socket)?, Rc::clone(&worker))).detach();
                    // The others have their turn first, and the other processes theirs.
                    yield_now().await;
                }
            }
            () = sleep_until(accepting.deadline(now)) => {}
        }
    }
    Ok(())
}

/// A connection's task.
async fn serve_connection<H: Handler>(stream: impl Stream, worker: Rc<Worker<H>>) {
    // An error in a connection is that connection's end.
    let _ = run(&stream, &worker).await;
    // Once the kernel has let go of it.
    let _ = stream.close().await;
    worker.closed.add_permits(1);
}

/// Reads, serves and writes until the connection ends.
async fn run<H: Handler>(stream: &impl Stream, worker: &Worker<H>) -> io::Result<()> {
    let lend = || worker.shared.borrow_mut();
    let mut session = Session::new(&lend(), Instant::now());
    let mut drained = pin!(worker.draining.notified());
    // What the kernel is doing: to drop one of them would lose what it has read.
    let (mut reading, mut writing) = (pin!(None), pin!(None));
    while !session.is_over() {
        if session.wants_waker() {
            session.set_waker(poll_fn(|context| Poll::Ready(context.waker().clone())).await);
        }
        if reading.is_none() && session.wants_read() {
            let mut stream = stream.clone();
            reading.set(Some(async move { stream.read_managed(READ_BYTES).await }));
        }
        if writing.is_none() && session.wants_write() {
            let (mut stream, unsent) = (stream.clone(), session.take_unsent());
            writing.set(Some(async move { stream.write(unsent).await }));
        }
        tokio::select! {
            biased;
            () = &mut drained, if !session.is_draining() => session.drain(),
            input = ended(reading.as_mut()) => read(stream, input, &mut session, worker)?,
            BufResult(written, unsent) = ended(writing.as_mut()) => {
                session.put_back_unsent(unsent, written, Instant::now(), &mut lend());
            }
            () = sleep_until(session.deadline()) => session.resume(Instant::now(), &mut lend()),
            looked = has_no_input(stream), if session.wants_last_read() => {
                looked?;
                session.end_of_available_input(Instant::now(), &mut lend());
            }
            // Once all is sent: to know that takes a look at the ring, and so at the others.
            () = poll_fn(|_| if session.has_more() { Poll::Ready(()) } else { Poll::Pending }), if writing.is_none() => {
                session.resume(Instant::now(), &mut lend());
                yield_now().await;
            }
        }
        if session.shuts_write(Instant::now()) {
            stream.clone().shutdown().await?;
        }
    }
    Ok(())
}

/// What an operation in flight has come to; for ever where there is none.
async fn ended<F: Future>(mut operation: Pin<&mut Option<F>>) -> F::Output {
    let Some(future) = operation.as_mut().as_pin_mut() else { return pending().await };
    let output = future.await;
    operation.set(None);
    output
}

/// Serves what a read has come to. Where more end at once than there are buffers, a call reads for the others.
fn read<H: Handler>(
    stream: &impl AsFd,
    read: io::Result<Option<BufferRef>>,
    session: &mut Session<H>,
    worker: &Worker<H>,
) -> io::Result<()> {
    let (input, shared) = (&mut *worker.input.borrow_mut(), &mut *worker.shared.borrow_mut());
    let read = match &read {
        Ok(buffer) => Ok(buffer.as_deref().unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            recv(stream, &mut *input, RecvFlags::DONTWAIT).map(|(length, _)| &input[..length])
        }
        Err(error) => Err(Errno::from_io_error(error).unwrap_or(Errno::IO)),
    };
    let now = Instant::now();
    match read {
        Ok([]) => session.end_of_input(now, shared),
        Ok(input) => session.receive(input, now, shared),
        Err(Errno::WOULDBLOCK | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Ready when a read in flight would wait, and what was read before is known: the drain's descriptor is readable, and
/// to learn that takes a look at the ring.
async fn has_no_input(stream: &impl AsFd) -> io::Result<()> {
    match recv(stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::WOULDBLOCK) => PollFd::new(drain::wake())?.read_ready().await,
        _ => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => compio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
