//! Bytes in, parts of replies out: HTTP/1.1 as a client reads it (RFC 9112), without I/O.
//!
//! Content is handed on as it arrives, however it was cut, so that a body of any length needs no memory here. Only a head
//! that was cut, and the trailer fields after a chunked body, are gathered.

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

/// The longest head, and the longest trailer section.
const HEAD_LIMIT: usize = 64 << 10;
/// A head, or a trailer section, has at most so many lines.
const MAX_FIELDS: usize = 128;
/// The longest line of a chunk's size and extensions.
const CHUNK_LINE_LIMIT: usize = 4 << 10;
/// The longest content, and the longest chunk: what does not fit 63 bits is no size.
const MAX_LENGTH: u64 = i64::MAX as u64;
/// What every response begins with, whatever its minor version.
const BEGINNING: &[u8] = b"HTTP/1.";

/// Something a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The head of a final response.
    Head { status: u16 },
    /// Some of its content, without the framing; never empty.
    Body(&'a [u8]),
    /// The response is over; and the server takes no further request on this connection if it `closes`.
    End { closes: bool },
}

/// What no server may send, so that the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// So many bytes that begin something else.
    NotHttp([u8; 8], u8),
    Head(httparse::Error),
    HeadLength,
    SwitchingProtocols,
    ContentLength,
    TransferEncoding,
    ChunkSize,
    ChunkLine,
    ChunkEnd,
    Trailer(httparse::Error),
    TrailerLength,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(bytes, count) => {
                let bytes = bytes[..usize::from(*count)].escape_ascii();
                write!(f, "\"{bytes}\" in place of a status line: this is no HTTP/1 server")
            }
            Self::Head(error) => write!(f, "a response head with an {error}"),
            Self::HeadLength => write!(f, "a response head longer than {HEAD_LIMIT} bytes"),
            Self::SwitchingProtocols => f.write_str("status 101: nobody asked for another protocol"),
            Self::ContentLength => f.write_str("a Content-Length that is no number, or two that differ"),
            Self::TransferEncoding => {
                f.write_str("a Transfer-Encoding that is not just chunked, or is beside a Content-Length")
            }
            Self::ChunkSize => f.write_str("a chunk whose size is no hexadecimal number below 2^63"),
            Self::ChunkLine => {
                write!(f, "a chunk size line that is broken or longer than {CHUNK_LINE_LIMIT} bytes")
            }
            Self::ChunkEnd => f.write_str("a chunk that does not end where its size says"),
            Self::Trailer(error) => write!(f, "a trailer section with an {error}"),
            Self::TrailerLength => write!(f, "a trailer section longer than {HEAD_LIMIT} bytes"),
        }
    }
}

/// The reader of one connection's responses.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    at: At,
    /// Whether a byte of a response has come whose end has not.
    is_mid_response: bool,
    /// Whether the connection ends with this response.
    closes: bool,
    /// A head that was cut, or trailer fields, and where the last line of them begins.
    held: Vec<u8>,
    line: usize,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// So many bytes of content.
    Content(u64),
    /// Content until the server closes the connection.
    ContentUntilClose,
    Chunk(Chunk),
}

/// What comes next in a chunked body (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Line(ChunkLine),
    Content(u64),
    /// The CRLF after a chunk's content.
    ContentCr,
    ContentLf,
    Trailer,
}

/// How far the line with a chunk's size has come: so many bytes of it, of which the last are in this place.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct ChunkLine {
    size: u64,
    length: usize,
    place: Place,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// Between the size and an extension.
    Space,
    Extension,
    Lf,
}

/// What a head says of the message.
struct Head {
    status: u16,
    at: At,
    closes: bool,
}

