//! Readiness loop: one thread, epoll through mio, no call that blocks but the one that waits for all descriptors.
//!
//! - **Who accepts:** the loop, one connection a turn; one process is woken for it, not all.
//! - **Who reads:** the loop, whichever connection is readable, into one buffer that all share.
//! - **Where a request waits:** in an ordered map of timers; nothing of the process waits with it.
//! - **What bounds it:** `--connections`, the requests in flight and the unsent output of each.
//! - **What one process holds:** many connections, many requests on each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, Event, Request, RequestId, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll;
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;
use socket2::Socket;

/// Many connections, many requests on each; an abort is read while its request waits.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::Many, threads: None, multiplexes: true, sees_aborts: true };

/// Connections have the slab's keys as tokens.
const LISTENER: Token = Token(usize::MAX - 1);
const DRAIN: Token = Token(usize::MAX - 2);

/// Reads and writes of one connection in one turn: a busy peer must not keep the others waiting.
const ROUNDS: usize = 8;
/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait for descriptors when there are none left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// Serves until the drain.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let mut poll = Poll::new()?;
    listener.socket().set_nonblocking(true)?;
    poll.registry().register(&mut SourceFd(&drain::wake().as_raw_fd()), DRAIN, Interest::READABLE)?;

    let mut worker = Worker {
        registry: poll.registry().try_clone()?,
        listener: Some(listener),
        handler,
        config: *config,
        clients: Slab::new(),
        timers: BTreeMap::new(),
        timers_set: 0,
        unfinished: Vec::new(),
        watching: false,
        acceptable: false,
        accept_again: None,
        draining: false,
        input: vec![0; 64 << 10],
        output: Vec::new(),
        spares: Spares::new(),
    };
    let mut events = Events::with_capacity(1024);
    while worker.listener.is_some() || !worker.clients.is_empty() {
        worker.watch_listener()?;
        match poll.poll(&mut events, worker.timeout()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => {
                    worker.unwatch_listener()?;
                    worker.acceptable = true;
                }
                DRAIN => worker.drain(),
                Token(key) => {
                    let Some(client) = worker.clients.get_mut(key) else { continue };
                    client.hung_up |= event.is_read_closed() || event.is_error();
                    client.readable |= event.is_readable() || client.hung_up;
                    client.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                    worker.drive(key);
                }
            }
        }
        for key in mem::take(&mut worker.unfinished) {
            worker.drive(key);
        }
        worker.fire_timers();
        worker.accept()?;
    }
    Ok(())
}

struct Worker<H: Handler> {
    registry: mio::Registry,
    /// Until the drain has emptied its queue.
    listener: Option<Listener>,
    handler: H,
    config: Config,
    clients: Slab<Client<H>>,
    timers: BTreeMap<Timer, usize>,
    timers_set: u64,
    /// Connections that had more to do than one turn allows.
    unfinished: Vec<usize>,
    /// Whether the poll announces connections that wait: only while there is a place for one.
    watching: bool,
    /// It has announced one in this turn.
    acceptable: bool,
    /// Not before this time: there were no descriptors left.
    accept_again: Option<Instant>,
    draining: bool,
    input: Vec<u8>,
    /// The output buffer of whichever connection is being driven: an idle one has none of its own.
    output: Vec<u8>,
    spares: Spares,
}

/// When, and a number that tells apart those of one moment.
type Timer = (Instant, u64);

