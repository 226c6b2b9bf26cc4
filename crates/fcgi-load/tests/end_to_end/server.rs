//! A scripted FastCGI server: a thread per connection, and a script that says what each does. Written apart from the
//! crate's own parser, so that the two cannot be wrong alike.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fcgi_load::{Address, Mode, Options, RequestSpec};

pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) accepted: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

/// One accepted connection, and its number from 0 on.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    pub(crate) number: usize,
    requests: Vec<Request>,
}

trait Stream: Read + Write + Send {
    fn copy(&self) -> io::Result<Box<dyn Stream>>;
    fn end_writing(&self);
    fn end_reading(&self);
}

impl Stream for UnixStream {
    fn copy(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
    fn end_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

impl Stream for TcpStream {
    fn copy(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
    fn end_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) id: u16,
    pub(crate) keep_conn: bool,
    pub(crate) params: Vec<u8>,
    pub(crate) body: Vec<u8>,
    params_ended: bool,
}

impl Server {
    /// Listens on a unix socket and plays `script` on every connection.
    pub(crate) fn unix(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        Self::play(Address::Unix(path), folder, script, move || {
            listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>)
        })
    }

    /// The same on a name that is no file.
    pub(crate) fn abstract_name(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As long as it exists, nobody else's path, and so nobody else's name.
        let name = folder.path().display().to_string();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self::play(Address::Abstract(name), folder, script, move || {
            listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>)
        })
    }

    /// The same on a free TCP port.
    pub(crate) fn tcp(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        Self::play(address, tempfile::tempdir().unwrap(), script, move || {
            listener.accept().map(|(stream, _)| {
                stream.set_nodelay(true).unwrap();
                Box::new(stream) as Box<dyn Stream>
            })
        })
    }

    fn play(
        address: Address,
        folder: tempfile::TempDir,
        script: impl Fn(Peer) + Send + Sync + 'static,
        accept: impl Fn() -> io::Result<Box<dyn Stream>> + Send + 'static,
    ) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(Peer { stream, number, requests: Vec::new() }));
            }
        });
        Self { address, accepted, _folder: folder }
    }

    pub(crate) fn options(&self, mode: Mode, connections: usize) -> Options {
        Options {
            mode,
            connections,
            timeout: Duration::from_secs(10),
            ..Options::new(self.address.clone(), RequestSpec::get("/hello").expect_body("Hello"))
        }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Peer {
    /// The next request that is complete; `None` once the client has closed.
    pub(crate) fn request(&mut self) -> Option<Request> {
        loop {
            let (kind, id, content) = self.record()?;
            match kind {
                1 => {
                    assert_eq!(content[..2], [0, 1], "the role is responder");
                    self.requests.push(Request { id, keep_conn: content[2] & 1 == 1, ..Request::default() });
                    continue;
                }
                4 | 5 => {}
                other => panic!("a record of type {other}"),
            }
            let at =
                self.requests.iter().position(|request| request.id == id).expect("the request was begun");
            let request = &mut self.requests[at];
            match (kind, content.is_empty()) {
                (4, true) => request.params_ended = true,
                (4, false) => request.params.extend(content),
                (_, true) => {
                    assert!(request.params_ended);
                    return Some(self.requests.swap_remove(at));
                }
                (_, false) => request.body.extend(content),
            }
        }
    }

    /// Type, id and content of the next record.
    pub(crate) fn record(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).ok()?;
        let [version, kind, a, b, c, d, padding, _] = header;
        assert_eq!(version, 1);
        let length = usize::from(u16::from_be_bytes([c, d]));
        let mut content = vec![0; length + usize::from(padding)];
        self.stream.read_exact(&mut content).ok()?;
        content.truncate(length);
        Some((kind, u16::from_be_bytes([a, b]), content))
    }

    /// The next bytes, whatever they are; `None` once the client has closed.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 64 << 10];
        let count = self.stream.read(&mut bytes).ok().filter(|&count| count > 0)?;
        bytes.truncate(count);
        Some(bytes)
    }

    /// Serves a connection that was accepted elsewhere.
    pub(crate) fn of(stream: UnixStream) -> Self {
        Self { stream: Box::new(stream), number: 0, requests: Vec::new() }
    }

    /// Whether all of it could be written.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes; a client that has gone is the test's business, not the server's.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// A second handle on the connection, to write from another thread.
    pub(crate) fn writer(&self) -> impl Write + Send + use<> {
        self.stream.copy().unwrap()
    }

    /// Reads without looking, until so many bytes or the end have come.
    pub(crate) fn swallow(&mut self, count: u64) {
        let _ = io::copy(&mut (&mut self.stream).take(count), &mut io::sink());
    }

    /// Waits for the client to close.
    pub(crate) fn wait_for_close(&mut self) {
        self.swallow(u64::MAX);
    }

    pub(crate) fn end_writing(&self) {
        self.stream.end_writing();
    }

    pub(crate) fn end_reading(&self) {
        self.stream.end_reading();
    }
}

/// Answers every request with "Hello" for as long as the client likes.
pub(crate) fn hello(mut peer: Peer) {
    while let Some(request) = peer.request() {
        peer.send(&reply(request.id, b"Hello"));
        if !request.keep_conn {
            return;
        }
    }
}

/// Answers every request by `answer`, which is told how many came before it on all connections.
pub(crate) fn counting(
    answer: impl Fn(&Request, usize) -> Vec<u8> + Send + Sync,
) -> impl Fn(Peer) + Send + Sync {
    let count = Mutex::new(0);
    move |mut peer: Peer| {
        while let Some(request) = peer.request() {
            let number = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count - 1
            };
            peer.send(&answer(&request, number));
            if !request.keep_conn {
                return;
            }
        }
    }
}

pub(crate) fn record(kind: u8, id: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let ([a, b], [c, d]) = (id.to_be_bytes(), u16::try_from(content.len()).unwrap().to_be_bytes());
    let mut bytes = vec![1, kind, a, b, c, d, padding, 0];
    bytes.extend(content);
    // Padding may hold anything.
    bytes.resize(bytes.len() + usize::from(padding), 6);
    bytes
}

pub(crate) fn stdout(id: u16, content: &[u8]) -> Vec<u8> {
    record(6, id, content, 0)
}

pub(crate) fn end(id: u16, app_status: u32, protocol_status: u8) -> Vec<u8> {
    let [a, b, c, d] = app_status.to_be_bytes();
    record(3, id, &[a, b, c, d, protocol_status, 0, 0, 0], 0)
}

/// A good reply, with a CGI header.
pub(crate) fn reply(id: u16, body: &[u8]) -> Vec<u8> {
    let output = [b"Content-Type: text/plain\r\n\r\n", body].concat();
    let mut bytes = Vec::new();
    for chunk in output.chunks(60_000) {
        bytes.extend(stdout(id, chunk));
    }
    bytes.extend(stdout(id, b""));
    bytes.extend(end(id, 0, 0));
    bytes
}

/// A reply with these headers and no body.
pub(crate) fn reply_with(id: u16, head: &str, body: &[u8]) -> Vec<u8> {
    let output = [head.as_bytes(), b"\r\n\r\n", body].concat();
    [stdout(id, &output), stdout(id, b""), end(id, 0, 0)].concat()
}
