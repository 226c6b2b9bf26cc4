//! The connections of one loop: which of them is to have a turn, and when.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::time::Instant;

use socket2::Socket;

use super::Client;
use crate::{Accepting, Exchange, Handler, READ_BYTES, Session, Shared, Step, Timers, Wakeups};

/// What a loop keeps beside its poll. The key of a connection is its descriptor's number: that is how select(2) names it,
/// and epoll names it as one likes.
///
/// The loop drives whom its poll has announced, and whom [`Self::take_due`] names. Before it waits it asks for
/// [`Self::has_more`], and else for [`Self::next`].
pub struct Clients<H: Handler> {
    /// When to accept. A place is free again once its connection's descriptor is closed.
    pub accepting: Accepting,
    /// By key. Boxed, since the descriptors of a process may be spread over several loops.
    clients: Vec<Option<Box<Client<H>>>>,
    /// Those that are to have a turn whatever their sockets say.
    due: BTreeSet<usize>,
    timers: Timers,
    wakeups: Wakeups,
    /// What all of them read into.
    input: Vec<u8>,
    shared: Shared<H>,
}

impl<H: Handler> Clients<H> {
    /// None yet. Fails for lack of descriptors or memory.
    pub fn new(accepting: Accepting, shared: Shared<H>) -> io::Result<Self> {
        Ok(Self {
            accepting,
            clients: Vec::new(),
            due: BTreeSet::new(),
            timers: Timers::new(),
            wakeups: Wakeups::new()?,
            input: vec![0; READ_BYTES],
            shared,
        })
    }

    /// Takes in a connection that has taken a place ([`Accepting::accepted`]), and returns its key: drive it at once, since
    /// what it has sent is often all there is.
    pub fn insert(&mut self, socket: impl Into<Socket>, now: Instant) -> usize {
        let socket = socket.into();
        // A descriptor is no negative number.
        let key = socket.as_raw_fd() as usize;
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.clients[key] = Some(Box::new(Client::new(socket, Session::new(&self.shared, now))));
        key
    }

    /// The connection with this key. A poll may announce something of one that has just been closed.
    #[inline]
    pub fn get_mut(&mut self, key: usize) -> Option<&mut Client<H>> {
        self.clients.get_mut(key)?.as_deref_mut()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Client<H>> {
        self.clients.iter().flatten().map(Box::as_ref)
    }

    /// One turn of one connection. If it is over then, or an error has ended it, it is closed, once all its exchanges that
    /// were taken out are back: nobody else is given its key before.
    #[inline]
    pub fn drive(&mut self, key: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(key).and_then(Option::as_mut) else { return };
        let served = client.turn(&mut self.input, now, &mut self.shared);
        if served.is_err() || client.session.is_over() {
            if client.steps == 0 {
                return self.close(key);
            }
            return client.session.abandon();
        }
        if client.session.wants_waker() {
            client.session.set_waker(self.wakeups.waker(key));
        }
        let deadline = client.session.deadline();
        self.timers.set(key, deadline);
        // A turn that found nothing to read has not looked at the time. Its timer has gone off, and does not again.
        if client.has_more() || deadline.is_some_and(|deadline| deadline <= now) {
            self.due.insert(key);
        }
    }

    /// Closes a connection, whatever it is doing, and frees its place.
    pub fn close(&mut self, key: usize) {
        if self.clients.get_mut(key).and_then(Option::take).is_some() {
            self.timers.remove(key);
            self.accepting.closed();
        }
    }

    /// A request of this connection that can go on, for a loop whose steps run elsewhere
    /// ([`Shared::with_steps_elsewhere`]), and an empty buffer for what its step writes. Both come back by [`Self::put_back`].
    pub fn take_exchange(&mut self, key: usize) -> Option<(Exchange<H>, Vec<u8>)> {
        let client = self.clients.get_mut(key).and_then(Option::as_mut)?;
        let exchange = client.session.take_exchange()?;
        client.steps += 1;
        Some((exchange, self.shared.buffer()))
    }

    /// Takes an exchange back after a step that wrote `output`. Its connection is due.
    pub fn put_back(&mut self, key: usize, exchange: Exchange<H>, step: Step, output: Vec<u8>, now: Instant) {
        if let Some(client) = self.clients.get_mut(key).and_then(Option::as_mut) {
            client.steps -= 1;
            client.session.put_back(exchange, step, &output, now, &mut self.shared);
            self.due.insert(key);
        }
        self.shared.give_back(output);
    }

    /// Puts a connection among those that [`Self::take_due`] names.
    #[inline]
    pub fn set_due(&mut self, key: usize) {
        self.due.insert(key);
    }

    /// What turns readable when other threads have woken connections, as those do for which a request has
    /// [parked](crate::Step::Park): then [`Self::take_woken`].
    pub fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }

    /// Puts the connections that were woken among those that [`Self::take_due`] names.
    pub fn take_woken(&mut self) {
        self.due.extend(self.wakeups.take());
    }

    /// Those whose time has come, those of which the last turn has left something, and those that were
    /// [put](Self::set_due) there: each is to have one turn.
    #[inline]
    pub fn take_due(&mut self, now: Instant) -> BTreeSet<usize> {
        while let Some(key) = self.timers.expired(now) {
            self.due.insert(key);
        }
        mem::take(&mut self.due)
    }

    /// Whether there is something to do at once: then see what the poll announces, but do not wait for it.
    #[inline]
    pub fn has_more(&self, now: Instant) -> bool {
        !self.due.is_empty() || self.accepting.accepts_at_once(now)
    }

    /// When there is something to do, if the poll announces nothing before.
    #[inline]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        match (self.accepting.deadline(now), self.timers.next()) {
            (Some(accepting), Some(timer)) => Some(accepting.min(timer)),
            (accepting, timer) => accepting.or(timer),
        }
    }

    /// The worker is asked to finish: connections that wait are still taken, idle ones are closed, the others finish.
    pub fn drain(&mut self) {
        self.accepting.drain();
        self.shared.drain();
        for (key, client) in self.clients.iter_mut().enumerate() {
            if let Some(client) = client {
                client.drain();
                self.due.insert(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    use fcgi_proto::{Limits, Values};

    use super::*;
    use crate::{AppStatus, Config, Error, Request, Response, Timeouts, listener};

    const IDLE: Duration = Duration::from_secs(60);

    /// A request of id 1 with no parameters, on a connection that is kept (spec 3.3, 5.1): what is behind each is the end of a
    /// stream.
    const REQUEST: [u8; 32] = [
        1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, // FCGI_BEGIN_REQUEST
        1, 4, 0, 1, 0, 0, 0, 0, // FCGI_PARAMS
        1, 5, 0, 1, 0, 0, 0, 0, // FCGI_STDIN
    ];

    /// Answers nothing, at once.
    struct Nothing;

    impl Handler for Nothing {
        type Job = ();

        fn start(&self, _: Request<'_>) {}

        fn step(&self, _: Request<'_>, _: &mut (), _: &mut Response<'_>) -> Result<Step, Error> {
            Ok(Step::Done(AppStatus::SUCCESS))
        }
    }

    /// Of a loop that has one place.
    fn clients() -> Clients<Nothing> {
        let (accepting, shared) = parts();
        Clients::new(accepting, shared).unwrap()
    }

    fn parts() -> (Accepting, Shared<Nothing>) {
        let config = Config {
            limits: Limits::default(),
            values: Values { connections: 1, requests: 1, multiplexes: true },
            connections: 1,
            threads: 1,
            output_bytes: 64 << 10,
            timeouts: Timeouts { idle: Some(IDLE), ..Timeouts::NONE },
        };
        let accepting = Accepting::new(listener::unnamed().unwrap(), config.connections);
        (accepting, Shared::new(Arc::new(Nothing), &config))
    }

    /// Connects a peer, as if it had come by the listener.
    fn connect(clients: &mut Clients<Nothing>, now: Instant) -> (UnixStream, usize) {
        let (peer, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = clients.accepting.accepted(Ok::<_, std::io::Error>(socket), now).unwrap().unwrap();
        let key = clients.insert(Socket::from(socket), now);
        clients.drive(key, now);
        (peer, key)
    }

    #[test]
    fn a_connection_that_is_over_is_closed_and_its_place_is_free() {
        let (mut clients, now) = (clients(), Instant::now());
        let (peer, key) = connect(&mut clients, now);
        assert!(clients.accepting.listener(now).is_none());
        drop(peer);
        clients.get_mut(key).unwrap().readable = true;
        clients.drive(key, now);
        assert!(clients.get_mut(key).is_none() && clients.accepting.listener(now).is_some());
        clients.drive(key, now);
        clients.close(key);
        assert!(clients.take_due(now + IDLE).is_empty(), "nothing is left of it");
    }

    #[test]
    fn a_connection_whose_time_has_come_is_due() {
        let (mut clients, now) = (clients(), Instant::now());
        let (_peer, key) = connect(&mut clients, now);
        assert!(clients.take_due(now).is_empty() && !clients.has_more(now));
        assert_eq!(clients.next(now), Some(now + IDLE));
        assert!(clients.take_due(now + IDLE).contains(&key));
    }

    #[test]
    fn a_time_that_comes_with_a_read_for_nothing_is_not_forgotten() {
        let (mut clients, now) = (clients(), Instant::now());
        let (_peer, key) = connect(&mut clients, now);
        clients.get_mut(key).unwrap().readable = true;
        assert!(clients.take_due(now + IDLE).contains(&key));
        clients.drive(key, now + IDLE);
        assert!(clients.has_more(now + IDLE) && clients.take_due(now + IDLE).contains(&key));
        clients.drive(key, now + IDLE);
        assert!(!clients.has_more(now + IDLE), "it has been closed for being idle");
    }

    #[test]
    fn what_a_turn_leaves_is_due() {
        let (mut clients, now) = (clients(), Instant::now());
        let (mut peer, key) = connect(&mut clients, now);
        // FCGI_GET_VALUES of no name, as often as a turn does not read: its answers are nothing but their headers.
        let values = [1, 9, 0, 0, 0, 0, 0, 0].repeat(READ_BYTES / 8 + 1);
        peer.write_all(&values).unwrap();
        clients.get_mut(key).unwrap().readable = true;
        clients.drive(key, now);
        assert!(clients.has_more(now));
        assert!(clients.take_due(now).contains(&key) && !clients.has_more(now));
    }

    #[test]
    fn a_drain_closes_a_connection_that_is_idle() {
        let (mut clients, now) = (clients(), Instant::now());
        let (_peer, key) = connect(&mut clients, now);
        clients.drain();
        // It may still bring its first request, and then its peer may still send.
        for now in [now, now + IDLE, now + 2 * IDLE] {
            assert!(clients.get_mut(key).is_some());
            while !clients.take_due(now).is_empty() {
                clients.drive(key, now);
            }
        }
        assert!(clients.get_mut(key).is_none());
    }

    #[test]
    fn a_connection_keeps_its_place_until_its_steps_are_back() {
        let ((accepting, shared), now) = (parts(), Instant::now());
        let mut clients = Clients::new(accepting, shared.with_steps_elsewhere()).unwrap();
        let (mut peer, key) = connect(&mut clients, now);
        peer.write_all(&REQUEST).unwrap();
        clients.get_mut(key).unwrap().readable = true;
        clients.drive(key, now);
        let (mut exchange, mut output) = clients.take_exchange(key).unwrap();
        assert!(clients.take_exchange(key).is_none());
        // It has gone before there is anything to write.
        clients.get_mut(key).unwrap().session.abandon();
        clients.drive(key, now);
        assert!(clients.accepting.listener(now).is_none());
        let step = exchange.step(&Nothing, &mut output, 1000);
        clients.put_back(key, exchange, step, output, now);
        for key in clients.take_due(now) {
            clients.drive(key, now);
        }
        assert!(clients.get_mut(key).is_none() && clients.accepting.listener(now).is_some());
        assert!(clients.take_exchange(key).is_none());
    }

    #[test]
    fn what_a_step_elsewhere_has_written_is_sent() {
        let ((accepting, shared), now) = (parts(), Instant::now());
        let mut clients = Clients::new(accepting, shared.with_steps_elsewhere()).unwrap();
        let (mut peer, key) = connect(&mut clients, now);
        peer.write_all(&REQUEST).unwrap();
        clients.get_mut(key).unwrap().readable = true;
        clients.drive(key, now);
        let (mut exchange, mut output) = clients.take_exchange(key).unwrap();
        let step = exchange.step(&Nothing, &mut output, 1000);
        let written = output.clone();
        clients.put_back(key, exchange, step, output, now);
        for key in clients.take_due(now) {
            clients.drive(key, now);
        }
        let mut received = vec![0; written.len()];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(received, written);
    }
}
