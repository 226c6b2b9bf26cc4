//! One request's answer, and what a case may expect of it.

use crate::case::Stop;
use crate::wire;

/// The answer to one request, from its first record to its `FCGI_END_REQUEST`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) id: u16,
    pub(crate) stdout: Vec<u8>,
    /// How long STDOUT was, even if not all of it is kept.
    pub(crate) stdout_length: usize,
    pub(crate) stderr: Vec<u8>,
    /// Empty `FCGI_STDOUT` records.
    pub(crate) stdout_ends: usize,
    pub(crate) stderr_ends: usize,
    pub(crate) app_status: u32,
    pub(crate) protocol_status: u8,
}

impl Response {
    /// The CGI status: 200 unless a Status header says otherwise.
    pub(crate) fn status(&self) -> u16 {
        let status = self.header("status").and_then(|value| value.get(..3)?.parse().ok());
        status.unwrap_or(200)
    }

    /// A CGI header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.split()?;
        head.split(|byte| *byte == b'\n').find_map(|line| {
            let line = String::from_utf8_lossy(line);
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// What follows the CGI headers; everything, if there is no end of headers.
    pub(crate) fn body(&self) -> &[u8] {
        self.split().map_or(&self.stdout, |(_, body)| body)
    }

    /// CGI/1.1 allows both line ends.
    fn split(&self) -> Option<(&[u8], &[u8])> {
        let ends = self.stdout.windows(2).position(|two| two == b"\n\n").map(|at| (at, at + 2));
        let crlf = self.stdout.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (at, at + 4));
        let (head, body) = [ends, crlf].into_iter().flatten().min()?;
        Some((&self.stdout[..head], &self.stdout[body..]))
    }

    pub(crate) fn expect_protocol_status(&self, expected: u8) -> Result<&Self, Stop> {
        if self.protocol_status == expected {
            return Ok(self);
        }
        Err(Stop::Failed(format!(
            "request {} ended with {}, expected {}",
            self.id,
            wire::status_name(self.protocol_status),
            wire::status_name(expected)
        )))
    }

    /// The request was processed and not rejected.
    pub(crate) fn expect_complete(&self) -> Result<&Self, Stop> {
        self.expect_protocol_status(wire::REQUEST_COMPLETE)
    }

    pub(crate) fn expect_status(&self, expected: u16) -> Result<&Self, Stop> {
        if self.status() == expected {
            return Ok(self);
        }
        Err(Stop::Failed(format!(
            "request {}: the answer's status is {}, expected {expected}; STDOUT is {}",
            self.id,
            self.status(),
            excerpt(&self.stdout)
        )))
    }

    pub(crate) fn expect_body(&self, expected: &[u8]) -> Result<&Self, Stop> {
        self.expect_complete()?.expect_status(200)?;
        let body = self.body();
        if body == expected {
            return Ok(self);
        }
        let same = body.iter().zip(expected).take_while(|(a, b)| a == b).count();
        Err(Stop::Failed(format!(
            "request {}: the body has {} bytes, expected {}; they differ from byte {same} on: {}, expected {}",
            self.id,
            body.len(),
            expected.len(),
            excerpt(&body[same..]),
            excerpt(&expected[same..])
        )))
    }

    pub(crate) fn expect_app_status(&self, expected: u32) -> Result<&Self, Stop> {
        if self.app_status == expected {
            return Ok(self);
        }
        Err(Stop::Failed(format!(
            "request {}: appStatus is {}, expected {expected}",
            self.id, self.app_status
        )))
    }
}

/// The first bytes, quoted.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 80;
    match bytes.len() {
        0 => "empty".to_owned(),
        1..=SHOWN => format!("\"{}\"", bytes.escape_ascii()),
        length => format!("\"{}\"... ({length} bytes)", bytes[..SHOWN].escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(stdout: &[u8]) -> Response {
        Response { stdout: stdout.to_vec(), ..Response::default() }
    }

    #[test]
    fn both_line_ends_separate_headers_from_the_body() {
        assert_eq!(response(b"Status: 404 Not Found\r\nA: b\r\n\r\nx\n\ny").body(), b"x\n\ny");
        assert_eq!(response(b"Status: 404 Not Found\n\nx\r\n\r\ny").body(), b"x\r\n\r\ny");
    }

    #[test]
    fn the_status_is_200_unless_a_header_says_otherwise() {
        assert_eq!(response(b"Content-Type: text/plain\r\n\r\nStatus: 500").status(), 200);
        assert_eq!(response(b"status: 431 Too Large\r\n\r\n").status(), 431);
    }

    #[test]
    fn a_wrong_body_is_shown_from_the_difference_on() {
        let Err(Stop::Failed(why)) = response(b"A: b\n\nabcd").expect_body(b"abxy").map(|_| ()) else {
            panic!()
        };
        assert!(why.contains("from byte 2 on: \"cd\", expected \"xy\""), "{why}");
    }
}
