//! A small blocking FastCGI client, to check with.
//!
//! It shares no code with the crates that it checks: the specification's bytes stand here once more, in the plainest
//! form, so that a mistake there cannot be made here too.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use fcgi_load::Address;
use rustix::net::{SendFlags, send};
use socket2::{SockAddr, Socket, Type};

/// How long a reply may keep its reader waiting before the client gives up, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// The record types of spec 8 that are of use here.
pub mod kind {
    #![allow(missing_docs, reason = "the names are the specification's")]

    pub const BEGIN_REQUEST: u8 = 1;
    pub const ABORT_REQUEST: u8 = 2;
    pub const END_REQUEST: u8 = 3;
    pub const PARAMS: u8 = 4;
    pub const STDIN: u8 = 5;
    pub const STDOUT: u8 = 6;
    pub const STDERR: u8 = 7;
    pub const GET_VALUES: u8 = 9;
    pub const GET_VALUES_RESULT: u8 = 10;
}

/// One connection to a worker.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    patience: Duration,
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id on the connection.
    pub id: u16,
    /// FCGI_KEEP_CONN.
    pub keep: bool,
    /// Its parameters.
    pub params: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// One of [`kind`].
    pub kind: u8,
    /// The request it belongs to; 0 for management records.
    pub id: u16,
    /// Its content.
    pub content: Vec<u8>,
}

/// All that was answered to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The CGI header `Status`, or 200.
    pub status: u16,
    /// The CGI headers, as they came.
    pub headers: Vec<(String, String)>,
    /// What follows them.
    pub body: Vec<u8>,
    /// What came on STDERR.
    pub stderr: Vec<u8>,
    /// The application's status in END_REQUEST.
    pub app_status: u32,
    /// The protocol's status in END_REQUEST.
    pub protocol_status: u8,
}

/// The reply to one request, as far as it has come.
#[derive(Debug, Default)]
pub struct ReplyBuilder {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    stdout_ended: bool,
}

impl Request {
    /// A request as a web server would send it for `uri`, with id 1 on a connection that is kept.
    pub fn new(method: &str, uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let params = [
            ("REQUEST_METHOD", method),
            ("SCRIPT_NAME", path),
            ("QUERY_STRING", query),
            ("REQUEST_URI", uri),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
        ];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { id: 1, keep: true, params, body: Vec::new() }
    }

    /// A GET.
    pub fn get(uri: &str) -> Self {
        Self::new("GET", uri)
    }

    /// A POST of `body`.
    pub fn post(uri: &str, content_type: &str, body: Vec<u8>) -> Self {
        let mut request = Self::new("POST", uri)
            .param("CONTENT_TYPE", content_type)
            .param("CONTENT_LENGTH", &body.len().to_string());
        request.body = body;
        request
    }

    /// With one more parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this id.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With FCGI_KEEP_CONN = 0: the worker closes after the reply.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.keep = false;
        self
    }

    /// All its records.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_head();
        push_stream(&mut bytes, kind::STDIN, self.id, &self.body);
        bytes
    }

    /// Its records up to the end of PARAMS.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let role_responder = [0, 1];
        let begin = [role_responder[0], role_responder[1], u8::from(self.keep), 0, 0, 0, 0, 0];
        push_record(&mut bytes, kind::BEGIN_REQUEST, self.id, &begin);
        let mut pairs = Vec::new();
        for (name, value) in &self.params {
            push_pair(&mut pairs, name.as_bytes(), value.as_bytes());
        }
        push_stream(&mut bytes, kind::PARAMS, self.id, &pairs);
        bytes
    }
}

