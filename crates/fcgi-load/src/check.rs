//! Is this reply the right one? Fast where it equals the first good reply byte for byte, in full where it does not.
//!
//! The first good reply's output, headers and all, becomes the golden copy. While a later reply matches it there is
//! nothing to parse. One that departs from it (`Date`, say, went on by a second) is parsed from its start, so the
//! verdict never depends on the shortcut.

use crate::request::Expect;

/// The longest output kept as a golden copy. Beyond it, parsing the headers costs nothing beside moving the body.
const GOLDEN_LIMIT: usize = 64 << 10;

/// The longest CGI header block taken for one.
const HEAD_LIMIT: usize = 64 << 10;

/// What every reply of a run is held against.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) expect: Expect,
    golden: Option<Vec<u8>>,
}

/// How far the check of one reply's output has got.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// So many bytes equal the golden copy's; of no meaning once `scanning`.
    matched: usize,
    scanning: bool,
    /// Apart, so that what is used for every reply stays together; made on first use, and then kept.
    scan: Box<Scan>,
}

/// What is wrong with a reply's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `Status` is not the one expected.
    Status(u16),
    /// The CGI headers do not end, or a `Status` is no number.
    Head,
    /// The body, of so many bytes, is not the one expected.
    Body(u64),
}

impl Check {
    pub(crate) fn new(expect: Expect) -> Self {
        Self { expect, golden: None }
    }

    /// Makes `progress` ready for a new reply.
    #[inline]
    pub(crate) fn begin(&self, progress: &mut Progress) {
        progress.matched = 0;
        progress.scanning = false;
    }

    /// Takes the next piece of a reply's output.
    #[inline]
    pub(crate) fn output(&self, progress: &mut Progress, content: &[u8]) {
        if !progress.scanning {
            let end = progress.matched + content.len();
            if self.golden.as_ref().and_then(|golden| golden.get(progress.matched..end)) == Some(content) {
                progress.matched = end;
                return;
            }
            self.start_scan(progress);
        }
        progress.scan.output(content, &self.expect, self.golden.is_none());
    }

    /// The verdict at the end of the output. `true`: it was the golden copy, and nothing had to be parsed.
    #[inline]
    pub(crate) fn finish(&mut self, progress: &mut Progress) -> Result<bool, Fault> {
        if !progress.scanning {
            if self.golden.as_ref().is_some_and(|golden| golden.len() == progress.matched) {
                return Ok(true);
            }
            self.start_scan(progress);
        }
        progress.scan.verdict(&self.expect)?;
        if self.golden.is_none() && !progress.scan.raw.is_empty() {
            self.golden = Some(std::mem::take(&mut progress.scan.raw));
        }
        Ok(false)
    }

    #[cold]
    fn start_scan(&self, progress: &mut Progress) {
        progress.scanning = true;
        progress.scan.reset();
        if let Some(golden) = &self.golden {
            progress.scan.output(&golden[..progress.matched], &self.expect, false);
        }
    }
}

/// A reply's output parsed as it arrives. The body is compared in passing and never gathered.
#[derive(Debug, Default)]
struct Scan {
    /// The header block, up to and with its empty line.
    head: Vec<u8>,
    head_ended: bool,
    body_len: u64,
    body_differs: bool,
    /// All of the output, while it may become the golden copy.
    raw: Vec<u8>,
}

impl Scan {
    fn reset(&mut self) {
        self.head.clear();
        self.head_ended = false;
        self.body_len = 0;
        self.body_differs = false;
        self.raw.clear();
    }

    fn output(&mut self, mut content: &[u8], expect: &Expect, keep_raw: bool) {
        if keep_raw {
            // Emptied when it outgrows the limit, and so never again contiguous: `total` tells the two apart.
            let total = self.head.len() as u64 + self.body_len;
            if self.raw.len() as u64 == total && self.raw.len() + content.len() <= GOLDEN_LIMIT {
                self.raw.extend(content);
            } else {
                self.raw.clear();
            }
        }
        if !self.head_ended {
            let taken = self.take_head(content);
            content = &content[taken..];
        }
        if content.is_empty() || !self.head_ended {
            return;
        }
        if let Some(body) = &expect.body {
            let from = usize::try_from(self.body_len).unwrap_or(usize::MAX);
            let expected = body.get(from..).and_then(|rest| rest.get(..content.len()));
            self.body_differs |= expected != Some(content);
        }
        self.body_len += content.len() as u64;
    }

    /// Gathers header lines, and returns how many bytes of `content` belong to them.
    fn take_head(&mut self, content: &[u8]) -> usize {
        for (at, &byte) in content.iter().enumerate() {
            if self.head.len() == HEAD_LIMIT {
                // No header block: the verdict will say so. What follows need not be kept.
                return content.len();
            }
            self.head.push(byte);
            let ends = byte == b'\n' && {
                let line = &self.head[..self.head.len() - 1];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                line.is_empty() || line.ends_with(b"\n")
            };
            if ends {
                self.head_ended = true;
                return at + 1;
            }
        }
        content.len()
    }

    fn verdict(&self, expect: &Expect) -> Result<(), Fault> {
        if !self.head_ended {
            return Err(Fault::Head);
        }
        let status = self.status().ok_or(Fault::Head)?;
        if status != expect.status {
            return Err(Fault::Status(status));
        }
        match &expect.body {
            Some(body) if self.body_differs || body.len() as u64 != self.body_len => {
                Err(Fault::Body(self.body_len))
            }
            _ => Ok(()),
        }
    }