struct Client<H: Handler> {
    socket: Socket,
    connection: Connection,
    registered: bool,
    readable: bool,
    writable: bool,
    /// The peer has shut its side: read on to the end, however short a read is.
    hung_up: bool,
    /// The end was read, and the requests that were waiting are aborted.
    ended: bool,
    /// Output that the socket did not take.
    unsent: Vec<u8>,
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

/// Whether a connection is still there.
#[derive(PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

impl<H: Handler> Worker<H> {
    /// Takes in one connection, and serves what it has sent at once: often that is all there is.
    fn accept(&mut self) -> io::Result<()> {
        if !(mem::take(&mut self.acceptable) || self.draining) || !self.has_place() {
            return Ok(());
        }
        let Some(listener) = &self.listener else { return Ok(()) };
        if self.draining && !listener.has_pending() {
            return self.stop_listening();
        }
        self.accept_again = None;
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).map_err(io::Error::from) {
            Ok(socket) if listener.admits(&socket) => {
                let key = self.clients.insert(Client::new(socket.into(), self.config.connection()));
                self.drive(key);
            }
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error) {
                AcceptError::Empty if self.draining => return self.stop_listening(),
                AcceptError::Empty | AcceptError::Again => {}
                AcceptError::Exhausted => self.accept_again = Some(Instant::now() + EXHAUSTED),
                AcceptError::Fatal => return Err(error),
            },
        }
        Ok(())
    }

    /// Asks to be told of connections that wait, if there is a place for one. EPOLLEXCLUSIVE is what mio does not offer:
    /// without it each connection wakes every process (epoll_ctl(2)).
    fn watch_listener(&mut self) -> io::Result<()> {
        if self.watching || !self.has_place() {
            return Ok(());
        }
        self.accept_again = None;
        let Some(listener) = &self.listener else { return Ok(()) };
        // SAFETY: the registry holds its descriptor open for as long as it is borrowed, which is longer than this call.
        let poll = unsafe { BorrowedFd::borrow_raw(self.registry.as_raw_fd()) };
        let data = epoll::EventData::new_u64(LISTENER.0 as u64);
        epoll::add(poll, listener, data, epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE)?;
        self.watching = true;
        Ok(())
    }

    /// After each connection, so that the next is another process's: the kernel wakes whoever has watched for longest.
    fn unwatch_listener(&mut self) -> io::Result<()> {
        match &self.listener {
            Some(listener) if mem::take(&mut self.watching) => {
                self.registry.deregister(&mut SourceFd(&listener.socket().as_raw_fd()))
            }
            _ => Ok(()),
        }
    }

    fn has_place(&self) -> bool {
        self.clients.len() < self.config.connections
            && self.accept_again.is_none_or(|time| time <= Instant::now())
    }

    /// Reads, serves and writes for one connection, as long as its socket lets it.
    fn drive(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let mut output = mem::take(&mut self.output);
        if !client.unsent.is_empty() {
            mem::swap(&mut output, &mut client.unsent);
        }
        // An error in a connection is that connection's end.
        let state = self.drive_with(key, &mut output).unwrap_or(State::Closed);
        let Some(client) = self.clients.get_mut(key) else { return };
        if state == State::Open && !output.is_empty() {
            mem::swap(&mut output, &mut client.unsent);
        }
        output.clear();
        self.output = output;
        if state == State::Closed {
            self.close(key);
        }
    }

    fn drive_with(&mut self, key: usize, output: &mut Vec<u8>) -> io::Result<State> {
        for _ in 0..ROUNDS {
            let client = &mut self.clients[key];
            client.flush(output)?;
            let ended = client.ended && client.waiting.is_empty();
            if output.is_empty() && (ended || client.connection.is_finished()) {
                if ended || !client.connection.was_answered_early() {
                    return Ok(State::Closed);
                }
                self.linger(key)?;
            }
            // Read first: what comes may be the abort of the answer that would fill the room again.
            let progressed = self.read(key, output)? | self.resume_flushed(key, output);
            if !progressed && (output.is_empty() || !self.clients[key].writable) {
                if self.draining && output.is_empty() && self.clients[key].connection.is_idle() {
                    self.linger(key)?;
                }
                return self.clients[key].register(key, &self.registry);
            }
        }
        self.unfinished.push(key);
        Ok(State::Open)
    }

    /// Reads once and serves what came. False: there was nothing to do.
    fn read(&mut self, key: usize, output: &mut Vec<u8>) -> io::Result<bool> {
        let client = &mut self.clients[key];
        if !client.readable || client.ended || output.len() >= self.config.output_bytes {
            return Ok(false);
        }
        let read = match (&client.socket).read(&mut self.input) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.readable = false;
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        if read == 0 {
            client.readable = false;
            client.ended = true;
            self.abort_all(key);
            return Ok(true);
        }
        // A short read has emptied the socket; what comes later is announced anew (epoll(7)). The drain wants to be sure
        // before it lets go.
        client.readable = read == self.input.len() || client.hung_up || self.draining;
        if client.linger.is_some() {
            return Ok(true);
        }
        let input = mem::take(&mut self.input);
        let served = self.receive(key, &input[..read], output);
        self.input = input;
        served.map(|()| true)
    }

    fn receive(&mut self, key: usize, mut input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let connection = &mut self.clients[key].connection;
            match connection.receive(&mut input, output, &mut self.spares).map_err(io::Error::other)? {
                Some(Event::Request(request)) => {
                    let exchange = Exchange::start(&self.handler, request);
                    self.finish(key, exchange, output);
                }
                Some(Event::Abort(id)) => self.abort(key, id, output),
                None => return Ok(()),
            }
        }
    }

    /// Takes a request as far as it gets without waiting.
    fn finish(&mut self, key: usize, mut exchange: Exchange<H>, output: &mut Vec<u8>) {
        let room = self.config.output_bytes.saturating_sub(output.len());
        let client = &mut self.clients[key];
        let until = match exchange.step(&self.handler, output, room) {
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

    /// Goes on with the requests that wait for room, if there is some. False: there was nothing to do.
    fn resume_flushed(&mut self, key: usize, output: &mut Vec<u8>) -> bool {
        let mut resumed = false;
        let mut at = 0;
        // A request that is resumed and waits again stands at the end, behind those that have their turn yet.
        for _ in 0..self.clients[key].waiting.len() {
            if output.len() >= self.config.output_bytes {
                break;
            }
            let waiting = &mut self.clients[key].waiting;
            if waiting[at].until == Until::Flushed {
                let exchange = waiting.remove(at).exchange;
                self.finish(key, exchange, output);
                resumed = true;
            } else {
                at += 1;
            }
        }
        resumed
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
                self.close(key);
            } else if let Some(waiting) =
                client.waiting.iter_mut().find(|waiting| waiting.until == Until::Time(timer))
            {
                waiting.until = Until::Flushed;
                self.drive(key);
            }
        }
    }

    /// FCGI_ABORT_REQUEST (spec 5.4).
    fn abort(&mut self, key: usize, id: RequestId, output: &mut Vec<u8>) {
        let client = &mut self.clients[key];
        let of_id = |waiting: &Waiting<H>| waiting.exchange.request().id() == id;
        if let Some(at) = client.waiting.iter().position(of_id) {
            let waiting = client.waiting.remove(at);
            waiting.exchange.abort(output);
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
    fn linger(&mut self, key: usize) -> io::Result<()> {
        let client = &mut self.clients[key];
        if client.linger.is_none() {
            client.socket.shutdown(Shutdown::Write)?;
            client.linger = Some(set_timer(&mut self.timers, &mut self.timers_set, LINGER, key));
        }
        Ok(())
    }

    fn close(&mut self, key: usize) {
        self.abort_all(key);
        let client = self.clients.remove(key);
        if let Some(timer) = client.linger {
            self.timers.remove(&timer);
        }
        // A descriptor is free, and a place.
        self.accept_again = None;
    }

    /// SIGTERM: connections that wait are still taken, idle ones are let go, the others finish.
    fn drain(&mut self) {
        if !mem::replace(&mut self.draining, true) {
            for (key, client) in &mut self.clients {
                client.readable = true;
                self.unfinished.push(key);
            }
        }
    }

    fn stop_listening(&mut self) -> io::Result<()> {
        // Closing it would not end the poll's interest: other processes hold it too.
        self.unwatch_listener()?;
        self.listener = None;
        Ok(())
    }

    /// How long nothing is to be done, unless a descriptor says otherwise.
    fn timeout(&self) -> Option<Duration> {
        let emptying = self.draining && self.listener.is_some() && self.has_place();
        if !self.unfinished.is_empty() || emptying {
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
            registered: false,
            // Both are worth a try: what was announced before the registration is not announced again.
            readable: true,
            writable: true,
            hung_up: false,
            ended: false,
            unsent: Vec::new(),
            waiting: Vec::new(),
            linger: None,
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        let mut sent = 0;
        while self.writable && sent < output.len() {
            match (&self.socket).write(&output[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        output.drain(..sent);
        Ok(())
    }

    /// Asks to be told when the socket is ready: not before a connection has outlived its first turn.
    fn register(&mut self, key: usize, registry: &mio::Registry) -> io::Result<State> {
        if !self.registered {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut SourceFd(&self.socket.as_raw_fd()), Token(key), interest)?;
            self.registered = true;
        }
        Ok(State::Open)
    }
}
