//! One connection to the server: its socket, the requests in flight on it, and the verdict on each reply.

mod link;
mod receiving;
mod sending;

use std::collections::VecDeque;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::address::{Mode, Protocol};
use crate::check::Scan;
use crate::codec::Codec;
use crate::core::{Core, Times};
use crate::report::ErrorKind;

/// A connection, open or to be opened.
#[derive(Debug)]
pub(crate) struct Connection {
    index: usize,
    link: Link,
    codec: Codec,
    /// Slot `n` sends its requests under the id `n + 1`. In HTTP there is one.
    slots: Vec<Slot>,
    /// First in, first out, so that requests answered in order are sent again in order, from one place.
    free: VecDeque<u16>,
    in_flight: u32,
    /// Slots whose request is not yet wholly written; of the first, `written` bytes are.
    unsent: VecDeque<Unsent>,
    written: usize,
    /// Requests of which the server can know: begun to be written, and not answered.
    on_wire: u32,
    /// The server takes no more: replies may still come.
    is_deaf: bool,
    /// Whether epoll watches for room to write.
    watches_out: bool,
    /// Failures since the last whole reply, and full backlogs since the last connection.
    failures: u32,
    busy: u32,
    /// Whether a whole reply has come since it was opened.
    has_served: bool,
    /// Whether it is on the list of those that wait to be opened.
    is_waiting: bool,
    /// Whether the generator has it on its list of those with something free.
    pub(crate) is_listed: bool,
}

/// A request that is not yet wholly written. What it asks stands here too, so that writing looks at nothing else.
#[derive(Debug, Clone, Copy)]
struct Unsent {
    slot: u16,
    request: u16,
}

#[derive(Debug)]
enum Link {
    /// Close mode: opened when a request needs it.
    Idle,
    /// To be opened (again) at this time.
    Waiting(u64),
    Connecting(OwnedFd, u64),
    Up(OwnedFd),
}

#[derive(Debug, Default)]
struct Slot {
    state: State,
    /// The reply has begun.
    begun: bool,
    stdout_ended: bool,
    /// The request's number.
    request: u16,
    times: Times,
    /// Apart, so that what is used for every reply stays together.
    scan: Box<Scan>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// Not a byte of it is written.
    Queued,
    InFlight,
    /// Answered before all of it was sent: its id is not free before the rest is.
    Answered,
}

impl Slot {
    /// Whether it has a request that is not answered.
    fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Queued | State::InFlight)
    }
}

