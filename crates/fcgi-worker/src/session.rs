//! One connection's rules, without its socket: bytes and time in; bytes to send, a deadline and "over" out.
//!
//! ```text
//!          receive(bytes)   end_of_input()           resume(): time, room, or another turn
//!                │               │                                   │
//!                ▼               ▼                                   ▼
//!   ┌──────────────────────────────────────────────────────────────────────────────────────┐
//!   │ Session   fcgi_proto::Connection │ requests that wait │ unread input │ unsent output │
//!   └──────────────────────────────────────────────────────────────────────────────────────┘
//!                │               │               │               │                │
//!                ▼               ▼               ▼               ▼                ▼
//!          wants_read()     has_more()      unsent(), sent()  deadline()     shuts_write(), is_over()
//! ```
//!
//! A strategy owns the descriptor. It reads when [`Session::wants_read`] says so, writes what [`Session::unsent`] holds,
//! and comes back with [`Session::resume`] at the [`Session::deadline`], or while [`Session::has_more`]. The rules:
//!
//! 1. **A turn is bounded.** One call serves at most 64 requests and fills the output to its limit. What is left of
//!    the input is kept, at most what was given for one turn, and `has_more` asks for another turn, after the others'.
//! 2. **Output has a limit.** At `Config::output_bytes` of unsent output nothing is read and no request goes on. What the
//!    protocol itself owes (GET_VALUES_RESULT, UNKNOWN_TYPE, a refusal) is output like any other.
//! 3. **Input before output.** A turn takes the input that has come before it resumes a response: it may be the abort of
//!    that response (spec 5.4).
//! 4. **An end of input aborts nothing** that was complete: it is served to its end, then the connection is closed. The
//!    transport is gone when a write fails, which ends everything of it. While requests wait after the end of
//!    input, the session asks for writes of no bytes to learn of it.
//! 5. **Closing lingers** where the peer may still be sending: closing a socket under input that comes would reset it,
//!    and the peer lose what it has not read. The write side is shut, and what comes is thrown away, until the peer
//!    closes or half a second is over.
//! 6. **A drain** closes a connection as soon as it is idle and nothing of it waits to be read. One that has brought no
//!    request yet has a tenth of a second to do so: its peer has just connected.
//! 7. **A violation of the protocol** ends the input, and nothing that was complete before it: see rule 4.
//! 8. **An idle session owns no buffer.** Buffers and spare requests are lent by [`Shared`].

mod deadlines;
mod exchanges;
mod turn;

use std::io::{self, ErrorKind};
use std::mem;
use std::task::Waker;
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, RequestId};

use crate::Timeouts;
use crate::handler::{Exchange, Handler, Step};
use crate::shared::Shared;
use deadlines::{Clocks, later};
use exchanges::Exchanges;
use turn::until;

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
/// How long a new connection may take to bring a request while the worker drains.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// How often a write of no bytes asks whether a peer that has ended its input is still there.
const PROBE: Duration = Duration::from_millis(500);

/// One connection, from its first byte to its last.
pub struct Session<H: Handler> {
    connection: Connection,
    exchanges: Exchanges<H>,
    /// Input that the last turn did not come to, from `taken` on.
    unread: Vec<u8>,
    taken: usize,
    /// Output, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Bytes of output that the strategy has taken out and not sent yet.
    taken_out: usize,
    output_limit: usize,
    /// Whether several requests may be served at a time.
    multiplexes: bool,
    /// Whether steps run in here. Otherwise the strategy takes the exchanges out.
    runs_steps: bool,
    phase: Phase,
    draining: bool,
    /// No request has come yet.
    is_new: bool,
    /// In a drain: how long one is waited for.
    first_request_by: Option<Instant>,
    /// The peer has ended its input.
    input_ended: bool,
    /// No more input is taken: it broke the protocol, or did not come to its end in time.
    input_refused: bool,
    /// Something was read after the last request of a connection that is to be closed, or may be left to be read.
    read_past_end: bool,
    /// A write of no bytes is due.
    probing: bool,
    /// When the next one is: requests wait, and nothing is read any more.
    probe_at: Option<Instant>,
    /// Whether there is more to watch than the requests: timeouts, an end of input, a close.
    is_watched: bool,
    /// What comes first of all that is watched.
    deadline: Option<Instant>,
    clocks: Clocks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The write side is to be shut.
    Closing,
    /// It is shut; what still comes is thrown away, until the deadline.
    Lingering,
    Over,
}

