//! The workload, step by step, without a socket.

use std::time::Duration;

use fcgi_proto::{AppStatus, Connection, Event, Limits, Spares, Values};
use fcgi_worker::{Handler, Progress, Step, run_step};
use fcgi_workload::Workload;

/// What a request comes to: the steps it took, the content of its STDOUT, and all of its output.
struct Served {
    steps: Vec<Step>,
    stdout: Vec<u8>,
    /// All records.
    output: Vec<u8>,
}

/// Serves one request with `room` bytes of output a step.
fn serve(params: &[(&str, &str)], body: &[u8], room: usize) -> Served {
    let handler = Workload::new(false);
    let values = Values { connections: 1, requests: 1, multiplexes: false };
    let mut connection = Connection::new(Limits::default(), values);
    let bytes = encode(params, body);
    let (mut input, mut output, mut spares) = (&bytes[..], Vec::new(), Spares::new());
    let event = connection.receive(&mut input, &mut output, &mut spares).unwrap();
    let Some(Event::Request(request)) = event else { panic!("no request: {event:?}") };

    let (mut job, mut progress) = (handler.start(request.as_request()), Progress::default());
    let mut served = Served { steps: Vec::new(), stdout: Vec::new(), output: Vec::new() };
    loop {
        output.clear();
        let step = run_step(&handler, request.as_request(), &mut job, &mut progress, &mut output, room);
        served.stdout.extend(stdout(&output));
        served.output.extend_from_slice(&output);
        served.steps.push(step);
        if matches!(step, Step::Done(_)) {
            return served;
        }
    }
}

fn get(path: &str, query: &str) -> String {
    let served = serve(&[("SCRIPT_NAME", path), ("QUERY_STRING", query)], b"", 64 << 10);
    String::from_utf8(served.stdout).unwrap()
}

/// The request as records (spec 5.1 to 5.3), its pairs in the short form (3.4).
fn encode(params: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut pairs = Vec::new();
    for (name, value) in params {
        pairs.extend([name.len() as u8, value.len() as u8]);
        pairs.extend([name.as_bytes(), value.as_bytes()].concat());
    }
    let mut bytes = vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0];
    for (kind, content) in [(4, &pairs[..]), (4, b""), (5, body)] {
        // An empty record ends a stream: an empty body has that one only.
        if kind == 4 || !content.is_empty() {
            push(&mut bytes, kind, content);
        }
    }
    push(&mut bytes, 5, b"");
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    bytes.extend([1, kind, 0, 1, high, low, 0, 0]);
    bytes.extend(content);
}

/// The content of the STDOUT records in `output`.
fn stdout(output: &[u8]) -> Vec<u8> {
    content(6, output)
}

/// That of the STDERR records.
fn stderr(output: &[u8]) -> Vec<u8> {
    content(7, output)
}

fn content(wanted: u8, mut output: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let [1, kind, _, _, high, low, padding, _, rest @ ..] = output {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == wanted {
            content.extend_from_slice(&rest[..length]);
        }
        output = &rest[length + usize::from(*padding)..];
    }
    assert!(output.is_empty(), "a record broke off");
    content
}

