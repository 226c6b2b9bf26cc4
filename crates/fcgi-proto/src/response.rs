//! Encoding a response: STDOUT and STDERR records, and the END_REQUEST that closes them.
//!
//! Everything is encoded from the request's id alone, so that threads and tasks encode without the connection.

use alloc::vec::Vec;

use crate::record::{
    self, HEADER_BYTES, Header, MAX_ALIGNED_CONTENT_BYTES, ProtocolStatus, RecordType, RequestId,
};

/// What the application says of a request's end, as a CGI program's exit code (spec 5.5, 6.2). 0 is success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppStatus(pub u32);

impl AppStatus {
    /// The request was served.
    pub const SUCCESS: Self = Self(0);
    /// The application could not serve it, and said so on STDERR.
    pub const FAILED: Self = Self(1);
    /// The request was aborted: by FCGI_ABORT_REQUEST, before the application had ended it. The specification leaves
    /// the number to the application.
    pub const ABORTED: Self = Self(1);
}

/// Writes STDOUT content of one request as records at the end of an output buffer.
///
/// The open record's header is put in place when it is full or the writer is dropped, so any number of small
/// writes become one record.
#[derive(Debug)]
pub struct Stdout<'a> {
    out: &'a mut Vec<u8>,
    id: RequestId,
    /// Where the open record's header stands.
    open: Option<usize>,
    /// The length of `out` beyond which `write_some` takes nothing.
    limit: usize,
}

impl<'a> Stdout<'a> {
    /// A writer for request `id` that appends to `out`, about `room` bytes of it.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, id: RequestId, room: usize) -> Self {
        let limit = out.len().saturating_add(room);
        Self { out, id, open: None, limit }
    }

    /// Appends all of `bytes`, whatever the room: for heads and short bodies.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        if self.open.is_some() || bytes.is_empty() || bytes.len() > MAX_ALIGNED_CONTENT_BYTES {
            return self.write_on(bytes);
        }
        self.open = Some(self.out.len());
        self.out.extend_from_slice(&[0; HEADER_BYTES]);
        self.out.extend_from_slice(bytes);
    }

    fn write_on(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let content = self.content_len();
            let fits = bytes.len().min(MAX_ALIGNED_CONTENT_BYTES - content);
            if fits == 0 {
                self.close();
                continue;
            }
            self.out.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
        }
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was. 0: flush, then go on.
    #[inline]
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        let fits = bytes.len().min(self.room());
        self.write(&bytes[..fits]);
        fits
    }

    /// Bytes of output still welcome before a flush.
    #[inline]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.out.len())
    }

    /// Bytes of content in the open record, which is opened if there is none.
    #[inline]
    fn content_len(&mut self) -> usize {
        match self.open {
            Some(start) => self.out.len() - start - HEADER_BYTES,
            None => {
                self.open = Some(self.out.len());
                self.out.extend_from_slice(&[0; HEADER_BYTES]);
                0
            }
        }
    }

    /// Puts the open record's header and padding in place. It is never empty, which would end the stream (spec 3.3):
    /// `write` opens a record only for bytes that it has.
    #[inline]
    fn close(&mut self) {
        let Some(start) = self.open.take() else {
            return;
        };
        let content = self.out.len() - start - HEADER_BYTES;
        let header = Header::new(RecordType::STDOUT, self.id, content as u16);
        self.out[start..start + HEADER_BYTES].copy_from_slice(&header.encode());
        // Eight bytes of zeros and a cut are cheaper than a call for a few.
        self.out.extend_from_slice(&[0; 8]);
        self.out.truncate(start + HEADER_BYTES + content + usize::from(header.padding_length));
    }
}

impl Drop for Stdout<'_> {
    #[inline]
    fn drop(&mut self) {
        self.close();
    }
}

/// Appends a whole CGI response of one line: `status`, as in `500 Internal Server Error`, as its status and, unless the request's
/// method is HEAD, as its body (RFC 3875 4.3.3). The end of the request is to follow.
#[cold]
pub fn status_page(out: &mut Vec<u8>, id: RequestId, status: &str, has_body: bool) {
    let mut stdout = Stdout::new(out, id, 0);
    for part in ["Status: ", status, "\r\nContent-Type: text/plain\r\n\r\n"] {
        stdout.write(part.as_bytes());
    }
    if has_body {
        stdout.write(status.as_bytes());
        stdout.write(b"\n");
    }
}

/// Appends a message to request `id`'s STDERR, which the web server logs (spec 6.1). [`end_stderr`] then has to come before
/// [`end`].
#[cold]
pub fn stderr(out: &mut Vec<u8>, id: RequestId, message: &[u8]) {
    for content in message.chunks(MAX_ALIGNED_CONTENT_BYTES) {
        record::push(out, RecordType::STDERR, id, content);
    }
}

/// Appends the end of request `id`'s STDERR, of which something was sent: an empty record (spec 5.3, 6.1).
#[cold]
pub fn end_stderr(out: &mut Vec<u8>, id: RequestId) {
    record::push(out, RecordType::STDERR, id, b"");
}

/// Appends the end of request `id`: the empty STDOUT record (spec 6.1) and END_REQUEST (5.5).
#[inline]
pub fn end(out: &mut Vec<u8>, id: RequestId, app_status: AppStatus, protocol_status: ProtocolStatus) {
    let [id1, id0] = id.to_be_bytes();
    let [status3, status2, status1, status0] = app_status.0.to_be_bytes();
    #[rustfmt::skip]
    let records = [
        record::VERSION, RecordType::STDOUT.0, id1, id0, 0, 0, 0, 0,
        record::VERSION, RecordType::END_REQUEST.0, id1, id0, 0, 8, 0, 0,
        status3, status2, status1, status0, protocol_status as u8, 0, 0, 0,
    ];
    out.extend_from_slice(&records);
}

/// Appends END_REQUEST alone. It may come before PARAMS have ended, where STDOUT may not (spec 6.2).
pub(crate) fn end_without_stdout(
    out: &mut Vec<u8>,
    id: RequestId,
    app_status: AppStatus,
    protocol_status: ProtocolStatus,
) {
    let [status3, status2, status1, status0] = app_status.0.to_be_bytes();
    let body = [status3, status2, status1, status0, protocol_status as u8, 0, 0, 0];
    record::push(out, RecordType::END_REQUEST, id, &body);
}
