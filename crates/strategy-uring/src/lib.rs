//! Completion loop: one thread, io_uring; one system call submits all that is to be done and waits for what is done.
//!
//! - **Who accepts:** the loop, one connection a turn, so that the other processes get theirs: a multishot accept
//!   would give all of them to one.
//! - **Who reads:** the kernel, into a buffer that it takes from a ring when bytes have come; the loop serves them.
//! - **Where a request waits:** in an ordered map of timers; nothing of the process waits with it.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.

mod buffers;
mod ring;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::mem::{self, MaybeUninit};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, Event, Request, RequestId, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{SubmissionQueue, Submitter, cqueue, opcode};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;
use socket2::Socket;

use crate::buffers::Buffers;
use crate::ring::{Operation, poll};

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::Many, threads: None, multiplexes: true, sees_aborts: true };

/// Output buffers kept for the next turn, and the largest that is kept.
const SPARE_OUTPUTS: usize = 64;
const SPARE_OUTPUT_BYTES: usize = 64 << 10;

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait for descriptors when there are none left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut ring = ring::build().map_err(ring::unsupported)?;
    let (submitter, submissions, mut completions) = ring.split();
    let mut buffers = Buffers::register(&submitter).map_err(ring::unsupported)?;
    listener.socket().set_nonblocking(true)?;
    let readiness = watch(&listener)?;

    let mut worker = Worker {
        submitter,
        submissions,
        listener: Some(listener),
        readiness,
        handler,
        config: *config,
        clients: Slab::new(),
        silent: Vec::new(),
        touched: Vec::new(),
        timers: BTreeMap::new(),
        timers_set: 0,
        accepting: true,
        accept_again: None,
        draining: false,
        outputs: Vec::new(),
        spares: Spares::new(),
    };
    worker.push(poll(&drain::wake()), Operation::Drain)?;
    while worker.listener.is_some() || !worker.clients.is_empty() {
        worker.enter(1)?;
        completions.sync();
        for completion in &mut completions {
            worker.complete(&completion, &mut buffers);
        }
        completions.sync();
        worker.conclude_sends();
        worker.fire_timers();
        worker.drive_touched()?;
        worker.accept()?;
    }
    Ok(())
}

/// A descriptor that is readable when connections wait. The kernel closes a ring, and whatever its operations wait for,
/// some milliseconds after the process has died: a listener would still take connections, and lighttpd, which asks
/// before it spawns another worker, believe that one is there. An epoll instance does not hold what it watches.
fn watch(listener: &Listener) -> io::Result<OwnedFd> {
    let readiness = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&readiness, listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    Ok(readiness)
}

struct Worker<'ring, H: Handler> {
    submitter: Submitter<'ring>,
    submissions: SubmissionQueue<'ring>,
    /// Until the drain has emptied its queue.
    listener: Option<Listener>,
    /// Says when connections wait for the listener.
    readiness: OwnedFd,
    handler: H,
    config: Config,
    clients: Slab<Client<H>>,
    /// Connections with a silent send.
    silent: Vec<usize>,
    /// Connections to which something has happened in this turn.
    touched: Vec<usize>,
    timers: BTreeMap<Timer, usize>,
    timers_set: u64,
    /// Whether connections may wait: it was readable, and the listener has not said WouldBlock since.
    accepting: bool,
    /// Not before this time: there were no descriptors left.
    accept_again: Option<Instant>,
    draining: bool,
    /// Output buffers for connections that come to need one: an idle one has none.
    outputs: Vec<Vec<u8>>,
    spares: Spares,
}

/// When, and a number that tells apart those of one moment.
type Timer = (Instant, u64);

/// An operation of which the kernel holds one at most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flight {
    None,
    /// It does not wait, and has a completion only if it has not done all that it was to do.
    Silent,
    /// It may wait for its socket, and has a completion then.
    Waiting,
    /// It was asked to end; its completion has still to come.
    Cancelled,
}

