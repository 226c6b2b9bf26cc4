//! A small FastCGI server for the tests of the checker: correct, unless it is told to have one bug.
//!
//! A thread for each connection and one for each request; nothing here is shared with what it is checked by.

mod answer;
mod bug;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) use bug::Bug;
use bug::{Bottleneck, SILENCE};

/// A running server; it ends on drop.
pub(crate) struct Server {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(bug: Option<Bug>) -> Server {
        Server::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), bug)
    }

    pub(crate) fn start_on(listener: TcpListener, bug: Option<Bug>) -> Server {
        let port = listener.local_addr().unwrap().port();
        let bottleneck = Arc::<Bottleneck>::default();
        let server = Server { port, accepted: Arc::default(), dead: Arc::default() };
        let (accepted, ended) = (Arc::clone(&server.accepted), Arc::clone(&server.dead));
        thread::spawn(move || {
            let mut unread = Vec::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                if matches!(bug, Some(Bug::SilentFrom(first)) if number >= first) {
                    unread.push(stream);
                    continue;
                }
                let dead = Arc::clone(&ended);
                let bottleneck = Arc::clone(&bottleneck);
                thread::spawn(move || Connection::new(stream, bug, dead, bottleneck).run());
            }
        });
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("tcp:127.0.0.1:{}", self.port)
    }

    /// How many connections it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Whether a bug has ended it.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.dead.store(true, Ordering::SeqCst);
        // Wakes the accept.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[derive(Default)]
struct Request {
    role: u16,
    keep: bool,
    params: Vec<u8>,
    pairs_of_records: Vec<(Vec<u8>, Vec<u8>)>,
    params_ended: bool,
    body: Vec<u8>,
    running: bool,
    aborted: Arc<AtomicBool>,
}

/// What the threads of a connection share.
struct Shared {
    stream: Mutex<TcpStream>,
    requests: Mutex<HashMap<u16, Request>>,
    close: AtomicBool,
    bug: Option<Bug>,
    bottleneck: Arc<Bottleneck>,
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    shared_body: Vec<u8>,
    early: HashMap<u16, Vec<u8>>,
    dead: Arc<AtomicBool>,
}

impl Connection {
    fn new(stream: TcpStream, bug: Option<Bug>, dead: Arc<AtomicBool>, bottleneck: Arc<Bottleneck>) -> Self {
        stream.set_nodelay(true).unwrap();
        if bug == Some(Bug::BusyStarvesOthers) {
            stream.set_read_timeout(Some(SILENCE)).unwrap();
        }
        let writer = stream.try_clone().unwrap();
        let shared = Shared {
            stream: Mutex::new(writer),
            requests: Mutex::default(),
            close: AtomicBool::new(false),
            bug,
            bottleneck,
        };
        Connection { stream, shared: Arc::new(shared), shared_body: Vec::new(), early: HashMap::new(), dead }
    }

