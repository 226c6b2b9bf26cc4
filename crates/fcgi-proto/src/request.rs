//! A request as the peer sent it: parameters and body, in memory that is used again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::pairs;
use crate::record::RequestId;

/// A complete request. Owned, sendable to another thread, one pointer wide.
#[derive(Debug)]
pub struct Request(Box<Content>);

#[derive(Debug, Default)]
struct Content {
    id: RequestId,
    keeps_connection: bool,
    params: Params,
    body: Vec<u8>,
}

impl Request {
    /// The id its records carry.
    #[inline]
    pub fn id(&self) -> RequestId {
        self.0.id
    }

    /// FCGI_KEEP_CONN: whether the connection outlives the response (spec 5.1).
    #[inline]
    pub fn keeps_connection(&self) -> bool {
        self.0.keeps_connection
    }

    /// The parameters (spec 6.2: CGI's environment variables).
    #[inline]
    pub fn params(&self) -> &Params {
        &self.0.params
    }

    /// The body, at most CONTENT_LENGTH bytes (spec 6.2).
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// Bytes of parameters and body held.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.params.bytes.len() + self.0.body.len()
    }

    #[inline]
    pub(crate) fn params_mut(&mut self) -> &mut Params {
        &mut self.0.params
    }

    #[inline]
    pub(crate) fn body_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0.body
    }
}

/// Parameters in the order they came, names and values as bytes (spec 3.4: they may be binary).
#[derive(Debug, Default)]
pub struct Params {
    bytes: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    name: u32,
    value: u32,
}

impl Params {
    /// The first value under `name`.
    #[inline]
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.index
            .iter()
            .filter(|entry| entry.name as usize == name.len())
            .map(|entry| self.pair(entry))
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// All pairs, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.index.iter().map(|entry| self.pair(entry))
    }

    #[inline]
    fn pair(&self, entry: &Entry) -> (&[u8], &[u8]) {
        self.bytes[entry.start as usize..][..entry.name as usize + entry.value as usize]
            .split_at(entry.name as usize)
    }

    /// Appends stream content as it comes. Record borders mean nothing to it (spec 3.3): a pair may straddle them.
    #[inline]
    pub(crate) fn extend(&mut self, content: &[u8]) {
        self.bytes.extend_from_slice(content);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Finds the pairs, once the stream has ended. False where it broke off inside one.
    pub(crate) fn parse(&mut self) -> bool {
        // The index counts in 32 bits, whatever the limit.
        if u32::try_from(self.bytes.len()).is_err() {
            return false;
        }
        let mut at = 0;
        while at < self.bytes.len() {
            let Some((name, value, used)) = pairs::lengths(&self.bytes[at..]) else {
                return false;
            };
            let start = at + used;
            // Two lengths of 31 bits and an offset below the limit: no overflow in 64 bits, a check in 32.
            let Some(end) = start.checked_add(name).and_then(|end| end.checked_add(value)) else {
                return false;
            };
            if end > self.bytes.len() {
                return false;
            }
            self.index.push(Entry { start: start as u32, name: name as u32, value: value as u32 });
            at = end;
        }
        true
    }
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
    pub(crate) fn request(&mut self, id: RequestId, keeps_connection: bool) -> Request {
        let mut content = self.contents.pop().unwrap_or_default();
        self.bytes -= content.capacity();
        content.id = id;
        content.keeps_connection = keeps_connection;
        Request(content)
    }

    #[inline]
    pub(crate) fn keep(&mut self, request: Request) {
        let mut content = request.0;
        let bytes = self.bytes + content.capacity();
        if self.contents.len() == MAX_SPARES || bytes > MAX_SPARE_BYTES {
            return;
        }
        content.params.bytes.clear();
        content.params.index.clear();
        content.body.clear();
        self.bytes = bytes;
        self.contents.push(content);
    }
}

impl Content {
    #[inline]
    fn capacity(&self) -> usize {
        self.params.bytes.capacity()
            + self.params.index.capacity() * size_of::<Entry>()
            + self.body.capacity()
    }
}
