//! Every path, step by step.

use std::borrow::Cow;
use std::hint;
use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use fcgi_worker::{AppStatus, Error, Handler, Params, Request, Response, Step};
use rustix::time::{ClockId, clock_gettime};

use crate::sleeper::{Sleep, Sleeper};

/// The handler behind all the paths.
#[derive(Debug)]
pub struct Workload {
    allow_crash: bool,
    sleeper: Arc<Sleeper>,
}

impl Workload {
    /// Of one process, which `/crash` may abort or not.
    pub fn new(allow_crash: bool) -> Self {
        Self { allow_crash, sleeper: Arc::default() }
    }
}

/// Where a request has got to.
#[derive(Debug)]
pub struct Job {
    route: Route,
    /// HEAD: the answer has no body (RFC 3875 4.3.3).
    head_only: bool,
    /// Whether the response has begun: its head is written, or its wait is over.
    begun: bool,
    /// Bytes or chunks written.
    done: u64,
    /// What wakes it.
    sleep: Option<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Hello,
    Cpu { microseconds: u64 },
    Wait { milliseconds: u64 },
    Park { milliseconds: u64 },
    Echo,
    Bytes { count: u64 },
    Stream { chunks: u64, milliseconds: u64 },
    Params,
    Status { code: u64 },
    Exit { status: u32 },
    Log,
    Fail { after: u64 },
    Crash,
    NotFound,
}

/// The whole answer to /hello, of which the last 13 bytes are the body.
const HELLO: &[u8] = b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";

/// The longest wait or burn of one request, in seconds: a query is a stranger's, too.
const LONGEST_SECONDS: u64 = 60;

impl Handler for Workload {
    type Job = Job;

    fn start(&self, request: Request<'_>) -> Job {
        let params = request.params();
        let head_only = params.value(b"REQUEST_METHOD") == Some(b"HEAD");
        Job { route: route(params), head_only, begun: false, done: 0, sleep: None }
    }

    fn step(&self, request: Request<'_>, job: &mut Job, response: &mut Response<'_>) -> Result<Step, Error> {
        let begins = !mem::replace(&mut job.begun, true);
        match job.route {
            Route::Hello => {
                response.write(if job.head_only { &HELLO[..HELLO.len() - 13] } else { HELLO });
            }
            Route::Cpu { microseconds } => {
                burn(microseconds);
                text(response, job, format_args!("burned {microseconds} us\n"));
            }
            Route::Wait { milliseconds } => {
                if begins {
                    return Ok(Step::Wait(Duration::from_millis(milliseconds)));
                }
                text(response, job, format_args!("waited {milliseconds} ms\n"));
            }
            Route::Park { milliseconds } => {
                if begins {
                    let time = Duration::from_millis(milliseconds);
                    job.sleep = Some(Box::new(self.sleeper.sleep(time, response.waker())?));
                }
                if job.sleep.as_ref().is_some_and(|sleep| !sleep.is_over()) {
                    return Ok(Step::Park);
                }
                text(response, job, format_args!("parked {milliseconds} ms\n"));
            }
            Route::Echo => {
                let body = request.body();
                if begins {
                    let content_type =
                        request.params().value(b"CONTENT_TYPE").filter(|value| !value.is_empty());
                    response.write(b"Content-Type: ");
                    response.write(content_type.unwrap_or(b"application/octet-stream"));
                    head_end(response, body.len() as u64);
                }
                if job.head_only {
                    return Ok(Step::Done(AppStatus::SUCCESS));
                }
                job.done += response.write_some(&body[job.done as usize..]) as u64;
                if job.done < body.len() as u64 {
                    return Ok(Step::Flush);
                }
            }
            Route::Bytes { count } => {
                if begins {
                    response.write(b"Content-Type: application/octet-stream");
                    head_end(response, count);
                }
                if job.head_only {
                    return Ok(Step::Done(AppStatus::SUCCESS));
                }
                while job.done < count {
                    let offset = job.done as usize % ALPHABET.len();
                    let wanted = (count - job.done).min((PATTERN.len() - offset) as u64) as usize;
                    let written = response.write_some(&PATTERN[offset..][..wanted]);
                    if written == 0 {
                        return Ok(Step::Flush);
                    }
                    job.done += written as u64;
                }
            }
            Route::Stream { chunks, milliseconds } => {
                if begins {
                    response.write(b"Content-Type: text/plain\r\n\r\n");
                }
                if job.head_only {
                    return Ok(Step::Done(AppStatus::SUCCESS));
                }
                while job.done < chunks {
                    print(response, format_args!("chunk {}\n", job.done));
                    job.done += 1;
                    if job.done < chunks && milliseconds > 0 {
                        return Ok(Step::Wait(Duration::from_millis(milliseconds)));
                    }
                    if response.room() == 0 {
                        return Ok(Step::Flush);
                    }
                }
            }
            Route::Params => return Ok(params(request, job, begins, response)),
            Route::Status { code } => {
                print(response, format_args!("Status: {code} {}\r\n", reason(code)));
                match code {
                    // These have no content (RFC 9110).
                    204 | 304 => response.write(b"\r\n"),
                    _ => text(response, job, format_args!("status {code}\n")),
                }
            }
            Route::Exit { status } => {
                text(response, job, format_args!("exit {status}\n"));
                return Ok(Step::Done(AppStatus(status)));
            }
            Route::Log => {
                response.log("a line for the log");
                text(response, job, format_args!("logged\n"));
            }
            Route::Fail { after } => {
                if begins && after > 0 {
                    response.write(b"Content-Type: text/plain\r\n\r\n");
                }
                if job.done < after {
                    print(response, format_args!("chunk {}\n", job.done));
                    job.done += 1;
                    return Ok(Step::Flush);
                }
                return Err(format!("failed after {after} chunks").into());
            }
            Route::Crash if self.allow_crash => std::process::abort(),
            Route::Crash => {
                response.write(b"Status: 403 Forbidden\r\n");
                text(response, job, format_args!("started without --allow-crash\n"));
            }
            Route::NotFound => {
                response.write(b"Status: 404 Not Found\r\n");
                text(response, job, format_args!("not found\n"));
            }
        }
        Ok(Step::Done(AppStatus::SUCCESS))
    }
}

