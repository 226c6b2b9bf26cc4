//! One connection to the server: its socket, the requests in flight on it, and the verdict on each reply.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::address::Mode;
use crate::check::{Check, Fault, Scan};
use crate::reply::{EndRequest, Part, Records, Violation};
use crate::report::{ErrorKind, Report};
use crate::socket::{Opened, Target};
use crate::template::Template;

/// One call writes at most about this much.
const OUT_LIMIT: usize = 256 << 10;
/// One call writes at most so many pieces.
const MAX_PIECES: usize = 64;
/// One read takes this much; small enough to stay in a core's second-level cache.
const IN_LIMIT: usize = 128 << 10;

const MILLISECOND: u64 = 1_000_000;
/// The longest pause before a connection that failed is opened again.
const MAX_PAUSE: u64 = 100 * MILLISECOND;
/// A backlog empties within microseconds: the first and the longest pause before asking again.
const FIRST_BUSY_PAUSE: u64 = MILLISECOND / 10;
const MAX_BUSY_PAUSE: u64 = 10 * MILLISECOND;

/// FCGI_END_REQUEST's protocolStatus (section 5.5).
const REQUEST_COMPLETE: u8 = 0;
const CANT_MPX_CONN: u8 = 1;
const OVERLOADED: u8 = 2;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) target: Target,
    pub(crate) mode: Mode,
    pub(crate) timeout: u64,
    pub(crate) template: Template,
    pub(crate) check: Check,
    pub(crate) epoll: OwnedFd,
    pub(crate) clock: Instant,
    pub(crate) report: Report,
    pub(crate) latencies: Latencies,
    /// The clock as it was last read. A reading serves until the next read from a socket: a batch of replies, and the
    /// requests that follow them.
    pub(crate) time: u64,
    /// Requests in flight on all connections.
    pub(crate) in_flight: u64,
    /// When a byte last came in.
    pub(crate) last_byte: u64,
    /// Connections that wait for their time to be opened (again).
    pub(crate) waiting: Vec<usize>,
    /// Why the last attempt to connect failed.
    pub(crate) connect_error: Option<Errno>,
    /// What one read brought, and what one write is to take; shared, since neither outlives the call.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Core {
    pub(crate) fn new(
        target: Target,
        timeout: u64,
        template: Template,
        check: Check,
        epoll: OwnedFd,
        report: Report,
    ) -> Self {
        Self {
            target,
            mode: report.mode,
            timeout,
            template,
            check,
            epoll,
            clock: Instant::now(),
            report,
            latencies: Latencies::default(),
            time: 0,
            in_flight: 0,
            last_byte: 0,
            waiting: Vec::new(),
            connect_error: None,
            input: vec![0; IN_LIMIT],
            output: Vec::new(),
        }
    }

    /// Reads the generator's own clock, in nanoseconds.
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        self.time = self.clock.elapsed().as_nanos() as u64;
        self.time
    }
}

/// Equal latencies in a row, not yet recorded: the replies of one read to the requests of one write are recorded at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    value: u64,
    count: u64,
}

impl Latencies {
    #[inline]
    fn record(&mut self, value: u64, histogram: &mut Histogram<u64>) {
        if self.value != value {
            self.flush(histogram);
            self.value = value;
        }
        self.count += 1;
    }

    #[inline]
    pub(crate) fn flush(&mut self, histogram: &mut Histogram<u64>) {
        if self.count > 0 {
            histogram.saturating_record_n(self.value, self.count);
            self.count = 0;
        }
    }
}