impl Connection {
    pub(crate) fn new(index: usize, streams: u16, protocol: Protocol) -> Self {
        Self {
            index,
            link: Link::Idle,
            codec: Codec::new(protocol),
            slots: (0..streams).map(|_| Slot::default()).collect(),
            free: (0..streams).collect(),
            in_flight: 0,
            unsent: VecDeque::with_capacity(streams.into()),
            written: 0,
            on_wire: 0,
            is_deaf: false,
            watches_out: false,
            failures: 0,
            busy: 0,
            has_served: false,
            is_waiting: false,
            is_listed: false,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Whether there is something for [`flush`](Self::flush) to write.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether a request can be given to it now.
    #[inline]
    pub(crate) fn can_send(&self, mode: Mode) -> bool {
        let usable = match self.link {
            Link::Up(_) => mode != Mode::Close,
            Link::Idle => mode == Mode::Close,
            _ => false,
        };
        usable && !self.is_deaf && !self.free.is_empty()
    }

    /// Takes on one request. It is written by [`flush`](Self::flush).
    #[inline]
    pub(crate) fn dispatch(&mut self, core: &mut Core, request: u16, times: Times) {
        let Some(index) = self.free.pop_front() else { return };
        let slot = &mut self.slots[usize::from(index)];
        slot.state = State::Queued;
        slot.begun = false;
        slot.stdout_ended = false;
        slot.request = request;
        slot.times = times;
        self.unsent.push_back(Unsent { slot: index, request });
        self.in_flight += 1;
        core.in_flight += 1;
        if matches!(self.link, Link::Idle) {
            self.connect(core);
        }
    }

    /// Attends to what epoll saw.
    #[inline]
    pub(crate) fn ready(&mut self, core: &mut Core, flags: EventFlags) {
        if let Link::Connecting(..) = self.link {
            core.now();
            self.connected(core);
        }
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(EventFlags::IN | ended) {
            self.receive(core, flags.intersects(ended));
        } else {
            core.now();
        }
    }

    /// Fails what is overdue, and with it the connection: what still comes on it could not be trusted. Whether something
    /// seemed overdue: the connection may have been read, and may then take a request.
    pub(crate) fn expire(&mut self, core: &mut Core, now: u64) -> bool {
        let overdue = now.saturating_sub(core.timeout);
        let mut expired = matches!(self.link, Link::Connecting(_, since) if since < overdue);
        if expired {
            core.report.connects_failed += 1;
            core.report.errors.note(|| "no connection within the timeout".into());
        }
        let is_overdue = |slot: &Slot| slot.state != State::Free && slot.times.sent < overdue;
        let seems_overdue = self.slots.iter().any(is_overdue);
        if seems_overdue {
            // Where this process itself was held up, the reply may have been here all along.
            self.receive(core, false);
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if is_overdue(slot) {
                expired = true;
                if slot.state != State::Answered {
                    let words = match (&self.link, self.has_begun(index)) {
                        (Link::Up(_), true) => "the reply did not end within the timeout",
                        (Link::Up(_), false) => "no reply within the timeout",
                        _ => "no connection within the timeout",
                    };
                    self.fail(core, index, ErrorKind::Timeout, || words.into());
                }
            }
        }
        if expired {
            self.abandon(core, "another request on its connection timed out");
            self.failures += 1;
            self.pause(core, now);
        }
        seems_overdue
    }

    /// Forgets everything under way, so that the next run finds a clean connection.
    pub(crate) fn settle(&mut self, core: &mut Core) {
        if self.in_flight == 0 && self.unsent.is_empty() {
            return;
        }
        core.in_flight -= u64::from(self.in_flight);
        core.report.unfinished += u64::from(self.in_flight);
        for slot in &self.slots {
            if slot.is_unanswered() {
                core.waited(slot.request, slot.times);
            }
        }
        self.clear();
        self.pause(core, 0);
    }

    /// Ends a request that is in flight; does nothing to a slot without one.
    #[cold]
    fn fail(&mut self, core: &mut Core, index: usize, kind: ErrorKind, words: impl FnOnce() -> String) {
        let slot = &self.slots[index];
        if slot.is_unanswered() {
            core.report.errors.count(kind, words);
            core.waited(slot.request, slot.times);
            self.release(core, index);
        }
    }

    #[inline]
    fn release(&mut self, core: &mut Core, index: usize) {
        self.in_flight -= 1;
        core.in_flight -= 1;
        self.on_wire = self.on_wire.saturating_sub(1);
        let slot = &mut self.slots[index];
        if self.unsent.front().is_some_and(|front| usize::from(front.slot) == index)
            || slot.state == State::Queued
        {
            slot.state = State::Answered;
        } else {
            slot.state = State::Free;
            self.free.push_back(index as u16);
        }
    }

    /// The server ended the connection, in order or not.
    #[cold]
    fn end(&mut self, core: &mut Core, errno: Option<Errno>) {
        if let Some(refused @ Errno::CONNREFUSED) = errno {
            // It was never open: where the kernel is late, a socket seems connected before the answer to its SYN has come.
            core.report.connections_opened = core.report.connections_opened.saturating_sub(1);
            return self.connect_failed(core, refused);
        }
        let words =
            errno.map_or_else(|| "the server closed the connection".into(), |errno| errno.to_string());
        let now = core.now();
        if self.in_flight == 0 {
            core.report.closed_idle += 1;
        }
        if self.in_flight > 0 || !self.has_served {
            self.failures += 1;
        }
        if self.is_between_replies() {
            self.closed_between(core, &words);
        }
        self.abandon(core, &words);
        self.pause(core, now);
    }

    /// Whether it has answered, and nothing of a further reply has come.
    fn is_between_replies(&self) -> bool {
        let has_begun = |slot: &Slot| slot.is_unanswered() && slot.begun;
        self.has_served && !self.codec.is_mid_message() && !self.slots.iter().any(has_begun)
    }

    /// Whether something of this slot's reply has come. With one stream, a head that was cut can only be its reply's.
    fn has_begun(&self, index: usize) -> bool {
        self.slots[index].begun || (self.slots.len() == 1 && self.codec.is_mid_message())
    }

    /// The server ended the connection between two replies: what is in flight can be sent again.
    fn closed_between(&mut self, core: &mut Core, words: &str) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if core.retry_closed && slot.is_unanswered() {
                core.retries.push_back((slot.request, slot.times));
                self.release(core, index);
            } else {
                let words = || format!("the connection had answered before, and no reply began: {words}");
                self.fail(core, index, ErrorKind::Closed, words);
            }
        }
    }

    /// Fails all that is in flight and closes.
    #[cold]
    fn abandon(&mut self, core: &mut Core, words: &str) {
        for index in 0..self.slots.len() {
            if self.has_begun(index) {
                self.fail(core, index, ErrorKind::Lost, || format!("the reply broke off: {words}"));
            } else {
                self.fail(core, index, ErrorKind::Unanswered, || format!("no reply began: {words}"));
            }
        }
        self.clear();
    }

    /// Back to a connection without history. Its socket goes with the link, which the caller replaces.
    fn clear(&mut self) {
        if self.in_flight > 0 || self.free.len() < self.slots.len() {
            self.free.clear();
            self.free.extend(0..self.slots.len() as u16);
            self.slots.iter_mut().for_each(|slot| slot.state = State::Free);
        }
        self.in_flight = 0;
        self.codec.reset();
        self.unsent.clear();
        self.written = 0;
        self.on_wire = 0;
        self.is_deaf = false;
    }
}
