//! The responder's side of one connection: a state machine from bytes to requests.

mod whole;

use alloc::boxed::Box;
use alloc::vec::Vec;

use thiserror::Error;

use crate::limits::{Limits, Values};
use crate::pairs::{self, Pairs};
use crate::record::{
    self, HEADER_BYTES, Header, KEEP_CONN, ProtocolStatus, RecordType, RequestId, Role, VERSION,
};
use crate::request::{Content, OwnedRequest, Params, Spares};
use crate::response::{self, AppStatus};

/// The body of BEGIN_REQUEST: role (2), flags (1), reserved (5). Spec 5.1.
const BEGIN_BYTES: usize = 8;

/// One transport connection.
///
/// ```text
///  a request id, unless its request is answered from the input ([`Connection::receive_whole`]):
///               BEGIN_REQUEST             PARAMS and STDIN ended            recycle
///   inactive ─────────────────► Receiving ─────────────────────► Serving ──────────► inactive
///       │                           │  (Event::Request)             │
///       │ over a limit              │ over a limit                  │ ABORT_REQUEST: Event::Abort
///       ▼                           ▼                               ▼
///    Refused ◄──────────────────────┘                       the caller ends it, once
///       │ PARAMS ended, or ABORT_REQUEST: the refusal is sent
///       ▼
///    inactive
/// ```
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    values: Values,
    /// A header of which only `header_read` bytes have come.
    header: [u8; HEADER_BYTES],
    header_read: usize,
    /// The bytes of content that a record still lacks, and where they go.
    content_left: usize,
    destination: Destination,
    padding_left: usize,
    begin: [u8; BEGIN_BYTES],
    begin_read: usize,
    /// The names of GET_VALUES, where they have not come whole.
    names: Vec<u8>,
    slots: Vec<Slot>,
    /// The slot that was used last: records of one request tend to come together.
    recent: usize,
    /// Slots that are not refused.
    active: usize,
    /// Content bytes held by the active requests.
    held_bytes: usize,
    /// A request came with FCGI_KEEP_CONN = 0: close after the last one (spec 5.1).
    closing: bool,
    /// A request was answered before all of its input had come.
    answered_early: bool,
    /// BEGIN_REQUESTs taken so far.
    begun: u64,
}

/// What the bytes amounted to.
#[derive(Debug)]
pub enum Event {
    /// A complete request. Answer it, then [`Connection::recycle`] it.
    Request(OwnedRequest),
    /// The peer wants this request, which the caller holds, ended as soon as possible (spec 5.4). It may name one
    /// that the caller has ended in the meantime, or the same one again.
    Abort(RequestId),
}

/// What the peer did that no reply can mend. The connection is to be closed; no other is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A record of a version other than 1: nothing after it can be understood (spec 3.3).
    #[error("a record of version {0}, where only 1 is known")]
    Version(u8),
    /// BEGIN_REQUEST shorter than its body (spec 5.1).
    #[error("a BEGIN_REQUEST of {0} bytes, where 8 are needed")]
    ShortBegin(u16),
    /// BEGIN_REQUEST for an id that is active. The specification leaves it open; two requests of one name cannot
    /// be told apart any more.
    #[error("a BEGIN_REQUEST for request {0}, which is active")]
    ActiveId(RequestId),
}

#[derive(Debug)]
struct Slot {
    id: RequestId,
    /// Its number among those of the connection.
    number: u64,
    phase: Phase,
    params_ended: bool,
    stdin_ended: bool,
    /// CONTENT_LENGTH, once PARAMS have ended.
    content_length: Option<usize>,
    /// Held while receiving; the caller holds it while serving.
    request: Option<Box<Content>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Receiving,
    Refused(Refusal),
    Serving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Begin(RequestId),
    Params(RequestId),
    ParamsEnd(RequestId),
    Stdin(RequestId),
    StdinEnd(RequestId),
    Abort(RequestId),
    Names,
    Nowhere,
}

/// Why a request is not served; it is answered on STDOUT, since front ends turn a bare protocol status into
/// whatever they like (nginx 502, lighttpd 500, HAProxy a timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    MalformedParams,
    ShortBody,
    BodyTooLarge,
    ParamsTooLarge,
    Overloaded,
    CannotMultiplex,
}