fn connect_to(name: &SockAddr, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(name.domain(), Type::STREAM, None)?;
    // Of a connect, too. None at all would be no limit.
    socket.set_write_timeout(Some(limit.max(Duration::from_millis(1))))?;
    socket.connect(name)?;
    if !name.is_unix() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

impl Client {
    /// Connects, and gives up after some time.
    pub fn connect(address: &Address) -> io::Result<Self> {
        Self::connect_within(address, PATIENCE)
    }

    /// Connects, and gives up after `limit`: a listener's queue may be full, or nobody answer for a port.
    pub fn connect_within(address: &Address, limit: Duration) -> io::Result<Self> {
        let names = match address {
            Address::Unix(path) => vec![SockAddr::unix(path)?],
            Address::Abstract(name) => vec![SockAddr::unix(format!("\0{name}"))?],
            Address::Tcp(host_and_port) => host_and_port.to_socket_addrs()?.map(SockAddr::from).collect(),
        };
        let mut connected = Err(io::ErrorKind::AddrNotAvailable.into());
        for name in names {
            connected = connect_to(&name, limit);
            if connected.is_ok() {
                break;
            }
        }
        let socket = connected?;
        let mut client = Self { socket, patience: PATIENCE };
        client.set_patience(PATIENCE)?;
        Ok(client)
    }

    /// Sets how long it waits for the next bytes, or for room to send, before it gives up. The clones of a client share
    /// this.
    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.patience = patience;
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.set_write_timeout(Some(patience))
    }

    /// The same connection once more, for a thread that reads while this one sends.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, patience: self.patience })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).map_err(|error| self.or_silence(error))
    }

    /// Sends as many of these bytes as there is room for now, and says how many. It does not wait.
    pub fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Ends both directions, for all clones of this client.
    pub fn disconnect(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    /// Leaves without a word: a TCP connection is reset, whatever has not been read or sent.
    pub fn leave(self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// The next record; `None` where the worker has closed the connection.
    pub fn record(&mut self) -> io::Result<Option<Record>> {
        let mut header = [0; 8];
        if self.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        self.read_exact(&mut header[1..])?;
        let [version, kind, id1, id0, length1, length0, padding, _] = header;
        if version != 1 {
            return Err(io::Error::other(format!("a record of version {version}")));
        }
        let mut content = vec![0; usize::from(u16::from_be_bytes([length1, length0]))];
        self.read_exact(&mut content)?;
        self.read_exact(&mut vec![0; usize::from(padding)])?;
        Ok(Some(Record { kind, id: u16::from_be_bytes([id1, id0]), content }))
    }

    /// Sends one request and reads its reply.
    pub fn request(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(&request.encode())?;
        self.reply(request.id)
    }

    /// The reply to request `id`, where no other is under way.
    pub fn reply(&mut self, id: u16) -> io::Result<Reply> {
        let mut reply = ReplyBuilder::default();
        loop {
            let Some(record) = self.record()? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before END_REQUEST"));
            };
            if record.id != id {
                return Err(io::Error::other(format!("a record of request {}, not {id}", record.id)));
            }
            if let Some(reply) = reply.add(record)? {
                return Ok(reply);
            }
        }
    }

    /// The next `count` replies, with their ids, in the order in which they end.
    pub fn replies(&mut self, count: usize) -> io::Result<Vec<(u16, Reply)>> {
        let mut begun: HashMap<u16, ReplyBuilder> = HashMap::new();
        let mut replies = Vec::new();
        while replies.len() < count {
            let Some(record) = self.record()? else {
                let problem = format!("closed after {} of {count} replies", replies.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
            };
            let id = record.id;
            if let Some(reply) = begun.entry(id).or_default().add(record)? {
                begun.remove(&id);
                replies.push((id, reply));
            }
        }
        Ok(replies)
    }

    /// What the worker answers to FCGI_GET_VALUES, by name.
    pub fn values(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut names = Vec::new();
        for name in ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"] {
            push_pair(&mut names, name.as_bytes(), b"");
        }
        let mut bytes = Vec::new();
        push_record(&mut bytes, kind::GET_VALUES, 0, &names);
        self.send(&bytes)?;
        match self.record()? {
            Some(Record { kind: kind::GET_VALUES_RESULT, id: 0, content }) => {
                read_pairs(&content).ok_or_else(|| io::Error::other("a malformed GET_VALUES_RESULT"))
            }
            other => Err(io::Error::other(format!("{other:?} in answer to GET_VALUES"))),
        }
    }

    /// Reads bytes as they are; 0 is the end.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.read(bytes).map_err(|error| self.or_silence(error))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.socket.read_exact(bytes).map_err(|error| self.or_silence(error))
    }

    /// What a socket's timeout means: the kernel's words for it, "resource temporarily unavailable", say nothing.
    fn or_silence(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing came or went for {:?}", self.patience),
            ),
            _ => error,
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ReplyBuilder {
    /// Takes the next record of the request. `Some` is the whole reply: END_REQUEST has come.
    pub fn add(&mut self, record: Record) -> io::Result<Option<Reply>> {
        match record.kind {
            kind::STDOUT if self.stdout_ended => return Err(io::Error::other("STDOUT after its end")),
            kind::STDOUT if record.content.is_empty() => self.stdout_ended = true,
            kind::STDOUT => self.stdout.extend(record.content),
            kind::STDERR => self.stderr.extend(record.content),
            kind::END_REQUEST => return self.end(&record.content).map(Some),
            other => return Err(io::Error::other(format!("a record of type {other} in a reply"))),
        }
        Ok(None)
    }

    /// How much has come on STDOUT.
    pub fn stdout_len(&self) -> usize {
        self.stdout.len()
    }

    fn end(&mut self, content: &[u8]) -> io::Result<Reply> {
        let &[status3, status2, status1, status0, protocol_status, _, _, _] = content else {
            return Err(io::Error::other(format!("END_REQUEST with {} bytes of content", content.len())));
        };
        if !self.stdout_ended && !self.stdout.is_empty() {
            return Err(io::Error::other("END_REQUEST before the end of STDOUT"));
        }
        let (headers, body) = split_head(&self.stdout);
        let status = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("status"));
        let status = status.map_or(Some(200), |(_, value)| value.split(' ').next()?.parse().ok());
        Ok(Reply {
            status: status.ok_or_else(|| io::Error::other("a Status that is no number"))?,
            headers,
            body: body.to_vec(),
            stderr: std::mem::take(&mut self.stderr),
            app_status: u32::from_be_bytes([status3, status2, status1, status0]),
            protocol_status,
        })
    }
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

