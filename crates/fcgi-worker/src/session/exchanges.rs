//! The requests of one connection that were taken up and have not ended.

use std::task::Waker;
use std::time::Instant;

use fcgi_proto::RequestId;

use crate::handler::{Exchange, Handler};

pub(super) struct Exchanges<H: Handler> {
    entries: Vec<Entry<H>>,
    /// Whose turn it is.
    current: usize,
    /// Entries that are ready, and not taken out.
    ready: usize,
    /// No wait ends before this.
    due: Option<Instant>,
    /// Entries that are parked, and not taken out.
    parked: usize,
    /// Whom those tell when they are woken.
    waker: Option<Waker>,
}

struct Entry<H: Handler> {
    id: RequestId,
    /// `None` while somebody else runs its step.
    exchange: Option<Exchange<H>>,
    until: Until,
    /// When it was taken up.
    since: Instant,
    is_aborted: bool,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Time(Instant),
    /// To be woken.
    Parked,
    /// For nothing but room and its turn.
    Ready,
}

impl<H: Handler> Exchanges<H> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), current: 0, ready: 0, due: None, parked: 0, waker: None }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(super) fn any_ready(&self) -> bool {
        self.ready > 0
    }

    /// No wait ends before this; whether one ends then, [`Self::wake`] finds out.
    #[inline]
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn push(&mut self, exchange: Exchange<H>, until: Until, now: Instant) {
        let id = exchange.request().id();
        self.entries.push(Entry { id, exchange: Some(exchange), until, since: now, is_aborted: false });
        self.waits(self.entries.len() - 1);
    }

    /// Those whose wait is over become ready.
    #[inline]
    pub(super) fn wake(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.wake_due(now);
        }
        if self.parked > 0 {
            self.wake_parked();
        }
    }

    #[cold]
    fn wake_parked(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.until == Until::Parked) {
            if entry.exchange.as_ref().is_some_and(Exchange::take_woken) {
                entry.until = Until::Ready;
                self.ready += 1;
                self.parked -= 1;
            }
        }
    }

    /// Whether one is parked.
    pub(super) fn any_parked(&self) -> bool {
        self.parked > 0
    }

    /// Whether one that is parked was woken.
    #[inline]
    pub(super) fn any_woken(&self) -> bool {
        self.parked > 0 && self.parked().any(Exchange::is_woken)
    }

    #[inline]
    pub(super) fn wants_waker(&self) -> bool {
        self.parked > 0 && self.waker.is_none()
    }

    /// Whom those that are parked tell when they are woken.
    pub(super) fn set_waker(&mut self, waker: Waker) {
        self.parked().for_each(|exchange| exchange.set_waker(&waker));
        self.waker = Some(waker);
    }

    fn parked(&self) -> impl Iterator<Item = &Exchange<H>> {
        let parked = self.entries.iter().filter(|entry| entry.until == Until::Parked);
        parked.filter_map(|entry| entry.exchange.as_ref())
    }

    fn wake_due(&mut self, now: Instant) {
        self.due = None;
        for entry in self.entries.iter_mut().filter(|entry| entry.exchange.is_some()) {
            if let Until::Time(time) = entry.until {
                if time <= now {
                    entry.until = Until::Ready;
                    self.ready += 1;
                } else {
                    self.due = Some(self.due.map_or(time, |due| due.min(time)));
                }
            }
        }
    }

    /// The next one that is ready, which becomes the current one: those that are served fill the room in turn.
    pub(super) fn next_ready(&mut self) -> Option<&mut Exchange<H>> {
        if self.ready == 0 {
            return None;
        }
        let is_ready = |entry: &Entry<H>| entry.until == Until::Ready && entry.exchange.is_some();
        let (before, from) = self.entries.split_at(self.current.min(self.entries.len()));
        let found = from.iter().position(is_ready).map(|at| at + before.len());
        self.current = found.or_else(|| before.iter().position(is_ready))?;
        self.entries[self.current].exchange.as_mut()
    }

    /// The current one waits again; the one behind it is next.
    pub(super) fn wait_current(&mut self, until: Until) {
        self.ready -= 1;
        self.entries[self.current].until = until;
        self.waits(self.current);
        self.current += 1;
    }

    pub(super) fn remove_current(&mut self) -> Option<Exchange<H>> {
        self.remove_at(self.current)
    }

    /// Takes one out that is ready.
    pub(super) fn take_ready(&mut self) -> Option<Exchange<H>> {
        self.next_ready()?;
        self.ready -= 1;
        let entry = self.entries.get_mut(self.current)?;
        self.current += 1;
        entry.exchange.take()
    }

    /// Puts back one that was taken out.
    pub(super) fn put_back(&mut self, exchange: Exchange<H>, until: Until) {
        let id = exchange.request().id();
        if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            self.entries[at].exchange = Some(exchange);
            self.entries[at].until = until;
            self.waits(at);
        }
    }

    pub(super) fn holds(&self, id: RequestId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// Whether it is there and not aborted.
    pub(super) fn is_wanted(&self, id: RequestId) -> bool {
        self.entries.iter().any(|entry| entry.id == id && !entry.is_aborted)
    }

    /// How many are taken out, and not aborted.
    pub(super) fn running(&self) -> usize {
        self.entries.iter().filter(|entry| entry.exchange.is_none() && !entry.is_aborted).count()
    }

    /// Removes an aborted request. One that was taken out is marked, and removed when it is put back.
    pub(super) fn abort(&mut self, id: RequestId) -> Option<Exchange<H>> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        self.entries[at].is_aborted = true;
        if self.entries[at].exchange.is_some() { self.remove_at(at) } else { None }
    }

    pub(super) fn remove(&mut self, id: RequestId) {
        if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
            self.remove_at(at);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<H>>()
    }

    /// When the one that is served for longest was taken up.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.iter().filter(|entry| !entry.is_aborted).map(|entry| entry.since).min()
    }

    /// One that was taken up at such a time, and is not aborted.
    pub(super) fn find_since(&self, matches: impl Fn(Instant) -> bool) -> Option<RequestId> {
        self.entries.iter().find(|entry| !entry.is_aborted && matches(entry.since)).map(|entry| entry.id)
    }

    #[inline]
    fn waits(&mut self, at: usize) {
        match self.entries[at].until {
            Until::Ready => self.ready += 1,
            Until::Time(time) => self.due = Some(self.due.map_or(time, |due| due.min(time))),
            Until::Parked => {
                self.parked += 1;
                if let (Some(waker), Some(exchange)) = (&self.waker, &self.entries[at].exchange) {
                    exchange.set_waker(waker);
                }
            }
        }
    }

    fn remove_at(&mut self, at: usize) -> Option<Exchange<H>> {
        let entry = self.entries.swap_remove(at);
        if entry.exchange.is_some() {
            match entry.until {
                Until::Ready => self.ready -= 1,
                Until::Parked => self.parked -= 1,
                Until::Time(_) => {}
            }
        }
        if self.entries.is_empty() {
            // A connection at rest holds no memory for what once waited.
            *self = Self::new();
        }
        entry.exchange
    }
}