    /// RFC 3875, 6.3.3: without a `Status` header the status is 200.
    fn status(&self) -> Option<u16> {
        for line in self.head.split(|&byte| byte == b'\n') {
            if let Some((name, value)) = line.split_at_checked(b"Status:".len())
                && name.eq_ignore_ascii_case(b"Status:")
            {
                return std::str::from_utf8(value).ok()?.split_ascii_whitespace().next()?.parse().ok();
            }
        }
        Some(200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: Option<&[u8]>) -> Check {
        Check::new(Expect { body: body.map(Into::into), ..Expect::default() })
    }

    fn judge(check: &mut Check, output: &[u8], piece: usize) -> Result<bool, Fault> {
        let mut progress = Progress::default();
        check.begin(&mut progress);
        for content in output.chunks(piece) {
            check.output(&mut progress, content);
        }
        check.finish(&mut progress)
    }

    #[test]
    fn the_second_equal_reply_is_not_parsed_however_it_is_cut() {
        let reply = b"Content-Type: text/plain\r\n\r\nHello\n";
        for piece in 1..=reply.len() {
            let mut check = check(Some(b"Hello\n"));
            assert_eq!(judge(&mut check, reply, piece), Ok(false));
            for later in 1..=reply.len() {
                assert_eq!(judge(&mut check, reply, later), Ok(true));
            }
        }
    }

    #[test]
    fn a_header_that_varies_is_no_fault() {
        let mut check = check(Some(b"body"));
        assert_eq!(judge(&mut check, b"Date: 1\n\nbody", 99), Ok(false));
        assert_eq!(judge(&mut check, b"Date: 2\n\nbody", 99), Ok(false));
        assert_eq!(judge(&mut check, b"Date: 1\n\nbody", 99), Ok(true));
    }

    #[test]
    fn a_body_that_departs_from_the_golden_copy_is_found_wherever_it_departs() {
        let good = b"A: b\n\nbody";
        for piece in 1..=good.len() {
            for at in 6..good.len() {
                let mut check = check(Some(b"body"));
                assert_eq!(judge(&mut check, good, piece), Ok(false));
                let mut bad = good.to_vec();
                bad[at] ^= 1;
                assert_eq!(
                    judge(&mut check, &bad, piece),
                    Err(Fault::Body(4)),
                    "byte {at} in pieces of {piece}"
                );
                assert_eq!(judge(&mut check, &good[..at], piece), Err(Fault::Body(at as u64 - 6)));
                assert_eq!(judge(&mut check, b"A: b\n\nbodybody", piece), Err(Fault::Body(8)));
                assert_eq!(judge(&mut check, good, piece), Ok(true));
            }
        }
    }

    #[test]
    fn without_an_expected_body_any_body_will_do_but_the_status_counts() {
        let mut check = check(None);
        assert_eq!(judge(&mut check, b"A: b\n\none", 99), Ok(false));
        assert_eq!(judge(&mut check, b"A: b\n\ntwo", 99), Ok(false));
        assert_eq!(judge(&mut check, b"Status: 404 Not Found\n\none", 99), Err(Fault::Status(404)));
    }

    #[test]
    fn the_status_header_is_found_in_any_case_and_place() {
        for (reply, expected) in [
            (&b"status:200\r\n\r\n"[..], Ok(false)),
            (b"X: y\nSTATUS:   200 OK\n\n", Ok(false)),
            (b"\n", Ok(false)),
            (b"Status: 500\n\n", Err(Fault::Status(500))),
            (b"Status: five\n\n", Err(Fault::Head)),
            (b"Status: 200\n", Err(Fault::Head)),
            (b"", Err(Fault::Head)),
        ] {
            assert_eq!(judge(&mut check(Some(b"")), reply, 1), expected, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn a_bad_first_reply_does_not_become_the_golden_copy() {
        let mut check = check(Some(b"good"));
        assert_eq!(judge(&mut check, b"\nbad", 99), Err(Fault::Body(3)));
        assert_eq!(judge(&mut check, b"\nbad", 99), Err(Fault::Body(3)));
        assert_eq!(judge(&mut check, b"\ngood", 99), Ok(false));
        assert_eq!(judge(&mut check, b"\ngood", 99), Ok(true));
    }

    #[test]
    fn a_reply_too_long_for_a_golden_copy_is_checked_all_the_same() {
        let body = vec![b'x'; 3 * GOLDEN_LIMIT];
        let mut check = check(Some(&body));
        let mut reply = b"A: b\n\n".to_vec();
        reply.extend(&body);
        assert_eq!(judge(&mut check, &reply, 1000), Ok(false));
        assert_eq!(judge(&mut check, &reply, 60_000), Ok(false));
        *reply.last_mut().unwrap() = b'y';
        assert_eq!(judge(&mut check, &reply, 1000), Err(Fault::Body(body.len() as u64)));
    }

    #[test]
    fn headers_without_end_take_bounded_memory() {
        let mut check = check(None);
        let mut progress = Progress::default();
        check.begin(&mut progress);
        for _ in 0..100 {
            check.output(&mut progress, &[b'h'; 10_000]);
        }
        assert!(progress.scan.head.len() <= HEAD_LIMIT && progress.scan.raw.len() <= GOLDEN_LIMIT);
        assert_eq!(check.finish(&mut progress), Err(Fault::Head));
    }
}