impl Connection {
    /// A fresh connection.
    pub fn new(limits: Limits, values: Values) -> Self {
        Self {
            limits,
            values,
            header: [0; HEADER_BYTES],
            header_read: 0,
            content_left: 0,
            destination: Destination::Nowhere,
            padding_left: 0,
            begin: [0; BEGIN_BYTES],
            begin_read: 0,
            names: Vec::new(),
            slots: Vec::new(),
            recent: 0,
            active: 0,
            held_bytes: 0,
            closing: false,
            answered_early: false,
            begun: 0,
        }
    }

    /// Consumes `input` from the front, record by record, until something is complete or `input` is empty. Replies that the protocol
    /// itself owes are appended to `out`. Call it until it returns `None`.
    pub fn receive(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        spares: &mut Spares,
    ) -> Result<Option<Event>, ProtocolError> {
        while !input.is_empty() {
            let (destination, left) = if self.content_left > 0 {
                (self.destination, self.content_left)
            } else {
                let Some(header) = self.next_header(input) else { break };
                (self.begin_record(header, out)?, usize::from(header.content_length))
            };
            let (content, rest) = input.split_at(input.len().min(left));
            *input = rest;
            self.content(destination, content, out, spares);
            self.content_left = left - content.len();
            if self.content_left > 0 {
                self.destination = destination;
            } else if let Some(event) = self.end_record(destination, out, spares)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The request has ended: its END_REQUEST stands in the output. Its id is inactive, its memory is used again.
    #[inline]
    pub fn recycle(&mut self, OwnedRequest(content): OwnedRequest, spares: &mut Spares) {
        if let Some(at) = self.find(content.id).filter(|&at| self.slots[at].phase == Phase::Serving) {
            self.remove(at);
            self.held_bytes -= content.held_bytes();
        }
        spares.keep(content);
    }

    /// Ends a complete request that nothing is left to serve: appends a 503 with FCGI_OVERLOADED (spec 5.5) to `out`, and
    /// recycles it.
    #[cold]
    pub fn refuse_overloaded(&mut self, request: OwnedRequest, out: &mut Vec<u8>, spares: &mut Spares) {
        Refusal::Overloaded.encode(out, request.id());
        self.recycle(request, spares);
    }

    /// Whether the connection has done what it was opened for: close it once the output is written (spec 5.1).
    pub fn is_finished(&self) -> bool {
        self.closing && self.slots.is_empty()
    }

    /// Whether the peer may still be sending input that nobody wants: a request was refused before its input had
    /// ended. Closing with such bytes unread resets the connection and may take the refusal with it: shut the write
    /// side first, and read until the peer has closed.
    pub fn was_answered_early(&self) -> bool {
        self.answered_early
    }

    /// Which request has been coming for longest and has not come whole: its number among those of the connection.
    /// While the same number is returned, the peer owes the rest of the same request. A record that belongs to none,
    /// and has not come whole, counts as the next one.
    pub fn incomplete(&self) -> Option<u64> {
        let is_coming = |slot: &&Slot| slot.phase != Phase::Serving;
        let request = self.slots.iter().filter(is_coming).map(|slot| slot.number).min();
        request.or((self.content_left > 0 || self.header_read > 0).then_some(self.begun + 1))
    }

    /// Whether nothing is begun, not even a record: closing the connection now loses nothing that was received.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.content_left == 0 && self.header_read == 0
    }

    /// The next record's header, after the last one's padding, whatever that held (spec 3.3).
    #[inline]
    fn next_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        let padding = input.len().min(self.padding_left);
        *input = &input[padding..];
        self.padding_left -= padding;

        if self.header_read == 0
            && let Some((whole, rest)) = input.split_first_chunk()
        {
            *input = rest;
            return Some(Header::decode(*whole));
        }
        let (some, rest) = input.split_at(input.len().min(HEADER_BYTES - self.header_read));
        *input = rest;
        self.header[self.header_read..][..some.len()].copy_from_slice(some);
        self.header_read += some.len();
        if self.header_read < HEADER_BYTES {
            return None;
        }
        self.header_read = 0;
        Some(Header::decode(self.header))
    }