#[test]
fn hello_is_one_step() {
    let served = serve(&[("SCRIPT_NAME", "/hello")], b"", 64 << 10);
    assert_eq!(served.steps, [Step::Done(AppStatus::SUCCESS)]);
    assert_eq!(served.stdout, b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n");
}

#[test]
fn a_wait_comes_before_the_answer() {
    let served = serve(&[("SCRIPT_NAME", "/wait"), ("QUERY_STRING", "ms=7")], b"", 64 << 10);
    assert_eq!(served.steps, [Step::Wait(Duration::from_millis(7)), Step::Done(AppStatus::SUCCESS)]);
    assert!(served.stdout.ends_with(b"\r\n\r\nwaited 7 ms\n"));
}

#[test]
fn another_thread_ends_the_wait_of_what_is_parked() {
    let mut served = serve(&[("SCRIPT_NAME", "/park"), ("QUERY_STRING", "ms=3")], b"", 64 << 10);
    served.steps.dedup();
    assert_eq!(served.steps, [Step::Park, Step::Done(AppStatus::SUCCESS)]);
    assert!(served.stdout.ends_with(b"\r\n\r\nparked 3 ms\n"));
}

#[test]
fn a_failure_is_a_500_or_breaks_off_what_has_begun() {
    let fail = |after| serve(&[("SCRIPT_NAME", "/fail"), ("QUERY_STRING", after)], b"", 64 << 10);
    assert!(fail("after=0").stdout.starts_with(b"Status: 500 "));
    let served = fail("after=2");
    assert!(served.stdout.ends_with(b"\r\n\r\nchunk 0\nchunk 1\n"));
    assert_eq!(served.steps, [Step::Flush, Step::Flush, Step::Done(AppStatus::FAILED)]);
    assert_eq!(stderr(&served.output), b"failed after 2 chunks\n");
}

#[test]
fn a_line_for_the_log_goes_to_stderr() {
    let served = serve(&[("SCRIPT_NAME", "/log")], b"", 64 << 10);
    assert_eq!(stderr(&served.output), b"a line for the log\n");
    assert!(served.stdout.ends_with(b"\r\n\r\nlogged\n"));
}

#[test]
fn a_stream_waits_between_its_chunks() {
    let served = serve(&[("SCRIPT_NAME", "/stream"), ("QUERY_STRING", "chunks=3&ms=1")], b"", 64 << 10);
    let wait = Step::Wait(Duration::from_millis(1));
    assert_eq!(served.steps, [wait, wait, Step::Done(AppStatus::SUCCESS)]);
    assert!(served.stdout.ends_with(b"\r\n\r\nchunk 0\nchunk 1\nchunk 2\n"));
}

#[test]
fn little_room_means_many_steps_and_the_same_bytes() {
    let body = (0..=255).cycle().take(3_000).collect::<Vec<u8>>();
    for (path, query, body) in [("/bytes", "n=3000", &b""[..]), ("/echo", "", &body), ("/params", "", b"")] {
        let params = [("SCRIPT_NAME", path), ("QUERY_STRING", query), ("HTTP_X_MUCH", &"x".repeat(120))];
        let at_once = serve(&params, body, 64 << 10);
        // The head alone takes more than the first step has room for: nothing of the body goes with it then.
        for room in [1, 17, 100] {
            let in_parts = serve(&params, body, room);
            assert!(in_parts.steps.len() > at_once.steps.len(), "{path} with {room} bytes a step");
            assert_eq!(in_parts.stdout, at_once.stdout, "{path} with {room} bytes a step");
        }
    }
}

#[test]
fn bytes_repeat_the_alphabet_wherever_they_are_cut() {
    let alphabet = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let served = serve(&[("SCRIPT_NAME", "/bytes"), ("QUERY_STRING", "n=100000")], b"", 1_000);
    let head = served.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = &served.stdout[head..];
    assert_eq!(body.len(), 100_000);
    assert!(body.iter().enumerate().all(|(at, byte)| *byte == alphabet[at % 64]));
}

#[test]
fn the_path_may_be_cut_in_any_place() {
    let hello = get("/hello", "");
    for params in [
        &[("SCRIPT_NAME", ""), ("PATH_INFO", "/hello")][..],
        &[("SCRIPT_NAME", "/hel"), ("PATH_INFO", "lo")],
        &[("PATH_INFO", "/hello")],
        &[("REQUEST_URI", "/hello")],
        &[("REQUEST_URI", "/hello?x=1")],
    ] {
        assert_eq!(serve(params, b"", 64 << 10).stdout, hello.as_bytes(), "{params:?}");
    }
    let echoed = serve(&[("REQUEST_URI", "/status?code=404")], b"", 64 << 10).stdout;
    assert!(echoed.starts_with(b"Status: 404 Not Found\r\n"));
}

#[test]
fn a_query_that_is_off_is_no_surprise() {
    assert!(get("/status", "code=99999").starts_with("Status: 400 "));
    assert!(get("/bytes", "n=-1").contains("Content-Length: 0\r\n"));
    assert!(get("/wait", "seconds=5").ends_with("waited 0 ms\n"));
    assert!(get("/nowhere", "").starts_with("Status: 404 "));
    assert!(get("/crash", "").starts_with("Status: 403 "));
}

#[test]
fn the_application_status_is_the_queries() {
    let served = serve(&[("SCRIPT_NAME", "/exit"), ("QUERY_STRING", "status=4294967295")], b"", 64 << 10);
    assert_eq!(served.steps, [Step::Done(AppStatus(u32::MAX))]);
}

#[test]
fn params_come_sorted() {
    let served = serve(&[("SCRIPT_NAME", "/params"), ("B", "2"), ("A", "1")], b"", 64 << 10);
    assert!(served.stdout.ends_with(b"\r\n\r\nA=1\nB=2\nSCRIPT_NAME=/params\n"));
}
