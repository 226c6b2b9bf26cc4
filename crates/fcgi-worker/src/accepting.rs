//! When to accept and what an accept has come to: how many connections there may be, what to do when descriptors are
//! exhausted, when a drain is over. It says what is to be done; the strategy does it.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::listener::Listener;

/// How long to wait when there are no descriptors or no memory left: nothing tells when there are some again.
pub const BACK_OFF: Duration = Duration::from_millis(10);

/// What an accept has come to.
#[derive(Debug)]
pub enum Accepted<S> {
    /// A connection whose peer may be served.
    Connection(S),
    /// Nobody waits: accept when the listener is readable.
    Empty,
    /// That connection has gone or must not be served, or a signal came: accept again.
    Again,
    /// There are no descriptors or no memory left: accept again after [`BACK_OFF`].
    Exhausted,
    /// Its owner has shut the listener, and nobody will come any more: the worker is being asked to finish.
    Closed,
}

impl Listener {
    /// What this result of an accept means. `Err`: the listener is of no use any more.
    pub fn judge<S: AsFd>(&self, accepted: Result<S, impl Into<io::Error>>) -> io::Result<Accepted<S>> {
        match accepted.map_err(Into::into) {
            Ok(socket) if self.admits(&socket) => Ok(Accepted::Connection(socket)),
            Ok(_) => Ok(Accepted::Again),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Accepted::Empty),
            // From the kernel, or from a strategy whose runtime has not looked yet.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Accepted::Again),
            Err(error) => match error.raw_os_error() {
                // Who owns the listener has shut it (shutdown(2), SHUT_RD), and its queue is empty: nobody else will come,
                // and poll(2) calls it readable for ever.
                Some(libc::EINVAL) => {
                    self.finish();
                    Ok(Accepted::Closed)
                }
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Ok(Accepted::Exhausted),
                // accept(2): errors pending on the new connection are reported here, and mean it alone.
                Some(
                    libc::ECONNABORTED
                    | libc::EPROTO
                    | libc::EPERM
                    | libc::ENETDOWN
                    | libc::ENETUNREACH
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH
                    | libc::ETIMEDOUT,
                ) => Ok(Accepted::Again),
                _ => Err(error),
            },
        }
    }
}

/// The places of a loop that holds many connections on a listener that does not block.
#[derive(Debug)]
pub struct Accepting {
    /// Until the drain has emptied its queue.
    listener: Option<Arc<Listener>>,
    connections: usize,
    limit: usize,
    /// Not before this time: descriptors were exhausted.
    again_at: Option<Instant>,
    /// While draining: how many of those that wait may still be accepted, so that it ends under load.
    draining: Option<usize>,
}

impl Accepting {
    /// No connection yet; `limit` of them at most. Several loops of a process share its listener.
    pub fn new(listener: impl Into<Arc<Listener>>, limit: usize) -> Self {
        Self { listener: Some(listener.into()), connections: 0, limit, again_at: None, draining: None }
    }

    /// The listener, if a connection may be accepted: when it is readable, or at once in a drain.
    #[inline]
    pub fn listener(&self, now: Instant) -> Option<&Listener> {
        self.listener
            .as_deref()
            .filter(|_| self.connections < self.limit && self.again_at.is_none_or(|time| time <= now))
    }

    /// Whether to accept without waiting for the listener to be readable.
    #[inline]
    pub fn accepts_at_once(&self, now: Instant) -> bool {
        self.draining.is_some() && self.listener(now).is_some()
    }