struct Client<H: Handler> {
    socket: Socket,
    connection: Connection,
    receive: Flight,
    send: Flight,
    /// What the send in flight sends, and how much of it earlier ones have sent. The kernel reads it: it stays as it is.
    sending: Vec<u8>,
    sent: usize,
    /// Output that waits for the send in flight.
    output: Vec<u8>,
    /// Input that came when there was no room for what it asks.
    unread: Vec<u8>,
    /// Whether it is among those to be driven at the turn's end.
    touched: bool,
    /// The end was read, and the requests that were waiting are aborted.
    ended: bool,
    /// Closed, as soon as the kernel holds nothing of it.
    closed: bool,
    waiting: Vec<Waiting<H>>,
    /// When to stop reading what is not wanted.
    linger: Option<Timer>,
}

struct Waiting<H: Handler> {
    exchange: Exchange<H>,
    until: Until,
}

#[derive(PartialEq, Eq)]
enum Until {
    Time(Timer),
    Flushed,
}

impl<H: Handler> Worker<'_, H> {
    /// Takes in one connection; what it has sent is received by the next system call.
    fn accept(&mut self) -> io::Result<()> {
        self.accept_again.take_if(|time| *time <= Instant::now());
        if !self.may_accept() {
            return Ok(());
        }
        let Some(listener) = &self.listener else { return Ok(()) };
        if self.draining && !listener.has_pending() {
            self.listener = None;
            return Ok(());
        }
        match accept_with(listener, SocketFlags::CLOEXEC).map_err(io::Error::from) {
            Ok(socket) if listener.admits(&socket) => {
                let key = self.clients.insert(Client::new(socket.into(), self.config.connection()));
                self.arm(key)?;
            }
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error) {
                AcceptError::Empty if self.draining => self.listener = None,
                AcceptError::Empty => {
                    self.accepting = false;
                    self.push(poll(&self.readiness), Operation::Readiness)?;
                }
                AcceptError::Again => {}
                AcceptError::Exhausted => self.accept_again = Some(Instant::now() + EXHAUSTED),
                AcceptError::Fatal => return Err(error),
            },
        }
        Ok(())
    }

    fn may_accept(&self) -> bool {
        self.accepting
            && self.accept_again.is_none()
            && self.listener.is_some()
            && self.clients.len() < self.config.connections
    }

    /// One system call submits all that was pushed, and waits for the first completion.
    fn enter(&mut self, completions: usize) -> io::Result<()> {
        self.submissions.sync();
        let timeout = self.timeout().map(Timespec::from);
        let entered = match &timeout {
            None => self.submitter.submit_and_wait(completions),
            Some(timeout) => {
                self.submitter.submit_with_args(completions, &SubmitArgs::new().timespec(timeout))
            }
        };
        self.submissions.sync();
        match entered {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EAGAIN)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Puts an operation among those that the next system call submits.
    fn push(&mut self, entry: Entry, operation: Operation) -> io::Result<()> {
        let entry = entry.user_data(operation.into());
        // SAFETY: what an operation points to is a client's `sending`, and stays as it is until its completion.
        while unsafe { self.submissions.push(&entry) }.is_err() {
            self.enter(0)?;
        }
        Ok(())
    }

    fn cancel(&mut self, operation: Operation) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(operation.into()).build().flags(Flags::SKIP_SUCCESS);
        self.push(cancel, Operation::Unobserved)
    }

    /// Takes notice of one thing that is done.
    fn complete(&mut self, completion: &cqueue::Entry, buffers: &mut Buffers) {
        // Negative numbers are errors, in all operations alike.
        let result = u32::try_from(completion.result())
            .map_err(|_| io::Error::from_raw_os_error(-completion.result()));
        match Operation::from(completion.user_data()) {
            Operation::Unobserved => {}
            Operation::Drain => self.drain(),
            Operation::Readiness => self.accepting = true,
            Operation::Send(key) => self.sent(key, result),
            Operation::Receive(key) => {
                if !cqueue::more(completion.flags()) {
                    self.clients[key].receive = Flight::None;
                }
                match (result, cqueue::buffer_select(completion.flags())) {
                    (Ok(length), Some(buffer)) => {
                        self.received(key, buffers.filled(buffer, length as usize));
                        buffers.give_back(buffer);
                    }
                    (Ok(_), None) => self.ended(key),
                    (Err(error), _) => self.not_received(key, &error),
                }
            }
        }
    }

    /// Serves what came, or keeps it until there is room.
    fn received(&mut self, key: usize, input: &[u8]) {
        self.touch(key);
        let client = &mut self.clients[key];
        if client.closed || client.linger.is_some() {
            return;
        }
        if client.unsent() >= self.config.output_bytes || !client.unread.is_empty() {
            client.unread.extend_from_slice(input);
        } else {
            self.receive(key, input);
        }
    }

    /// The peer sends no more.
    fn ended(&mut self, key: usize) {
        self.touch(key);
        let client = &mut self.clients[key];
        client.ended = true;
        if client.unread.is_empty() {
            self.abort_all(key);
        }
    }

    fn not_received(&mut self, key: usize, error: &io::Error) {
        self.touch(key);
        match error.raw_os_error() {
            // No buffer was left, or there was no room: it is armed again at the turn's end, or when there is.
            Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            _ => self.clients[key].closed = true,
        }
    }

    /// A send has completed: one that may wait, or a silent one that has not sent all.
    fn sent(&mut self, key: usize, result: io::Result<u32>) {
        self.touch(key);
        let client = &mut self.clients[key];
        client.send = Flight::None;
        match result.map_err(|error| error.raw_os_error()) {
            Ok(sent) => client.sent += sent as usize,
            Err(Some(libc::EAGAIN | libc::EINTR)) => {}
            // An error in a connection is that connection's end.
            Err(_) => client.closed = true,
        }
    }

    /// The silent sends that have been submitted, and of which no completion tells otherwise, have sent all.
    fn conclude_sends(&mut self) {
        if !self.submissions.is_empty() {
            // The kernel had no memory to take them.
            return;
        }
        let mut silent = mem::take(&mut self.silent);
        for key in silent.drain(..) {
            let Some(client) = self.clients.get_mut(key) else { continue };
            if client.send == Flight::Silent {
                client.send = Flight::None;
                client.sent = client.sending.len();
                self.touch(key);
            }
        }
        self.silent = silent;
    }

    fn touch(&mut self, key: usize) {
        if !mem::replace(&mut self.clients[key].touched, true) {
            self.touched.push(key);
        }
    }

    /// Goes on with the connections to which something has happened, each once: what several of its completions made
    /// goes out together.
    fn drive_touched(&mut self) -> io::Result<()> {
        let mut touched = mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.clients[key].touched = false;
            self.drive(key)?;
        }
        self.touched = touched;
        Ok(())
    }

    /// Goes on with one connection as far as its output lets it. Errors are the ring's: those of a connection close it.
    fn drive(&mut self, key: usize) -> io::Result<()> {
        if !self.clients[key].closed {
            // What has come first: it may be the abort of the answer that would fill the room again.
            self.receive_unread(key);
            self.resume_flushed(key);
            self.flush(key)?;
            self.settle(key);
        }
        self.arm(key)?;
        if self.clients[key].closed { self.close(key) } else { Ok(()) }
    }

    /// Whether the connection has come to its end, or is let go by the drain.
    fn settle(&mut self, key: usize) {
        let client = &mut self.clients[key];
        let ended = client.ended && client.unread.is_empty() && client.waiting.is_empty();
        if client.unsent() == 0 && (ended || client.connection.is_finished()) {
            if ended || !client.connection.was_answered_early() {
                client.closed = true;
                return;
            }
            self.linger(key);
        }
        let client = &mut self.clients[key];
        if self.draining && client.unsent() == 0 && client.connection.is_idle() && !client.has_input() {
            self.linger(key);
        }
    }

    /// Has the kernel receive whatever comes, or has it stop.
    fn arm(&mut self, key: usize) -> io::Result<()> {
        let client = &mut self.clients[key];
        let connection = &client.connection;
        let wanted = !client.ended
            && !client.closed
            && client.unread.is_empty()
            && (!connection.is_finished() || connection.was_answered_early());
        match client.receive {
            Flight::None if wanted => {
                client.receive = Flight::Waiting;
                let receive = opcode::RecvMulti::new(Fd(client.socket.as_raw_fd()), buffers::GROUP);
                self.push(receive.build(), Operation::Receive(key))
            }
            Flight::Waiting if !wanted => {
                client.receive = Flight::Cancelled;
                self.cancel(Operation::Receive(key))
            }
            _ => Ok(()),
        }
    }

    fn receive_unread(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.unread.is_empty() || client.unsent() >= self.config.output_bytes {
            return;
        }
        let input = mem::take(&mut client.unread);
        self.receive(key, &input);
        let client = &mut self.clients[key];
        if client.ended {
            self.abort_all(key);
        }
    }

    fn receive(&mut self, key: usize, mut input: &[u8]) {
        if self.clients[key].output.capacity() == 0 {
            self.clients[key].output = self.outputs.pop().unwrap_or_default();
        }
        loop {
            let Client { connection, output, closed, .. } = &mut self.clients[key];
            match connection.receive(&mut input, output, &mut self.spares) {
                Ok(Some(Event::Request(request))) => {
                    let exchange = Exchange::start(&self.handler, request);
                    self.finish(key, exchange);
                }
                Ok(Some(Event::Abort(id))) => self.abort(key, id),
                Ok(None) => return,
                Err(_) => {
                    *closed = true;
                    return;
                }
            }
        }
    }

    /// Takes a request as far as it gets without waiting.
    fn finish(&mut self, key: usize, mut exchange: Exchange<H>) {
        let client = &mut self.clients[key];
        let room = self.config.output_bytes.saturating_sub(client.unsent());
        let until = match exchange.step(&self.handler, &mut client.output, room) {
            Step::Done(_) => {
                client.connection.recycle(exchange.into_request(), &mut self.spares);
                return;
            }
            Step::Flush => Until::Flushed,
            Step::Wait(duration) => {
                Until::Time(set_timer(&mut self.timers, &mut self.timers_set, duration, key))
            }
        };
        client.waiting.push(Waiting { exchange, until });
    }

    /// Goes on with the requests that wait for room, if there is some.
    fn resume_flushed(&mut self, key: usize) {
        let mut at = 0;
        // A request that is resumed and waits again stands at the end, behind those that have their turn yet.
        for _ in 0..self.clients[key].waiting.len() {
            let client = &mut self.clients[key];
            if client.unsent() >= self.config.output_bytes {
                break;
            }
            if client.waiting[at].until == Until::Flushed {
                let exchange = client.waiting.remove(at).exchange;
                self.finish(key, exchange);
            } else {
                at += 1;
            }
        }
    }

    /// Sends what there is, unless a send is in flight. Where nothing is to be done after it, it is a silent one: a
    /// reply that the socket takes at once wakes nobody.
    fn flush(&mut self, key: usize) -> io::Result<()> {
        let client = &mut self.clients[key];
        if client.send != Flight::None {
            return Ok(());
        }
        client.send = Flight::Waiting;
        if client.sent == client.sending.len() {
            client.sent = 0;
            client.sending.clear();
            mem::swap(&mut client.sending, &mut client.output);
            if client.rests() && !self.draining {
                client.send = Flight::Silent;
            }
        }
        let unsent = &client.sending[client.sent..];
        if unsent.is_empty() {
            client.send = Flight::None;
            self.take_buffers(key);
            return Ok(());
        }
        // A longer one is sent in several.
        let length = u32::try_from(unsent.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fd(client.socket.as_raw_fd()), unsent.as_ptr(), length);
        let send = if client.send == Flight::Silent {
            self.silent.push(key);
            // With WAITALL, to send less than all is no success, and so has a completion.
            send.flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL).build().flags(Flags::SKIP_SUCCESS)
        } else {
            send.build()
        };
        self.push(send, Operation::Send(key))
    }

    /// An idle connection holds no buffer: the next one that reads a request takes it.
    fn take_buffers(&mut self, key: usize) {
        let client = &mut self.clients[key];
        for buffer in [mem::take(&mut client.sending), mem::take(&mut client.output)] {
            if (1..=SPARE_OUTPUT_BYTES).contains(&buffer.capacity()) && self.outputs.len() < SPARE_OUTPUTS {
                self.outputs.push(buffer);
            }
        }
    }

    fn fire_timers(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(first) = self.timers.first_entry().filter(|first| first.key().0 <= now) {
            let (timer, key) = first.remove_entry();
            let client = &mut self.clients[key];
            if client.linger == Some(timer) {
                client.closed = true;
            } else if let Some(waiting) =
                client.waiting.iter_mut().find(|waiting| waiting.until == Until::Time(timer))
            {
                waiting.until = Until::Flushed;
            }
            self.touch(key);
        }
    }

    /// FCGI_ABORT_REQUEST (spec 5.4).
    fn abort(&mut self, key: usize, id: RequestId) {
        let client = &mut self.clients[key];
        let of_id = |waiting: &Waiting<H>| waiting.exchange.request().id() == id;
        if let Some(at) = client.waiting.iter().position(of_id) {
            let waiting = client.waiting.remove(at);
            waiting.exchange.abort(&mut client.output);
            let request = self.dismiss(waiting);
            self.clients[key].connection.recycle(request, &mut self.spares);
        }
    }

    /// The peer sends no more: an abort of all that waits (spec 5.4). What is written is still sent.
    fn abort_all(&mut self, key: usize) {
        for waiting in mem::take(&mut self.clients[key].waiting) {
            let request = self.dismiss(waiting);
            self.clients[key].connection.recycle(request, &mut self.spares);
        }
    }

    fn dismiss(&mut self, waiting: Waiting<H>) -> Request {
        if let Until::Time(timer) = waiting.until {
            self.timers.remove(&timer);
        }
        waiting.exchange.into_request()
    }

    /// Lets the peer read what was written: closing a connection under input that still comes would reset it.
    fn linger(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.linger.is_none() {
            client.closed |= client.socket.shutdown(Shutdown::Write).is_err();
            client.linger = Some(set_timer(&mut self.timers, &mut self.timers_set, LINGER, key));
        }
    }

    /// Lets go of a connection. It stays until the kernel holds nothing of it, and is driven again by what completes.
    fn close(&mut self, key: usize) -> io::Result<()> {
        self.abort_all(key);
        let client = &mut self.clients[key];
        if let Some(timer) = client.linger.take() {
            self.timers.remove(&timer);
        }
        if client.send == Flight::Waiting {
            client.send = Flight::Cancelled;
            self.cancel(Operation::Send(key))?;
        }
        let client = &self.clients[key];
        if client.send != Flight::None || client.receive != Flight::None {
            return Ok(());
        }
        let descriptor = self.clients.remove(key).socket.into_raw_fd();
        // A descriptor is free, and a place.
        self.accept_again = None;
        self.push(
            opcode::Close::new(Fd(descriptor)).build().flags(Flags::SKIP_SUCCESS),
            Operation::Unobserved,
        )
    }

    /// SIGTERM: connections that wait are still taken, idle ones are let go, the others finish.
    fn drain(&mut self) {
        self.draining = true;
        self.accepting = true;
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.touch(key);
        }
    }

    /// How long nothing is to be done, unless a completion says otherwise.
    fn timeout(&self) -> Option<Duration> {
        if self.may_accept() {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.first_key_value().map(|(timer, _)| timer.0);
        let next = timer.into_iter().chain(self.accept_again).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }
}

