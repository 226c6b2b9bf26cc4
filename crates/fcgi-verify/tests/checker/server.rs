//! A small FastCGI server for the tests of the checker: correct, unless it is told to have one bug.
//!
//! A thread for each connection and one for each request; nothing here is shared with what it is checked by.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Padding counts as content.
    PaddingIsContent,
    /// Every PARAMS record is read as whole pairs.
    PairsPerRecord,
    /// Every length of a pair is read as one byte.
    LengthsOfOneByte,
    /// END_REQUEST is sent twice.
    EndTwice,
    /// STDOUT has no empty record.
    StdoutNotEnded,
    /// STDOUT goes on after its empty record.
    StdoutAfterItsEnd,
    /// The body of END_REQUEST has four bytes.
    ShortEnd,
    /// appStatus is always 0.
    AppStatusLost,
    /// ABORT_REQUEST is ignored.
    AbortIgnored,
    /// ABORT_REQUEST is answered, and the request ends as well.
    AbortAnswered,
    /// The connection is closed after every request.
    AlwaysCloses,
    /// The connection is never closed.
    NeverCloses,
    /// The id's high byte is lost in the answer.
    IdOfOneByte,
    /// Unknown management types are dropped.
    UnknownTypeDropped,
    /// UNKNOWN_TYPE names another type.
    UnknownTypeWrong,
    /// Unknown names are answered with empty values.
    UnknownNamesAnswered,
    /// GET_VALUES closes the connection.
    GetValuesCloses,
    /// GET_VALUES within a request is dropped.
    GetValuesDroppedWithinRequests,
    /// Every role is played.
    EveryRole,
    /// A record for an inactive id closes the connection.
    InactiveCloses,
    /// STDIN for an inactive id is kept for the next request with it.
    InactiveKept,
    /// CONTENT_LENGTH does not bound the body.
    ContentLengthIgnored,
    /// The answer is of version 0.
    VersionZero,
    /// All requests of a connection share one body.
    OneBody,
    /// A read is taken for whole records.
    ReadsAreRecords,
    /// The answer begins with the first PARAMS record.
    AnswersWithinParams,
    /// Bytes of a wrong version end the server.
    DiesOfGarbage,
    /// FCGI_GET_VALUES ends the server.
    DiesOfGetValues,
    /// Requests of one connection are run one after the other.
    OneAfterTheOther,
    /// HEAD is answered with a body.
    HeadHasBody,
    /// The end of the peer's side ends all requests.
    EndOfInputAborts,
    /// As long as one connection sends, no other is read.
    BusyStarvesOthers,
    /// There are few threads for requests, and an answer that is not read keeps one.
    FewThreads,
    /// There are few threads for requests, and one that waits does not learn that its peer has left.
    FewThreadsForTheGone,
    /// Whoever writes has a lock that all connections share.
    OneLockForAll,
    /// From this connection on, counted from 0, all are accepted and none is read.
    SilentFrom(usize),
}

/// What all connections of a server with such a bug share.
#[derive(Default)]
struct Bottleneck {
    turn: Mutex<()>,
    sending: Mutex<()>,
    /// Requests that have a thread.
    answering: Mutex<usize>,
    answered: Condvar,
}

/// How many requests have a thread at a time where there are few.
const FEW: usize = 32;
/// How long a connection is silent before another is read, where a busy one starves them.
const SILENCE: Duration = Duration::from_millis(500);

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

    fn answer(&self, id: u16) {
        if !self.has(Bug::FewThreads) && !self.has(Bug::FewThreadsForTheGone) {
            return self.answer_in_turn(id);
        }
        let Bottleneck { answering, answered, .. } = &*self.bottleneck;
        *answered.wait_while(answering.lock().unwrap(), |count| *count == FEW).unwrap() += 1;
        self.answer_in_turn(id);
        *answering.lock().unwrap() -= 1;
        answered.notify_one();
    }

    fn answer_in_turn(&self, id: u16) {
        let (pairs, mut body, aborted) = {
            let requests = self.requests.lock().unwrap();
            let Some(request) = requests.get(&id) else { return };
            let pairs = if self.has(Bug::PairsPerRecord) {
                request.pairs_of_records.clone()
            } else {
                pairs(&request.params, self.has(Bug::LengthsOfOneByte))
            };
            assert!(request.role == 1 || self.has(Bug::EveryRole));
            (pairs, request.body.clone(), Arc::clone(&request.aborted))
        };
        let find = |name: &[u8]| {
            let found = pairs.iter().find(|(known, _)| known == name);
            found.map_or(String::new(), |(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let length = find(b"CONTENT_LENGTH").parse::<usize>().unwrap_or(0);
        if !self.has(Bug::ContentLengthIgnored) {
            body.truncate(length);
        }
        let mut path = find(b"SCRIPT_NAME") + &find(b"PATH_INFO");
        if path.is_empty() {
            path = find(b"REQUEST_URI").split('?').next().unwrap_or_default().to_owned();
        }
        let query = find(b"QUERY_STRING");
        let number = |name: &str| {
            let found = query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
        };
        let mut status = 0;
        let text = match &path[..] {
            "/hello" => b"Hello, world\n".to_vec(),
            "/echo" if body.len() < length => return self.finish(id, 400, b"", 0),
            "/echo" => body,
            "/wait" => {
                pause(number("ms"), &aborted);
                format!("waited {} ms\n", number("ms")).into_bytes()
            }
            "/bytes" => {
                const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
                let count = number("n") as usize;
                let mut text = DIGITS.repeat(count / DIGITS.len() + 1);
                text.truncate(count);
                text
            }
            "/params" => {
                let mut sorted = pairs.clone();
                sorted.sort();
                sorted.iter().flat_map(|(name, value)| [&name[..], b"=", value, b"\n"].concat()).collect()
            }
            "/cpu" => b"spent\n".to_vec(),
            "/stream" => {
                let mut text = Vec::new();
                for chunk in 0..number("chunks") {
                    pause(number("ms"), &aborted);
                    text.extend(format!("chunk {chunk}\n").into_bytes());
                }
                text
            }
            "/status" => return self.finish(id, number("code") as u16, b"", 0),
            "/exit" => {
                status = number("status") as u32;
                Vec::new()
            }
            _ => return self.finish(id, 404, b"", 0),
        };
        let is_head = find(b"REQUEST_METHOD") == "HEAD" && !self.has(Bug::HeadHasBody);
        self.finish(id, 200, if is_head { b"" } else { &text }, status);
    }

    fn finish(&self, id: u16, status: u16, body: &[u8], app_status: u32) {
        let head = format!("Status: {status} x\r\nContent-Type: text/plain\r\n\r\n");
        for part in [head.as_bytes(), body].concat().chunks(65_528) {
            if !self.send(6, id, part) {
                break;
            }
        }
        if !self.has(Bug::StdoutNotEnded) {
            self.send(6, id, b"");
        }
        if self.has(Bug::StdoutAfterItsEnd) {
            self.send(6, id, b"more");
        }
        self.end(id, app_status, 0);
    }
}

fn pause(ms: u64, aborted: &AtomicBool) {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until && !aborted.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(2).min(until - Instant::now().min(until)));
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