    /// When descriptors may have been freed: ask for the [`Self::listener`] again. None once that time has come: nobody
    /// may be waiting any more, as where another process has accepted them.
    #[inline]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.again_at.filter(|time| *time > now)
    }

    /// Draws the conclusions from an accept. `Some` has taken a place, until [`Self::closed`]; `Err` is the worker's end.
    pub fn accepted<S: AsFd>(
        &mut self,
        accepted: Result<S, impl Into<io::Error>>,
        now: Instant,
    ) -> io::Result<Option<S>> {
        let Some(listener) = &self.listener else { return Ok(None) };
        self.again_at = None;
        let judged = listener.judge(accepted)?;
        let left = self.draining.as_mut().map(|left| {
            *left = left.saturating_sub(1);
            *left
        });
        let is_over = left.is_some_and(|left| left == 0 || matches!(judged, Accepted::Empty));
        if is_over || matches!(judged, Accepted::Closed) {
            self.listener = None;
        }
        match judged {
            Accepted::Connection(socket) => {
                self.connections += 1;
                Ok(Some(socket))
            }
            Accepted::Exhausted => {
                self.again_at = now.checked_add(BACK_OFF);
                Ok(None)
            }
            Accepted::Empty | Accepted::Again | Accepted::Closed => Ok(None),
        }
    }

    /// A connection's descriptor is closed: there is a place again, and a descriptor.
    pub fn closed(&mut self) {
        self.connections -= 1;
        self.again_at = None;
    }

    /// The worker is asked to finish: connections that wait are still accepted, at once, until none is left.
    pub fn drain(&mut self) {
        let waiting = self.listener.as_deref().map_or(0, Listener::most_waiting);
        self.draining.get_or_insert(waiting);
    }

    /// Whether nothing is accepted any more: the drain has emptied the listener's queue.
    #[inline]
    pub fn has_stopped(&self) -> bool {
        self.listener.is_none()
    }

    /// Whether [`Self::drain`] was called.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether the worker has finished: nothing is accepted any more, and no connection is left.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.has_stopped() && self.connections == 0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::Shutdown;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::{drain, listener};

    fn accepting(limit: usize) -> Accepting {
        Accepting::new(listener::unnamed().unwrap(), limit)
    }

    fn connection() -> io::Result<File> {
        File::open("/dev/null")
    }

    fn failed(errno: i32) -> io::Result<File> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_listener_that_its_owner_has_shut_gives_what_waits_and_then_asks_for_a_drain() {
        let listener = listener::unnamed().unwrap();
        let address = listener.socket().local_addr().unwrap();
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.connect(&address).unwrap();
        listener.socket().shutdown(Shutdown::Read).unwrap();

        let accept = || listener.judge(listener.socket().accept().map(|(socket, _)| socket)).unwrap();
        assert!(matches!(accept(), Accepted::Connection(_)));
        assert!(listener.has_pending(), "poll(2) calls it readable");
        // No blocking either: nobody would end it.
        assert!(matches!(accept(), Accepted::Closed));
        assert!(drain::requested());
        assert!(!listener.has_pending());
    }

    #[test]
    fn nothing_is_accepted_while_all_places_are_taken() {
        let (now, mut accepting) = (Instant::now(), accepting(2));
        for _ in 0..2 {
            assert!(accepting.listener(now).is_some());
            assert!(accepting.accepted(connection(), now).unwrap().is_some());
        }
        assert!(accepting.listener(now).is_none());
        accepting.closed();
        assert!(accepting.listener(now).is_some());
    }

    #[test]
    fn exhausted_descriptors_are_waited_for() {
        let (now, mut accepting) = (Instant::now(), accepting(2));
        assert!(accepting.accepted(failed(libc::EMFILE), now).unwrap().is_none());
        assert!(accepting.listener(now).is_none());
        assert_eq!(accepting.deadline(now), Some(now + BACK_OFF));
        assert!(accepting.listener(now + BACK_OFF).is_some());
        assert_eq!(accepting.deadline(now + BACK_OFF), None, "to wait for what is past would be to spin");
    }

    #[test]
    fn a_connection_that_has_gone_is_nobodys_end() {
        let (now, mut accepting) = (Instant::now(), accepting(1));
        assert!(accepting.accepted(failed(libc::ECONNABORTED), now).unwrap().is_none());
        for interrupted in [io::Error::from_raw_os_error(libc::EINTR), ErrorKind::Interrupted.into()] {
            assert!(accepting.accepted(Err::<File, _>(interrupted), now).unwrap().is_none());
        }
        assert!(accepting.listener(now).is_some());
        assert!(accepting.accepted(failed(libc::EBADF), now).is_err());
    }

    #[test]
    fn a_drain_accepts_those_that_wait_and_is_over_when_all_are_closed() {
        let (now, mut accepting) = (Instant::now(), accepting(1));
        assert!(!accepting.accepts_at_once(now));
        accepting.drain();
        assert!(accepting.accepts_at_once(now));
        assert!(accepting.accepted(connection(), now).unwrap().is_some());
        assert!(!accepting.accepts_at_once(now), "there is no place: to accept at once would be to spin");
        accepting.closed();
        assert!(!accepting.is_over());
        assert!(accepting.accepted(failed(libc::EAGAIN), now).unwrap().is_none());
        assert!(accepting.is_over());
    }

    #[test]
    fn a_drain_ends_however_many_connect() {
        let (now, mut accepting) = (Instant::now(), accepting(1));
        accepting.drain();
        let mut accepted = 0;
        while accepting.accepts_at_once(now) {
            accepted += usize::from(accepting.accepted(connection(), now).unwrap().is_some());
            accepting.closed();
        }
        assert_eq!(accepted, usize::from(listener::BACKLOG) + 1);
    }
}
