//! Bytes that are no FastCGI, and records that make no sense: deterministic, repeatable from `--seed`.

use std::time::Duration;

use super::Run;
use crate::case::Case;
use crate::case::Level::Robustness;
use crate::context::{Context, passed};
use crate::rng::Rng;
use crate::wire::{self, BEGIN_REQUEST, GET_VALUES, PARAMS, STDIN, begin_request, record};

const SURVIVES: &str = "Bytes that make no sense do no harm to anything but their own connection";

pub(super) const CASES: &[Case] = &[
    Case::new("random-bytes-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(1);
        for _ in 0..100 {
            let count = 1 + rng.below(4_096);
            throw(cx, &rng.bytes(count))?;
        }
        passed()
    })
    .patience(4),
    Case::new("an-http-request-is-survived", "3.3", Robustness, SURVIVES, |cx| {
        throw(cx, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    }),
    Case::new("a-tls-client-hello-is-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        hello.extend(cx.rng(2).bytes(506));
        throw(cx, &hello)
    }),
    Case::new("zeros-are-survived", "3.3", Robustness, SURVIVES, |cx| throw(cx, &[0; 200_000])),
    Case::new("ones-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        throw(cx, &[1; 200_000])?;
        throw(cx, &[0xff; 200_000])
    }),
    Case::new("records-of-random-types-and-ids-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(3);
        for _ in 0..100 {
            let count = 1 + rng.below(40);
            let bytes: Vec<u8> = (0..count).flat_map(|_| any_record(&mut rng)).collect();
            throw(cx, &bytes)?;
        }
        passed()
    })
    .patience(4),
    Case::new("plausible-records-in-random-order-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(4);
        for _ in 0..100 {
            let count = 1 + rng.below(60);
            let bytes: Vec<u8> = (0..count).flat_map(|_| plausible_record(&mut rng)).collect();
            throw(cx, &bytes)?;
        }
        passed()
    })
    .patience(4),
    Case::new("requests-with-flipped-bits-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(5);
        let request = cx.plain().body("0123456789").bytes();
        for _ in 0..150 {
            let mut bytes = request.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            throw(cx, &bytes)?;
        }
        passed()
    })
    .patience(5),
    Case::new("requests-with-bytes-cut-out-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(6);
        let request = cx.plain().body("0123456789").bytes();
        for _ in 0..100 {
            let from = rng.below(request.len());
            let to = from + rng.below(request.len() - from);
            throw(cx, &[&request[..from], &request[to..]].concat())?;
        }
        passed()
    })
    .patience(4),
    Case::new("requests-with-bytes-put-in-are-survived", "3.3", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(7);
        let request = cx.plain().body("0123456789").bytes();
        for _ in 0..100 {
            let at = rng.below(request.len());
            let count = 1 + rng.below(12);
            throw(cx, &[&request[..at], &rng.bytes(count), &request[at..]].concat())?;
        }
        passed()
    })
    .patience(4),
    Case::new("params-of-random-bytes-are-survived", "3.4", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(8);
        for _ in 0..100 {
            let count = rng.below(300);
            let content = rng.bytes(count);
            throw(cx, &cx.plain().bytes_with_params(&wire::stream(PARAMS, 1, &content, 1 + rng.below(99))))?;
        }
        passed()
    })
    .patience(4),
    Case::new("queries-of-random-bytes-are-survived", "4.1", Robustness, SURVIVES, |cx| {
        let mut rng = cx.rng(9);
        for _ in 0..50 {
            let count = rng.below(200);
            let query = record(GET_VALUES, 0, &rng.bytes(count), rng.byte());
            throw(cx, &query)?;
        }
        passed()
    })
    .patience(3),
    Case::new("begin-requests-of-every-length-are-survived", "5.1", Robustness, SURVIVES, |cx| {
        for length in [0, 1, 2, 3, 7, 9, 16, 255, 65_535] {
            let begin = record(BEGIN_REQUEST, 1, &vec![1; length], 0);
            let request = cx.plain();
            throw(cx, &[begin, request.params_bytes(), request.stdin_bytes()].concat())?;
        }
        passed()
    })
    .patience(2),
    Case::new("a-thousand-begin-requests-are-survived", "5.1", Robustness, SURVIVES, |cx| {
        let bytes: Vec<u8> = (1..=1_000).flat_map(|id| begin_request(id, 1, 1)).collect();
        throw(cx, &bytes)
    }),
    Case::new("every-id-begun-at-once-is-survived", "5.1", Robustness, SURVIVES, |cx| {
        let bytes: Vec<u8> = (1..=u16::MAX).flat_map(|id| begin_request(id, 1, 1)).collect();
        throw(cx, &bytes)
    }),
    Case::new("a-record-longer-than-what-comes-is-survived", "3.3", Robustness, SURVIVES, |cx| {
        for kind in [BEGIN_REQUEST, PARAMS, STDIN, GET_VALUES, 99] {
            throw(cx, &[1, kind, 0, u8::from(kind < GET_VALUES), 0xff, 0xff, 0xff, 0, b'x'])?;
        }
        passed()
    }),
];

/// Sends bytes, ends this side, and reads whatever comes for a moment.
fn throw(cx: &mut Context<'_>, bytes: &[u8]) -> Run {
    let mut peer = cx.open()?.lenient();
    peer.send_without_reading(bytes, Duration::from_millis(50));
    peer.half_close();
    peer.drain(Duration::from_millis(100));
    passed()
}

/// A record with a correct length and nothing else that is sure to make sense.
fn any_record(rng: &mut Rng) -> Vec<u8> {
    let id = rng.pick(&[0, 0, 1, 1, 1, 2, 255, 256, 65_535]);
    let kind = if rng.below(3) == 0 { rng.byte() } else { 1 + rng.byte() % 11 };
    let length = rng.pick(&[0, 1, 7, 8, 9, 100, 5_000]);
    let padding = rng.pick(&[0, 0, 1, 7, 255]);
    let content = rng.bytes(length);
    record(kind, id, &content, padding)
}

/// A record that a web server could send, at a place where it perhaps could not.
fn plausible_record(rng: &mut Rng) -> Vec<u8> {
    let id = rng.pick(&[1, 2, 3]);
    match rng.below(9) {
        0 | 1 => begin_request(id, rng.pick(&[1, 1, 1, 2, 3, 4]), rng.pick(&[0, 1])),
        2 => record(PARAMS, id, &wire::pair(b"SCRIPT_NAME", b"/hello"), 0),
        3 => record(PARAMS, id, &[], 0),
        4 => record(STDIN, id, b"some body", 7),
        5 => record(STDIN, id, &[], 0),
        6 => wire::abort_request(id),
        7 => wire::get_values(&["FCGI_MPXS_CONNS"]),
        _ => any_record(rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_records_again() {
        let records = |seed| -> Vec<u8> {
            let mut rng = Rng::new(seed);
            (0..50).flat_map(|_| plausible_record(&mut rng)).collect()
        };
        assert_eq!(records(1), records(1));
        assert_ne!(records(1), records(2));
    }
}