impl Responses {
    /// Takes the next part from the front of `input`; `None` once all of it is consumed. `is_head`: the response answers a
    /// HEAD, and so has no content whatever its fields say.
    #[inline]
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
        is_head: bool,
    ) -> Result<Option<Part<'a>>, Violation> {
        loop {
            match self.at {
                At::Content(0) => {
                    let closes = self.closes;
                    self.reset();
                    return Ok(Some(Part::End { closes }));
                }
                _ if input.is_empty() => return Ok(None),
                At::Head => {
                    self.is_mid_response = true;
                    let Some(head) = self.take_head(input, is_head)? else { return Ok(None) };
                    match head.status {
                        101 => return Err(Violation::SwitchingProtocols),
                        // RFC 9110, 15.2: an interim response precedes the final one.
                        100..=199 => {}
                        status => {
                            (self.at, self.closes) = (head.at, head.closes);
                            return Ok(Some(Part::Head { status }));
                        }
                    }
                }
                At::Content(left) => {
                    let (content, left) = split(input, left);
                    self.at = At::Content(left);
                    return Ok(Some(Part::Body(content)));
                }
                At::ContentUntilClose => return Ok(Some(Part::Body(std::mem::take(input)))),
                At::Chunk(Chunk::Content(left)) => {
                    let (content, left) = split(input, left);
                    self.at = At::Chunk(if left == 0 { Chunk::ContentCr } else { Chunk::Content(left) });
                    return Ok(Some(Part::Body(content)));
                }
                At::Chunk(Chunk::Trailer) => {
                    if self.take_trailer(input)? {
                        self.at = At::Content(0);
                    }
                }
                At::Chunk(chunk) => {
                    let (&byte, rest) = input.split_first().expect("the input is not empty");
                    *input = rest;
                    self.at = At::Chunk(chunk.after(byte)?);
                }
            }
        }
    }

    /// Whether the bytes so far end inside a response, or after an interim one.
    pub(crate) fn is_mid_response(&self) -> bool {
        self.is_mid_response
    }

    /// Whether a response is under way that ends where the server closes the connection (RFC 9112, 6.3).
    pub(crate) fn ends_by_close(&self) -> bool {
        self.at == At::ContentUntilClose
    }

    /// Ready for the first byte of a response. What was held keeps its memory.
    pub(crate) fn reset(&mut self) {
        self.at = At::Head;
        self.is_mid_response = false;
        self.let_go();
    }

    fn let_go(&mut self) {
        self.held.clear();
        self.line = 0;
    }

    /// Takes a head, which is parsed where it lies if it is whole.
    #[inline]
    fn take_head(&mut self, input: &mut &[u8], is_head: bool) -> Result<Option<Head>, Violation> {
        if self.held.is_empty() {
            check_beginning(input)?;
            if let Some((head, length)) = parse_head(input, is_head)? {
                if length > HEAD_LIMIT {
                    return Err(Violation::HeadLength);
                }
                *input = &input[length..];
                return Ok(Some(head));
            }
        }
        let is_whole = self.gather(input, Violation::HeadLength)?;
        check_beginning(&self.held)?;
        if !is_whole {
            return Ok(None);
        }
        let head = match parse_head(&self.held, is_head)? {
            Some((head, length)) if length == self.held.len() => head,
            // It ends at its empty line, whoever looks for that.
            _ => return Err(Violation::Head(httparse::Error::NewLine)),
        };
        self.let_go();
        Ok(Some(head))
    }

    /// Takes the fields after the last chunk, and their empty line. Whether that has come.
    fn take_trailer(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        if !self.gather(input, Violation::TrailerLength)? {
            return Ok(false);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(&self.held, &mut fields) {
            Ok(Status::Complete((length, _))) if length == self.held.len() => {}
            Ok(_) => return Err(Violation::Trailer(httparse::Error::NewLine)),
            Err(error) => return Err(Violation::Trailer(error)),
        }
        self.let_go();
        Ok(true)
    }

    /// Moves lines from the input to what is held, up to an empty one and with it. Whether that has come.
    fn gather(&mut self, input: &mut &[u8], too_long: Violation) -> Result<bool, Violation> {
        loop {
            let end = input.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
            *input = rest;
            if self.held.len() + piece.len() > HEAD_LIMIT {
                return Err(too_long);
            }
            self.held.extend_from_slice(piece);
            if end.is_none() {
                return Ok(false);
            }
            if matches!(&self.held[self.line..], b"\n" | b"\r\n") {
                return Ok(true);
            }
            self.line = self.held.len();
        }
    }
}