    #[inline]
    fn begin_record(&mut self, header: Header, out: &mut Vec<u8>) -> Result<Destination, ProtocolError> {
        if header.version != VERSION {
            return Err(ProtocolError::Version(header.version));
        }
        self.padding_left = usize::from(header.padding_length);
        Ok(match (header.id, header.record_type) {
            (0, RecordType::GET_VALUES) => Destination::Names,
            (0, RecordType(unknown)) => {
                record::push(out, RecordType::UNKNOWN_TYPE, 0, &[unknown, 0, 0, 0, 0, 0, 0, 0]);
                Destination::Nowhere
            }
            (id, RecordType::BEGIN_REQUEST) => {
                if usize::from(header.content_length) < BEGIN_BYTES {
                    return Err(ProtocolError::ShortBegin(header.content_length));
                }
                self.begin_read = 0;
                Destination::Begin(id)
            }
            // An empty record ends its stream (spec 3.3).
            (id, RecordType::PARAMS) if header.content_length == 0 => Destination::ParamsEnd(id),
            (id, RecordType::PARAMS) => Destination::Params(id),
            (id, RecordType::STDIN) if header.content_length == 0 => Destination::StdinEnd(id),
            (id, RecordType::STDIN) => Destination::Stdin(id),
            (id, RecordType::ABORT_REQUEST) => Destination::Abort(id),
            // Types for inactive ids are ignored (spec 3.3), and so are types that only a responder sends, a
            // filter's DATA, and numbers that the specification does not know.
            _ => Destination::Nowhere,
        })
    }

    /// A piece of the record's content, as much as has come.
    #[inline]
    fn content(&mut self, destination: Destination, content: &[u8], out: &mut Vec<u8>, spares: &mut Spares) {
        match destination {
            Destination::Begin(_) => {
                if self.begin_read == 0
                    && let Some(whole) = content.first_chunk()
                {
                    self.begin = *whole;
                    self.begin_read = BEGIN_BYTES;
                    return;
                }
                // A body longer than its eight bytes is a later version's; the rest is not kept.
                let free = &mut self.begin[self.begin_read..];
                let taken = content.len().min(free.len());
                free[..taken].copy_from_slice(&content[..taken]);
                self.begin_read += taken;
            }
            Destination::Params(id) => {
                if let Some(at) = self.receiving(id).filter(|&at| !self.slots[at].params_ended) {
                    self.params(at, content, spares);
                }
            }
            Destination::Stdin(id) => {
                if let Some(at) = self.receiving(id).filter(|&at| !self.slots[at].stdin_ended) {
                    self.stdin(at, content, out, spares);
                }
            }
            Destination::Names => self.names.extend_from_slice(content),
            Destination::ParamsEnd(_)
            | Destination::StdinEnd(_)
            | Destination::Abort(_)
            | Destination::Nowhere => {}
        }
    }

    #[inline]
    fn params(&mut self, at: usize, content: &[u8], spares: &mut Spares) {
        let connection_room = self.limits.connection_bytes - self.held_bytes;
        let Some(request) = &mut self.slots[at].request else {
            return;
        };
        let room = self.limits.params_bytes - request.params.len();
        match excess(content.len(), room, Refusal::ParamsTooLarge, connection_room) {
            Some(refusal) => self.refuse(at, refusal, spares),
            None => {
                request.params.extend_from_slice(content);
                self.held_bytes += content.len();
            }
        }
    }

    #[inline]
    fn stdin(&mut self, at: usize, content: &[u8], out: &mut Vec<u8>, spares: &mut Spares) {
        let connection_room = self.limits.connection_bytes - self.held_bytes;
        let Some(request) = &mut self.slots[at].request else {
            return;
        };
        let room = self.limits.body_bytes - request.body.len();
        match excess(content.len(), room, Refusal::BodyTooLarge, connection_room) {
            Some(refusal) => {
                self.refuse(at, refusal, spares);
                self.answer_refusal(at, out);
            }
            None => {
                request.body.extend_from_slice(content);
                self.held_bytes += content.len();
            }
        }
    }

    /// What the record asks, now that all its content is there.
    #[inline]
    fn end_record(
        &mut self,
        destination: Destination,
        out: &mut Vec<u8>,
        spares: &mut Spares,
    ) -> Result<Option<Event>, ProtocolError> {
        // Whose stream has ended.
        let ended = match destination {
            Destination::Begin(id) => {
                self.begin_request(id, out, spares)?;
                None
            }
            Destination::ParamsEnd(id) => self.params_end(id, out, spares),
            Destination::StdinEnd(id) => self.stdin_end(id),
            Destination::Abort(id) => return Ok(self.abort(id, out, spares)),
            Destination::Names => {
                self.answer_values(out);
                None
            }
            Destination::Params(_) | Destination::Stdin(_) | Destination::Nowhere => None,
        };
        Ok(ended.and_then(|at| self.complete(at, out, spares)))
    }