impl<H: Handler> Session<H> {
    /// A connection that was just accepted.
    pub fn new(shared: &Shared<H>, now: Instant) -> Self {
        let config = shared.config();
        let mut session = Self {
            connection: Connection::new(config.limits, config.values),
            exchanges: Exchanges::new(),
            unread: Vec::new(),
            taken: 0,
            output: Vec::new(),
            sent: 0,
            taken_out: 0,
            output_limit: config.output_bytes,
            multiplexes: config.values.multiplexes,
            runs_steps: shared.runs_steps(),
            phase: Phase::Open,
            draining: shared.is_draining(),
            is_new: true,
            first_request_by: None,
            input_ended: false,
            input_refused: false,
            read_past_end: false,
            probing: false,
            probe_at: None,
            is_watched: config.timeouts != Timeouts::NONE,
            deadline: None,
            clocks: Clocks { active: now, written: now, incomplete: None },
        };
        session.deadline = session.first_deadline(&config.timeouts);
        session
    }

    /// Takes all of `input`, and serves a turn's worth of it. Whether more of it is to be served, [`Self::has_more`] says.
    #[inline]
    pub fn receive(&mut self, input: &[u8], now: Instant, shared: &mut Shared<H>) {
        if self.phase == Phase::Lingering {
            // What comes is thrown away, and puts nothing off.
            return self.resume(now, shared);
        }
        if self.phase != Phase::Open || self.input_refused {
            return;
        }
        if self.is_watched {
            self.clocks.active = now;
            self.keep_time(now, shared);
            if self.phase != Phase::Open || self.input_refused {
                return;
            }
        }
        let mut input = input;
        if !self.unread.is_empty() {
            self.unread.extend_from_slice(input);
            input = &[];
        }
        self.turn(input, now, shared);
    }

    /// Takes all of `input` and serves nothing of it: the session has had its turn, and [`Self::has_more`] asks for another.
    pub fn keep(&mut self, input: &[u8], now: Instant, shared: &mut Shared<H>) {
        if self.phase != Phase::Open || self.input_refused {
            return;
        }
        if self.is_watched {
            self.clocks.active = now;
        }
        if self.unread.capacity() == 0 {
            self.unread = shared.buffer();
        }
        self.unread.extend_from_slice(input);
    }

    /// The peer sends no more: a read has returned nothing.
    pub fn end_of_input(&mut self, now: Instant, shared: &mut Shared<H>) {
        self.input_ended = true;
        self.is_watched = true;
        self.update(now, shared);
    }

    /// All that the peer has sent is read: a read would block. A drain closes an idle connection only then.
    #[inline]
    pub fn end_of_available_input(&mut self, now: Instant, shared: &mut Shared<H>) {
        if self.wants_last_read() {
            if self.is_new && self.first_request_by.is_none() {
                self.first_request_by = Some(later(now, FIRST_REQUEST));
                self.is_watched = true;
            } else {
                self.phase = Phase::Closing;
            }
            self.update(now, shared);
        }
    }

    /// Goes on: the deadline has come, there is room for output again, or the last turn left something to do.
    pub fn resume(&mut self, now: Instant, shared: &mut Shared<H>) {
        match self.phase {
            Phase::Open => {
                if self.is_watched {
                    self.keep_time(now, shared);
                }
                if self.phase == Phase::Open {
                    self.turn(&[], now, shared);
                }
            }
            Phase::Lingering if self.deadline.is_none_or(|until| until <= now) => self.abandon(),
            Phase::Closing | Phase::Lingering | Phase::Over => {}
        }
    }