fn route(params: Params<'_>) -> Route {
    let (path, uri_query) = path_and_query(params);
    let number = |name| {
        let query = params.value(b"QUERY_STRING").unwrap_or_default();
        value(if query.is_empty() { uri_query } else { query }, name)
    };
    let milliseconds = || number("ms").unwrap_or(0).min(LONGEST_SECONDS * 1_000);
    match &*path {
        b"/hello" => Route::Hello,
        b"/cpu" => Route::Cpu { microseconds: number("us").unwrap_or(0).min(LONGEST_SECONDS * 1_000_000) },
        b"/wait" => Route::Wait { milliseconds: milliseconds() },
        b"/park" => Route::Park { milliseconds: milliseconds() },
        b"/echo" => Route::Echo,
        b"/bytes" => Route::Bytes { count: number("n").unwrap_or(0) },
        b"/stream" => Route::Stream { chunks: number("chunks").unwrap_or(1), milliseconds: milliseconds() },
        b"/params" => Route::Params,
        b"/status" => match number("code") {
            Some(code @ 200..=599) => Route::Status { code },
            _ => Route::Status { code: 400 },
        },
        b"/exit" => Route::Exit { status: number("status").and_then(|n| u32::try_from(n).ok()).unwrap_or(0) },
        b"/log" => Route::Log,
        b"/fail" => Route::Fail { after: number("after").unwrap_or(0) },
        b"/crash" => Route::Crash,
        _ => Route::NotFound,
    }
}

/// SCRIPT_NAME + PATH_INFO, or REQUEST_URI where both are missing, with its query: front ends cut the path in
/// different places.
fn path_and_query(params: Params<'_>) -> (Cow<'_, [u8]>, &[u8]) {
    match (params.value(b"SCRIPT_NAME"), params.value(b"PATH_INFO")) {
        (Some(script), None | Some(b"")) => (script.into(), b""),
        (None | Some(b""), Some(info)) => (info.into(), b""),
        (Some(script), Some(info)) => ([script, info].concat().into(), b""),
        (None, None) => {
            let uri = params.value(b"REQUEST_URI").unwrap_or_default();
            match uri.iter().position(|&byte| byte == b'?') {
                Some(mark) => (uri[..mark].into(), &uri[mark + 1..]),
                None => (uri.into(), b""),
            }
        }
    }
}

/// The number under `name` in a query string.
fn value(query: &[u8], name: &str) -> Option<u64> {
    let digits = query
        .split(|&byte| byte == b'&')
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Uses this much CPU time of this thread: equal work, however many run at once. (Time on the wall would pass for all
/// of them together, and crowded processes would seem to cost nothing.)
pub(crate) fn burn(microseconds: u64) {
    let spent = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
    };
    let end = spent().saturating_add(microseconds);
    while spent() < end {
        for _ in 0..64 {
            hint::spin_loop();
        }
    }
}

/// A sorted list may be longer than the room, so it is made again for each step and goes on where it stopped.
fn params(request: Request<'_>, job: &mut Job, begins: bool, response: &mut Response<'_>) -> Step {
    let mut pairs: Vec<_> = request.params().iter().collect();
    pairs.sort();
    let mut list = Vec::new();
    for (name, value) in pairs {
        list.extend_from_slice(name);
        list.push(b'=');
        list.extend_from_slice(value);
        list.push(b'\n');
    }
    if begins {
        response.write(b"Content-Type: text/plain");
        head_end(response, list.len() as u64);
    }
    if job.head_only {
        return Step::Done(AppStatus::SUCCESS);
    }
    job.done += response.write_some(&list[job.done as usize..]) as u64;
    if job.done < list.len() as u64 { Step::Flush } else { Step::Done(AppStatus::SUCCESS) }
}

fn head_end(response: &mut Response<'_>, content_length: u64) {
    print(response, format_args!("\r\nContent-Length: {content_length}\r\n\r\n"));
}

/// A body of text, and its head before it.
fn text(response: &mut Response<'_>, job: &Job, body: std::fmt::Arguments<'_>) {
    response.write(b"Content-Type: text/plain\r\n\r\n");
    if !job.head_only {
        print(response, body);
    }
}

fn print(response: &mut Response<'_>, text: std::fmt::Arguments<'_>) {
    let mut line = [0_u8; 128];
    let mut rest = &mut line[..];
    // Every line here is a few words and a number: it fits, and a longer one would be cut.
    let _ = rest.write_fmt(text);
    let left = rest.len();
    response.write(&line[..line.len() - left]);
}

/// The reason phrases of RFC 9110 that a reader would expect to see.
fn reason(code: u64) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        418 => "I'm a teapot",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// What `/bytes` repeats: the byte at offset i is `ALPHABET[i % 64]`.
const ALPHABET: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// Much of it at once.
static PATTERN: [u8; 32 << 10] = {
    let mut pattern = [0; 32 << 10];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = ALPHABET[at % ALPHABET.len()];
        at += 1;
    }
    pattern
};
