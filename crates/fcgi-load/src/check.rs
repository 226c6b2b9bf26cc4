//! Is this reply the right one? Fast where it equals an earlier good reply byte for byte, in full where it does not.
//!
//! A good reply that came in one piece becomes the golden copy, records, padding and all, with its id replaced by
//! every id in use; or, in HTTP, head, chunk sizes and all. While later replies equal it, one comparison settles each. One
//! that departs from it (its `Date` went on by a second, it was cut by a read, its records alternate with another's) is
//! parsed, so the verdict never depends on the shortcut.

use crate::request::Expect;

/// A golden copy that so many replies departed from is replaced by the next good reply. One that always varies thus
/// costs next to nothing. With one stream a golden copy that was of use is replaced at the first.
const MISSES: u32 = 1000;

/// The longest CGI header block taken for one.
const HEAD_LIMIT: usize = 64 << 10;

/// What every reply to a request is held against.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) expect: Expect,
    streams: usize,
    /// A whole good reply under the ids 1, 2, 3 and so on, one after the other.
    golden: Vec<u8>,
    golden_len: usize,
    /// Golden copies under all ids are kept if together they are no longer than this. Parsing a longer reply costs nothing
    /// beside moving it.
    golden_limit: usize,
    misses: u32,
    /// How many replies had been completed when one was last parsed.
    completed: u64,
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
    pub(crate) fn new(expect: Expect, streams: u16, golden_limit: usize) -> Self {
        Self {
            expect,
            streams: streams.into(),
            golden: Vec::new(),
            golden_len: 0,
            golden_limit,
            // The first good reply is to be learnt from.
            misses: MISSES,
            completed: 0,
        }
    }

    /// If `input` begins with the whole golden copy under id `index + 1`, its length.
    #[inline]
    pub(crate) fn golden(&self, index: usize, input: &[u8]) -> Option<usize> {
        let golden = self.golden.get(index * self.golden_len..(index + 1) * self.golden_len)?;
        (input.starts_with(golden) && !golden.is_empty()).then_some(golden.len())
    }

    /// Told of each good reply that was parsed, and of how many to the same request were good before it. `reply` is all of
    /// its bytes, if they came in one piece and the next reply may be the same.
    pub(crate) fn learn(&mut self, reply: Option<&[u8]>, completed: u64) {
        self.misses = self.misses.saturating_add(1);
        // The golden copy settled some since the last that was parsed, and so is good until the next `Date`: worth the one
        // copy that there is. (A later run counts from 0.)
        if self.streams == 1 && completed.wrapping_sub(self.completed) > 1 {
            self.misses = MISSES;
        }
        self.completed = completed;
        let Some(reply) = reply.filter(|reply| reply.len() * self.streams <= self.golden_limit) else {
            return;
        };
        if self.misses < MISSES {
            return;
        }
        self.misses = 0;
        self.golden_len = reply.len();
        self.golden.clear();
        if self.streams == 1 {
            // It came under the only id there is; and in HTTP there is none.
            self.golden.extend_from_slice(reply);
            return;
        }
        for id in 1..=self.streams as u16 {
            let base = self.golden.len();
            self.golden.extend_from_slice(reply);
            let mut rest = &mut self.golden[base..];
            // Section 3.3: version, type, id (2), content length (2), padding length, reserved.
            while let [_, _, high, low, length_high, length_low, padding, _, ..] = rest {
                [*high, *low] = id.to_be_bytes();
                let length =
                    usize::from(u16::from_be_bytes([*length_high, *length_low])) + usize::from(*padding);
                rest = rest.get_mut(8 + length..).unwrap_or_default();
            }
        }
    }
}

/// A reply's output parsed as it arrives. The body is compared in passing and never gathered.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The header block, up to and with its empty line.
    head: Vec<u8>,
    head_ended: bool,
    /// The status, where it was not the header block that said it.
    status: Option<u16>,
    body_len: u64,
    body_differs: bool,
}

