//! Limits and overload: what is refused, how, and what goes on meanwhile (section 5.5).

use std::time::{Duration, Instant};

use super::Run;
use super::records::pattern;
use crate::case::Level::{ImplementationDefined, Required, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, QUIET, failed, passed, reported};
use crate::peer::Peer;
use crate::process;
use crate::wire::{CANT_MPX_CONN, OVERLOADED, PARAMS, STDIN, record};

/// More requests than any server of ours takes on one connection.
const FLOOD: u16 = 20_000;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "parameters-up-to-the-limit-are-served",
        "workload",
        Required,
        "The workload's servers take up to 64 KiB of parameters",
        |cx| {
            let request = cx.get("/params").param("HTTP_X_LARGE", pattern(62_000));
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "parameters-over-the-limit-are-answered-by-431",
        "workload",
        Required,
        "More than 64 KiB of parameters are answered by status 431, and the connection goes on",
        |cx| {
            let mut peer = cx.open()?;
            for size in [66_000, 200_000] {
                peer.send(&cx.get("/params").keep().param("HTTP_X_LARGE", pattern(size)).bytes())?;
                peer.response(1)?.expect_complete()?.expect_status(431)?;
                peer.expect_quiet(QUIET)?;
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "endless-parameters-are-survived",
        "5.2",
        Robustness,
        "16 MiB of PARAMS do no harm, and are not held in memory",
        |cx| {
            let before = cx.target().pid.map(process::resident);
            let mut peer = cx.open()?.lenient();
            peer.send(&cx.plain().begin_bytes())?;
            let part = record(PARAMS, 1, &pairs_of(65_000), 0);
            pour(&mut peer, &part, 256);
            grown_less_than(cx, before, 64 << 20)
        },
    )
    .patience(2),
    Case::new(
        "a-body-up-to-the-limit-is-served",
        "workload",
        Required,
        "The workload's servers take a body of up to 8 MiB",
        |cx| {
            let body = pattern(8 << 20);
            cx.serve(&cx.get("/echo").body(&body))?.expect_body(&body)?;
            passed()
        },
    )
    .workload()
    .patience(8),
    Case::new(
        "a-body-over-the-limit-is-answered-by-413",
        "workload",
        Required,
        "More than 8 MiB of body are answered by status 413, announced or not, and the connection goes on",
        |cx| {
            let announced = cx.get("/echo").keep().body(pattern((8 << 20) + 1));
            let unannounced = announced.clone().param("CONTENT_LENGTH", "");
            let mut peer = cx.open()?;
            for request in [announced, unannounced] {
                peer.send(&request.bytes())?;
                peer.response(1)?.expect_complete()?.expect_status(413)?;
                peer.expect_quiet(QUIET)?;
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    )
    .workload()
    .patience(8),
    Case::new(
        "an-endless-body-is-survived",
        "5.3",
        Robustness,
        "64 MiB of STDIN do no harm, whatever CONTENT_LENGTH says",
        |cx| {
            let before = cx.target().pid.map(process::resident);
            let request = cx.plain().body("x");
            let mut peer = cx.open()?.lenient();
            peer.send(&[request.begin_bytes(), request.params_bytes()].concat())?;
            let part = record(STDIN, 1, &pattern(65_535), 1);
            pour(&mut peer, &part, 1_024);
            grown_less_than(cx, before, 64 << 20)
        },
    )
    .patience(3),
    Case::new(
        "a-content-length-that-is-no-number",
        "6.2",
        ImplementationDefined,
        "Nothing is said about a CONTENT_LENGTH that is no number",
        |cx| {
            let mut answers = Vec::new();
            for said in ["abc", "-1", "1e3", " 3", "99999999999999999999999"] {
                let request = cx.plain().body("abc").param("CONTENT_LENGTH", said);
                answers.push(match cx.serve(&request) {
                    Ok(response) => format!("{said:?}: status {}", response.status()),
                    Err(Stop::Failed(_)) => format!("{said:?}: no answer"),
                    Err(stop) => return Err(stop),
                });
            }
            reported(answers.join("; "))
        },
    )
    .patience(6),
    Case::new(
        "a-second-request-is-refused-by-cant-mpx-conn",
        "5.5",
        Required,
        "An application that processes one request at a time per connection rejects a second one by CANT_MPX_CONN",
        |cx| {
            let request = cx.plain().keep();
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), cx.plain().keep().id(2).bytes()].concat())?;
            peer.response(2)?.expect_protocol_status(CANT_MPX_CONN)?;
            peer.send(&[request.params_bytes(), request.stdin_bytes()].concat())?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    )
    .no_multiplexing(),
    Case::new(
        "a-second-request-within-stdin-is-refused-by-cant-mpx-conn",
        "5.5",
        Required,
        "An application that processes one request at a time rejects a second one while it reads the first one's body",
        |cx| {
            let request = cx.get("/echo").keep().body("0123456789");
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), request.params_bytes(), record(STDIN, 1, b"01234", 0)].concat())?;
            peer.send(&cx.plain().keep().id(2).bytes())?;
            peer.response(2)?.expect_protocol_status(CANT_MPX_CONN)?;
            peer.send(&[record(STDIN, 1, b"56789", 0), record(STDIN, 1, &[], 0)].concat())?;
            peer.response(1)?.expect_body(b"0123456789")?;
            cx.serve_on(&mut peer, 2)?;
            passed()
        },
    )
    .workload()
    .no_multiplexing(),
    Case::new(
        "what-follows-a-cant-mpx-conn-is-ignored",
        "3.3",
        Required,
        "The id of a rejected request is inactive: its PARAMS and STDIN are ignored, and the first request is served",
        |cx| {
            let request = cx.plain().keep();
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), cx.plain().keep().id(2).bytes(), request.params_bytes()].concat())?;
            peer.response(2)?.expect_protocol_status(CANT_MPX_CONN)?;
            peer.send(&request.stdin_bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 2)?;
            passed()
        },
    )
    .no_multiplexing(),
    Case::new(
        "a-refusal-carries-status-503-on-stdout",
        "workload",
        Required,
        "Front ends do not understand a protocol status alone: CANT_MPX_CONN comes with \"Status: 503\" on STDOUT",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[cx.get("/hello").keep().begin_bytes(), cx.get("/hello").keep().id(2).bytes()].concat())?;
            peer.response(2)?.expect_protocol_status(CANT_MPX_CONN)?.expect_status(503)?;
            passed()
        },
    )
    .workload()
    .no_multiplexing(),
    Case::new(
        "too-many-requests-on-a-connection-are-refused-by-overloaded",
        "5.5",
        Required,
        "A request that the application has no resource for is rejected by OVERLOADED, with status 503 for front ends",
        |cx| {
            let mut peer = cx.open()?;
            flood(cx, &mut peer)?;
            passed()
        },
    )
    .workload()
    .multiplexing()
    .patience(4),
    Case::new(
        "requests-in-flight-survive-an-overload",
        "5.5",
        Required,
        "OVERLOADED rejects the new request; those before it are served, and afterwards new ones",
        |cx| {
            let mut peer = cx.open()?;
            let (sent, refused) = flood(cx, &mut peer)?;
            for id in (1..=sent).filter(|id| *id != refused) {
                let response = peer.response(id)?;
                // More than one may have been refused by the time the first refusal was seen.
                if response.protocol_status != OVERLOADED {
                    response.expect_body(b"waited 1500 ms\n")?;
                }
            }
            cx.serve_on(&mut peer, 65_535)?;
            passed()
        },
    )
    .workload()
    .multiplexing()
    .patience(6),
    Case::new(
        "as-many-requests-as-it-says-are-taken-on-a-connection",
        "4.1",
        Required,
        "FCGI_MAX_REQS is the number of concurrent requests that the application accepts: eight of them, if it says so",
        |cx| {
            let Some(max) = cx.target().capacity.max_reqs else {
                return Err(Stop::NotApplicable("FCGI_MAX_REQS was not answered".to_owned()));
            };
            let count = u16::try_from(max.min(8)).unwrap_or(8);
            let mut peer = cx.open()?;
            for id in 1..=count {
                peer.send(&cx.get("/wait?ms=200").keep().id(id).bytes())?;
            }
            for id in 1..=count {
                peer.response(id)?.expect_body(b"waited 200 ms\n")?;
            }
            passed()
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "a-body-that-never-ends-does-not-hold-up-its-neighbours",
        "3.3",
        Required,
        "A request whose STDIN is not finished does not delay another on the same connection",
        |cx| {
            let held = cx.get("/echo").keep().id(1).body("0123456789");
            let mut peer = cx.open()?;
            peer.send(&[held.begin_bytes(), held.params_bytes(), record(STDIN, 1, b"01234", 0)].concat())?;
            for id in 2..20 {
                cx.serve_on(&mut peer, id)?;
            }
            peer.send(&[record(STDIN, 1, b"56789", 0), record(STDIN, 1, &[], 0)].concat())?;
            peer.response(1)?.expect_body(b"0123456789")?;
            passed()
        },
    )
    .workload()
    .multiplexing(),
];

