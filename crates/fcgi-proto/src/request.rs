//! A request as the peer sent it: parameters and body.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::pairs::{self, Names, Pairs};
use crate::record::RequestId;

/// A complete request, as an application sees it: a view of the bytes that it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) id: RequestId,
    pub(crate) keeps_connection: bool,
    pub(crate) params: Params<'a>,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The id its records carry.
    #[inline]
    pub fn id(self) -> RequestId {
        self.id
    }

    /// FCGI_KEEP_CONN: whether the connection outlives the response (spec 5.1).
    #[inline]
    pub fn keeps_connection(self) -> bool {
        self.keeps_connection
    }

    /// The parameters (spec 6.2: CGI's environment variables).
    #[inline]
    pub fn params(self) -> Params<'a> {
        self.params
    }

    /// The body, at most CONTENT_LENGTH bytes (spec 6.2).
    #[inline]
    pub fn body(self) -> &'a [u8] {
        self.body
    }
}

/// A complete request in memory of its own, which is used again. Sendable to another thread, one pointer wide.
#[derive(Debug)]
pub struct OwnedRequest(pub(crate) Box<Content>);

impl OwnedRequest {
    /// The id its records carry.
    #[inline]
    pub fn id(&self) -> RequestId {
        self.0.id
    }

    /// What an application sees of it.
    #[inline]
    pub fn as_request(&self) -> Request<'_> {
        let Content { id, keeps_connection, params, names, body } = &*self.0;
        let params = Params { bytes: params, names: *names };
        Request { id: *id, keeps_connection: *keeps_connection, params, body }
    }
}

/// What has come of a request, and the memory that it is in.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) id: RequestId,
    pub(crate) keeps_connection: bool,
    /// As they were sent. Record borders mean nothing to them (spec 3.3): a pair may straddle two.
    pub(crate) params: Vec<u8>,
    /// Of the parameters, once they have ended.
    pub(crate) names: Names,
    pub(crate) body: Vec<u8>,
}

impl Content {
    /// The stream of parameters has ended. None: inside a pair.
    #[inline]
    pub(crate) fn end_params(&mut self) -> Option<Params<'_>> {
        let params = Params::new(&self.params)?;
        self.names = params.names;
        Some(params)
    }

    /// Takes over what such a request says.
    #[inline]
    pub(crate) fn copy_from(&mut self, request: Request<'_>) {
        self.params.extend_from_slice(request.params.bytes);
        self.names = request.params.names;
        self.body.extend_from_slice(request.body);
    }

    /// Bytes of parameters and body held.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.params.len() + self.body.len()
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.params.capacity() + self.body.capacity()
    }
}

/// Parameters in the order they came, names and values as bytes (spec 3.4: they may be binary). They stand as they were
/// sent, and a lookup walks over them: who asks for three of twenty pays for three.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    bytes: &'a [u8],
    names: Names,
}

impl<'a> Params<'a> {
    /// None: the stream breaks off inside a pair.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        Names::of(bytes).map(|names| Self { bytes, names })
    }

    /// The length of the body that they announce. Front ends leave CONTENT_LENGTH out or empty where there is none.
    #[inline(always)]
    pub(crate) fn content_length(self) -> Option<usize> {
        self.value(b"CONTENT_LENGTH").and_then(number)
    }

    /// The first value under `name`.
    #[inline]
    pub fn value(self, name: &[u8]) -> Option<&'a [u8]> {
        if !self.names.may_hold(name) {
            return None;
        }
        pairs::value(self.bytes, name)
    }

    /// All pairs, in the order they came.
    #[inline]
    pub fn iter(self) -> Pairs<'a> {
        Pairs::new(self.bytes)
    }
}

#[inline]
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// Memory of requests that have ended, for those to come. One for each thread that serves, not one for each
/// connection: an idle connection then holds none of it.
#[derive(Debug, Default)]
pub struct Spares {
    #[expect(clippy::vec_box, reason = "a request is a box, and moves from here to there as one")]
    contents: Vec<Box<Content>>,
    /// The capacity of the buffers in `contents`, in bytes.
    bytes: usize,
}

/// Spare requests kept at most; the rest goes back to the allocator.
const MAX_SPARES: usize = 256;
/// Buffer bytes kept in all spare requests together.
const MAX_SPARE_BYTES: usize = 4 << 20;

impl Spares {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    pub(crate) fn content(&mut self, id: RequestId, keeps_connection: bool) -> Box<Content> {
        let mut content = self.contents.pop().unwrap_or_default();
        self.bytes -= content.capacity();
        content.id = id;
        content.keeps_connection = keeps_connection;
        content
    }

    #[inline]
    pub(crate) fn keep(&mut self, mut content: Box<Content>) {
        let bytes = self.bytes + content.capacity();
        if self.contents.len() == MAX_SPARES || bytes > MAX_SPARE_BYTES {
            return;
        }
        content.params.clear();
        content.body.clear();
        self.bytes = bytes;
        self.contents.push(content);
    }
}
