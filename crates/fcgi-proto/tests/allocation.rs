//! In the steady state nothing allocates: a request in, its response out, its memory used again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fcgi_proto::{
    AppStatus, Connection, Event, Limits, OwnedRequest, ProtocolStatus, Request, Spares, Stdout, Values,
    response,
};

/// Counts what each thread asks of the system's allocator.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every method passes its arguments on to `System`, which keeps the contract; the counter is a thread's own,
// needs no initialisation and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise for `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise holds for `System`, since `pointer` came from it.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Rounds until every buffer has grown to what it needs; then rounds that are counted. Miri is some hundred times
/// slower.
const WARM_UP: usize = if cfg!(miri) { 3 } else { 10 };
const ROUNDS: usize = if cfg!(miri) { 1 } else { 200 };

fn allocations(mut round: impl FnMut()) -> usize {
    (0..WARM_UP).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..ROUNDS).for_each(|_| round());
    ALLOCATIONS.get() - before
}

/// A worker's thread with one connection that is kept.
struct Worker {
    connection: Connection,
    spares: Spares,
    output: Vec<u8>,
    waiting: Vec<OwnedRequest>,
    /// Requests answered at a time, as they would be by a handler that waits.
    at_once: usize,
    served: usize,
}

impl Worker {
    fn new(at_once: usize) -> Self {
        let values = Values { connections: 1, requests: 128, multiplexes: true };
        Self {
            connection: Connection::new(Limits::default(), values),
            spares: Spares::new(),
            output: Vec::new(),
            waiting: Vec::new(),
            at_once,
            served: 0,
        }
    }

    /// In reads of 16 KiB; what is answered is written out after each.
    fn serve(&mut self, input: &[u8]) {
        for mut read in input.chunks(16 << 10) {
            while let Some(request) = self.receive(&mut read) {
                self.waiting.push(request);
                if self.waiting.len() == self.at_once {
                    for request in self.waiting.drain(..) {
                        answer(request.as_request(), &mut self.output);
                        self.connection.recycle(request, &mut self.spares);
                        self.served += 1;
                    }
                }
            }
            self.output.clear();
        }
    }

    /// A request that is held. Whoever holds one at a time answers what lies whole in the input from there.
    fn receive(&mut self, read: &mut &[u8]) -> Option<OwnedRequest> {
        while let Some(request) = self.connection.receive_whole(read) {
            if self.at_once > 1 {
                return Some(self.connection.hold(request, &mut self.spares));
            }
            answer(request, &mut self.output);
            self.served += 1;
        }
        match self.connection.receive(read, &mut self.output, &mut self.spares).expect("no failure")? {
            Event::Request(request) => Some(request),
            other => panic!("{other:?}"),
        }
    }
}

