//! What every worker answers, path by path, as it is seen from outside.

use std::borrow::Cow;

/// A request and its answer, whatever stands between: nothing, or a web server.
#[derive(Clone, Debug)]
pub struct Case {
    /// GET or POST.
    pub method: &'static str,
    /// Path and query.
    pub uri: &'static str,
    /// The request's body and its type, for a POST.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// What must come.
    pub answer: Answer,
}

/// What must come.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Content-Type.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
    /// The application's status, which a web server keeps to itself.
    pub app_status: u32,
}

/// What the body must be.
#[derive(Clone, Debug)]
pub enum Body {
    /// These bytes.
    Exact(Cow<'static, [u8]>),
    /// Sorted lines, these among them: which others there are depends on the web server.
    Lines(&'static [&'static str]),
}

/// All paths with answers of a few bytes to some kilobytes: quick to check.
pub fn cases() -> Vec<Case> {
    let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    vec![
        get("/hello", text("Hello, world\n")),
        get("/cpu?us=20", text("burned 20 us\n")),
        get("/wait?ms=2", text("waited 2 ms\n")),
        get("/park?ms=2", text("parked 2 ms\n")),
        post("/echo", "application/x-www-form-urlencoded", b"name=value&other=%20".to_vec()),
        post("/echo", "application/x-fcgi-lab", binary),
        get("/bytes?n=0", bytes(0)),
        get("/bytes?n=100", bytes(100)),
        // More than one record can hold.
        get("/bytes?n=200000", bytes(200_000)),
        get("/stream?chunks=3&ms=1", text("chunk 0\nchunk 1\nchunk 2\n")),
        get("/stream?chunks=2&ms=0", text("chunk 0\nchunk 1\n")),
        get(
            "/params?a=b%20c",
            Answer {
                body: Body::Lines(&[
                    "QUERY_STRING=a=b%20c",
                    "REQUEST_METHOD=GET",
                    "SERVER_PROTOCOL=HTTP/1.1",
                ]),
                ..text("")
            },
        ),
        get("/status?code=201", Answer { status: 201, ..text("status 201\n") }),
        get("/status?code=404", Answer { status: 404, ..text("status 404\n") }),
        get("/status?code=503", Answer { status: 503, ..text("status 503\n") }),
        get("/exit?status=3", Answer { app_status: 3, ..text("exit 3\n") }),
        get("/log", text("logged\n")),
        get("/fail", Answer { status: 500, app_status: 1, ..text("500 Internal Server Error\n") }),
        get("/crash", Answer { status: 403, ..text("started without --allow-crash\n") }),
        get("/nowhere", Answer { status: 404, ..text("not found\n") }),
    ]
}

/// A large body in, and back out.
pub fn large_echo() -> Case {
    post("/echo", "application/octet-stream", pattern(1 << 20))
}

/// A large body out.
pub fn large_bytes() -> Case {
    get("/bytes?n=10485760", bytes(10 << 20))
}

/// What `/bytes` answers.
pub fn pattern(count: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    ALPHABET.iter().copied().cycle().take(count).collect()
}

fn get(uri: &'static str, answer: Answer) -> Case {
    Case { method: "GET", uri, body: None, answer }
}

fn post(uri: &'static str, content_type: &'static str, body: Vec<u8>) -> Case {
    let answer = Answer { status: 200, content_type, body: Body::Exact(body.clone().into()), app_status: 0 };
    Case { method: "POST", uri, body: Some((content_type, body)), answer }
}

fn text(body: &'static str) -> Answer {
    Answer {
        status: 200,
        content_type: "text/plain",
        body: Body::Exact(body.as_bytes().into()),
        app_status: 0,
    }
}

fn bytes(count: usize) -> Answer {
    Answer { content_type: "application/octet-stream", body: Body::Exact(pattern(count).into()), ..text("") }
}

impl Answer {
    /// What is wrong with an answer that came over HTTP or FastCGI; `None` where nothing is.
    pub fn fault(&self, status: u16, content_type: Option<&str>, body: &[u8]) -> Option<String> {
        if status != self.status {
            return Some(format!("status {} expected, {status} came with {}", self.status, excerpt(body)));
        }
        if content_type != Some(self.content_type) {
            return Some(format!("type {} expected, {content_type:?} came", self.content_type));
        }
        self.body.fault(body)
    }
}

impl Body {
    fn fault(&self, body: &[u8]) -> Option<String> {
        match self {
            Self::Exact(expected) if body == &**expected => None,
            Self::Exact(expected) => {
                let same = body.iter().zip(expected.iter()).take_while(|(one, other)| one == other).count();
                Some(format!(
                    "{} bytes {} expected, {} bytes {} came, the first {same} of them right",
                    expected.len(),
                    excerpt(expected),
                    body.len(),
                    excerpt(body),
                ))
            }
            Self::Lines(expected) => {
                let body = String::from_utf8_lossy(body);
                let lines: Vec<&str> = body.lines().collect();
                if let Some(line) = expected.iter().find(|line| !lines.contains(line)) {
                    return Some(format!("the line {line} expected, these came:\n{body}"));
                }
                (!lines.is_sorted()).then(|| format!("sorted lines expected, these came:\n{body}"))
            }
        }
    }
}

/// The beginning of a body, for a message.
fn excerpt(body: &[u8]) -> String {
    const SHOWN: usize = 60;
    let rest = if body.len() > SHOWN { "..." } else { "" };
    format!("\"{}{rest}\"", body[..body.len().min(SHOWN)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_answer_has_no_fault() {
        assert_eq!(text("Hello\n").fault(200, Some("text/plain"), b"Hello\n"), None);
    }

    #[test]
    fn a_fault_says_what_was_expected_and_what_came() {
        let answer = text("Hello\n");
        let fault = answer.fault(200, Some("text/plain"), b"Help\n").unwrap();
        assert!(fault.contains("\"Hello\\n\" expected") && fault.contains("the first 3 of them"), "{fault}");
        assert!(answer.fault(502, None, b"bad gateway").unwrap().contains("200 expected, 502 came"));
        assert!(answer.fault(200, Some("text/html"), b"Hello\n").unwrap().contains("text/html"));
    }

    #[test]
    fn lines_must_be_there_and_sorted() {
        let lines = Body::Lines(&["B=2"]);
        assert_eq!(lines.fault(b"A=1\nB=2\n"), None);
        assert!(lines.fault(b"A=1\n").is_some());
        assert!(lines.fault(b"B=2\nA=1\n").is_some());
    }
}
