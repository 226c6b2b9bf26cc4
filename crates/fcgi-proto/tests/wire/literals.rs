//! Records that many vectors begin or end with, as the specification writes them: version, type, id (2), content
//! length (2), padding length, reserved (3.3).

/// BEGIN_REQUEST 1: responder, FCGI_KEEP_CONN (5.1).
pub(crate) const BEGIN_1: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0";
/// The same for request 2.
pub(crate) const BEGIN_2: &[u8] = b"\x01\x01\0\x02\0\x08\0\0\0\x01\x01\0\0\0\0\0";
/// The same for request 3.
pub(crate) const BEGIN_3: &[u8] = b"\x01\x01\0\x03\0\x08\0\0\0\x01\x01\0\0\0\0\0";
/// BEGIN_REQUEST 1: responder, no flags.
pub(crate) const BEGIN_1_CLOSE: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0";
/// The same for request 2.
pub(crate) const BEGIN_2_CLOSE: &[u8] = b"\x01\x01\0\x02\0\x08\0\0\0\x01\0\0\0\0\0\0";

/// An empty PARAMS record: the stream's end.
pub(crate) const PARAMS_END_1: &[u8] = b"\x01\x04\0\x01\0\0\0\0";
pub(crate) const PARAMS_END_2: &[u8] = b"\x01\x04\0\x02\0\0\0\0";
pub(crate) const PARAMS_END_3: &[u8] = b"\x01\x04\0\x03\0\0\0\0";

/// An empty STDIN record: the stream's end.
pub(crate) const STDIN_END_1: &[u8] = b"\x01\x05\0\x01\0\0\0\0";
pub(crate) const STDIN_END_2: &[u8] = b"\x01\x05\0\x02\0\0\0\0";
pub(crate) const STDIN_END_3: &[u8] = b"\x01\x05\0\x03\0\0\0\0";

/// ABORT_REQUEST (5.4).
pub(crate) const ABORT_1: &[u8] = b"\x01\x02\0\x01\0\0\0\0";
pub(crate) const ABORT_2: &[u8] = b"\x01\x02\0\x02\0\0\0\0";

/// The answer to a request that was served and wrote nothing: an empty STDOUT record (6.1), then END_REQUEST with
/// application status 0 and protocol status 0 (5.5).
pub(crate) const SERVED_1: &[u8] = b"\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";
pub(crate) const SERVED_2: &[u8] = b"\x01\x06\0\x02\0\0\0\0\x01\x03\0\x02\0\x08\0\0\0\0\0\0\0\0\0\0";
pub(crate) const SERVED_3: &[u8] = b"\x01\x06\0\x03\0\0\0\0\x01\x03\0\x03\0\x08\0\0\0\0\0\0\0\0\0\0";

/// The answer to a request that was aborted once its PARAMS had ended: application status 1.
pub(crate) const ABORTED_1: &[u8] = b"\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\x01\0\0\0\0";
/// And before: no STDOUT, not even its end (6.2).
pub(crate) const ABORTED_EARLY_1: &[u8] = b"\x01\x03\0\x01\0\x08\0\0\0\0\0\x01\0\0\0\0";

/// What a front end turns into a 400, whatever it thinks of protocol statuses.
pub(crate) const BAD_REQUEST_1: &[u8] = b"\x01\x06\0\x01\0\x45\x03\0\
    Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request\n\0\0\0\
    \x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";
/// A 413.
pub(crate) const TOO_LARGE_1: &[u8] = b"\x01\x06\0\x01\0\x51\x07\0\
    Status: 413 Content Too Large\r\nContent-Type: text/plain\r\n\r\n413 Content Too Large\n\0\0\0\0\0\0\0\
    \x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";
/// A 431.
pub(crate) const PARAMS_TOO_LARGE_1: &[u8] = b"\x01\x06\0\x01\0\x6d\x03\0\
    Status: 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\n\r\n\
    431 Request Header Fields Too Large\n\0\0\0\
    \x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";
/// A 503, and FCGI_OVERLOADED for those who understand it.
pub(crate) const OVERLOADED_2: &[u8] = b"\x01\x06\0\x02\0\x55\x03\0\
    Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\n503 Service Unavailable\n\0\0\0\
    \x01\x06\0\x02\0\0\0\0\x01\x03\0\x02\0\x08\0\0\0\0\0\0\x02\0\0\0";
/// A 503, and FCGI_CANT_MPX_CONN.
pub(crate) const CANNOT_MULTIPLEX_2: &[u8] = b"\x01\x06\0\x02\0\x55\x03\0\
    Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\n503 Service Unavailable\n\0\0\0\
    \x01\x06\0\x02\0\0\0\0\x01\x03\0\x02\0\x08\0\0\0\0\0\0\x01\0\0\0";

/// Content cut into records of one stream: each with its header, none padded. Not the crate's encoder.
pub(crate) fn records(record_type: u8, id: u16, contents: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for content in contents {
        let length = u16::try_from(content.len()).expect("at most 65,535 bytes of content");
        bytes.extend_from_slice(&[1, record_type, (id >> 8) as u8, id as u8]);
        bytes.extend_from_slice(&[(length >> 8) as u8, length as u8, 0, 0]);
        bytes.extend_from_slice(content);
    }
    bytes
}