impl Chunk {
    /// What comes after this byte of the framing.
    fn after(self, byte: u8) -> Result<Self, Violation> {
        match (self, byte) {
            (Self::Line(line), _) => line.after(byte),
            (Self::ContentCr, b'\r') => Ok(Self::ContentLf),
            (Self::ContentLf, b'\n') => Ok(Self::Line(ChunkLine::default())),
            _ => Err(Violation::ChunkEnd),
        }
    }
}

impl ChunkLine {
    fn after(mut self, byte: u8) -> Result<Chunk, Violation> {
        let has_size = self.length > 0;
        self.length += 1;
        if self.length > CHUNK_LINE_LIMIT {
            return Err(Violation::ChunkLine);
        }
        self.place = match (self.place, byte) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.size.checked_mul(16).map(|size| size + u64::from(digit));
                self.size = size.filter(|&size| size <= MAX_LENGTH).ok_or(Violation::ChunkSize)?;
                Place::Size
            }
            (Place::Size, _) if !has_size => return Err(Violation::ChunkSize),
            (Place::Size | Place::Space, b' ' | b'\t') => Place::Space,
            (Place::Size | Place::Space, b';') => Place::Extension,
            (Place::Size | Place::Space | Place::Extension, b'\r') => Place::Lf,
            (Place::Size, _) => return Err(Violation::ChunkSize),
            (Place::Extension, b'\t' | b' '..=b'~' | 0x80..) => Place::Extension,
            (Place::Lf, b'\n') if self.size == 0 => return Ok(Chunk::Trailer),
            (Place::Lf, b'\n') => return Ok(Chunk::Content(self.size)),
            // A bare LF too: where two readers differ on the end of this line, one takes content for a chunk.
            _ => return Err(Violation::ChunkLine),
        };
        Ok(Chunk::Line(self))
    }
}

/// Takes at most so many bytes, and says how many are then left.
fn split<'a>(input: &mut &'a [u8], left: u64) -> (&'a [u8], u64) {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let (content, rest) = input.split_at(length);
    *input = rest;
    (content, left - length as u64)
}

/// Another protocol, or version, is told by its first bytes: it need never send an empty line.
#[inline]
fn check_beginning(bytes: &[u8]) -> Result<(), Violation> {
    let known = bytes.len().min(BEGINNING.len());
    if bytes[..known] == BEGINNING[..known] {
        return Ok(());
    }
    let mut text = [0; 8];
    let count = bytes.len().min(text.len());
    text[..count].copy_from_slice(&bytes[..count]);
    Err(Violation::NotHttp(text, count as u8))
}

/// Parses the head that `bytes` begin with, and says how long it is; `None` where it is cut.
#[inline]
fn parse_head(bytes: &[u8], is_head: bool) -> Result<Option<(Head, usize)>, Violation> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
        .map_err(Violation::Head)?;
    let Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let is_old = response.version == Some(0);
    let fields = Fields::read(response.headers)?;
    let at = match fields {
        // RFC 9112, 6.3: these have no content, whatever their fields say.
        _ if is_head || matches!(status, 100..=199 | 204 | 304) => At::Content(0),
        // RFC 9112, 6.1 and 6.2: chunked is of HTTP/1.1, and no Content-Length stands beside it.
        Fields { is_chunked: true, length, .. } if is_old || length.is_some() => {
            return Err(Violation::TransferEncoding);
        }
        Fields { is_chunked: true, .. } => At::Chunk(Chunk::Line(ChunkLine::default())),
        Fields { length: Some(length), .. } => At::Content(length),
        _ => At::ContentUntilClose,
    };
    // RFC 9112, 9.3: HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 only if told so.
    let closes = fields.says_close || (is_old && !fields.says_keep_alive) || at == At::ContentUntilClose;
    Ok(Some((Head { status, at, closes }, length)))
}

/// The fields that say where a message ends, and what becomes of its connection.
#[derive(Debug, Default, Clone, Copy)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
}