    /// The worker is asked to finish: the connection is closed as soon as nothing of it is left to be served.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`Self::drain`] was called. The connection is then to be read until a read would block.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether input is welcome. It is not while unsent output is at its limit, or input is left from the last turn.
    #[inline]
    pub fn wants_read(&self) -> bool {
        self.takes_input() && (self.phase != Phase::Open || self.takes_requests())
    }

    /// Whether input is welcome even while unsent output is at its limit, for a strategy that cannot read at the moment at
    /// which there is room again: it is kept, and comes before the output then.
    #[inline]
    pub fn takes_input(&self) -> bool {
        match self.phase {
            Phase::Open => {
                !self.input_ended
                    && !self.input_refused
                    && self.unread.is_empty()
                    && (!self.connection.is_finished() || self.connection.was_answered_early())
            }
            Phase::Lingering => !self.input_ended,
            Phase::Closing | Phase::Over => false,
        }
    }

    /// Whether a drain closes it unless something waits to be read: then read at once, whether or not the socket is known
    /// to be readable, until a read would block ([`Self::end_of_available_input`]).
    #[inline]
    pub fn wants_last_read(&self) -> bool {
        self.draining
            && self.phase == Phase::Open
            && self.is_idle()
            && !(self.is_new && self.first_request_by.is_some())
    }

    /// Whether there is more to do at once, if the others have had their turn: then [`Self::resume`].
    #[inline]
    pub fn has_more(&self) -> bool {
        self.phase == Phase::Open
            && (!self.unread.is_empty() && self.takes_requests()
                || self.runs_steps && self.exchanges.any_ready() && self.room() > 0
                || self.exchanges.any_woken())
    }

    /// Whether a request is parked ([`Step::Park`]) of which nobody would be told that it is woken: then
    /// [`Self::set_waker`].
    #[inline]
    pub fn wants_waker(&self) -> bool {
        self.exchanges.wants_waker()
    }

    /// Whom to tell, once, when a parked request is woken; the session then [has more](Self::has_more) to do. Look for that
    /// after this call, not before: one may have been woken already.
    pub fn set_waker(&mut self, waker: Waker) {
        self.exchanges.set_waker(waker);
    }

    /// Whether a request waits to be woken.
    pub fn is_parked(&self) -> bool {
        self.exchanges.any_parked()
    }

    /// Whether to write [`Self::unsent`], be it nothing: a write of no bytes fails where the peer has gone. Not while some of
    /// it is taken out ([`Self::take_unsent`]): that is to be sent first.
    #[inline]
    pub fn wants_write(&self) -> bool {
        (self.sent < self.output.len() || self.probing) && self.taken_out == 0
    }

