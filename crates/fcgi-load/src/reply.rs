//! Bytes in, parts of replies out: the client's side of section 3.3, without I/O.
//!
//! Content is handed on as it arrives, however it was cut, so that a reply of any length needs no memory here. Only
//! a header that was cut, and the eight bytes of an `FCGI_END_REQUEST`, are kept.

use std::fmt;

const VERSION: u8 = 1;
const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
pub(crate) const GET_VALUES: u8 = 9;
pub(crate) const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;

/// Something a server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Some of a reply's output; never empty.
    Stdout { id: u16, content: &'a [u8] },
    /// The empty record that ends a reply's output.
    StdoutEnd { id: u16 },
    /// Some of a reply's error output, or its empty end.
    Stderr { id: u16, content: &'a [u8] },
    /// The reply is over.
    End { id: u16, end: EndRequest },
    /// Some of a management record (id 0); `last` with its final bytes.
    Management { kind: u8, content: &'a [u8], last: bool },
}

/// The body of `FCGI_END_REQUEST` (section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndRequest {
    pub(crate) app_status: u32,
    pub(crate) protocol_status: u8,
}

/// What no server may send, so that the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Version(u8),
    /// The beginning of an HTTP answer, and of another text.
    Http([u8; 8]),
    Text([u8; 8]),
    Type {
        kind: u8,
        id: u16,
    },
    EndLength(u16),
}

impl Violation {
    /// What is wrong with a header whose version is not 1.
    #[cold]
    fn of(header: [u8; 8]) -> Self {
        match header {
            [b'H', b'T', b'T', b'P', b'/', ..] => Self::Http(header),
            _ if header.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')) => Self::Text(header),
            [version, ..] => Self::Version(version),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "a record of version {version} instead of 1"),
            Self::Http(text) => {
                let text = text.escape_ascii();
                write!(f, "\"{text}\" in place of a record: this is an HTTP server, and not a FastCGI one")
            }
            Self::Text(text) => {
                write!(f, "\"{}\" in place of a record: this is no FastCGI server", text.escape_ascii())
            }
            Self::Type { kind, id } => {
                write!(f, "a record of type {kind} with request id {id}, which no server sends")
            }
            Self::EndLength(length) => write!(f, "an FCGI_END_REQUEST of {length} bytes instead of 8"),
        }
    }
}

/// The reader of one connection's records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// A header that was cut, or the body of an `FCGI_END_REQUEST`.
    held: [u8; 8],
    held_len: usize,
    /// Of the record under way; without content and padding left, the next byte is a header's.
    kind: u8,
    id: u16,
    content: usize,
    padding: usize,
}