fn answer(request: Request<'_>, output: &mut Vec<u8>) {
    assert_eq!(request.params().iter().count(), 20);
    assert_eq!(request.params().value(b"SCRIPT_NAME"), Some(&b"/hello"[..]));
    let mut stdout = Stdout::new(output, request.id(), 64 << 10);
    stdout.write(b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    stdout.write_some(b"hello\n");
    drop(stdout);
    response::end(output, request.id(), AppStatus::SUCCESS, ProtocolStatus::RequestComplete);
}

/// What nginx sends for a GET of /hello.
const PARAMS: [(&str, &str); 20] = [
    ("QUERY_STRING", ""),
    ("REQUEST_METHOD", "GET"),
    ("CONTENT_TYPE", ""),
    ("CONTENT_LENGTH", ""),
    ("SCRIPT_NAME", "/hello"),
    ("REQUEST_URI", "/hello"),
    ("DOCUMENT_URI", "/hello"),
    ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
    ("SERVER_PROTOCOL", "HTTP/1.1"),
    ("REQUEST_SCHEME", "http"),
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("SERVER_SOFTWARE", "nginx/1.22.1"),
    ("REMOTE_ADDR", "127.0.0.1"),
    ("REMOTE_PORT", "40832"),
    ("SERVER_ADDR", "127.0.0.1"),
    ("SERVER_PORT", "8080"),
    ("SERVER_NAME", "localhost"),
    ("HTTP_HOST", "localhost:8080"),
    ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
];

/// A record as spec 3.3 draws it, without padding. Not the crate's encoder.
fn record(record_type: u8, id: u8, content: &[u8]) -> Vec<u8> {
    let [_, _, length1, length0] = (content.len() as u32).to_be_bytes();
    [&[1, record_type, 0, id, length1, length0, 0, 0], content].concat()
}

fn begin(id: u8) -> Vec<u8> {
    record(1, id, b"\0\x01\x01\0\0\0\0\0")
}

/// The 20 parameters, their lengths in one byte each.
fn params(id: u8) -> Vec<u8> {
    let mut content = Vec::new();
    for (name, value) in PARAMS {
        content.extend_from_slice(&[name.len() as u8, value.len() as u8]);
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    record(4, id, &content)
}

fn get(id: u8) -> Vec<u8> {
    [begin(id), params(id), record(4, id, b""), record(5, id, b"")].concat()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8]))), ROUNDS);
}

#[test]
fn a_kept_connection_allocates_nothing() {
    let mut worker = Worker::new(1);
    let request = get(1);
    assert_eq!(allocations(|| worker.serve(&request)), 0);
    assert_eq!(worker.served, WARM_UP + ROUNDS);
}

#[test]
fn sixty_four_whole_requests_at_once_allocate_nothing() {
    let mut worker = Worker::new(64);
    let input: Vec<u8> = (1..=64).flat_map(get).collect();
    assert_eq!(allocations(|| worker.serve(&input)), 0);
    assert_eq!(worker.served, 64 * (WARM_UP + ROUNDS));
}

#[test]
fn nor_does_it_when_its_input_comes_byte_by_byte() {
    let mut worker = Worker::new(1);
    let request = get(1);
    assert_eq!(allocations(|| request.chunks(1).for_each(|byte| worker.serve(byte))), 0);
    assert_eq!(worker.served, WARM_UP + ROUNDS);
}

#[test]
fn sixty_four_interleaved_requests_allocate_nothing() {
    let mut worker = Worker::new(64);
    let mut input = Vec::new();
    (1..=64).for_each(|id| input.extend(begin(id)));
    (1..=64).rev().for_each(|id| input.extend(params(id)));
    (1..=64).for_each(|id| input.extend(record(4, id, b"")));
    for _ in 0..4 {
        (1..=64).for_each(|id| input.extend(record(5, id, &[b'x'; 200])));
    }
    (1..=64).rev().for_each(|id| input.extend(record(5, id, b"")));
    assert_eq!(allocations(|| worker.serve(&input)), 0);
    assert_eq!(worker.served, 64 * (WARM_UP + ROUNDS));
}

#[test]
fn a_body_of_a_mebibyte_allocates_nothing_once_one_has_come() {
    let mut worker = Worker::new(1);
    let mut input = get(1);
    input.extend([begin(2), params(2), record(4, 2, b"")].concat());
    (0..16).for_each(|_| input.extend(record(5, 2, &[b'x'; 65_535])));
    input.extend(record(5, 2, b"the last 16 byte"));
    input.extend(record(5, 2, b""));
    if cfg!(miri) {
        return;
    }
    assert_eq!(allocations(|| worker.serve(&input)), 0);
    assert_eq!(worker.served, 2 * (WARM_UP + ROUNDS));
}

#[test]
fn an_aborted_request_allocates_nothing() {
    let mut worker = Worker::new(1);
    let aborted = [begin(1), params(1), record(4, 1, b""), record(5, 1, b"half"), record(2, 1, b"")].concat();
    assert_eq!(allocations(|| worker.serve(&aborted)), 0);
}
