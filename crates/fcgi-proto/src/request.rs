//! A request as the peer sent it: parameters and body, in memory that is used again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::pairs::Pairs;
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
        self.0.params.len() + self.0.body.len()
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
///
/// Kept as they were sent. Only a pair's lengths say where the next one stands, so a walk over pairs waits for each in
/// turn. One walk is made, to see whether all are whole; it notes the first places, so that lookups need none.
#[derive(Debug, Default)]
pub struct Params {
    bytes: Vec<u8>,
    places: [Place; PLACES],
    /// Places that are noted.
    noted: usize,
    /// Where the pairs begin that are not.
    rest: usize,
}

/// As many as most requests have. Lookups walk on to those behind them.
const PLACES: usize = 32;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Bytes of the name.
    name: usize,
    /// Where the pair begins.
    start: usize,
}

impl Params {
    /// The first value under `name`.
    #[inline]
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        for place in self.places.get(..self.noted)? {
            if place.name == name.len()
                && let (this, value) = Pairs::new(self.bytes.get(place.start..)?).next()?
                && this == name
            {
                return Some(value);
            }
        }
        if self.rest < self.bytes.len() { self.unnoted(name) } else { None }
    }

    #[cold]
    fn unnoted(&self, name: &[u8]) -> Option<&[u8]> {
        Pairs::new(self.bytes.get(self.rest..)?).find_map(|(this, value)| (this == name).then_some(value))
    }

    /// All pairs, in the order they came.
    #[inline]
    pub fn iter(&self) -> Pairs<'_> {
        Pairs::new(&self.bytes)
    }

    /// Appends stream content as it comes. Record borders mean nothing to it (spec 3.3): a pair may straddle them.
    #[inline]
    pub(crate) fn extend(&mut self, content: &[u8]) {
        self.bytes.extend_from_slice(content);
    }

    /// The stream has ended: notes places. False: it broke off inside a pair.
    #[inline]
    pub(crate) fn end(&mut self) -> bool {
        let length = self.bytes.len();
        let mut pairs = Pairs::new(&self.bytes);
        let (mut noted, mut rest) = (0, 0);
        while let Some(place) = self.places.get_mut(noted)
            && let Some((name, _)) = pairs.next()
        {
            *place = Place { name: name.len(), start: rest };
            rest = length - pairs.rest().len();
            noted += 1;
        }
        (self.noted, self.rest) = (noted, rest);
        pairs.by_ref().for_each(drop);
        !pairs.is_truncated()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    fn clear(&mut self) {
        self.bytes.clear();
        self.noted = 0;
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
        content.params.clear();
        content.body.clear();
        self.bytes = bytes;
        self.contents.push(content);
    }
}

impl Content {
    #[inline]
    fn capacity(&self) -> usize {
        self.params.bytes.capacity() + self.body.capacity()
    }
}
