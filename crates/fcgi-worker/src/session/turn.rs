//! A turn: requests taken from the input and served, and those resumed that are ready.

use std::mem;
use std::time::Instant;

use fcgi_proto::{Event, OwnedRequest, Request, RequestId};

use super::exchanges::Until;
use super::{Session, later};
use crate::handler::{Exchange, Handler, Progress, Step, run_step};
use crate::shared::Shared;

/// Requests that one turn serves, and responses that it resumes.
const TURN: usize = 64;
/// Input is taken in pieces of this many bytes, so that what the protocol owes for one of them goes little beyond the
/// output's limit.
const PIECE: usize = 16 << 10;
/// A read of this many bytes may have left some behind.
const LONG_READ: usize = 32 << 10;

impl<H: Handler> Session<H> {
    #[inline]
    pub(super) fn turn(&mut self, input: &[u8], now: Instant, shared: &mut Shared<H>) {
        self.lend_output(now, shared);
        let mut left = TURN;
        let unread = mem::take(&mut self.unread);
        let mut rest = if unread.is_empty() { input } else { &unread[self.taken..] };
        self.serve(&mut rest, &mut left, now, shared);
        self.read_past_end |= input.len().max(unread.len()) >= LONG_READ;
        let left_over = rest.len();
        if !unread.is_empty() {
            self.keep_unread(unread, left_over, shared);
        } else if left_over > 0 {
            self.unread = shared.buffer();
            self.unread.extend_from_slice(&input[input.len() - left_over..]);
        }
        if !self.exchanges.is_empty() {
            self.exchanges.wake(now);
            if self.runs_steps {
                self.resume_exchanges(&mut left, now, shared);
            }
        }
        if self.is_watched || self.unsent_len() == 0 {
            self.update(now, shared);
        }
    }

    /// Keeps the last bytes of earlier input, which this turn did not come to either.
    #[cold]
    fn keep_unread(&mut self, unread: Vec<u8>, left_over: usize, shared: &mut Shared<H>) {
        if left_over == 0 {
            self.taken = 0;
            shared.give_back(unread);
        } else {
            self.taken = unread.len() - left_over;
            self.unread = unread;
        }
    }

    /// Takes requests from the input's front and serves them, as far as the turn and the output's limit let it.
    #[inline]
    fn serve(&mut self, input: &mut &[u8], left: &mut usize, now: Instant, shared: &mut Shared<H>) {
        while !input.is_empty() && *left > 0 && self.takes_requests() {
            if let Some(request) = self.connection.receive_whole(input) {
                self.note_request(input, left);
                self.start_whole(request, now, shared);
                continue;
            }
            let mut piece = &input[..input.len().min(PIECE)];
            let length = piece.len();
            let event = self.connection.receive(&mut piece, &mut self.output, &mut shared.spares);
            *input = &input[length - piece.len()..];
            match event {
                Ok(Some(Event::Request(request))) => {
                    self.note_request(input, left);
                    self.start(request, now, shared);
                }
                Ok(Some(Event::Abort(id))) => self.abort(id, shared),
                Ok(None) => {}
                Err(_) => {
                    self.refuse_input();
                    *input = &[];
                }
            }
        }
    }

    #[inline]
    fn note_request(&mut self, rest: &[u8], left: &mut usize) {
        *left -= 1;
        self.is_new = false;
        self.read_past_end = !rest.is_empty();
    }

    /// Takes a request up, as far as it gets without waiting. Only if it waits is it taken out of the input.
    #[inline]
    fn start_whole(&mut self, request: Request<'_>, now: Instant, shared: &mut Shared<H>) {
        let (mut job, mut progress) = (shared.handler.start(request), Progress::default());
        if let Some(until) = self.first_step(request, &mut job, &mut progress, now, shared) {
            let request = self.connection.hold(request, &mut shared.spares);
            self.exchanges.push(Exchange::new(request, job, progress), until, now);
        }
    }

    /// Takes a request up, as far as it gets without waiting.
    fn start(&mut self, request: OwnedRequest, now: Instant, shared: &mut Shared<H>) {
        let (mut job, mut progress) = (shared.handler.start(request.as_request()), Progress::default());
        match self.first_step(request.as_request(), &mut job, &mut progress, now, shared) {
            None => self.connection.recycle(request, &mut shared.spares),
            Some(until) => self.exchanges.push(Exchange::new(request, job, progress), until, now),
        }
    }

    #[inline]
    fn first_step(
        &mut self,
        request: Request<'_>,
        job: &mut H::Job,
        progress: &mut Progress,
        now: Instant,
        shared: &Shared<H>,
    ) -> Option<Until> {
        if !self.runs_steps {
            return Some(Until::Ready);
        }
        let room = self.room();
        until(run_step(&*shared.handler, request, job, progress, &mut self.output, room), now)
    }

    /// Goes on with the requests that are ready, in turn, while there is room.
    fn resume_exchanges(&mut self, left: &mut usize, now: Instant, shared: &mut Shared<H>) {
        for _ in 0..self.exchanges.len() {
            let room = self.room();
            if room == 0 || *left == 0 {
                break;
            }
            let Some(exchange) = self.exchanges.next_ready() else { break };
            *left -= 1;
            let step = exchange.step(&*shared.handler, &mut self.output, room);
            match until(step, now) {
                None => {
                    if let Some(exchange) = self.exchanges.remove_current() {
                        self.recycle(exchange, shared);
                    }
                }
                Some(until) => self.exchanges.wait_current(until),
            }
        }
    }

    /// FCGI_ABORT_REQUEST (spec 5.4). A request whose step runs elsewhere ends when it is put back.
    pub(super) fn abort(&mut self, id: RequestId, shared: &mut Shared<H>) {
        if let Some(exchange) = self.exchanges.abort(id) {
            exchange.abort(&mut self.output);
            self.recycle(exchange, shared);
        }
    }

    #[inline]
    pub(super) fn recycle(&mut self, exchange: Exchange<H>, shared: &mut Shared<H>) {
        self.connection.recycle(exchange.into_request(), &mut shared.spares);
    }
}

/// What a request waits for after a step; `None` once it has ended.
#[inline]
pub(super) fn until(step: Step, now: Instant) -> Option<Until> {
    match step {
        Step::Done(_) => None,
        Step::Flush => Some(Until::Ready),
        Step::Park => Some(Until::Parked),
        Step::Wait(duration) => Some(Until::Time(later(now, duration))),
    }
}