impl Scan {
    /// Ready for the next reply.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.head.clear();
        self.head_ended = false;
        self.status = None;
        self.body_len = 0;
        self.body_differs = false;
    }

    /// Ready for the next reply, whose head was read elsewhere: the output is its body alone.
    pub(crate) fn reset_with(&mut self, status: u16) {
        self.reset();
        self.head_ended = true;
        self.status = Some(status);
    }

    /// Takes the next piece of a reply's output.
    #[inline]
    pub(crate) fn output(&mut self, mut content: &[u8], expect: &Expect) {
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

    /// The verdict at the end of the output.
    pub(crate) fn verdict(&self, expect: &Expect) -> Result<(), Fault> {
        if !self.head_ended {
            return Err(Fault::Head);
        }
        let status = self.status.or_else(|| self.cgi_status()).ok_or(Fault::Head)?;
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
    fn cgi_status(&self) -> Option<u16> {
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

    const GOLDEN_LIMIT: usize = 4096;

    fn expect(body: Option<&[u8]>) -> Expect {
        Expect { body: body.map(Into::into), ..Expect::default() }
    }

    fn judge(expect: &Expect, output: &[u8], piece: usize) -> Result<(), Fault> {
        let mut scan = Scan::default();
        scan.output(b"Status: 999 of an earlier reply", expect);
        scan.reset();
        for content in output.chunks(piece) {
            scan.output(content, expect);
        }
        scan.verdict(expect)
    }

    #[test]
    fn a_wrong_body_is_found_wherever_it_departs_and_however_it_is_cut() {
        let good = b"A: b\r\n\r\nbody";
        let expect = expect(Some(b"body"));
        for piece in 1..=good.len() {
            assert_eq!(judge(&expect, good, piece), Ok(()));
            for at in 8..good.len() {
                let mut bad = good.to_vec();
                bad[at] ^= 1;
                assert_eq!(
                    judge(&expect, &bad, piece),
                    Err(Fault::Body(4)),
                    "byte {at} in pieces of {piece}"
                );
                assert_eq!(judge(&expect, &good[..at], piece), Err(Fault::Body(at as u64 - 8)));
            }
            assert_eq!(judge(&expect, b"A: b\n\nbodybody", piece), Err(Fault::Body(8)));
        }
    }

    #[test]
    fn without_an_expected_body_any_body_will_do_but_the_status_counts() {
        assert_eq!(judge(&expect(None), b"A: b\n\none", 99), Ok(()));
        assert_eq!(judge(&expect(None), b"Status: 404 Not Found\n\none", 99), Err(Fault::Status(404)));
    }

    #[test]
    fn the_status_header_is_found_in_any_case_and_place() {
        for (reply, expected) in [
            (&b"status:200\r\n\r\n"[..], Ok(())),
            (b"X: y\nSTATUS:   200 OK\n\n", Ok(())),
            (b"\n", Ok(())),
            (b"Status: 500\n\n", Err(Fault::Status(500))),
            (b"Status: five\n\n", Err(Fault::Head)),
            (b"Status: 200\n", Err(Fault::Head)),
            (b"", Err(Fault::Head)),
        ] {
            assert_eq!(judge(&expect(Some(b"")), reply, 1), expected, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn headers_without_end_take_bounded_memory() {
        let mut scan = Scan::default();
        for _ in 0..100 {
            scan.output(&[b'h'; 10_000], &expect(None));
        }
        assert!(scan.head.len() <= HEAD_LIMIT);
        assert_eq!(scan.verdict(&expect(None)), Err(Fault::Head));
    }

    #[rustfmt::skip]
    const REPLY: [u8; 40] = [
        1, 6, 0, 2, 0, 5, 3, 0,   b'a', b'\n', b'\n', 0, 2, 0, 2, 0, // content that looks like an id
        1, 6, 0, 2, 0, 0, 0, 0,
        1, 3, 0, 2, 0, 8, 0, 0,   0, 0, 0, 0, 0, 0, 0, 0,
    ];

    fn under(id: u8) -> [u8; 40] {
        let mut reply = REPLY;
        for at in [3, 19, 27] {
            reply[at] = id;
        }
        reply
    }

    #[test]
    fn a_learnt_reply_is_known_again_under_every_id_and_no_other() {
        let mut check = Check::new(expect(None), 3, GOLDEN_LIMIT);
        assert_eq!(check.golden(0, &REPLY), None);
        check.learn(Some(&REPLY), 0);
        for id in 1..=3 {
            let mut input = under(id).to_vec();
            input.extend(b"more");
            assert_eq!(check.golden(usize::from(id) - 1, &input), Some(40));
            assert_eq!(check.golden(usize::from(id) % 3, &input), None);
            assert_eq!(check.golden(usize::from(id) - 1, &input[..39]), None);
        }
        assert_eq!(check.golden(3, &under(4)), None);
    }

    #[test]
    fn any_byte_that_differs_sends_a_reply_the_long_way() {
        let mut check = Check::new(expect(None), 2, GOLDEN_LIMIT);
        check.learn(Some(&REPLY), 0);
        for at in 0..REPLY.len() {
            let mut reply = REPLY;
            reply[at] ^= 1;
            assert_eq!(check.golden(1, &reply), None, "byte {at}");
        }
    }

    #[test]
    fn a_golden_copy_that_went_stale_is_replaced() {
        let mut check = Check::new(expect(None), 2, GOLDEN_LIMIT);
        check.learn(None, 0);
        check.learn(Some(&REPLY), 1);
        let mut later = REPLY;
        later[8] = b'b';
        for completed in 2..=MISSES {
            check.learn(Some(&later), completed.into());
        }
        assert_eq!((check.golden(1, &REPLY), check.golden(1, &later)), (Some(40), None));
        check.learn(Some(&later), 5000);
        assert_eq!((check.golden(1, &REPLY), check.golden(1, &later)), (None, Some(40)));
    }

    #[test]
    fn with_one_stream_a_golden_copy_that_was_of_use_is_replaced_at_once_and_another_is_not() {
        let reply = |date: u8| [b'D', date];
        let mut check = Check::new(expect(None), 1, GOLDEN_LIMIT);
        check.learn(Some(&reply(1)), 0);
        check.learn(Some(&reply(2)), 1);
        assert_eq!(check.golden(0, &reply(1)), Some(2), "replies that vary each time");
        // Eight were settled by it.
        check.learn(Some(&reply(3)), 10);
        assert_eq!((check.golden(0, &reply(1)), check.golden(0, &reply(3))), (None, Some(2)));
        // The first with another date came in two pieces.
        check.learn(None, 20);
        check.learn(Some(&reply(4)), 21);
        assert_eq!(check.golden(0, &reply(4)), Some(2));
        check.learn(Some(&reply(5)), 22);
        assert_eq!(check.golden(0, &reply(4)), Some(2));
    }

    #[test]
    fn a_long_reply_is_not_learnt() {
        let mut check = Check::new(expect(None), 2, GOLDEN_LIMIT);
        check.learn(Some(&vec![0; GOLDEN_LIMIT / 2 + 1]), 0);
        assert!(check.golden.is_empty());
    }
}
