//! Records for ids that are not active: ignored, all of them, except for BEGIN_REQUEST (section 3.3).

use super::Run;
use crate::case::Case;
use crate::case::Level::{ImplementationDefined, Required, Robustness};
use crate::context::{Context, QUIET, failed, passed, reported};
use crate::wire::{
    self, ABORT_REQUEST, DATA, END_REQUEST, GET_VALUES, PARAMS, STDIN, STDOUT, abort_request, record, stream,
};

const IGNORED: &str =
    "While a request id is inactive, the application ignores records with it, except for BEGIN_REQUEST";

pub(super) const CASES: &[Case] = &[
    Case::new("stdin-for-an-id-that-never-began-is-ignored", "3.3", Required, IGNORED, |cx| {
        ignored_before(cx, &stream(STDIN, 5, b"nobody's body", 4))
    }),
    Case::new("params-for-an-id-that-never-began-are-ignored", "3.3", Required, IGNORED, |cx| {
        ignored_before(cx, &stream(PARAMS, 5, &wire::pair(b"SCRIPT_NAME", b"/nobody"), 6))
    }),
    Case::new("data-for-an-id-that-never-began-is-ignored", "3.3", Required, IGNORED, |cx| {
        ignored_before(cx, &stream(DATA, 5, b"nobody's data", 4))
    }),
    Case::new("unknown-types-for-an-inactive-id-are-ignored", "3.3", Required, IGNORED, |cx| {
        let records: Vec<u8> =
            [0, 12, 99, 255].iter().flat_map(|kind| record(*kind, 5, b"content", 1)).collect();
        ignored_before(cx, &records)
    }),
    Case::new("types-of-applications-for-an-inactive-id-are-ignored", "3.3", Required, IGNORED, |cx| {
        let records = [record(STDOUT, 5, b"out", 0), record(END_REQUEST, 5, &[0; 8], 0)].concat();
        ignored_before(cx, &records)
    }),
    Case::new("the-id-of-the-next-request-is-inactive-until-it-begins", "3.3", Required, IGNORED, |cx| {
        ignored_before(
            cx,
            &[record(PARAMS, 1, &wire::pair(b"A", b"b"), 0), stream(STDIN, 1, b"early", 9)].concat(),
        )
    }),
    Case::new(
        "records-before-begin-request-are-no-part-of-the-request",
        "3.3",
        Required,
        "What came for an id before its BEGIN_REQUEST belongs to no request",
        |cx| {
            let request = cx.get("/params").keep().id(3);
            let early =
                [record(PARAMS, 3, &wire::pair(b"HTTP_EARLY", b"x"), 0), record(STDIN, 3, b"early", 0)];
            let mut peer = cx.open()?;
            peer.send(&[early.concat(), request.bytes()].concat())?;
            peer.response(3)?.expect_body(&request.params_as_text())?;
            let echo = cx.get("/echo").keep().id(3).body("late");
            peer.send(&[record(STDIN, 3, b"early", 0), echo.bytes()].concat())?;
            peer.response(3)?.expect_body(b"late")?;
            passed()
        },
    )
    .workload(),
    Case::new("records-of-another-id-within-a-request-are-ignored", "3.3", Required, IGNORED, |cx| {
        let request = cx.plain().keep().body("0123456789");
        let other =
            [stream(PARAMS, 9, b"\x01\x01Ab", 4), stream(STDIN, 9, b"other", 2), abort_request(9)].concat();
        let pieces = [
            request.begin_bytes(),
            other.clone(),
            request.params_bytes(),
            other.clone(),
            record(STDIN, 1, b"01234", 0),
            other,
            record(STDIN, 1, b"56789", 0),
            record(STDIN, 1, &[], 0),
        ];
        let mut peer = cx.open()?;
        peer.send(&pieces.concat())?;
        peer.response(1)?.expect_complete()?;
        peer.expect_quiet(QUIET)?;
        cx.serve_on(&mut peer, 1)?;
        passed()
    })
    .quick(),
    Case::new(
        "records-of-another-id-do-not-change-a-request",
        "3.3",
        Required,
        "Records for an inactive id between those of a request are no part of its body",
        |cx| {
            let request = cx.get("/echo").keep().body("0123456789");
            let mut bytes = [request.begin_bytes(), request.params_bytes()].concat();
            for byte in request.content() {
                bytes.extend(record(STDIN, 1, &[*byte], 0));
                bytes.extend(record(STDIN, 2, b"!", 7));
                bytes.extend(record(STDIN, 257, b"", 0));
            }
            bytes.extend(record(STDIN, 1, &[], 0));
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            peer.response(1)?.expect_body(request.content())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "params-of-another-id-are-not-those-of-a-request",
        "3.3",
        Required,
        "PARAMS for an inactive id between BEGIN_REQUEST and the end of its PARAMS are no parameters of a request",
        |cx| {
            let request = cx.get("/hello").keep();
            let answer = |cx: &mut Context<'_>, others: &[u8]| {
                let ends = [record(PARAMS, 1, &[], 0), record(STDIN, 1, &[], 0)].concat();
                let mut peer = cx.open()?;
                peer.send(&[&request.begin_bytes(), others, &ends].concat())?;
                peer.response(1)
            };
            let without_any = answer(cx, &[])?;
            let with_others = answer(cx, &record(PARAMS, 2, &request.pairs(), 0))?;
            match (without_any.status(), with_others.status()) {
                (expected, status) if status == expected => passed(),
                (expected, status) => failed(format!("Status {status}, expected {expected}")),
            }
        },
    )
    .workload(),
    Case::new("stdin-after-the-end-is-ignored", "3.3", Required, IGNORED, |cx| {
        let mut peer = cx.open()?;
        for _ in 0..5 {
            cx.serve_on(&mut peer, 1)?;
            peer.send(&stream(STDIN, 1, b"late", 4))?;
        }
        peer.expect_quiet(QUIET)?;
        cx.serve_on(&mut peer, 1)?;
        passed()
    }),
    Case::new("params-after-the-end-are-ignored", "3.3", Required, IGNORED, |cx| {
        let mut peer = cx.open()?;
        cx.serve_on(&mut peer, 1)?;
        peer.send(&[cx.plain().params_bytes(), stream(STDIN, 1, b"", 1)].concat())?;
        peer.expect_quiet(QUIET)?;
        cx.serve_on(&mut peer, 1)?;
        passed()
    }),
    Case::new("a-large-record-for-an-inactive-id-is-skipped", "3.3", Required, IGNORED, |cx| {
        ignored_before(cx, &record(STDIN, 6, &vec![1; 65_535], 255))
    }),
    Case::new(
        "ten-thousand-records-for-inactive-ids-are-skipped",
        "3.3",
        Robustness,
        "Records for inactive ids leave nothing behind, however many come",
        |cx| {
            let mut peer = cx.open()?;
            for id in 1..=10_000 {
                peer.send(&[record(STDIN, id, b"x", 7), record(ABORT_REQUEST, id, &[], 0)].concat())?;
            }
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "begin-request-makes-an-id-active-after-all",
        "3.3",
        Required,
        "BEGIN_REQUEST for an inactive id is not ignored, whatever came for it before",
        |cx| {
            let mut peer = cx.open()?;
            for id in [4, 5, 4] {
                peer.send(&[stream(STDIN, id, b"early", 5), abort_request(id)].concat())?;
                cx.serve_on(&mut peer, id)?;
            }
            passed()
        },
    ),
    Case::new(
        "params-after-the-end-of-params",
        "3.3",
        ImplementationDefined,
        "Nothing is said about records of a stream that has ended, for a request that is active",
        |cx| {
            let request = cx.plain().keep();
            let late = record(PARAMS, 1, &wire::pair(b"HTTP_LATE", b"x"), 0);
            let mut peer = cx.open()?.lenient();
            peer.send(
                &[request.begin_bytes(), request.params_bytes(), late, request.stdin_bytes()].concat(),
            )?;
            match peer.response(1) {
                Ok(response) => {
                    reported(format!("the request is answered with status {}", response.status()))
                }
                Err(_) => reported("the request is not answered"),
            }
        },
    ),
    Case::new(
        "an-unknown-type-for-an-active-id",
        "3.3",
        ImplementationDefined,
        "Nothing is said about application records of an unknown type",
        |cx| {
            let request = cx.plain().keep();
            let odd = record(99, 1, b"odd", 5);
            let query = record(GET_VALUES, 1, b"\x01\x00A", 5);
            let mut peer = cx.open()?.lenient();
            let pieces = [request.begin_bytes(), odd, query, request.params_bytes(), request.stdin_bytes()];
            peer.send(&pieces.concat())?;
            match peer.response(1) {
                Ok(_) => reported("it is ignored, and the request is served"),
                Err(_) => reported("the request is not answered"),
            }
        },
    ),
];

/// These records are ignored at the beginning of a connection and between requests: nothing comes, requests are served.
fn ignored_before(cx: &mut Context<'_>, records: &[u8]) -> Run {
    let mut peer = cx.open()?;
    for _ in 0..2 {
        peer.send(records)?;
        peer.expect_quiet(QUIET)?;
        cx.serve_on(&mut peer, 1)?;
    }
    passed()
}
