//! The bytes of FastCGI 1.0: constants, small helpers that assemble literals, and a decoder of records.
//!
//! Deliberately independent of any implementation that is checked.

use std::borrow::Cow;

/// The version of the protocol, the first byte of every record (section 3.3).
pub(crate) const VERSION_1: u8 = 1;

/// Record types (section 8).
pub(crate) const BEGIN_REQUEST: u8 = 1;
pub(crate) const ABORT_REQUEST: u8 = 2;
pub(crate) const END_REQUEST: u8 = 3;
pub(crate) const PARAMS: u8 = 4;
pub(crate) const STDIN: u8 = 5;
pub(crate) const STDOUT: u8 = 6;
pub(crate) const STDERR: u8 = 7;
pub(crate) const DATA: u8 = 8;
pub(crate) const GET_VALUES: u8 = 9;
pub(crate) const GET_VALUES_RESULT: u8 = 10;
pub(crate) const UNKNOWN_TYPE: u8 = 11;

/// Roles (section 5.1).
pub(crate) const RESPONDER: u16 = 1;
pub(crate) const AUTHORIZER: u16 = 2;
pub(crate) const FILTER: u16 = 3;

/// The only flag of `FCGI_BEGIN_REQUEST` (section 5.1).
pub(crate) const KEEP_CONN: u8 = 1;

/// Protocol statuses of `FCGI_END_REQUEST` (section 5.5).
pub(crate) const REQUEST_COMPLETE: u8 = 0;
pub(crate) const CANT_MPX_CONN: u8 = 1;
pub(crate) const OVERLOADED: u8 = 2;
pub(crate) const UNKNOWN_ROLE: u8 = 3;

/// One record with a padding of zeros (section 3.3).
///
/// # Panics
/// If the content is longer than a record can say.
pub(crate) fn record(kind: u8, id: u16, content: &[u8], padding: u8) -> Vec<u8> {
    padded_record(kind, id, content, &vec![0; usize::from(padding)])
}

/// One record whose padding bytes are given.
pub(crate) fn padded_record(kind: u8, id: u16, content: &[u8], padding: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record holds at most 65,535 bytes");
    let pad = u8::try_from(padding.len()).expect("a record has at most 255 bytes of padding");
    let [id1, id0] = id.to_be_bytes();
    let [length1, length0] = length.to_be_bytes();
    let mut bytes = vec![VERSION_1, kind, id1, id0, length1, length0, pad, 0];
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(padding);
    bytes
}

/// `FCGI_BEGIN_REQUEST` (section 5.1).
pub(crate) fn begin_request(id: u16, role: u16, flags: u8) -> Vec<u8> {
    let [role1, role0] = role.to_be_bytes();
    record(BEGIN_REQUEST, id, &[role1, role0, flags, 0, 0, 0, 0, 0], 0)
}

/// `FCGI_ABORT_REQUEST` (section 5.4).
pub(crate) fn abort_request(id: u16) -> Vec<u8> {
    record(ABORT_REQUEST, id, &[], 0)
}

/// `FCGI_GET_VALUES` that asks for these names, with empty values (section 4.1).
pub(crate) fn get_values(names: &[&str]) -> Vec<u8> {
    let content: Vec<u8> = names.iter().flat_map(|name| pair(name.as_bytes(), b"")).collect();
    record(GET_VALUES, 0, &content, 0)
}

/// A stream cut into records of at most `size` bytes, and its empty record (section 3.3).
pub(crate) fn stream(kind: u8, id: u16, content: &[u8], size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = content.chunks(size.max(1)).flat_map(|part| record(kind, id, part, 0)).collect();
    bytes.extend(record(kind, id, &[], 0));
    bytes
}

/// A name-value pair whose lengths take as few bytes as they can (section 3.4).
pub(crate) fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = length(name.len(), name.len() > 127);
    bytes.extend(length(value.len(), value.len() > 127));
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
    bytes
}