fn set_timer(
    timers: &mut BTreeMap<Timer, usize>,
    timers_set: &mut u64,
    duration: Duration,
    key: usize,
) -> Timer {
    *timers_set += 1;
    let timer = (Instant::now() + duration, *timers_set);
    timers.insert(timer, key);
    timer
}

impl<H: Handler> Client<H> {
    fn new(socket: Socket, connection: Connection) -> Self {
        Self {
            socket,
            connection,
            receive: Flight::None,
            send: Flight::None,
            sending: Vec::new(),
            sent: 0,
            output: Vec::new(),
            unread: Vec::new(),
            touched: false,
            ended: false,
            closed: false,
            waiting: Vec::new(),
            linger: None,
        }
    }

    /// Whether nothing is to be done once its output is sent, unless the peer or a timer says otherwise.
    fn rests(&self) -> bool {
        let is_flushed = |waiting: &Waiting<H>| waiting.until == Until::Flushed;
        !self.ended
            && self.unread.is_empty()
            && !self.connection.is_finished()
            && !self.waiting.iter().any(is_flushed)
    }

    /// Whether there is something that is not served yet, if only in the socket: the drain wants to be sure.
    fn has_input(&self) -> bool {
        let peeked =
            self.socket.recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_PEEK | libc::MSG_DONTWAIT);
        !self.unread.is_empty() || !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Bytes that the socket has not taken yet.
    fn unsent(&self) -> usize {
        self.sending.len() - self.sent + self.output.len()
    }
}