impl Records {
    /// Takes the next part from the front of `input`; `None` once all of it is consumed.
    #[inline]
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Violation> {
        loop {
            if self.content > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                if let Some(part) = self.take_content(input) {
                    return Ok(Some(part));
                }
                continue;
            }
            if self.padding > 0 {
                // Section 3.3: "the receiver ignores" padding, whatever it holds.
                let skipped = self.padding.min(input.len());
                *input = &input[skipped..];
                self.padding -= skipped;
                if self.padding > 0 {
                    return Ok(None);
                }
            }
            let header = match input.split_first_chunk::<8>() {
                Some((header, rest)) if self.held_len == 0 => {
                    *input = rest;
                    *header
                }
                _ => match self.hold(input) {
                    Some(header) => header,
                    None => return Ok(None),
                },
            };
            if let Some(part) = self.begin(header)? {
                return Ok(Some(part));
            }
        }
    }

    /// Whether the bytes so far end inside a record.
    pub(crate) fn is_mid_record(&self) -> bool {
        self.held_len > 0 || self.content > 0 || self.padding > 0
    }

    /// Reads a header. A record without content is a part of its own.
    #[inline]
    fn begin(&mut self, header: [u8; 8]) -> Result<Option<Part<'static>>, Violation> {
        let [version, kind, id_high, id_low, length_high, length_low, padding, _reserved] = header;
        if version != VERSION {
            return Err(Violation::of(header));
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        let length = u16::from_be_bytes([length_high, length_low]);
        match (kind, id) {
            (STDOUT | STDERR, 1..) => {}
            (END_REQUEST, 1..) if length == 8 => {}
            (END_REQUEST, 1..) => return Err(Violation::EndLength(length)),
            (GET_VALUES_RESULT | UNKNOWN_TYPE, 0) => {}
            _ => return Err(Violation::Type { kind, id }),
        }
        (self.kind, self.id) = (kind, id);
        (self.content, self.padding) = (length.into(), padding.into());
        Ok(match kind {
            _ if length > 0 => None,
            STDOUT => Some(Part::StdoutEnd { id }),
            STDERR => Some(Part::Stderr { id, content: &[] }),
            _ => Some(Part::Management { kind, content: &[], last: true }),
        })
    }

    /// Hands on what there is of the record under way; `None` where an `FCGI_END_REQUEST` is not yet whole.
    #[inline]
    fn take_content<'a>(&mut self, input: &mut &'a [u8]) -> Option<Part<'a>> {
        let id = self.id;
        if self.kind == END_REQUEST {
            let body = match input.split_first_chunk::<8>() {
                Some((body, rest)) if self.held_len == 0 => {
                    *input = rest;
                    *body
                }
                _ => self.hold(input)?,
            };
            self.content = 0;
            let [a, b, c, d, protocol_status, ..] = body;
            return Some(Part::End {
                id,
                end: EndRequest { app_status: u32::from_be_bytes([a, b, c, d]), protocol_status },
            });
        }
        let (content, rest) = input.split_at(self.content.min(input.len()));
        *input = rest;
        self.content -= content.len();
        Some(match self.kind {
            STDOUT => Part::Stdout { id, content },
            STDERR => Part::Stderr { id, content },
            kind => Part::Management { kind, content, last: self.content == 0 },
        })
    }

    /// Gathers eight bytes over as many inputs as it takes.
    fn hold(&mut self, input: &mut &[u8]) -> Option<[u8; 8]> {
        let taken = input.len().min(8 - self.held_len);
        self.held[self.held_len..self.held_len + taken].copy_from_slice(&input[..taken]);
        self.held_len += taken;
        *input = &input[taken..];
        (self.held_len == 8).then(|| {
            self.held_len = 0;
            self.held
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came out, with the pieces of one stream joined.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        stdout: Vec<(u16, Vec<u8>)>,
        stderr: Vec<(u16, Vec<u8>)>,
        stdout_ends: Vec<u16>,
        ends: Vec<(u16, EndRequest)>,
        management: Vec<(u8, Vec<u8>)>,
    }

    fn feed(bytes: &[u8], piece: usize) -> Result<Seen, Violation> {
        let mut records = Records::default();
        let mut seen = Seen::default();
        let mut managed = Vec::new();
        let join = |list: &mut Vec<(u16, Vec<u8>)>, id, content: &[u8]| match list
            .iter_mut()
            .find(|(known, _)| *known == id)
        {
            Some((_, joined)) => joined.extend(content),
            None => list.push((id, content.into())),
        };
        for mut input in bytes.chunks(piece) {
            while let Some(part) = records.next(&mut input)? {
                match part {
                    Part::Stdout { id, content } => {
                        assert!(!content.is_empty());
                        join(&mut seen.stdout, id, content);
                    }
                    Part::StdoutEnd { id } => seen.stdout_ends.push(id),
                    Part::Stderr { id, content } => join(&mut seen.stderr, id, content),
                    Part::End { id, end } => seen.ends.push((id, end)),
                    Part::Management { kind, content, last } => {
                        managed.extend(content);
                        if last {
                            seen.management.push((kind, std::mem::take(&mut managed)));
                        }
                    }
                }
            }
            assert!(input.is_empty(), "all input is consumed");
        }
        assert!(!records.is_mid_record());
        Ok(seen)
    }

    #[rustfmt::skip]
    const TWO_REPLIES: &[u8] = &[
        1, 6, 0, 1, 0, 3, 5, 0xff,   b'a', b'b', b'c', 1, 6, 0, 9, 9,             // padding that looks like a header
        1, 7, 0x80, 2, 0, 1, 0, 0,   b'!',                                        // STDERR of another, unpadded
        1, 6, 0x80, 2, 0, 2, 0, 0,   b'x', b'y',
        1, 6, 0, 1, 0, 1, 255, 0,    b'd',                                        // 255 bytes of padding follow
    ];

    fn two_replies() -> Vec<u8> {
        let mut bytes = TWO_REPLIES.to_vec();
        bytes.extend([6; 255]);
        #[rustfmt::skip]
        bytes.extend([
            1, 6, 0, 1, 0, 0, 0, 0,
            1, 3, 0, 1, 0, 8, 0, 0,      0, 0, 1, 2, 0, 9, 9, 9,                  // reserved bytes may hold anything
            1, 7, 0x80, 2, 0, 0, 0, 0,
            1, 6, 0x80, 2, 0, 0, 8, 0,   0, 0, 0, 0, 0, 0, 0, 0,                  // an empty record with padding
            1, 3, 0x80, 2, 0, 8, 3, 0,   0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0,   0, 0, 0,
            1, 10, 0, 0, 0, 4, 4, 0,     1, 1, b'N', b'1',   0, 0, 0, 0,
            1, 11, 0, 0, 0, 8, 0, 0,     99, 0, 0, 0, 0, 0, 0, 0,
        ]);
        bytes
    }

    #[test]
    fn two_interleaved_replies_come_out_the_same_whole_and_cut_anywhere() {
        let bytes = two_replies();
        let expected = Seen {
            stdout: vec![(1, b"abcd".to_vec()), (0x8002, b"xy".to_vec())],
            stderr: vec![(0x8002, b"!".to_vec())],
            stdout_ends: vec![1, 0x8002],
            ends: vec![
                (1, EndRequest { app_status: 0x102, protocol_status: 0 }),
                (0x8002, EndRequest { app_status: u32::MAX, protocol_status: 2 }),
            ],
            management: vec![(10, b"\x01\x01N1".to_vec()), (11, b"\x63\0\0\0\0\0\0\0".to_vec())],
        };
        for piece in 1..=bytes.len() {
            assert_eq!(feed(&bytes, piece).as_ref(), Ok(&expected), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_record_that_no_server_may_send_is_a_violation() {
        for (header, violation) in [
            ([2, 6, 0, 1, 0, 0, 0, 0], Violation::Version(2)),
            (*b"HTTP/1.1", Violation::Http(*b"HTTP/1.1")),
            (*b"220 mail", Violation::Text(*b"220 mail")),
            (*b"HTTPS\x16\x03\x01", Violation::Version(b'H')),
            ([1, 1, 0, 1, 0, 8, 0, 0], Violation::Type { kind: 1, id: 1 }),
            ([1, 6, 0, 0, 0, 0, 0, 0], Violation::Type { kind: 6, id: 0 }),
            ([1, 3, 0, 0, 0, 8, 0, 0], Violation::Type { kind: 3, id: 0 }),
            ([1, 10, 0, 1, 0, 0, 0, 0], Violation::Type { kind: 10, id: 1 }),
            ([1, 12, 0, 1, 0, 0, 0, 0], Violation::Type { kind: 12, id: 1 }),
            ([1, 3, 0, 1, 0, 7, 0, 0], Violation::EndLength(7)),
        ] {
            assert_eq!(feed(&header, 8), Err(violation));
            assert_eq!(feed(&header, 3), Err(violation));
        }
    }

    #[test]
    fn it_knows_when_the_bytes_end_inside_a_record() {
        let bytes = two_replies();
        let mut records = Records::default();
        let mut input = &bytes[..16];
        while records.next(&mut input).unwrap().is_some() {}
        assert!(!records.is_mid_record());
        let mut input = &bytes[16..20];
        while records.next(&mut input).unwrap().is_some() {}
        assert!(records.is_mid_record());
    }
}
