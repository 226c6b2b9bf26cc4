//! A session, its peer, and the time between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use fcgi_worker::{
    AppStatus, Config, Error, Handler, Limits, Request, Response, Session, Shared, Step, Timeouts, Values,
};

/// What sessions are configured with, unless a test says otherwise.
pub(crate) const CONFIG: Config = Config {
    limits: Limits { params_bytes: 64 << 10, body_bytes: 8 << 20, connection_bytes: 32 << 20, requests: 128 },
    values: Values { connections: 1, requests: 128, multiplexes: true },
    connections: 1,
    threads: 1,
    output_bytes: 64 << 10,
    timeouts: Timeouts::NONE,
};

/// One request at a time.
pub(crate) const ONE_AT_A_TIME: Config = Config {
    limits: Limits { requests: 1, ..CONFIG.limits },
    values: Values { connections: 1, requests: 1, multiplexes: false },
    ..CONFIG
};

/// The path is a script, a letter a step's work: `W` waits ten milliseconds, `F` flushes, `B` writes 100,000 bytes as room
/// comes, `M` waits for ever, `Z` waits not at all, `P` parks, `L` logs, `E` fails, any other letter writes itself.
pub(crate) struct Script;

thread_local! {
    /// Of the requests that have parked, in that order. A test has a thread.
    static WAKERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// What wakes the request that parked first, of those for which this was not asked yet.
pub(crate) fn waker() -> Waker {
    WAKERS.with_borrow_mut(|wakers| wakers.remove(0))
}

pub(crate) struct Progress {
    letter: usize,
    /// Bytes of the current `B` that are written.
    written: usize,
}

impl Handler for Script {
    type Job = Progress;

    fn start(&self, _: Request<'_>) -> Progress {
        Progress { letter: 0, written: 0 }
    }

    fn step(
        &self,
        request: Request<'_>,
        job: &mut Progress,
        response: &mut Response<'_>,
    ) -> Result<Step, Error> {
        let script = request.params().value(b"SCRIPT_NAME").unwrap_or_default();
        while let Some(&letter) = script.get(job.letter) {
            if letter == b'B' {
                while job.written < LARGE {
                    let written = response.write_some(&[b'b'; 1000][..(LARGE - job.written).min(1000)]);
                    if written == 0 {
                        return Ok(Step::Flush);
                    }
                    job.written += written;
                }
                job.written = 0;
            }
            job.letter += 1;
            match letter {
                b'B' => {}
                b'W' => return Ok(Step::Wait(WAIT)),
                b'Z' => return Ok(Step::Wait(Duration::ZERO)),
                b'M' => return Ok(Step::Wait(Duration::MAX)),
                b'F' => return Ok(Step::Flush),
                b'P' => {
                    WAKERS.with_borrow_mut(|wakers| wakers.push(response.waker()));
                    return Ok(Step::Park);
                }
                b'L' => response.log("a line"),
                b'E' => return Err("it has failed".into()),
                letter => response.write(&[letter]),
            }
        }
        Ok(Step::Done(AppStatus(script.len() as u32)))
    }
}

pub(crate) const WAIT: Duration = Duration::from_millis(10);
/// Bytes of a `B`.
pub(crate) const LARGE: usize = 100_000;

/// What a script writes.
pub(crate) fn output_of(script: &str) -> Vec<u8> {
    let mut output = Vec::new();
    for letter in script.bytes() {
        match letter {
            b'B' => output.extend([b'b'; LARGE]),
            b'W' | b'Z' | b'M' | b'F' | b'P' | b'L' => {}
            letter => output.push(letter),
        }
    }
    output
}

/// All that a peer was sent about one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stdout_ended: bool,
    /// Each record's content, the empty one's too.
    pub(crate) stderr: Vec<Vec<u8>>,
    /// Application status and protocol status of END_REQUEST.
    pub(crate) end: Option<(u32, u8)>,
}

impl Answer {
    /// The answer to a script that was run to its end.
    pub(crate) fn to(script: &str) -> Self {
        Self {
            stdout: output_of(script),
            stdout_ended: true,
            end: Some((script.len() as u32, 0)),
            ..Self::default()
        }
    }

    /// That of an aborted one.
    pub(crate) fn aborted(stdout: &[u8]) -> Self {
        Self { stdout: stdout.to_vec(), stdout_ended: true, end: Some((1, 0)), ..Self::default() }
    }
}

pub(crate) struct Dialogue {
    pub(crate) session: Session<Script>,
    pub(crate) shared: Shared<Script>,
    pub(crate) now: Instant,
    /// What the peer has received and not looked at.
    received: Vec<u8>,
}