    #[inline]
    fn begin_request(
        &mut self,
        id: RequestId,
        out: &mut Vec<u8>,
        spares: &mut Spares,
    ) -> Result<(), ProtocolError> {
        let [role1, role0, flags, ..] = self.begin;
        if self.find(id).is_some() {
            return Err(ProtocolError::ActiveId(id));
        }
        let keeps_connection = flags & KEEP_CONN != 0;
        self.closing |= !keeps_connection;

        if Role::from(u16::from_be_bytes([role1, role0])) != Role::Responder {
            self.answered_early = true;
            response::end_without_stdout(out, id, AppStatus::SUCCESS, ProtocolStatus::UnknownRole);
            return Ok(());
        }
        self.begun += 1;
        let mut slot = Slot {
            id,
            number: self.begun,
            phase: Phase::Receiving,
            params_ended: false,
            stdin_ended: false,
            content_length: None,
            request: None,
        };
        // Refused requests stay until their PARAMS end, and are bounded too.
        let is_crowded = self.slots.len() >= self.limits.requests.saturating_mul(2);
        if self.active < self.limits.requests && !is_crowded {
            slot.request = Some(spares.content(id, keeps_connection));
            self.active += 1;
        } else {
            let refusal =
                if self.values.multiplexes { Refusal::Overloaded } else { Refusal::CannotMultiplex };
            if is_crowded {
                self.answered_early = true;
                response::end_without_stdout(out, id, AppStatus::SUCCESS, refusal.protocol_status());
                return Ok(());
            }
            slot.phase = Phase::Refused(refusal);
        }
        self.recent = self.slots.len();
        self.slots.push(slot);
        Ok(())
    }

    /// The end of PARAMS. Whether they are whole is known only now.
    #[inline]
    fn params_end(&mut self, id: RequestId, out: &mut Vec<u8>, spares: &mut Spares) -> Option<usize> {
        let at = self.find(id).filter(|&at| !self.slots[at].params_ended)?;
        let slot = &mut self.slots[at];
        slot.params_ended = true;
        if let Some(request) = &mut slot.request {
            match request.end_params().map(Params::content_length) {
                None => self.refuse(at, Refusal::MalformedParams, spares),
                // Said before the body is sent: nothing of it need be held.
                Some(Some(length)) if length > self.limits.body_bytes => {
                    self.refuse(at, Refusal::BodyTooLarge, spares);
                }
                Some(length) => slot.content_length = length,
            }
        }
        (!self.answer_refusal(at, out)).then_some(at)
    }

    #[inline]
    fn stdin_end(&mut self, id: RequestId) -> Option<usize> {
        let at = self.find(id)?;
        self.slots[at].stdin_ended = true;
        Some(at)
    }

    /// Hands the request over, if both its streams have ended.
    #[inline]
    fn complete(&mut self, at: usize, out: &mut Vec<u8>, spares: &mut Spares) -> Option<Event> {
        let slot = &mut self.slots[at];
        if !(slot.params_ended && slot.stdin_ended) {
            return None;
        }
        let request = slot.request.as_mut()?;
        if let Some(length) = slot.content_length {
            let body = request.body.len();
            if body < length {
                // "An updating application" must not take half a body for a whole one (spec 6.2).
                self.refuse(at, Refusal::ShortBody, spares);
                self.answer_refusal(at, out);
                return None;
            }
            // What goes beyond CONTENT_LENGTH is not of the body (spec 6.2).
            request.body.truncate(length);
            self.held_bytes -= body - length;
        }
        slot.phase = Phase::Serving;
        slot.request.take().map(|content| Event::Request(OwnedRequest(content)))
    }

    fn abort(&mut self, id: RequestId, out: &mut Vec<u8>, spares: &mut Spares) -> Option<Event> {
        let at = self.find(id)?;
        match self.slots[at].phase {
            Phase::Serving => return Some(Event::Abort(id)),
            Phase::Receiving if self.slots[at].params_ended => {
                response::end(out, id, AppStatus::ABORTED, ProtocolStatus::RequestComplete);
            }
            // No STDOUT before the end of PARAMS, its terminator included (spec 6.2).
            Phase::Receiving => {
                response::end_without_stdout(out, id, AppStatus::ABORTED, ProtocolStatus::RequestComplete);
            }
            Phase::Refused(refusal) => {
                response::end_without_stdout(out, id, AppStatus::SUCCESS, refusal.protocol_status());
            }
        }
        self.release(at, spares);
        self.remove(at);
        None
    }