/// Pairs of about this many bytes in all.
fn pairs_of(size: usize) -> Vec<u8> {
    crate::wire::pair(b"HTTP_X_ENDLESS", b"some value of no interest").repeat(size / 41)
}

/// Sends a record over and over, until the server takes no more: it need not.
fn pour(peer: &mut Peer, record: &[u8], times: usize) {
    for _ in 0..times {
        if peer.send_without_reading(record, Duration::from_millis(500)) < record.len() {
            return;
        }
    }
}

fn grown_less_than(cx: &Context<'_>, before: Option<u64>, bound: u64) -> Run {
    if let (Some(pid), Some(before)) = (cx.target().pid, before) {
        let grown = process::resident(pid).saturating_sub(before);
        if grown > bound {
            return failed(format!("the server's resident memory has grown by {} MiB", grown >> 20));
        }
    }
    passed()
}

/// Sends waiting requests until one is refused, the right way; how many were sent, and which one was refused.
fn flood(cx: &Context<'_>, peer: &mut Peer) -> Result<(u16, u16), Stop> {
    // The first of them must still wait when the last is sent.
    let until = Instant::now() + Duration::from_millis(1_200);
    for id in 1..=FLOOD {
        peer.send(&cx.get("/wait?ms=1500").keep().id(id).bytes())?;
        if id % 8 == 0 {
            peer.observe(Duration::ZERO)?;
        }
        if let Some(refused) = peer.take_refused() {
            refused.expect_protocol_status(OVERLOADED)?.expect_status(503)?;
            return Ok((id, refused.id));
        }
        if Instant::now() > until {
            break;
        }
    }
    Err(Stop::NotApplicable("as many requests as could be sent on one connection were taken".to_owned()))
}