/// Appends one record.
pub fn push_record(bytes: &mut Vec<u8>, kind: u8, id: u16, content: &[u8]) {
    let length = u16::try_from(content.len()).expect("a record holds up to 65535 bytes");
    let [id1, id0] = id.to_be_bytes();
    let [length1, length0] = length.to_be_bytes();
    bytes.extend([1, kind, id1, id0, length1, length0, 0, 0]);
    bytes.extend(content);
}

/// Appends a stream: records of 32 KiB at most, and the empty one that ends it.
pub fn push_stream(bytes: &mut Vec<u8>, kind: u8, id: u16, content: &[u8]) {
    for chunk in content.chunks(32 << 10) {
        push_record(bytes, kind, id, chunk);
    }
    push_record(bytes, kind, id, &[]);
}

fn push_pair(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for length in [name.len(), value.len()] {
        if length < 128 {
            bytes.push(length as u8);
        } else {
            bytes.extend((length as u32 | 1 << 31).to_be_bytes());
        }
    }
    bytes.extend(name);
    bytes.extend(value);
}

fn read_pairs(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (read_length(&mut bytes)?, read_length(&mut bytes)?);
        let name = bytes.split_off(..name)?;
        let value = bytes.split_off(..value)?;
        pairs.push((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()));
    }
    Some(pairs)
}

fn read_length(bytes: &mut &[u8]) -> Option<usize> {
    if *bytes.first()? < 128 {
        return bytes.split_off_first().map(|&length| usize::from(length));
    }
    let length = bytes.split_off(..4)?;
    Some((u32::from_be_bytes(length.try_into().ok()?) & !(1 << 31)) as usize)
}

/// The CGI headers and the body. Lines may end with a carriage return or without.
fn split_head(stdout: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let mut headers = Vec::new();
    let mut rest = stdout;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(rest[..end].trim_ascii_end()).into_owned();
        rest = &rest[end + 1..];
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    (headers, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_with_long_parts_reads_back() {
        let value = "v".repeat(300);
        let mut bytes = Vec::new();
        push_pair(&mut bytes, b"NAME", value.as_bytes());
        assert_eq!(bytes[..5], [4, 0x80, 0, 1, 44]);
        assert_eq!(read_pairs(&bytes), Some(vec![("NAME".to_owned(), value)]));
        assert_eq!(read_pairs(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_reply_is_made_of_its_records() {
        let mut reply = ReplyBuilder::default();
        let record = |kind, content: &[u8]| Record { kind, id: 1, content: content.to_vec() };
        assert_eq!(reply.add(record(kind::STDOUT, b"Status: 404 Not Found\r\nX-A: b\r\n\r")).unwrap(), None);
        assert_eq!(reply.add(record(kind::STDOUT, b"\nnone: such\n")).unwrap(), None);
        assert_eq!(reply.add(record(kind::STDOUT, b"")).unwrap(), None);
        let reply = reply.add(record(kind::END_REQUEST, &[0, 0, 1, 2, 0, 0, 0, 0])).unwrap().unwrap();
        assert_eq!((reply.status, reply.app_status), (404, 258));
        assert_eq!(reply.header("x-a"), Some("b"));
        assert_eq!(reply.body, b"none: such\n");
    }

    #[test]
    fn output_after_its_end_is_an_error() {
        let mut reply = ReplyBuilder::default();
        let empty = Record { kind: kind::STDOUT, id: 1, content: Vec::new() };
        assert!(reply.add(empty.clone()).is_ok());
        assert!(reply.add(empty).is_err());
    }

    #[test]
    fn a_listener_whose_queue_is_full_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Socket::new(socket2::Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let address = Address::Unix(path);
        let limit = Duration::from_millis(50);
        let connected: Vec<_> = (0..3).map(|_| Client::connect_within(&address, limit)).collect();
        assert!(connected[0].is_ok());
        assert_eq!(connected[2].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