    /// Answers FCGI_GET_VALUES: what is known, once; what is not known is left out (spec 4.1).
    fn answer_values(&mut self, out: &mut Vec<u8>) {
        let mut content = Vec::new();
        let known: [(&[u8], usize); 3] = [
            (b"FCGI_MAX_CONNS", self.values.connections),
            (b"FCGI_MAX_REQS", self.values.requests),
            (b"FCGI_MPXS_CONNS", usize::from(self.values.multiplexes)),
        ];
        for (name, value) in known {
            if Pairs::new(&self.names).any(|(asked, _)| asked == name) {
                pairs::push(&mut content, name, alloc::format!("{value}").as_bytes());
            }
        }
        record::push(out, RecordType::GET_VALUES_RESULT, 0, &content);
        self.names = Vec::new();
    }

    /// Turns a request that is being received into one that will be answered by a refusal, and frees what it holds.
    #[cold]
    fn refuse(&mut self, at: usize, refusal: Refusal, spares: &mut Spares) {
        self.release(at, spares);
        self.active -= 1;
        self.slots[at].phase = Phase::Refused(refusal);
    }

    /// Sends the refusal of a request that has one, once its PARAMS have ended. False: it is not refused.
    #[inline]
    fn answer_refusal(&mut self, at: usize, out: &mut Vec<u8>) -> bool {
        match self.slots[at].phase {
            Phase::Refused(refusal) => {
                self.send_refusal(at, refusal, out);
                true
            }
            Phase::Receiving | Phase::Serving => false,
        }
    }

    #[cold]
    fn send_refusal(&mut self, at: usize, refusal: Refusal, out: &mut Vec<u8>) {
        let slot = &self.slots[at];
        if slot.params_ended {
            self.answered_early |= !slot.stdin_ended;
            refusal.encode(out, slot.id);
            self.remove(at);
        }
    }

    fn release(&mut self, at: usize, spares: &mut Spares) {
        if let Some(request) = self.slots[at].request.take() {
            self.held_bytes -= request.held_bytes();
            spares.keep(request);
        }
    }

    #[inline]
    fn remove(&mut self, at: usize) {
        let slot = self.slots.swap_remove(at);
        if !matches!(slot.phase, Phase::Refused(_)) {
            self.active -= 1;
        }
    }

    #[inline]
    fn receiving(&mut self, id: RequestId) -> Option<usize> {
        self.find(id).filter(|&at| self.slots[at].phase == Phase::Receiving)
    }

    #[inline]
    fn find(&mut self, id: RequestId) -> Option<usize> {
        if self.slots.get(self.recent).is_some_and(|slot| slot.id == id) {
            return Some(self.recent);
        }
        self.recent = self.slots.iter().position(|slot| slot.id == id)?;
        Some(self.recent)
    }
}

/// How `more` bytes exceed the room that a request has of its own, or that the connection has for all. Where they
/// exceed both, the smaller room counts: it is the first to be full, however the bytes were cut into reads.
#[inline]
fn excess(more: usize, own_room: usize, own: Refusal, connection_room: usize) -> Option<Refusal> {
    match own_room <= connection_room {
        true if more > own_room => Some(own),
        false if more > connection_room => Some(Refusal::Overloaded),
        _ => None,
    }
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Self::MalformedParams | Self::ShortBody => "400 Bad Request",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::ParamsTooLarge => "431 Request Header Fields Too Large",
            Self::Overloaded | Self::CannotMultiplex => "503 Service Unavailable",
        }
    }

    fn protocol_status(self) -> ProtocolStatus {
        match self {
            Self::Overloaded => ProtocolStatus::Overloaded,
            Self::CannotMultiplex => ProtocolStatus::CantMpxConn,
            _ => ProtocolStatus::RequestComplete,
        }
    }

    fn encode(self, out: &mut Vec<u8>, id: RequestId) {
        response::status_page(out, id, self.status(), true);
        response::end(out, id, AppStatus::SUCCESS, self.protocol_status());
    }
}