    fn run(mut self) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 65_536];
        let bottleneck = Arc::clone(&self.shared.bottleneck);
        let mut turn = None;
        loop {
            let count = match self.stream.read(&mut chunk) {
                Ok(0) => {
                    if !self.shared.has(Bug::EndOfInputAborts) {
                        self.finish_running();
                    }
                    break;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    turn = None;
                    continue;
                }
                Err(_) => break,
                Ok(count) => count,
            };
            if self.shared.has(Bug::BusyStarvesOthers) && turn.is_none() {
                turn = Some(bottleneck.turn.lock().unwrap());
            }
            if self.dead.load(Ordering::SeqCst) {
                break;
            }
            buffer.extend_from_slice(&chunk[..count]);
            let mut rest = &buffer[..];
            while let [version, kind, id1, id0, length1, length0, padding, _, ..] = *rest {
                if version != 1 {
                    if self.shared.has(Bug::DiesOfGarbage) {
                        self.dead.store(true, Ordering::SeqCst);
                    }
                    return self.leave();
                }
                let content = usize::from(u16::from_be_bytes([length1, length0]));
                let length = 8 + content + usize::from(padding);
                if rest.len() < length {
                    break;
                }
                let shown = if self.shared.has(Bug::PaddingIsContent) { length } else { 8 + content };
                let id = u16::from_be_bytes([id1, id0]);
                let content = rest[8..shown].to_vec();
                rest = &rest[length..];
                if !self.record(kind, id, &content) {
                    return self.leave();
                }
            }
            let used =
                if self.shared.has(Bug::ReadsAreRecords) { buffer.len() } else { buffer.len() - rest.len() };
            buffer.drain(..used);
        }
        self.leave();
    }

    /// Waits until the requests that were complete have been answered, or cannot be any more.
    fn finish_running(&self) {
        while self.shared.requests.lock().unwrap().values().any(|request| request.running) {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn leave(&self) {
        if self.shared.has(Bug::FewThreadsForTheGone) {
            return;
        }
        for request in self.shared.requests.lock().unwrap().values() {
            request.aborted.store(true, Ordering::SeqCst);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Takes a record; false ends the connection.
    fn record(&mut self, kind: u8, id: u16, content: &[u8]) -> bool {
        if id == 0 {
            return self.management(kind, content);
        }
        if kind == 1 {
            return self.begin(id, content);
        }
        let shared = Arc::clone(&self.shared);
        let mut requests = shared.requests.lock().unwrap();
        let Some(request) = requests.get_mut(&id) else {
            if shared.has(Bug::InactiveKept) && kind == 5 {
                self.early.entry(id).or_default().extend_from_slice(content);
            }
            return !shared.has(Bug::InactiveCloses);
        };
        match kind {
            2 => self.abort(id, requests),
            4 if content.is_empty() => request.params_ended = true,
            4 => {
                request.params.extend_from_slice(content);
                if shared.has(Bug::PairsPerRecord) {
                    request.pairs_of_records.extend(pairs(content, false));
                }
                if shared.has(Bug::AnswersWithinParams) {
                    drop(requests);
                    shared.send(6, id, b"Content-Type: text/plain\r\n\r\n");
                }
            }
            5 if content.is_empty() && request.params_ended && !request.running => {
                request.running = true;
                drop(requests);
                let answer = thread::spawn({
                    let shared = Arc::clone(&shared);
                    move || shared.answer(id)
                });
                if shared.has(Bug::OneAfterTheOther) {
                    let _ = answer.join();
                }
            }
            5 => {
                request.body.extend_from_slice(content);
                if shared.has(Bug::OneBody) {
                    self.shared_body.extend_from_slice(content);
                    request.body.clone_from(&self.shared_body);
                }
            }
            _ => {}
        }
        true
    }

    fn begin(&mut self, id: u16, content: &[u8]) -> bool {
        let [role1, role0, flags, ..] = *content else { return false };
        let role = u16::from_be_bytes([role1, role0]);
        let keep = flags & 1 == 1;
        let body = self.early.remove(&id).unwrap_or_default();
        let request = Request { role, keep, body, ..Request::default() };
        if self.shared.requests.lock().unwrap().insert(id, request).is_some() {
            return false;
        }
        if role != 1 && !self.shared.has(Bug::EveryRole) {
            self.shared.end(id, 0, 3);
        }
        true
    }

    fn abort(&self, id: u16, mut requests: std::sync::MutexGuard<'_, HashMap<u16, Request>>) {
        if self.shared.has(Bug::AbortIgnored) {
            return;
        }
        let Some(request) = requests.get_mut(&id) else { return };
        request.aborted.store(true, Ordering::SeqCst);
        let running = request.running;
        drop(requests);
        // A request that runs ends itself.
        if !running {
            self.shared.end(id, 0, 0);
        }
    }

    fn management(&self, kind: u8, content: &[u8]) -> bool {
        let shared = &self.shared;
        match kind {
            9 if shared.has(Bug::DiesOfGetValues) => {
                self.dead.store(true, Ordering::SeqCst);
                false
            }
            9 => {
                let within = !shared.requests.lock().unwrap().is_empty();
                if within && shared.has(Bug::GetValuesDroppedWithinRequests) {
                    return true;
                }
                let mut result = Vec::new();
                for (name, _) in pairs(content, false) {
                    let value: &[u8] = match &name[..] {
                        b"FCGI_MAX_CONNS" | b"FCGI_MAX_REQS" => b"50",
                        b"FCGI_MPXS_CONNS" => b"1",
                        _ if shared.has(Bug::UnknownNamesAnswered) && name.len() < 128 => b"",
                        _ => continue,
                    };
                    result.push(u8::try_from(name.len()).unwrap_or(0));
                    result.push(u8::try_from(value.len()).unwrap());
                    result.extend_from_slice(&name);
                    result.extend_from_slice(value);
                }
                shared.send(10, 0, &result);
                !shared.has(Bug::GetValuesCloses)
            }
            _ if shared.has(Bug::UnknownTypeDropped) => true,
            _ => {
                let said = if shared.has(Bug::UnknownTypeWrong) { 0 } else { kind };
                shared.send(11, 0, &[said, 0, 0, 0, 0, 0, 0, 0]);
                true
            }
        }
    }
}

impl Shared {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn send(&self, kind: u8, id: u16, content: &[u8]) -> bool {
        let _bottleneck = self.has(Bug::OneLockForAll).then(|| self.bottleneck.sending.lock().unwrap());
        let mut stream = self.stream.lock().unwrap();
        self.send_to(&mut stream, kind, id, content)
    }

    fn send_to(&self, stream: &mut TcpStream, kind: u8, id: u16, content: &[u8]) -> bool {
        let [id1, id0] = if self.has(Bug::IdOfOneByte) { [0, id.to_be_bytes()[1]] } else { id.to_be_bytes() };
        let [length1, length0] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let padding = content.len().wrapping_neg() % 8;
        let version = u8::from(!self.has(Bug::VersionZero));
        let mut bytes = vec![version, kind, id1, id0, length1, length0, u8::try_from(padding).unwrap(), 0];
        bytes.extend_from_slice(content);
        bytes.resize(8 + content.len() + padding, 0);
        stream.write_all(&bytes).is_ok()
    }

    /// Ends a request, and the connection if that is due.
    fn end(&self, id: u16, app_status: u32, protocol_status: u8) {
        let _bottleneck = self.has(Bug::OneLockForAll).then(|| self.bottleneck.sending.lock().unwrap());
        let mut stream = self.stream.lock().unwrap();
        let mut requests = self.requests.lock().unwrap();
        let request = requests.remove(&id);
        let aborted = request.as_ref().is_some_and(|request| request.aborted.load(Ordering::SeqCst));
        let keep = request.is_none_or(|request| request.keep);
        if !keep || self.has(Bug::AlwaysCloses) {
            self.close.store(true, Ordering::SeqCst);
        }
        let app_status = if self.has(Bug::AppStatusLost) { 0 } else { app_status };
        let [a3, a2, a1, a0] = app_status.to_be_bytes();
        let body = [a3, a2, a1, a0, protocol_status, 0, 0, 0];
        let body = if self.has(Bug::ShortEnd) { &body[..4] } else { &body };
        self.send_to(&mut stream, 3, id, body);
        if self.has(Bug::EndTwice) || aborted && self.has(Bug::AbortAnswered) {
            self.send_to(&mut stream, 3, id, body);
        }
        if self.close.load(Ordering::SeqCst) && requests.is_empty() && !self.has(Bug::NeverCloses) {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Name-value pairs (section 3.4), as far as they are whole.
fn pairs(mut bytes: &[u8], one_byte: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let mut length = || match *bytes {
            [b3, b2, b1, b0, ref rest @ ..] if b3 > 127 && !one_byte => {
                bytes = rest;
                Some(u32::from_be_bytes([b3 & 0x7f, b2, b1, b0]) as usize)
            }
            [first, ref rest @ ..] => {
                bytes = rest;
                Some(usize::from(first))
            }
            [] => None,
        };
        let (Some(name), Some(value)) = (length(), length()) else { return found };
        let Some(this) = bytes.get(..name + value) else { return found };
        found.push((this[..name].to_vec(), this[name..].to_vec()));
        bytes = &bytes[name + value..];
    }
}