    /// Bytes to be sent.
    #[inline]
    pub fn unsent(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// The transport has taken this many bytes.
    #[inline]
    pub fn sent(&mut self, bytes: usize, now: Instant, shared: &mut Shared<H>) {
        if self.taken_out > 0 {
            self.taken_out -= bytes.min(self.taken_out);
        } else {
            self.sent = self.output.len().min(self.sent + bytes);
            let left = self.output.len() - self.sent;
            if left > 0 && self.sent > left {
                // Moving the rest to the front costs less than sending what was before it did, and keeps the buffer small.
                self.output.drain(..self.sent);
                self.sent = 0;
            }
        }
        self.note_sent(now, shared);
    }

    #[inline]
    fn note_sent(&mut self, now: Instant, shared: &mut Shared<H>) {
        if self.is_watched {
            self.clocks.active = now;
            self.clocks.written = now;
            self.probing = false;
        }
        self.update(now, shared);
    }

    /// Moves the unsent bytes out, for whoever sends them while the session goes on. They count as unsent until
    /// [`Self::sent`] is told of them, before any others, and the buffer goes back by [`Shared::give_back`]; or both are told by
    /// [`Self::put_back_unsent`].
    pub fn take_unsent(&mut self) -> Vec<u8> {
        debug_assert_eq!(self.sent, 0, "either all is taken out, or nothing");
        self.taken_out += self.output.len();
        mem::take(&mut self.output)
    }

    /// Takes back what [`Self::take_unsent`] has moved out, with what a write of it has returned, in place of [`Self::sent`].
    /// What is left comes before all that was written meanwhile. Whether there is room where there was none.
    pub fn put_back_unsent(
        &mut self,
        mut unsent: Vec<u8>,
        written: Result<usize, impl Into<io::Error>>,
        now: Instant,
        shared: &mut Shared<H>,
    ) -> bool {
        let (written, had_room) = (written.map_err(Into::into), self.has_room());
        self.taken_out = 0;
        if self.phase != Phase::Over {
            let sent = *written.as_ref().unwrap_or(&0);
            if sent < unsent.len() {
                unsent.drain(..sent);
                unsent.extend_from_slice(&self.output);
                mem::swap(&mut self.output, &mut unsent);
            }
            match written {
                Ok(_) => self.note_sent(now, shared),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => self.abandon(),
            }
        }
        shared.give_back(unsent);
        self.has_room() && !had_room
    }

    /// Whether nothing follows from the unsent output's being sent, unless the peer or the deadline says otherwise: who
    /// sends it need not be told at once that it is.
    pub fn rests_once_sent(&self) -> bool {
        !self.is_watched
            && !self.draining
            && !self.connection.is_finished()
            && self.unread.is_empty()
            && !self.exchanges.any_ready()
    }

    /// When to call [`Self::resume`], if nothing happens before.
    #[inline]
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_watched { self.deadline } else { self.exchanges.due() }
    }

    /// Whether the write side of the socket is to be shut now. True once: then do it.
    #[inline]
    pub fn shuts_write(&mut self, now: Instant) -> bool {
        let shuts = self.phase == Phase::Closing && self.unsent_len() == 0;
        if shuts {
            self.phase = if self.input_ended { Phase::Over } else { Phase::Lingering };
            self.is_watched = true;
            self.deadline = Some(later(now, LINGER));
        }
        shuts
    }

    /// Whether nothing is being received, served or sent.
    pub fn is_idle(&self) -> bool {
        self.is_quiet() && self.connection.is_idle()
    }

    /// Bytes of buffers that it owns: none while it is idle.
    pub fn held_bytes(&self) -> usize {
        self.output.capacity() + self.unread.capacity() + self.exchanges.held_bytes()
    }

    /// Whether the connection is to be closed. It is also to be closed when reading or writing fails.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The transport has gone, and with it all that waits: for those who hold on to the session, as threads do. It wants
    /// nothing any more, and has no deadline.
    pub fn abandon(&mut self) {
        self.phase = Phase::Over;
        self.exchanges.clear();
        (self.unread, self.output, self.sent) = (Vec::new(), Vec::new(), 0);
        (self.probing, self.probe_at, self.deadline) = (false, None, None);
    }

    /// A request that can go on, for a strategy that runs steps elsewhere: it ends with [`Self::put_back`].
    pub fn take_exchange(&mut self) -> Option<Exchange<H>> {
        if self.phase == Phase::Open && self.has_room() { self.exchanges.take_ready() } else { None }
    }

    /// Whether an exchange that was taken out is to go on. It is not once it is aborted, or its connection is over.
    pub fn is_wanted(&self, id: RequestId) -> bool {
        self.phase == Phase::Open && self.exchanges.is_wanted(id)
    }

    /// How many of those that were taken out are to go on. Whoever runs more has some that are to end.
    pub fn running(&self) -> usize {
        if self.phase == Phase::Open { self.exchanges.running() } else { 0 }
    }

    /// Whether unsent output is below its limit: only then may a step be run.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Takes what a step wrote that has not ended its request, while whoever took the exchange out keeps it.
    pub fn write(&mut self, id: RequestId, output: &[u8], now: Instant, shared: &mut Shared<H>) {
        if self.is_wanted(id) {
            self.lend_output(now, shared);
            self.output.extend_from_slice(output);
            self.update(now, shared);
        }
    }