/// A length of a name-value pair, in one byte or, if `four`, in four with the high bit set (section 3.4).
pub(crate) fn length(length: usize, four: bool) -> Vec<u8> {
    if four {
        let length =
            u32::try_from(length).ok().filter(|length| *length < 1 << 31).expect("a length has 31 bits");
        (length | 1 << 31).to_be_bytes().to_vec()
    } else {
        vec![u8::try_from(length).ok().filter(|length| *length < 128).expect("a one-byte length has 7 bits")]
    }
}

/// A name and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Name-value pairs as a server sent them, or what is wrong with them (section 3.4).
pub(crate) fn read_pairs(mut bytes: &[u8]) -> Result<Vec<Pair>, String> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let name = read_length(&mut bytes)?;
        let value = read_length(&mut bytes)?;
        if bytes.len() < name + value {
            return Err(format!("a pair of {name} + {value} bytes, of which {} are there", bytes.len()));
        }
        let (this, rest) = bytes.split_at(name + value);
        pairs.push((this[..name].to_vec(), this[name..].to_vec()));
        bytes = rest;
    }
    Ok(pairs)
}

fn read_length(bytes: &mut &[u8]) -> Result<usize, String> {
    match **bytes {
        [first, ref rest @ ..] if first < 128 => {
            *bytes = rest;
            Ok(usize::from(first))
        }
        [b3, b2, b1, b0, ref rest @ ..] => {
            *bytes = rest;
            Ok(u32::from_be_bytes([b3 & 0x7f, b2, b1, b0]) as usize)
        }
        _ => Err("a pair's length is cut off".to_owned()),
    }
}

/// The eight bytes in front of every record (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) id: u16,
    pub(crate) content_length: u16,
    pub(crate) padding_length: u8,
}

impl Header {
    pub(crate) fn read(bytes: &[u8; 8]) -> Self {
        Header {
            version: bytes[0],
            kind: bytes[1],
            id: u16::from_be_bytes([bytes[2], bytes[3]]),
            content_length: u16::from_be_bytes([bytes[4], bytes[5]]),
            padding_length: bytes[6],
        }
    }

    /// How many bytes follow the header.
    pub(crate) fn rest(&self) -> usize {
        usize::from(self.content_length) + usize::from(self.padding_length)
    }
}

/// A record that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) header: Header,
    pub(crate) content: Vec<u8>,
}

impl Record {
    /// The record that `bytes` begin with, once all of it is there, and its length with padding.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Record, usize)> {
        let header = Header::read(bytes.first_chunk()?);
        let length = 8 + header.rest();
        let content = bytes.get(8..length)?[..usize::from(header.content_length)].to_vec();
        Some((Record { header, content }, length))
    }
}

/// The specification's name of a record type.
pub(crate) fn kind_name(kind: u8) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        BEGIN_REQUEST => "BEGIN_REQUEST",
        ABORT_REQUEST => "ABORT_REQUEST",
        END_REQUEST => "END_REQUEST",
        PARAMS => "PARAMS",
        STDIN => "STDIN",
        STDOUT => "STDOUT",
        STDERR => "STDERR",
        DATA => "DATA",
        GET_VALUES => "GET_VALUES",
        GET_VALUES_RESULT => "GET_VALUES_RESULT",
        UNKNOWN_TYPE => "UNKNOWN_TYPE",
        other => return Cow::Owned(format!("type {other}")),
    })
}

