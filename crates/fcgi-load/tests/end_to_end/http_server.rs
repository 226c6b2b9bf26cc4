//! A scripted HTTP server on the same sockets. It reads requests apart from anything in the crate, and sends what its script
//! says, right or wrong.

use std::sync::Mutex;

use fcgi_load::{Mode, Options, Protocol};

use crate::server::{Peer, Server};

/// One accepted connection.
pub(crate) struct Client {
    pub(crate) peer: Peer,
    unread: Vec<u8>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The head's lines, without their ends.
    pub(crate) lines: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The values of a field, in any case of its name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.lines[1..].iter().map(|line| line.split_once(": ").unwrap());
        fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn wants_close(&self) -> bool {
        self.values("Connection") == ["close"]
    }
}

impl Client {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, unread: Vec::new() }
    }

    /// The head of the next request; `None` once the client has closed.
    pub(crate) fn head(&mut self) -> Option<Vec<String>> {
        let end = loop {
            match self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(at) => break at,
                None => self.unread.extend(self.peer.some()?),
            }
        };
        let rest = self.unread.split_off(end + 4);
        let head = std::mem::replace(&mut self.unread, rest);
        let head = String::from_utf8(head[..end].to_vec()).unwrap();
        Some(head.split("\r\n").map(String::from).collect())
    }

    /// The next request that is complete.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let mut request = Request { lines: self.head()?, body: Vec::new() };
        let length = request.values("Content-Length").first().map_or(0, |value| value.parse().unwrap());
        while self.unread.len() < length {
            self.unread.extend(self.peer.some()?);
        }
        let rest = self.unread.split_off(length);
        request.body = std::mem::replace(&mut self.unread, rest);
        Some(request)
    }

    /// The next bytes of a body, at most so many.
    pub(crate) fn piece(&mut self, most: usize) -> Option<Vec<u8>> {
        if self.unread.is_empty() {
            self.unread = self.peer.some()?;
        }
        let rest = self.unread.split_off(most.min(self.unread.len()));
        Some(std::mem::replace(&mut self.unread, rest))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.peer.send(bytes);
    }
}

/// Answers every request by `answer`, which is told how many came before it on all connections, and closes where the client
/// asked for it.
pub(crate) fn answering(
    answer: impl Fn(&Request, usize) -> Vec<u8> + Send + Sync,
) -> impl Fn(Peer) + Send + Sync {
    let count = Mutex::new(0);
    move |peer: Peer| {
        let mut client = Client::new(peer);
        while let Some(request) = client.request() {
            let number = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count - 1
            };
            client.send(&answer(&request, number));
            if request.wants_close() {
                return;
            }
        }
    }
}

/// Answers every request with "Hello".
pub(crate) fn hello(peer: Peer) {
    answering(|_, _| reply("", b"Hello"))(peer);
}

/// A good reply, with these fields beside its length.
pub(crate) fn reply(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nServer: test\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A head, and what follows it, as they are.
pub(crate) fn raw(head: &str, rest: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", rest].concat()
}

/// A good reply in chunks.
pub(crate) const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    2;name=\"a value\"\r\nHe\r\n003\r\nllo\r\n0\r\nTrailer: field\r\n\r\n";

pub(crate) fn options(server: &Server, mode: Mode, connections: usize) -> Options {
    Options { protocol: Protocol::Http, ..server.options(mode, connections) }
}