    /// Takes an exchange back after a step that wrote `output`.
    pub fn put_back(
        &mut self,
        exchange: Exchange<H>,
        step: Step,
        output: &[u8],
        now: Instant,
        shared: &mut Shared<H>,
    ) {
        let id = exchange.request().id();
        if self.phase != Phase::Open || !self.exchanges.holds(id) {
            return;
        }
        self.lend_output(now, shared);
        self.output.extend_from_slice(output);
        match until(step, now) {
            Some(until) if self.exchanges.is_wanted(id) => self.exchanges.put_back(exchange, until),
            until => {
                self.exchanges.remove(id);
                if until.is_some() {
                    exchange.abort(&mut self.output);
                }
                self.recycle(exchange, shared);
            }
        }
        self.update(now, shared);
    }

    /// Ends a request that was taken out, and that nothing is left to run: 503, and FCGI_OVERLOADED (spec 5.5).
    #[cold]
    pub fn refuse(&mut self, exchange: Exchange<H>, now: Instant, shared: &mut Shared<H>) {
        let id = exchange.request().id();
        if self.phase != Phase::Open || !self.exchanges.holds(id) {
            return;
        }
        self.exchanges.remove(id);
        self.lend_output(now, shared);
        self.connection.refuse_overloaded(exchange.into_request(), &mut self.output, &mut shared.spares);
        self.update(now, shared);
    }

    fn refuse_input(&mut self) {
        self.input_refused = true;
        self.is_watched = true;
        self.unread = Vec::new();
        self.taken = 0;
    }

    /// Draws the conclusions of whatever has happened: whether the connection ends, what goes back, what is waited for.
    #[inline]
    fn update(&mut self, now: Instant, shared: &mut Shared<H>) {
        if self.unsent_len() == 0 {
            self.sent = 0;
            if self.output.capacity() > 0 {
                shared.give_back(mem::take(&mut self.output));
            }
            if self.phase == Phase::Open && self.connection.is_finished() && self.is_quiet() {
                self.finish();
            }
        }
        if self.is_watched {
            self.update_watched(now, shared);
        }
    }

    /// The last request of a connection that is not kept is answered (spec 5.1).
    fn finish(&mut self) {
        let may_send_more =
            self.connection.was_answered_early() || self.read_past_end || !self.connection.is_idle();
        self.phase = if may_send_more { Phase::Closing } else { Phase::Over };
    }

    #[cold]
    fn update_watched(&mut self, now: Instant, shared: &mut Shared<H>) {
        if self.input_ended && (self.phase != Phase::Open || self.is_quiet()) {
            self.phase = Phase::Over;
        } else if self.input_refused && self.phase == Phase::Open && self.is_quiet() {
            self.phase = Phase::Closing;
        }
        let reads_no_more = self.input_ended || self.input_refused;
        if reads_no_more && self.probe_at.is_none() && !self.exchanges.is_empty() {
            self.probing = true;
            self.probe_at = Some(later(now, PROBE));
        }
        let timeouts = &shared.config().timeouts;
        if timeouts.receive.is_some() {
            self.watch_incomplete(now);
        }
        self.deadline = self.first_deadline(timeouts);
    }

    /// Whether everything that was received is served, and everything that was written is sent.
    #[inline]
    fn is_quiet(&self) -> bool {
        self.unsent_len() == 0 && self.exchanges.is_empty() && self.unread.is_empty()
    }

    #[inline]
    fn unsent_len(&self) -> usize {
        self.output.len() - self.sent + self.taken_out
    }

    /// Bytes of output that are welcome.
    #[inline]
    fn room(&self) -> usize {
        self.output_limit.saturating_sub(self.unsent_len())
    }

    /// Whether another request may be taken from the input. Where one is served at a time, the input waits for it.
    #[inline]
    fn takes_requests(&self) -> bool {
        self.room() > 0 && (self.multiplexes || self.exchanges.is_empty())
    }

    #[inline]
    fn lend_output(&mut self, now: Instant, shared: &mut Shared<H>) {
        if self.output.capacity() == 0 {
            if self.taken_out == 0 {
                self.clocks.written = now;
            }
            self.output = shared.buffer();
        }
    }
}