/// The specification's name of a protocol status.
pub(crate) fn status_name(status: u8) -> Cow<'static, str> {
    Cow::Borrowed(match status {
        REQUEST_COMPLETE => "REQUEST_COMPLETE",
        CANT_MPX_CONN => "CANT_MPX_CONN",
        OVERLOADED => "OVERLOADED",
        UNKNOWN_ROLE => "UNKNOWN_ROLE",
        other => return Cow::Owned(format!("protocolStatus {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The records of the specification's appendix B, as bytes.

    #[test]
    fn begin_request_is_that_of_appendix_b() {
        assert_eq!(begin_request(1, RESPONDER, 0), [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            begin_request(0x1234, FILTER, KEEP_CONN),
            [1, 1, 0x12, 0x34, 0, 8, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn params_are_those_of_appendix_b() {
        // {FCGI_PARAMS, 1, "\013\002SERVER_PORT80\013\016SERVER_ADDR199.170.183.42 ... "}
        let mut content = pair(b"SERVER_PORT", b"80");
        content.extend(pair(b"SERVER_ADDR", b"199.170.183.42"));
        assert_eq!(content, b"\x0b\x02SERVER_PORT80\x0b\x0eSERVER_ADDR199.170.183.42");
        assert_eq!(stream(PARAMS, 1, &content, 65_535)[..8], [1, 4, 0, 1, 0, 42, 0, 0]);
    }

    #[test]
    fn a_stream_ends_with_an_empty_record() {
        assert_eq!(stream(STDIN, 1, b"", 10), [1, 5, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            stream(STDIN, 1, b"abc", 2),
            [1, 5, 0, 1, 0, 2, 0, 0, b'a', b'b', 1, 5, 0, 1, 0, 1, 0, 0, b'c', 1, 5, 0, 1, 0, 0, 0, 0]
        );
    }

    #[test]
    fn padding_follows_the_content() {
        assert_eq!(record(STDOUT, 2, b"x", 3), [1, 6, 0, 2, 0, 1, 3, 0, b'x', 0, 0, 0]);
        assert_eq!(padded_record(STDOUT, 2, b"x", b"ab"), [1, 6, 0, 2, 0, 1, 2, 0, b'x', b'a', b'b']);
        assert_eq!(record(STDIN, 1, &[7; 65_535], 255)[4..8], [0xff, 0xff, 0xff, 0]);
    }

    #[test]
    fn lengths_take_one_byte_or_four() {
        assert_eq!(length(0, false), [0]);
        assert_eq!(length(127, false), [127]);
        assert_eq!(length(128, true), [0x80, 0, 0, 0x80]);
        assert_eq!(length(5, true), [0x80, 0, 0, 5]);
        assert_eq!(length(0x7fff_ffff, true), [0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn all_four_forms_of_a_pair_are_read() {
        let long = vec![b'v'; 200];
        for (name, value) in [(&b"n"[..], &b"v"[..]), (b"n", &long), (&long, b"v"), (&long, &long)] {
            let read = read_pairs(&pair(name, value)).unwrap();
            assert_eq!(read, [(name.to_vec(), value.to_vec())]);
        }
        assert_eq!(pair(b"n", &long)[..5], [1, 0x80, 0, 0, 200]);
        assert_eq!(pair(&long, b"v")[..5], [0x80, 0, 0, 200, 1]);
        assert!(read_pairs(b"\x05\x01ab").is_err());
        assert!(read_pairs(b"\x05").is_err());
        assert!(read_pairs(b"\x80\0\0").is_err());
    }

    #[test]
    fn get_values_asks_with_empty_values() {
        assert_eq!(get_values(&["FCGI_MAX_CONNS"]), b"\x01\x09\0\0\0\x10\0\0\x0e\x00FCGI_MAX_CONNS");
        assert_eq!(abort_request(258), [1, 2, 1, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_record_is_read_once_it_is_whole() {
        let bytes = [1, 3, 0, 1, 0, 8, 1, 0, 0, 0, 3, 170, 0, 0, 0, 0, 99, 1];
        assert_eq!(Record::read(&bytes[..16]), None);
        let (record, length) = Record::read(&bytes).unwrap();
        assert_eq!((record.header.kind, record.header.id, length), (END_REQUEST, 1, 17));
        assert_eq!(record.content, [0, 0, 3, 170, 0, 0, 0, 0]);
    }
}
