//! A worker without its sockets, for `scripts/instructions` to count the instructions of: one request in, handled, and
//! out.
//!
//!     instructions codec | hello | bytes | body
//!
//! `hello` is a GET of /hello with the 20 parameters that nginx sends; `codec` the same, handled by the least that can
//! be called an application, so that what is left is fcgi-proto; `bytes` is `hello` read byte by byte; `body` a POST of
//! 1 MiB in records of 32 KiB, as nginx cuts it. Without a word it takes the time of `body` instead.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use fcgi_proto::record::{self, KEEP_CONN, RecordType};
use fcgi_proto::{
    AppStatus, Connection, Event, Limits, ProtocolStatus, Request, Spares, Stdout, Values, pairs, response,
};
use fcgi_worker::{Handler, Progress, Step, run_step};
use fcgi_workload::Workload;

/// Enough for every buffer to have grown to what it needs.
const WARM_UP: usize = 10;

fn main() -> ExitCode {
    let case = std::env::args().nth(1);
    let body = vec![b'x'; 1 << 20];
    let (input, round): (_, Round) = match case.as_deref() {
        Some("codec") => (request(&[]), |worker, input| worker.read(input, answer)),
        Some("hello") => (request(&[]), |worker, input| worker.read(input, handle)),
        Some("bytes") => (request(&[]), |worker, input| {
            input.chunks(1).for_each(|byte| worker.read(byte, handle));
        }),
        Some("body") | None => (request(&body), |worker, input| worker.read(input, handle)),
        Some(other) => {
            eprintln!("no case {other}");
            return ExitCode::from(2);
        }
    };
    let mut worker = Worker::new();
    for _ in 0..WARM_UP {
        round(&mut worker, &input);
        worker.output.clear();
    }
    match case {
        Some(_) => {
            counted(&mut worker, &input, round);
            assert_eq!(worker.served, WARM_UP + 1);
        }
        None => throughput(&mut worker, &input, body.len()),
    }
    ExitCode::SUCCESS
}

type Round = fn(&mut Worker, &[u8]);

/// What callgrind counts, by this name.
#[inline(never)]
fn counted(worker: &mut Worker, input: &[u8], round: Round) {
    round(worker, input);
    black_box(&worker.output);
}

fn throughput(worker: &mut Worker, input: &[u8], bytes: usize) {
    const ROUNDS: u32 = 2_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        worker.read(black_box(input), handle);
        worker.output.clear();
    }
    println!("{:.1} GB/s", f64::from(ROUNDS) * bytes as f64 / start.elapsed().as_secs_f64() / 1e9);
}

/// A thread that serves one connection that is kept.
struct Worker {
    connection: Connection,
    spares: Spares,
    handler: Workload,
    output: Vec<u8>,
    served: usize,
}

impl Worker {
    fn new() -> Self {
        let values = Values { connections: 1, requests: 128, multiplexes: true };
        Self {
            connection: Connection::new(Limits::default(), values),
            spares: Spares::new(),
            handler: Workload::new(false),
            output: Vec::new(),
            served: 0,
        }
    }

    /// As a session does it with what was read.
    #[inline]
    fn read(&mut self, mut input: &[u8], handle: impl Fn(Request<'_>, &Workload, &mut Vec<u8>)) {
        while let Some(request) = self.connection.receive_whole(&mut input) {
            handle(request, &self.handler, &mut self.output);
            self.served += 1;
        }
        if !input.is_empty() {
            self.read_records(input, handle);
        }
    }

    #[inline(never)]
    fn read_records(&mut self, mut input: &[u8], handle: impl Fn(Request<'_>, &Workload, &mut Vec<u8>)) {
        while let Some(event) =
            self.connection.receive(&mut input, &mut self.output, &mut self.spares).expect("no failure")
        {
            let Event::Request(request) = event else { panic!("{event:?}") };
            handle(request.as_request(), &self.handler, &mut self.output);
            self.connection.recycle(request, &mut self.spares);
            self.served += 1;
        }
    }
}

/// The workload that every strategy serves.
#[inline]
fn handle(request: Request<'_>, handler: &Workload, output: &mut Vec<u8>) {
    let (mut job, mut progress) = (handler.start(request), Progress::default());
    let step = run_step(handler, request, &mut job, &mut progress, output, 64 << 10);
    assert!(matches!(step, Step::Done(_)), "{step:?}");
}

/// The same answer, for one path only.
#[inline]
fn answer(request: Request<'_>, _: &Workload, output: &mut Vec<u8>) {
    assert_eq!(request.params().value(b"SCRIPT_NAME"), Some(&b"/hello"[..]));
    let mut stdout = Stdout::new(output, request.id(), 64 << 10);
    stdout.write(b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n");
    drop(stdout);
    response::end(output, request.id(), AppStatus::SUCCESS, ProtocolStatus::RequestComplete);
}

/// What a front end sends.
fn request(body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let (method, length) = if body.is_empty() { ("GET", "") } else { ("POST", &*length) };
    let params = [
        ("QUERY_STRING", ""),
        ("REQUEST_METHOD", method),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", length),
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
    let mut content = Vec::new();
    for (name, value) in params {
        pairs::push(&mut content, name.as_bytes(), value.as_bytes());
    }
    let mut bytes = Vec::new();
    record::push(&mut bytes, RecordType::BEGIN_REQUEST, 1, &[0, 1, KEEP_CONN, 0, 0, 0, 0, 0]);
    record::push(&mut bytes, RecordType::PARAMS, 1, &content);
    record::push(&mut bytes, RecordType::PARAMS, 1, &[]);
    for part in body.chunks(32 << 10) {
        record::push(&mut bytes, RecordType::STDIN, 1, part);
    }
    record::push(&mut bytes, RecordType::STDIN, 1, &[]);
    bytes
}
