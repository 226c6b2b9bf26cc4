//! Bytes in, answers out.

use std::mem;
use std::sync::OnceLock;

/// `/hello`, as every strategy answers it: STDOUT, its end, END_REQUEST (spec 3.3, 5.3, 5.5), with no request id yet.
const ANSWER: &[u8; 96] = b"\
    \x01\x06\0\0\x00\x3d\x03\0Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n\0\0\0\
    \x01\x06\0\0\x00\x00\x00\0\
    \x01\x03\0\0\x00\x08\x00\0\0\0\0\0\0\0\0\0";
/// Where the two bytes of the id stand in it.
const IDS: [usize; 3] = [2, 74, 82];

/// The longest first request that is learnt from.
const LONGEST: usize = 64 << 10;

/// What all requests of this process have in common.
#[derive(Clone, Copy)]
struct Requests {
    length: usize,
    /// FCGI_KEEP_CONN is 0 (spec 5.1).
    close: bool,
}

static REQUESTS: OnceLock<Requests> = OnceLock::new();

/// What is to be done with a connection when the answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Read,
    Close,
}

/// How much of a request has come on one connection.
#[derive(Default)]
pub(crate) struct Count {
    bytes: usize,
    id: [u8; 2],
    /// The beginning of the connection, until the length of a request is known.
    first: Vec<u8>,
}

impl Count {
    /// Whether the connection is between two requests.
    pub(crate) fn is_idle(&self) -> bool {
        self.bytes == 0 && self.first.is_empty()
    }

    /// Appends an answer for each request that `input` completes.
    #[inline]
    pub(crate) fn take(&mut self, input: &[u8], answers: &mut Vec<u8>) -> Then {
        match REQUESTS.get() {
            Some(requests) if self.first.is_empty() => self.answer(requests, input, answers),
            _ => self.learn(input, answers),
        }
    }

    #[inline]
    fn answer(&mut self, requests: &Requests, mut input: &[u8], answers: &mut Vec<u8>) -> Then {
        while !input.is_empty() {
            // The id is in the first header, which may be cut anywhere.
            for (byte, place) in self.id.iter_mut().zip(2..) {
                if let Some(at) = usize::checked_sub(place, self.bytes) {
                    *byte = input.get(at).copied().unwrap_or(*byte);
                }
            }
            let taken = input.len().min(requests.length - self.bytes);
            input = &input[taken..];
            self.bytes += taken;
            if self.bytes == requests.length {
                self.bytes = 0;
                let start = answers.len();
                answers.extend_from_slice(ANSWER);
                for at in IDS {
                    answers[start + at..][..2].copy_from_slice(&self.id);
                }
                if requests.close {
                    return Then::Close;
                }
            }
        }
        Then::Read
    }

    #[cold]
    fn learn(&mut self, input: &[u8], answers: &mut Vec<u8>) -> Then {
        self.first.extend_from_slice(input);
        if REQUESTS.get().is_none() {
            match first_request(&self.first) {
                Some(requests) => {
                    // Another thread may have been first.
                    let _ = REQUESTS.set(requests);
                }
                None if is_begin(&self.first) && self.first.len() < LONGEST => return Then::Read,
                None => return Then::Close,
            }
        }
        let Some(requests) = REQUESTS.get() else { return Then::Close };
        let first = mem::take(&mut self.first);
        self.answer(requests, &first, answers)
    }
}

/// Whether this may be the beginning of a request: it is not, where a peer asks for values first (spec 4.1).
fn is_begin(bytes: &[u8]) -> bool {
    bytes.iter().zip([1, 1]).all(|(byte, expected)| *byte == expected)
}

/// The request at the front of `bytes`, once its end has come: the empty STDIN record (spec 3.3, 6.2).
fn first_request(bytes: &[u8]) -> Option<Requests> {
    const STDIN: u8 = 5;

    let close = bytes.get(10)? & 1 == 0;
    let mut at = 0;
    while let Some(&[_, kind, _, _, length1, length0, padding, _]) = bytes.get(at..at + 8) {
        let content = usize::from(u16::from_be_bytes([length1, length0]));
        at += 8 + content + usize::from(padding);
        if kind == STDIN && content == 0 {
            return (is_begin(bytes) && at <= bytes.len()).then_some(Requests { length: at, close });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const REQUEST: [u8; 48] = [
        1, 1, 0x12, 0x34, 0, 8, 0, 0,   0, 1, 1, 0, 0, 0, 0, 0,             // BEGIN_REQUEST, KEEP_CONN
        1, 4, 0x12, 0x34, 0, 5, 3, 0,   1, 2, b'A', b'b', b'c', 0, 0, 0,    // PARAMS, padded
        1, 4, 0x12, 0x34, 0, 0, 0, 0,
        1, 5, 0x12, 0x34, 0, 0, 0, 0,
    ];

    fn answer(id: [u8; 2]) -> Vec<u8> {
        let mut answer = ANSWER.to_vec();
        // Every record's header, found by its length.
        let mut at = 0;
        while at < answer.len() {
            assert_eq!(answer[at], 1);
            answer[at + 2..at + 4].copy_from_slice(&id);
            at += 8 + usize::from(answer[at + 5]) + usize::from(answer[at + 6]);
        }
        assert_eq!(at, ANSWER.len());
        answer
    }

    #[test]
    fn each_request_is_answered_under_its_id_however_it_is_cut() {
        let mut bytes = [REQUEST, REQUEST].concat();
        for at in [48, 64, 80, 88] {
            bytes[at + 2..at + 4].copy_from_slice(&[0xab, 0xcd]);
        }
        let expected = [answer([0x12, 0x34]), answer([0xab, 0xcd])].concat();
        for piece in 1..bytes.len() {
            let (mut count, mut answers) = (Count::default(), Vec::new());
            for input in bytes.chunks(piece) {
                assert_eq!(count.take(input, &mut answers), Then::Read);
            }
            assert!(count.is_idle());
            assert_eq!(answers, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn the_first_request_tells_length_and_end() {
        let requests = first_request(&[REQUEST, REQUEST].concat()).unwrap();
        assert!(requests.length == REQUEST.len() && !requests.close);
        for end in 0..REQUEST.len() {
            assert!(first_request(&REQUEST[..end]).is_none(), "cut at {end}");
        }
        let mut closing = REQUEST;
        closing[10] = 0;
        assert!(first_request(&closing).unwrap().close);
    }

    #[test]
    fn nothing_is_learnt_from_what_is_no_request() {
        assert!(is_begin(&[]) && is_begin(&[1]) && is_begin(&[1, 1, 0]));
        assert!(!is_begin(b"GET / HTTP/1.1") && !is_begin(&[1, 9, 0, 0]));
        let mut other = REQUEST;
        other[1] = 9;
        assert!(first_request(&other).is_none());
    }
}
