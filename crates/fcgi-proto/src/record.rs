//! Records: the unit of the wire (spec 3.3), and the numbers of spec 8.

use alloc::vec::Vec;

/// The length of a record's header, in bytes.
pub const HEADER_BYTES: usize = 8;
/// The longest content of one record (a 16-bit length).
pub const MAX_CONTENT_BYTES: usize = 65_535;
/// The longest content that needs no padding: a multiple of 8.
pub const MAX_ALIGNED_CONTENT_BYTES: usize = 65_528;
/// FCGI_VERSION_1.
pub const VERSION: u8 = 1;
/// FCGI_KEEP_CONN, in the flags of BEGIN_REQUEST.
pub const KEEP_CONN: u8 = 1;

/// Names a request on its connection; 0 is the connection itself (FCGI_NULL_REQUEST_ID).
pub type RequestId = u16;

/// A record's type (spec 8). Unknown ones are kept as their number: a type is the peer's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordType(pub u8);

impl RecordType {
    /// FCGI_BEGIN_REQUEST
    pub const BEGIN_REQUEST: Self = Self(1);
    /// FCGI_ABORT_REQUEST
    pub const ABORT_REQUEST: Self = Self(2);
    /// FCGI_END_REQUEST
    pub const END_REQUEST: Self = Self(3);
    /// FCGI_PARAMS
    pub const PARAMS: Self = Self(4);
    /// FCGI_STDIN
    pub const STDIN: Self = Self(5);
    /// FCGI_STDOUT
    pub const STDOUT: Self = Self(6);
    /// FCGI_STDERR
    pub const STDERR: Self = Self(7);
    /// FCGI_DATA, a filter's second stream
    pub const DATA: Self = Self(8);
    /// FCGI_GET_VALUES
    pub const GET_VALUES: Self = Self(9);
    /// FCGI_GET_VALUES_RESULT
    pub const GET_VALUES_RESULT: Self = Self(10);
    /// FCGI_UNKNOWN_TYPE
    pub const UNKNOWN_TYPE: Self = Self(11);
}

/// What a request asks the application to be (spec 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers a request, as CGI does (6.2).
    Responder,
    /// Decides whether a request may go on (6.3).
    Authorizer,
    /// Answers a request from a file's content (6.4).
    Filter,
    /// None that the specification names.
    Unknown(u16),
}

impl From<u16> for Role {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Responder,
            2 => Self::Authorizer,
            3 => Self::Filter,
            other => Self::Unknown(other),
        }
    }
}

/// How the protocol judges a request in END_REQUEST (spec 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolStatus {
    /// FCGI_REQUEST_COMPLETE: the normal end.
    RequestComplete = 0,
    /// FCGI_CANT_MPX_CONN: one request at a time on a connection here.
    CantMpxConn = 1,
    /// FCGI_OVERLOADED: out of some resource.
    Overloaded = 2,
    /// FCGI_UNKNOWN_ROLE: the role is not offered.
    UnknownRole = 3,
}

/// A record's header (spec 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version; only 1 exists.
    pub version: u8,
    /// The type.
    pub record_type: RecordType,
    /// The request it belongs to, 0 for the connection's own.
    pub id: RequestId,
    /// Bytes of content that follow.
    pub content_length: u16,
    /// Bytes of padding after the content, to be skipped.
    pub padding_length: u8,
}

impl Header {
    /// A header for `content_length` bytes of content, padded to the next multiple of 8 (3.3 recommends it).
    #[inline]
    pub const fn new(record_type: RecordType, id: RequestId, content_length: u16) -> Self {
        let padding_length = (content_length as u8).wrapping_neg() & 7;
        Self { version: VERSION, record_type, id, content_length, padding_length }
    }

    /// Reads a header; any eight bytes are one.
    #[inline]
    pub const fn decode(bytes: [u8; HEADER_BYTES]) -> Self {
        let [version, record_type, id1, id0, length1, length0, padding_length, _reserved] = bytes;
        Self {
            version,
            record_type: RecordType(record_type),
            id: u16::from_be_bytes([id1, id0]),
            content_length: u16::from_be_bytes([length1, length0]),
            padding_length,
        }
    }

    /// The header's eight bytes.
    #[inline]
    pub const fn encode(self) -> [u8; HEADER_BYTES] {
        let [id1, id0] = self.id.to_be_bytes();
        let [length1, length0] = self.content_length.to_be_bytes();
        [self.version, self.record_type.0, id1, id0, length1, length0, self.padding_length, 0]
    }
}

/// Appends one record: header, content, padding. Content beyond [`MAX_CONTENT_BYTES`] is not for one record and
/// is cut off.
pub fn push(out: &mut Vec<u8>, record_type: RecordType, id: RequestId, content: &[u8]) {
    let content = &content[..content.len().min(MAX_CONTENT_BYTES)];
    let header = Header::new(record_type, id, content.len() as u16);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(content);
    out.extend_from_slice(&[0; 8][..usize::from(header.padding_length)]);
}