impl Dialogue {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with(Shared::new(Arc::new(Script), config))
    }

    pub(crate) fn with_steps_elsewhere(config: &Config) -> Self {
        Self::with(Shared::new(Arc::new(Script), config).with_steps_elsewhere())
    }

    /// With a worker that drains already.
    pub(crate) fn draining(config: &Config) -> Self {
        let mut shared = Shared::new(Arc::new(Script), config);
        shared.drain();
        Self::with(shared)
    }

    fn with(shared: Shared<Script>) -> Self {
        let now = Instant::now();
        Self { session: Session::new(&shared, now), shared, now, received: Vec::new() }
    }

    /// The peer's bytes arrive.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes, self.now, &mut self.shared);
    }

    /// The peer shuts its write side.
    pub(crate) fn end_input(&mut self) {
        self.session.end_of_input(self.now, &mut self.shared);
    }

    /// A read would block.
    pub(crate) fn find_nothing_to_read(&mut self) {
        self.session.end_of_available_input(self.now, &mut self.shared);
    }

    pub(crate) fn resume(&mut self) {
        self.session.resume(self.now, &mut self.shared);
    }

    /// The transport takes up to `most` bytes.
    pub(crate) fn send(&mut self, most: usize) {
        let bytes = &self.session.unsent()[..self.session.unsent().len().min(most)];
        self.received.extend_from_slice(bytes);
        let sent = bytes.len();
        self.session.sent(sent, self.now, &mut self.shared);
    }

    /// What was taken out comes back, with what a write of it has returned. Whether there is room again.
    pub(crate) fn put_back_unsent(&mut self, unsent: Vec<u8>, written: io::Result<usize>) -> bool {
        self.session.put_back_unsent(unsent, written, self.now, &mut self.shared)
    }

    /// Takes turns and sends until there is nothing to do but to read or to wait.
    pub(crate) fn settle(&mut self) {
        while self.session.wants_write() || self.session.has_more() {
            self.send(usize::MAX);
            if self.session.has_more() {
                self.resume();
            }
        }
    }

    /// Sends all that there is, and takes another turn.
    pub(crate) fn settle_once(&mut self) {
        self.send(usize::MAX);
        self.received.clear();
        if self.session.has_more() {
            self.resume();
        }
    }

    /// How many END_REQUEST records the peer has received since the last look.
    pub(crate) fn counted_ends(&mut self) -> usize {
        let ends = self.received.windows(8).filter(|window| matches!(window, [1, 3, 0, 1, 0, 8, 0, 0]));
        let count = ends.count();
        self.received.clear();
        count
    }

    /// Lets time pass up to the session's deadline.
    pub(crate) fn wait(&mut self) {
        let deadline = self.session.deadline().expect("a deadline");
        assert!(deadline >= self.now, "a deadline that has passed is no deadline");
        self.now = deadline;
        self.resume();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// What the peer has been answered since the last look, by request id; management records under 0.
    pub(crate) fn answers(&mut self) -> BTreeMap<u16, Answer> {
        let (answers, rest) = read_records(&self.received);
        self.received = rest;
        answers
    }

    pub(crate) fn answer(&mut self, id: u16) -> Answer {
        self.answers().remove(&id).unwrap_or_default()
    }

    /// Whether the session wants its write side shut, now.
    pub(crate) fn shuts_write(&mut self) -> bool {
        self.session.shuts_write(self.now)
    }
}

fn read_records(mut bytes: &[u8]) -> (BTreeMap<u16, Answer>, Vec<u8>) {
    let mut answers: BTreeMap<u16, Answer> = BTreeMap::new();
    while let [1, kind, id1, id0, length1, length0, padding, _, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*length1, *length0]));
        if rest.len() < length + usize::from(*padding) {
            break;
        }
        let (content, after) = rest.split_at(length);
        bytes = &after[usize::from(*padding)..];
        let answer = answers.entry(u16::from_be_bytes([*id1, *id0])).or_default();
        match kind {
            6 if content.is_empty() => answer.stdout_ended = true,
            6 => {
                assert!(!answer.stdout_ended, "STDOUT after its end");
                answer.stdout.extend_from_slice(content);
            }
            7 => {
                assert_eq!(answer.end, None, "STDERR after the request's end");
                answer.stderr.push(content.to_vec());
            }
            3 => {
                assert_eq!(answer.end, None, "END_REQUEST twice");
                let status = u32::from_be_bytes(content[..4].try_into().unwrap());
                answer.end = Some((status, content[4]));
            }
            // Management records have no stream: their bytes will do.
            _ => answer.stdout.extend_from_slice(content),
        }
    }
    (answers, bytes.to_vec())
}

/// A whole request without a body, on a connection that is to be kept.
pub(crate) fn request(id: u16, script: &str) -> Vec<u8> {
    request_with_flags(id, script, 1)
}

/// The same, where the connection is to be closed after it (FCGI_KEEP_CONN = 0).
pub(crate) fn last_request(id: u16, script: &str) -> Vec<u8> {
    request_with_flags(id, script, 0)
}

/// A request's records up to the end of PARAMS.
pub(crate) fn head(id: u16, script: &str, flags: u8) -> Vec<u8> {
    let [id1, id0] = id.to_be_bytes();
    let length = 13 + script.len();
    let mut bytes = vec![1, 1, id1, id0, 0, 8, 0, 0, 0, 1, flags, 0, 0, 0, 0, 0];
    bytes.extend([1, 4, id1, id0, 0, length as u8, 0, 0, 11, script.len() as u8]);
    bytes.extend(b"SCRIPT_NAME");
    bytes.extend(script.as_bytes());
    bytes.extend([1, 4, id1, id0, 0, 0, 0, 0]);
    bytes
}

/// The empty STDIN record that ends a request.
pub(crate) fn end_of_stdin(id: u16) -> Vec<u8> {
    let [id1, id0] = id.to_be_bytes();
    vec![1, 5, id1, id0, 0, 0, 0, 0]
}

pub(crate) fn abort(id: u16) -> Vec<u8> {
    let [id1, id0] = id.to_be_bytes();
    vec![1, 2, id1, id0, 0, 0, 0, 0]
}

fn request_with_flags(id: u16, script: &str, flags: u8) -> Vec<u8> {
    [head(id, script, flags), end_of_stdin(id)].concat()
}
