//! `FCGI_ABORT_REQUEST` at every stage of a request (section 5.4).

use std::time::Duration;

use super::Run;
use crate::case::Case;
use crate::case::Level::{ImplementationDefined, Required, Robustness};
use crate::context::{Context, QUIET, failed, passed, reported};
use crate::peer::Peer;
use crate::request::Request;
use crate::wire::{PARAMS, STDIN, abort_request, padded_record, record};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "an-abort-before-params-ends-the-request",
        "5.4",
        Required,
        "After ABORT_REQUEST the application responds as soon as possible by END_REQUEST with REQUEST_COMPLETE",
        |cx| abort_after(cx, Stage::Begin),
    ),
    Case::new(
        "an-abort-within-params-ends-the-request",
        "5.4",
        Required,
        "After ABORT_REQUEST the application responds as soon as possible by END_REQUEST with REQUEST_COMPLETE",
        |cx| abort_after(cx, Stage::HalfOfParams),
    ),
    Case::new(
        "an-abort-before-stdin-ends-the-request",
        "5.4",
        Required,
        "After ABORT_REQUEST the application responds as soon as possible by END_REQUEST with REQUEST_COMPLETE",
        |cx| abort_after(cx, Stage::Params),
    ),
    Case::new(
        "an-abort-within-stdin-ends-the-request",
        "5.4",
        Required,
        "After ABORT_REQUEST the application responds as soon as possible by END_REQUEST with REQUEST_COMPLETE",
        |cx| abort_after(cx, Stage::HalfOfStdin),
    )
    .quick(),
    Case::new(
        "an-abort-while-the-request-waits-ends-it",
        "5.4",
        Required,
        "The application responds to ABORT_REQUEST as soon as possible, not when its wait is over",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get(&cx.long_wait()).keep().bytes())?;
            peer.expect_quiet(QUIET)?;
            peer.send(&abort_request(1))?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET)?;
            passed()
        },
    )
    .aborting()
    .quick(),
    Case::new(
        "an-abort-ends-a-stream-of-chunks",
        "5.4",
        Required,
        "An application that is sending stops and responds to ABORT_REQUEST by END_REQUEST",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/stream?chunks=100000&ms=20").keep().bytes())?;
            peer.first_output(1)?;
            peer.send(&abort_request(1))?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    )
    .aborting(),
    Case::new(
        "an-abort-ends-a-long-answer",
        "5.4",
        Required,
        "An application that has much to send responds to ABORT_REQUEST by END_REQUEST once what it has sent is read",
        |cx| {
            let mut peer = cx.open()?;
            // More than a server may hold back, so that it is still sending when the abort comes.
            peer.send(&cx.get("/bytes?n=2000000000").keep().bytes())?;
            peer.first_output(1)?;
            peer.send(&abort_request(1))?;
            let response = peer.response(1)?;
            response.expect_complete()?;
            if response.stdout_length >= 2_000_000_000 {
                return failed("all of the answer was sent");
            }
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    )
    .aborting(),
    Case::new(
        "an-abort-after-the-end-is-ignored",
        "3.3",
        Required,
        "END_REQUEST makes the id inactive: an ABORT_REQUEST that crosses it on the way is ignored",
        |cx| {
            let mut peer = cx.open()?;
            cx.serve_on(&mut peer, 1)?;
            peer.send(&abort_request(1))?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "a-request-that-is-aborted-twice-ends-once",
        "5.4",
        Required,
        "The second ABORT_REQUEST is for an inactive id and is ignored",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[cx.plain().keep().begin_bytes(), abort_request(1), abort_request(1)].concat())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "a-waiting-request-that-is-aborted-twice-ends-once",
        "5.4",
        Required,
        "Two ABORT_REQUEST records while the application waits bring one END_REQUEST",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get(&cx.long_wait()).keep().bytes())?;
            peer.expect_quiet(QUIET)?;
            peer.send(&abort_request(1).repeat(2))?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    )
    .aborting(),
    Case::new(
        "an-abort-for-an-unknown-id-is-ignored",
        "3.3",
        Required,
        "While an id is inactive, records with it are ignored",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[abort_request(1), abort_request(77), abort_request(65_535)].concat())?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "an-abort-for-an-unknown-id-within-a-request-is-ignored",
        "3.3",
        Required,
        "An ABORT_REQUEST for an inactive id does not touch the request that is active",
        |cx| {
            let request = cx.plain().keep().body("0123456789");
            let expected = cx.serve(&cx.plain().body("0123456789"))?.status();
            let mut peer = cx.open()?;
            for id in [2, 256, 257] {
                let abort = abort_request(id);
                let pieces =
                    [request.begin_bytes(), abort.clone(), request.params_bytes(), abort, request.stdin_bytes()];
                peer.send(&pieces.concat())?;
                peer.response(1)?.expect_complete()?.expect_status(expected)?;
            }
            passed()
        },
    ),
    Case::new(
        "an-abort-keeps-a-kept-connection",
        "5.1",
        Required,
        "FCGI_KEEP_CONN: the application does not close the connection after an aborted request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[cx.plain().keep().begin_bytes(), abort_request(1)].concat())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(Duration::from_millis(300))?;
            cx.serve_on(&mut peer, 2)?;
            passed()
        },
    ),
    Case::new(
        "an-abort-without-keep-conn-closes",
        "5.1",
        Required,
        "Without FCGI_KEEP_CONN the application closes the connection after an aborted request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[cx.plain().begin_bytes(), abort_request(1)].concat())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "an-id-is-used-again-after-its-abort",
        "3.3",
        Required,
        "The END_REQUEST of an aborted request makes its id free",
        |cx| {
            let mut peer = cx.open()?;
            for _ in 0..10 {
                peer.send(&[cx.plain().keep().begin_bytes(), abort_request(1)].concat())?;
                peer.response(1)?.expect_complete()?;
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    ),
    Case::new(
        "the-rest-of-an-aborted-request-is-ignored",
        "3.3",
        Required,
        "PARAMS and STDIN that follow the END_REQUEST of an aborted request are ignored",
        |cx| {
            let request = cx.plain().keep().body("late");
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), abort_request(1)].concat())?;
            peer.response(1)?.expect_complete()?;
            peer.send(&[request.params_bytes(), request.stdin_bytes()].concat())?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "an-abort-with-padding-is-an-abort",
        "3.3",
        Required,
        "Padding is skipped in ABORT_REQUEST as in every record",
        |cx| {
            let mut peer = cx.open()?;
            let abort = padded_record(2, 1, &[], &abort_request(2).repeat(5));
            peer.send(&[cx.plain().keep().begin_bytes(), abort].concat())?;
            peer.response(1)?.expect_complete()?;
            cx.serve_on(&mut peer, 2)?;
            passed()
        },
    ),
    Case::new(
        "an-abort-does-not-touch-its-neighbours",
        "5.4",
        Required,
        "Of three waiting requests one is aborted; the others end as they would have",
        |cx| {
            let mut peer = cx.open()?;
            for (id, path) in [(1, "/wait?ms=700".to_owned()), (2, cx.long_wait()), (3, "/wait?ms=600".to_owned())] {
                peer.send(&cx.get(&path).keep().id(id).bytes())?;
            }
            peer.expect_quiet(QUIET)?;
            peer.send(&abort_request(2))?;
            peer.response(2)?.expect_complete()?;
            peer.response(3)?.expect_body(b"waited 600 ms\n")?;
            peer.response(1)?.expect_body(b"waited 700 ms\n")?;
            passed()
        },
    )
    .aborting()
    .multiplexing(),
    Case::new(
        "an-abort-looks-at-both-bytes-of-the-id",
        "3.3",
        Required,
        "A request id has 16 bits: aborting 257 does not abort 1",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=500").keep().id(1).bytes())?;
            peer.send(&cx.get(&cx.long_wait()).keep().id(257).bytes())?;
            peer.expect_quiet(QUIET)?;
            peer.send(&abort_request(257))?;
            peer.response(257)?.expect_complete()?;
            peer.response(1)?.expect_body(b"waited 500 ms\n")?;
            passed()
        },
    )
    .aborting()
    .multiplexing(),
    Case::new(
        "a-hundred-aborts-leave-no-trace",
        "5.4",
        Robustness,
        "A hundred requests aborted on one connection do no harm to it",
        |cx| {
            let mut peer = cx.open()?;
            for _ in 0..100 {
                let request = cx.get(&cx.long_wait()).keep();
                peer.send(&request.bytes())?;
                peer.send(&abort_request(1))?;
                peer.response(1)?.expect_complete()?;
            }
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    )
    .aborting(),
    Case::new(
        "what-an-aborted-request-had-sent",
        "5.4",
        ImplementationDefined,
        "The application's response to an abort is its own: appStatus and a STDOUT terminator are left open",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[cx.plain().begin_bytes(), abort_request(1)].concat())?;
            let response = peer.response(1)?;
            let stdout = if response.stdout_ends > 0 { "with" } else { "without" };
            reported(format!("appStatus {}, {stdout} an empty STDOUT record", response.app_status))
        },
    ),
];

/// How much of a request is sent before it is aborted.
#[derive(Clone, Copy)]
enum Stage {
    Begin,
    HalfOfParams,
    Params,
    HalfOfStdin,
}

fn abort_after(cx: &mut Context<'_>, stage: Stage) -> Run {
    let request = cx.plain().keep().body("0123456789");
    let mut peer = cx.open()?;
    send_until(&mut peer, &request, stage)?;
    peer.send(&abort_request(1))?;
    peer.response(1)?.expect_complete()?;
    passed()
}

fn send_until(peer: &mut Peer, request: &Request, stage: Stage) -> Result<(), crate::case::Stop> {
    peer.send(&request.begin_bytes())?;
    match stage {
        Stage::Begin => Ok(()),
        Stage::HalfOfParams => peer.send(&record(PARAMS, 1, &request.pairs_in_halves()[0], 0)),
        Stage::Params => peer.send(&request.params_bytes()),
        Stage::HalfOfStdin => peer.send(&[request.params_bytes(), record(STDIN, 1, b"01234", 0)].concat()),
    }
}