impl Fields {
    fn read(fields: &[Header<'_>]) -> Result<Self, Violation> {
        let mut read = Self::default();
        for field in fields {
            if field.name.eq_ignore_ascii_case("content-length") {
                // RFC 9110, 8.6: the same number several times is that number.
                for member in members(field.value) {
                    let length = parse_length(member).ok_or(Violation::ContentLength)?;
                    if read.length.is_some_and(|known| known != length) {
                        return Err(Violation::ContentLength);
                    }
                    read.length = Some(length);
                }
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // The request has no TE, so no other coding can be asked for; and nothing is chunked twice.
                if read.is_chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Violation::TransferEncoding);
                }
                read.is_chunked = true;
            } else if field.name.eq_ignore_ascii_case("connection") {
                for member in members(field.value) {
                    read.says_close |= member.eq_ignore_ascii_case(b"close");
                    read.says_keep_alive |= member.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(read)
    }
}

/// The members of a list (RFC 9110, 5.6.1).
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let length = text.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })?;
    (length <= MAX_LENGTH).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response as it came out.
    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    struct Seen {
        status: u16,
        body: Vec<u8>,
        /// What its end said; `None` where it did not end.
        closes: Option<bool>,
    }

    fn seen(status: u16, body: &[u8], closes: Option<bool>) -> Seen {
        Seen { status, body: body.into(), closes }
    }

    fn feed(bytes: &[u8], piece: usize, is_head: bool) -> Result<(Vec<Seen>, Responses), Violation> {
        let mut responses = Responses::default();
        let mut all = Vec::new();
        for mut input in bytes.chunks(piece) {
            while let Some(part) = responses.next(&mut input, is_head)? {
                match part {
                    Part::Head { status } => all.push(seen(status, b"", None)),
                    Part::Body(content) => {
                        assert!(!content.is_empty());
                        all.last_mut().unwrap().body.extend(content);
                    }
                    Part::End { closes } => {
                        all.last_mut().unwrap().closes = Some(closes);
                        assert!(!responses.is_mid_response());
                    }
                }
            }
            assert!(input.is_empty(), "all input is consumed");
        }
        Ok((all, responses))
    }

    /// Whole, and cut anywhere, it comes out like this.
    #[track_caller]
    fn assert_seen(bytes: &[u8], expected: &[Seen]) {
        for piece in 1..=bytes.len() {
            let (seen, responses) = feed(bytes, piece, false).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(seen, expected, "{} in pieces of {piece}", bytes.escape_ascii());
            let is_over = expected.last().is_some_and(|last| last.closes.is_some());
            assert_eq!(responses.is_mid_response(), !is_over, "{}", bytes.escape_ascii());
        }
    }

    #[track_caller]
    fn assert_violation(bytes: &[u8], violation: Violation) {
        for piece in 1..=bytes.len() {
            let found = feed(bytes, piece, false).map(|(seen, _)| seen);
            match (violation, found) {
                // Of these the first bytes are quoted that came.
                (Violation::NotHttp(..), Err(Violation::NotHttp(..))) => {}
                (_, found) => {
                    assert_eq!(found, Err(violation), "{} in pieces of {piece}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn responses_one_after_the_other_come_out_the_same_whole_and_cut_anywhere() {
        assert_seen(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello\
              HTTP/1.1 404\r\ncontent-length:0\r\nX: y\r\n\r\n\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n\r\n\
              HTTP/1.1 204 No Content\r\n\r\n\
              HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n\
              HTTP/1.1 500 \nContent-Length: 1\n\n!",
            &[
                seen(200, b"Hello", Some(false)),
                seen(404, b"", Some(false)),
                seen(200, b"Hello", Some(false)),
                seen(204, b"", Some(false)),
                seen(304, b"", Some(false)),
                seen(500, b"!", Some(false)),
            ],
        );
    }

    #[test]
    fn chunks_may_have_extensions_leading_zeros_and_trailer_fields() {
        for chunked in [
            &b"5\r\nHello\r\n0\r\n\r\n"[..],
            b"1\r\nH\r\n4\r\nello\r\n0\r\n\r\n",
            b"0000000000000000000005\r\nHello\r\n000\r\n\r\n",
            b"5;a\r\nHello\r\n0;b=c;d=\"e f\"\r\n\r\n",
            b"5 \t;a\r\nHello\r\n0  \r\n\r\n",
            b"5\r\nHello\r\n0\r\nA: b\r\nLong: trailer\r\n\r\n",
        ] {
            let head = b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n";
            assert_seen(&[head, chunked].concat(), &[seen(200, b"Hello", Some(false))]);
        }
        let a = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\naB\r\n";
        let bytes = [&a[..], &[b'x'; 0xab], b"\r\n0\r\n\r\n"].concat();
        assert_seen(&bytes, &[seen(200, &[&b"0123456789"[..], &[b'x'; 0xab]].concat(), Some(false))]);
    }

    #[test]
    fn a_chunked_body_that_is_broken_is_a_violation() {
        for (chunked, violation) in [
            (&b"\r\n"[..], Violation::ChunkSize),
            (b"g\r\n", Violation::ChunkSize),
            (b"-1\r\n", Violation::ChunkSize),
            (b"+1\r\n", Violation::ChunkSize),
            (b"0x5\r\n", Violation::ChunkSize),
            (b";a\r\n", Violation::ChunkSize),
            (b"8000000000000000\r\n", Violation::ChunkSize),
            (b"ffffffffffffffff\r\n", Violation::ChunkSize),
            (b"10000000000000005\r\nHello", Violation::ChunkSize),
            (b"5\n", Violation::ChunkSize),
            (b"5 5\r\n", Violation::ChunkLine),
            (b"5;a\n", Violation::ChunkLine),
            (b"5;\0\r\n", Violation::ChunkLine),
            (b"5\r\r\n", Violation::ChunkLine),
            (b"5\r\nHello!", Violation::ChunkEnd),
            (b"5\r\nHello\n", Violation::ChunkEnd),
            (b"5\r\nHello\r\r", Violation::ChunkEnd),
            (b"0\r\nno field\r\n\r\n", Violation::Trailer(httparse::Error::HeaderName)),
        ] {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            assert_violation(&[head, chunked].concat(), violation);
        }
    }

    #[test]
    fn the_largest_sizes_there_are_are_waited_for() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nHello"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nHello",
        ] {
            assert_seen(bytes, &[seen(200, b"Hello", None)]);
        }
    }

    #[test]
    fn interim_responses_are_skipped_and_are_the_beginning_of_the_final_one() {
        let interim =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 9\r\n\r\n";
        assert!(feed(interim, 1, false).unwrap().1.is_mid_response());
        let bytes = [&interim[..], b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"].concat();
        assert_seen(&bytes, &[seen(200, b"ok", Some(false))]);
        assert_violation(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Violation::SwitchingProtocols);
    }

    #[test]
    fn the_response_to_a_head_has_no_content() {
        for field in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n").repeat(2);
            let (all, _) = feed(bytes.as_bytes(), 7, true).unwrap();
            assert_eq!(all, [seen(200, b"", Some(false)), seen(200, b"", Some(false))], "{field}");
        }
    }

    #[test]
    fn what_becomes_of_the_connection_depends_on_the_version_and_on_its_field() {
        for (version, field, closes) in [
            ("1.1", "X: y", false),
            ("1.1", "Connection: close", true),
            ("1.1", "connection: X, Close", true),
            ("1.1", "Connection: keep-alive", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close", true),
            ("1.0", "X: y", true),
            ("1.0", "Connection: Keep-Alive", false),
            ("1.0", "Connection: close, keep-alive", true),
        ] {
            let bytes = format!("HTTP/{version} 200 OK\r\n{field}\r\nContent-Length: 1\r\n\r\n.");
            assert_seen(bytes.as_bytes(), &[seen(200, b".", Some(closes))]);
        }
    }

    #[test]
    fn without_a_length_the_body_is_all_that_comes() {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"] {
            let bytes = [head.as_bytes(), b"HTTP/1.1 200 OK\r\n\r\n"].concat();
            assert_seen(&bytes, &[seen(200, b"HTTP/1.1 200 OK\r\n\r\n", None)]);
            assert!(feed(&bytes, 5, false).unwrap().1.ends_by_close());
        }
    }

    #[test]
    fn a_head_that_is_broken_or_says_two_things_is_a_violation() {
        let not_http = Violation::NotHttp([0; 8], 0);
        for (head, violation) in [
            ("SSH-2.0-OpenSSH_9.2p1\r\n", not_http),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", not_http),
            ("HTTP/2.0 200 OK\r\n\r\n", not_http),
            ("\x15\x03\x01", not_http),
            ("HTTP/1.2 200 OK\r\n\r\n", Violation::Head(httparse::Error::Version)),
            ("HTTP/1.1  200 OK\r\n\r\n", Violation::Head(httparse::Error::Status)),
            ("HTTP/1.1 20 OK\r\n\r\n", Violation::Head(httparse::Error::Status)),
            ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", Violation::Head(httparse::Error::HeaderName)),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Violation::Head(httparse::Error::HeaderName)),
            ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Violation::Head(httparse::Error::HeaderValue)),
            ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Violation::ContentLength),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Violation::TransferEncoding,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Violation::TransferEncoding),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", Violation::TransferEncoding),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                Violation::TransferEncoding,
            ),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Violation::TransferEncoding),
        ] {
            assert_violation(head.as_bytes(), violation);
        }
        assert_seen(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok",
            &[seen(200, b"ok", Some(false))],
        );
    }

    #[test]
    fn heads_chunk_lines_and_trailers_without_end_take_bounded_memory() {
        let head = "HTTP/1.1 200 OK\r\n";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (beginning, endless, violation) in [
            (format!("{head}X: "), b'x', Violation::HeadLength),
            (format!("{chunked}0;"), b'x', Violation::ChunkLine),
            (chunked.into(), b'0', Violation::ChunkLine),
            (format!("{chunked}0\r\nX: "), b'x', Violation::TrailerLength),
        ] {
            for piece in [1, 1000, 128 << 10] {
                let bytes = [beginning.as_bytes(), &vec![endless; 2 * HEAD_LIMIT]].concat();
                assert_eq!(feed(&bytes, piece, false).err(), Some(violation));
            }
        }
        // Whole, it is refused for the same reason.
        let bytes = format!("{head}X: {}\r\n\r\n", "x".repeat(HEAD_LIMIT));
        assert_eq!(feed(bytes.as_bytes(), usize::MAX, false).err(), Some(Violation::HeadLength));
        let fields = "X: y\r\n".repeat(MAX_FIELDS + 1);
        let violation = Violation::Head(httparse::Error::TooManyHeaders);
        assert_violation(format!("{head}{fields}\r\n").as_bytes(), violation);
    }

    #[test]
    fn the_longest_head_there_may_be_is_read() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
        let bytes = format!("{head}{}\r\n\r\nok", "x".repeat(HEAD_LIMIT - head.len() - 4));
        for piece in [1, 4096, HEAD_LIMIT, usize::MAX] {
            assert_eq!(feed(bytes.as_bytes(), piece, false).unwrap().0, [seen(200, b"ok", Some(false))]);
        }
    }

    #[test]
    fn any_bytes_at_all_end_in_a_reply_or_a_violation() {
        // A congruential generator (Knuth's MMIX): the same bytes each time.
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize
        };
        let good = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nHello\r\n0\r\nA: b\r\n\r\n";
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..=next() % 3 {
                let at = next() % bytes.len();
                match next() % 3 {
                    0 => bytes[at] = next() as u8,
                    1 => bytes.insert(at, b"\r\n 0f:;,"[next() % 8]),
                    _ => drop(bytes.remove(at)),
                }
            }
            let whole = feed(&bytes, bytes.len(), false);
            let cut = feed(&bytes, 1 + next() % 9, false);
            match (whole, cut) {
                (Ok((whole, _)), Ok((cut, _))) => assert_eq!(whole, cut, "{}", bytes.escape_ascii()),
                (Err(_), Err(_)) => {}
                // A head that was cut is judged once it is whole.
                (Err(_), Ok((_, responses))) if responses.is_mid_response() => {}
                (whole, cut) => panic!("{whole:?} {cut:?}: {}", bytes.escape_ascii()),
            }
        }
    }
}
