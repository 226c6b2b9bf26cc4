//! The straight path: a usual request that lies whole in the input is served from there. Nothing is copied, and nothing is
//! noted unless it is held. The general path would come to the same, and takes all that is not usual.

use super::{BEGIN_BYTES, Connection, Phase, Slot};
use crate::limits::Limits;
use crate::record::{HEADER_BYTES, Header, KEEP_CONN, RecordType};
use crate::request::{OwnedRequest, Params, Request, Spares};

/// The least that a whole request takes: four headers and the body of BEGIN_REQUEST.
const LEAST: usize = 4 * HEADER_BYTES + BEGIN_BYTES;
/// The role, as the body of BEGIN_REQUEST has it (spec 5.1, 8).
const RESPONDER: [u8; 2] = [0, 1];

impl Connection {
    /// The request at the front of `input`, which is consumed, if it is a usual one: BEGIN_REQUEST, PARAMS in one record, their
    /// end and STDIN's, each whole, and no reason to refuse it. Otherwise the input is [`Self::receive`]'s, which would come to
    /// the same, too. Answer it, and that is all; or [`Self::hold`] it before anything else is received.
    // Inlined, a result of six words stays in registers.
    #[inline(always)]
    pub fn receive_whole<'i>(&mut self, input: &mut &'i [u8]) -> Option<Request<'i>> {
        if input.len() < LEAST || self.content_left + self.header_read + self.padding_left > 0 {
            return None;
        }
        let (begin, rest) = input.split_first_chunk()?;
        let ([role1, role0, flags, ..], rest) = rest.split_first_chunk::<BEGIN_BYTES>()?;
        let (params, rest) = rest.split_first_chunk()?;
        let Header { id, .. } = Header::decode(*begin);
        let Header { content_length, padding_length, .. } = Header::decode(*params);
        let (content, rest) = rest.split_at_checked(usize::from(content_length))?;
        let (params_end, rest) = rest.get(usize::from(padding_length)..)?.split_first_chunk()?;
        let (stdin_end, rest) = rest.split_first_chunk()?;

        let padded = Header { padding_length, ..Header::new(RecordType::PARAMS, id, content_length) };
        let is_usual = id != 0
            && content_length != 0
            && is(begin, Header::new(RecordType::BEGIN_REQUEST, id, BEGIN_BYTES as u16))
            && [*role1, *role0] == RESPONDER
            && is(params, padded)
            && is(params_end, Header::new(RecordType::PARAMS, id, 0))
            && is(stdin_end, Header::new(RecordType::STDIN, id, 0));
        if !is_usual || !self.has_room_for(id, content.len()) {
            return None;
        }
        let params = Params::new(content)?;
        if params.content_length().is_some_and(|length| length > 0) {
            // A body was announced, and has not come.
            return None;
        }
        *input = rest;
        let keeps_connection = flags & KEEP_CONN != 0;
        self.closing |= !keeps_connection;
        self.begun += 1;
        Some(Request { id, keeps_connection, params, body: &[] })
    }

    /// Takes a request out of the input, so that it can wait while more is received. End it as one of [`super::Event`].
    pub fn hold(&mut self, request: Request<'_>, spares: &mut Spares) -> OwnedRequest {
        let id = request.id();
        let mut content = spares.content(id, request.keeps_connection());
        content.copy_from(request);
        self.held_bytes += content.held_bytes();
        self.active += 1;
        self.recent = self.slots.len();
        self.slots.push(Slot {
            id,
            number: self.begun,
            phase: Phase::Serving,
            params_ended: true,
            stdin_ended: true,
            content_length: None,
            request: None,
        });
        OwnedRequest(content)
    }

    /// Whether one more request, with so many bytes of parameters, is within all limits, and its id free.
    #[inline(always)]
    fn has_room_for(&mut self, id: u16, params: usize) -> bool {
        let Limits { params_bytes, connection_bytes, requests, .. } = self.limits;
        let is_free = if self.slots.is_empty() {
            requests > 0
        } else {
            self.active < requests && self.slots.len() < requests.saturating_mul(2) && self.find(id).is_none()
        };
        is_free && params <= params_bytes.min(connection_bytes - self.held_bytes)
    }
}

/// Whether this header stands there, whatever the reserved byte holds: as one number, since most come this way.
#[inline]
fn is(bytes: &[u8; HEADER_BYTES], header: Header) -> bool {
    u64::from_be_bytes(*bytes) >> 8 == u64::from_be_bytes(header.encode()) >> 8
}