/// A connection, open or to be opened.
#[derive(Debug)]
pub(crate) struct Connection {
    index: usize,
    link: Link,
    records: Records,
    /// Slot `n` sends its requests under the id `n + 1`.
    slots: Vec<Slot>,
    /// First in, first out, so that requests answered in order are sent again in order, from one place.
    free: VecDeque<u16>,
    in_flight: u32,
    /// Slots whose request is not yet wholly written; of the first, `written` bytes are.
    unsent: VecDeque<u16>,
    written: usize,
    /// Requests of which the server can know: begun to be written, and not answered.
    on_wire: u32,
    /// Whether epoll watches for room to write.
    watches_out: bool,
    /// Failures since the last whole reply, and full backlogs since the last connection.
    failures: u32,
    busy: u32,
    /// Whether it is on the list of those that wait to be opened.
    is_waiting: bool,
    /// Whether the generator has it on its list of those with something free.
    pub(crate) is_listed: bool,
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
    /// When the request was due, and when it was sent. The same in a closed loop.
    due: u64,
    sent: u64,
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

impl Connection {
    pub(crate) fn new(index: usize, streams: u16) -> Self {
        Self {
            index,
            link: Link::Idle,
            records: Records::default(),
            slots: (0..streams).map(|_| Slot::default()).collect(),
            free: (0..streams).collect(),
            in_flight: 0,
            unsent: VecDeque::with_capacity(streams.into()),
            written: 0,
            on_wire: 0,
            watches_out: false,
            failures: 0,
            busy: 0,
            is_waiting: false,
            is_listed: false,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Whether a request can be given to it now.
    #[inline]
    pub(crate) fn can_send(&self, mode: Mode) -> bool {
        let usable = match self.link {
            Link::Up(_) => mode != Mode::Close,
            Link::Idle => mode == Mode::Close,
            _ => false,
        };
        usable && !self.free.is_empty()
    }

    /// Takes on one request. It is written by [`flush`](Self::flush).
    #[inline]
    pub(crate) fn dispatch(&mut self, core: &mut Core, due: u64, now: u64) {
        let Some(index) = self.free.pop_front() else { return };
        let slot = &mut self.slots[usize::from(index)];
        slot.state = State::Queued;
        slot.begun = false;
        slot.stdout_ended = false;
        (slot.due, slot.sent) = (due, now);
        self.unsent.push_back(index);
        self.in_flight += 1;
        core.in_flight += 1;
        if matches!(self.link, Link::Idle) {
            self.connect(core);
        }
    }

    /// Taken off the list of those that wait: opens the connection, or makes it available, if its time has come.
    pub(crate) fn retry(&mut self, core: &mut Core, now: u64) {
        self.is_waiting = false;
        match self.link {
            Link::Waiting(until) if now < until => self.wait(core, until),
            Link::Waiting(_) if core.mode == Mode::Close && self.unsent.is_empty() => self.link = Link::Idle,
            Link::Waiting(_) => self.connect(core),
            _ => {}
        }
    }

    /// When its time to be opened comes.
    pub(crate) fn wakes_at(&self) -> u64 {
        match self.link {
            Link::Waiting(until) => until,
            _ => u64::MAX,
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
        }
    }

    /// Writes until everything is written or the socket is full.
    #[inline]
    pub(crate) fn flush(&mut self, core: &mut Core) {
        while let Link::Up(socket) = &self.link {
            if self.unsent.is_empty() {
                return self.watch_out(core, false);
            }
            match send(socket, core, &self.unsent, self.written) {
                Ok(count) => self.wrote(core, count),
                Err(Errno::AGAIN) => return self.watch_out(core, true),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    // The replies that came before the end are still there to be read.
                    self.receive(core, true);
                    if self.is_up() {
                        self.end(core, Some(errno));
                    }
                }
            }
        }
    }

    /// Fails what is overdue, and with it the connection: what still comes on it could not be trusted.
    pub(crate) fn expire(&mut self, core: &mut Core, now: u64) {
        let overdue = now.saturating_sub(core.timeout);
        let mut expired = match self.link {
            Link::Connecting(_, since) => self.in_flight == 0 && since < overdue,
            _ => false,
        };
        if expired {
            core.report.errors.count(ErrorKind::Connect, || "no connection within the timeout".into());
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.state != State::Free && slot.sent < overdue {
                expired = true;
                if slot.state != State::Answered {
                    let words = match (&self.link, slot.begun) {
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
    }

    /// Forgets everything under way, so that the next run finds a clean connection.
    pub(crate) fn settle(&mut self, core: &mut Core) {
        if self.in_flight == 0 && self.unsent.is_empty() {
            return;
        }
        core.in_flight -= u64::from(self.in_flight);
        self.clear();
        self.pause(core, 0);
    }

    pub(crate) fn connect(&mut self, core: &mut Core) {
        let now = core.now();
        match core.target.open() {
            Ok(Opened::Connected(socket)) => {
                if self.watch(core, &socket) {
                    self.link = Link::Up(socket);
                    self.opened(core);
                }
            }
            Ok(Opened::InProgress(socket)) => {
                if self.watch(core, &socket) {
                    self.link = Link::Connecting(socket, now);
                }
            }
            Ok(Opened::Busy) => {
                core.report.backlog_full += 1;
                let pause = (FIRST_BUSY_PAUSE << self.busy.min(16)).min(MAX_BUSY_PAUSE);
                self.busy += 1;
                self.wait(core, now + pause);
            }
            Err(errno) => self.connect_failed(core, errno),
        }
    }

    fn connected(&mut self, core: &mut Core) {
        let Link::Connecting(socket, _) = &self.link else { return };
        match rustix::net::sockopt::socket_error(socket) {
            Ok(Ok(())) => {
                let Link::Connecting(socket, _) = std::mem::replace(&mut self.link, Link::Idle) else {
                    return;
                };
                self.link = Link::Up(socket);
                self.opened(core);
            }
            Ok(Err(errno)) | Err(errno) => self.connect_failed(core, errno),
        }
    }

    fn opened(&mut self, core: &mut Core) {
        core.report.connections_opened += 1;
        self.busy = 0;
    }

    fn connect_failed(&mut self, core: &mut Core, errno: Errno) {
        core.connect_error = Some(errno);
        if self.in_flight == 0 {
            core.report.errors.count(ErrorKind::Connect, || format!("cannot connect: {errno}"));
        }
        for index in 0..self.slots.len() {
            self.fail(core, index, ErrorKind::Connect, || format!("cannot connect: {errno}"));
        }
        self.clear();
        self.failures += 1;
        let now = core.now();
        self.pause(core, now);
    }

    /// Registers a new socket. Edge-triggered, and on a unix socket without a watch for room to write: there, every
    /// read by the peer would wake us to say that there is room, as there nearly always was.
    fn watch(&mut self, core: &mut Core, socket: &OwnedFd) -> bool {
        self.watches_out = matches!(core.target, Target::Tcp(_));
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, self.watches_out);
        let added = epoll::add(&core.epoll, socket, EventData::new_u64(self.index as u64), flags);
        if let Err(errno) = added {
            self.connect_failed(core, errno);
        }
        added.is_ok()
    }

    #[inline]
    fn watch_out(&mut self, core: &mut Core, on: bool) {
        if self.watches_out == on || matches!(core.target, Target::Tcp(_)) {
            return;
        }
        let Link::Up(socket) = &self.link else { return };
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, on);
        match epoll::modify(&core.epoll, socket, EventData::new_u64(self.index as u64), flags) {
            Ok(()) => self.watches_out = on,
            Err(errno) => self.end(core, Some(errno)),
        }
    }

    /// Accounts for what the socket took.
    #[inline]
    fn wrote(&mut self, core: &mut Core, mut count: usize) {
        core.report.bytes_out += count as u64;
        let length = core.template.len();
        while let Some(&index) = self.unsent.front()
            && count > 0
        {
            let slot = &mut self.slots[usize::from(index)];
            if slot.state == State::Queued {
                slot.state = State::InFlight;
                self.on_wire += 1;
            }
            let left = length - self.written;
            if count < left {
                self.written += count;
                break;
            }
            count -= left;
            self.written = 0;
            self.unsent.pop_front();
            if slot.state == State::Answered {
                slot.state = State::Free;
                self.free.push_back(index);
            }
        }
        core.report.peak_in_flight = core.report.peak_in_flight.max(self.on_wire);
    }

    #[inline]
    fn receive(&mut self, core: &mut Core, to_the_end: bool) {
        while let Link::Up(socket) = &self.link {
            match rustix::net::recv(socket, &mut core.input[..], RecvFlags::empty()) {
                Ok((0, _)) => return self.end(core, None),
                Ok((count, _)) => {
                    let now = core.now();
                    core.last_byte = now;
                    core.report.bytes_in += count as u64;
                    let input = std::mem::take(&mut core.input);
                    self.read(core, &input[..count], now);
                    core.input = input;
                    // epoll(7): a read that was not filled has emptied the socket. Only if the end has been seen
                    // already will no further event tell of it.
                    if count < IN_LIMIT && !to_the_end {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(errno) => return self.end(core, Some(errno)),
            }
        }
    }

    #[inline]
    fn read(&mut self, core: &mut Core, whole: &[u8], now: u64) {
        let mut input = whole;
        // Where in `whole` the reply under way began, and whose it is: what the golden copy is learnt from.
        let mut piece = None;
        loop {
            let at = whole.len() - input.len();
            let at_record = !self.records.is_mid_record();
            if at_record && let Some(length) = self.golden(core, input) {
                let index = usize::from(u16::from_be_bytes([input[2], input[3]])) - 1;
                input = &input[length..];
                self.completed(core, index, now);
                if core.mode == Mode::Close {
                    return self.served();
                }
                continue;
            }
            let part = match self.records.next(&mut input) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(violation) => return self.violated(core, violation),
            };
            let id = match part {
                Part::Stdout { id, .. }
                | Part::StdoutEnd { id }
                | Part::Stderr { id, .. }
                | Part::End { id, .. } => id,
                Part::Management { .. } => {
                    return self.broke_protocol(core, None, "a management record nobody asked for");
                }
            };
            // Section 3.3: an id is active from FCGI_BEGIN_REQUEST to FCGI_END_REQUEST.
            let index = usize::from(id) - 1;
            let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.state == State::InFlight) else {
                return self.broke_protocol(core, None, "a record with a request id that is not in flight");
            };
            if !slot.begun {
                slot.begun = true;
                slot.scan.reset();
                piece = at_record.then_some((index, at));
            } else if piece.is_some_and(|(known, _)| known != index) {
                piece = None;
            }
            match part {
                Part::Stdout { .. } | Part::StdoutEnd { .. } if slot.stdout_ended => {
                    return self.broke_protocol(core, Some(index), "FCGI_STDOUT after its end");
                }
                Part::Stdout { content, .. } => slot.scan.output(content, &core.check.expect),
                Part::StdoutEnd { .. } => slot.stdout_ended = true,
                Part::Stderr { content, .. } => {
                    core.report.stderr_bytes += content.len() as u64;
                    // Counted, so a reply with error output is not learnt from.
                    piece = None;
                }
                Part::End { end, .. } => {
                    if self.judge(core, index, end) {
                        core.report.parsed += 1;
                        let stop = whole.len() - input.len();
                        let ends = !self.records.is_mid_record();
                        core.check.learn(piece.filter(|_| ends).map(|(_, start)| &whole[start..stop]));
                        self.completed(core, index, now);
                    }
                    piece = None;
                    if core.mode == Mode::Close {
                        return self.served();
                    }
                }
                Part::Management { .. } => {}
            }
        }
    }

    /// If the input begins with a whole good reply to a request that is in flight, the reply's length.
    #[inline]
    fn golden(&self, core: &Core, input: &[u8]) -> Option<usize> {
        let &[_, _, high, low, ..] = input else { return None };
        let index = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        self.slots.get(index).filter(|slot| slot.state == State::InFlight && !slot.begun)?;
        core.check.golden(index, input)
    }

    /// FCGI_KEEP_CONN was 0, and the reply is there: the connection has served. A web server too closes it here.
    fn served(&mut self) {
        self.clear();
        self.link = Link::Idle;
    }

    /// The verdict on a whole reply that had to be parsed: whether it is good. What is not, is counted here.
    #[inline]
    fn judge(&mut self, core: &mut Core, index: usize, end: EndRequest) -> bool {
        let slot = &mut self.slots[index];
        let expect = &core.check.expect;
        let (kind, words) = match end.protocol_status {
            CANT_MPX_CONN | OVERLOADED => return self.refused(core, index),
            REQUEST_COMPLETE if !slot.stdout_ended && expect.stdout_end => {
                (ErrorKind::Protocol, "FCGI_END_REQUEST before the end of FCGI_STDOUT".into())
            }
            REQUEST_COMPLETE => match slot.scan.verdict(expect) {
                Ok(()) if end.app_status == expect.app_status => return true,
                Ok(()) => {
                    let words = format!("appStatus {} instead of {}", end.app_status, expect.app_status);
                    (ErrorKind::AppStatus, words)
                }
                Err(Fault::Status(503)) => return self.refused(core, index),
                Err(Fault::Status(other)) => {
                    (ErrorKind::Status, format!("status {other} instead of {}", expect.status))
                }
                Err(Fault::Head) => {
                    (ErrorKind::Content, "the CGI headers do not end, or their Status is no number".into())
                }
                Err(Fault::Body(length)) => {
                    let expected = expect.body.as_ref().map_or(0, Vec::len);
                    (
                        ErrorKind::Content,
                        format!("a body of {length} bytes that is not the {expected} expected ones"),
                    )
                }
            },
            other => (ErrorKind::ProtocolStatus, format!("protocolStatus {other} instead of 0")),
        };
        self.failures = 0;
        self.fail(core, index, kind, || words);
        false
    }

    #[inline]
    fn completed(&mut self, core: &mut Core, index: usize, now: u64) {
        self.failures = 0;
        let slot = &self.slots[index];
        core.report.completed += 1;
        core.latencies.record(now.saturating_sub(slot.due), &mut core.report.latency);
        if let Some(service) = &mut core.report.service {
            service.saturating_record(now.saturating_sub(slot.sent));
        }
        self.release(core, index);
    }

    fn refused(&mut self, core: &mut Core, index: usize) -> bool {
        self.failures = 0;
        core.report.refused += 1;
        self.release(core, index);
        false
    }

    /// Ends a request that is in flight; does nothing to a slot without one.
    #[cold]
    fn fail(&mut self, core: &mut Core, index: usize, kind: ErrorKind, words: impl FnOnce() -> String) {
        if matches!(self.slots[index].state, State::Queued | State::InFlight) {
            core.report.errors.count(kind, words);
            self.release(core, index);
        }
    }

    #[inline]
    fn release(&mut self, core: &mut Core, index: usize) {
        self.in_flight -= 1;
        core.in_flight -= 1;
        self.on_wire = self.on_wire.saturating_sub(1);
        let slot = &mut self.slots[index];
        if self.unsent.front().is_some_and(|&front| usize::from(front) == index)
            || slot.state == State::Queued
        {
            slot.state = State::Answered;
        } else {
            slot.state = State::Free;
            self.free.push_back(index as u16);
        }
    }

    #[cold]
    fn violated(&mut self, core: &mut Core, violation: Violation) {
        self.broke_protocol(core, None, &violation.to_string());
    }

    /// Nothing that follows on this connection can be trusted: it is closed, and what is in flight on it is lost.
    #[cold]
    fn broke_protocol(&mut self, core: &mut Core, index: Option<usize>, words: &str) {
        match index {
            Some(index) => self.fail(core, index, ErrorKind::Protocol, || words.into()),
            // With one request in flight it is that one's reply that is broken.
            None => match self.slots.iter().position(|slot| slot.state == State::InFlight) {
                Some(only) if self.in_flight == 1 => {
                    self.fail(core, only, ErrorKind::Protocol, || words.into())
                }
                _ => core.report.errors.count(ErrorKind::Protocol, || words.into()),
            },
        }
        self.abandon(core, "its connection was closed, since the server had broken the protocol");
        self.failures += 1;
        let now = core.now();
        self.pause(core, now);
    }

    /// The server ended the connection, in order or not.
    #[cold]
    fn end(&mut self, core: &mut Core, errno: Option<Errno>) {
        let words =
            errno.map_or_else(|| "the server closed the connection".into(), |errno| errno.to_string());
        if self.in_flight == 0 {
            core.report.closed_idle += 1;
        } else {
            self.failures += 1;
        }
        self.abandon(core, &words);
        let now = core.now();
        self.pause(core, now);
    }

    /// Fails all that is in flight and closes.
    #[cold]
    fn abandon(&mut self, core: &mut Core, words: &str) {
        // With one stream, a header that was cut can only be its reply's.
        let cut = self.slots.len() == 1 && self.records.is_mid_record();
        for index in 0..self.slots.len() {
            if self.slots[index].begun || cut {
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
        self.records = Records::default();
        self.unsent.clear();
        self.written = 0;
        self.on_wire = 0;
    }

    /// Waits before the next attempt: not at all after the first failure (a server that closes after so many requests
    /// is back at once), then twice as long each time.
    fn pause(&mut self, core: &mut Core, now: u64) {
        let pause = match self.failures {
            0 | 1 => 0,
            failures => (MILLISECOND << (failures - 2).min(16)).min(MAX_PAUSE),
        };
        self.wait(core, now + pause);
    }

    fn wait(&mut self, core: &mut Core, until: u64) {
        self.link = Link::Waiting(until);
        if !self.is_waiting {
            self.is_waiting = true;
            core.waiting.push(self.index);
        }
    }
}

/// Writes what it can of these slots' requests by one call. Of the first, `written` bytes are written already.
#[inline]
fn send(socket: &OwnedFd, core: &mut Core, unsent: &VecDeque<u16>, written: usize) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL;
    let template = &core.template;
    let first = unsent[0];
    let end = run_end(unsent, 0);
    match template.ready(first, end) {
        // As a rule everything is one piece.
        Some(piece) if unsent.len() == usize::from(end - first) => {
            rustix::net::send(socket, &piece[written..], flags)
        }
        Some(piece) => {
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            pieces[0] = IoSlice::new(&piece[written..]);
            let (mut count, mut at) = (1, usize::from(end - first));
            while count < MAX_PIECES && at < unsent.len() {
                let (first, end) = (unsent[at], run_end(unsent, at));
                let Some(piece) = template.ready(first, end) else { break };
                pieces[count] = IoSlice::new(piece);
                count += 1;
                at += usize::from(end - first);
            }
            rustix::net::sendmsg(socket, &pieces[..count], &mut SendAncillaryBuffer::default(), flags)
        }
        None => {
            core.output.clear();
            let mut from = written;
            for &index in unsent {
                let room = OUT_LIMIT - core.output.len();
                if template.copy(from, room, index + 1, &mut core.output) < template.len() {
                    break;
                }
                from = 0;
            }
            rustix::net::send(socket, &core.output, flags)
        }
    }
}

/// One more than the last of the slots that, from this place in the queue on, follow each other.
#[inline]
fn run_end(unsent: &VecDeque<u16>, at: usize) -> u16 {
    let mut end = unsent[at] + 1;
    for &next in unsent.iter().skip(at + 1) {
        if next != end {
            break;
        }
        end += 1;
    }
    end
}
