//! `FCGI_KEEP_CONN`: who closes the connection, and when (sections 3.5 and 5.1).

use std::time::Duration;

use super::records::pattern;
use crate::case::Case;
use crate::case::Level::{ImplementationDefined, Recommended, Required};
use crate::context::{failed, passed, reported};
use crate::peer::End;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "without-keep-conn-the-connection-is-closed-after-the-answer",
        "5.1",
        Required,
        "flags & FCGI_KEEP_CONN is 0: the application closes the connection after responding to this request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "with-keep-conn-the-connection-stays-open",
        "5.1",
        Required,
        "flags & FCGI_KEEP_CONN is 1: the application does not close the connection after responding",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().keep().bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(Duration::from_millis(500))?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "a-kept-connection-serves-the-next-request",
        "5.1",
        Required,
        "The web server retains responsibility for a kept connection and sends further requests over it",
        |cx| {
            let mut peer = cx.open()?;
            for _ in 0..3 {
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    ),
    Case::new(
        "a-kept-connection-serves-two-hundred-requests",
        "5.1",
        Required,
        "A kept connection serves as many requests as the web server sends",
        |cx| {
            let mut peer = cx.open()?;
            for _ in 0..200 {
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    )
    .patience(2),
    Case::new(
        "every-request-says-anew-whether-to-keep",
        "5.1",
        Required,
        "After two requests with FCGI_KEEP_CONN, one without closes the connection",
        |cx| {
            let mut peer = cx.open()?;
            cx.serve_on(&mut peer, 1)?;
            cx.serve_on(&mut peer, 2)?;
            peer.send(&cx.plain().id(3).bytes())?;
            peer.response(3)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "other-bits-of-flags-do-not-keep",
        "5.1",
        Required,
        "Only the bit FCGI_KEEP_CONN counts: flags 254 closes, flags 255 keeps",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().flags(255).bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(Duration::from_millis(300))?;
            peer.send(&cx.plain().flags(254).bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "an-idle-kept-connection-is-served-later",
        "5.1",
        Recommended,
        "The web server controls the lifetime of the connection: two seconds of silence do not end it",
        |cx| {
            let mut peer = cx.open()?;
            cx.serve_on(&mut peer, 1)?;
            peer.expect_quiet(Duration::from_secs(2))?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "a-refusal-by-status-keeps-the-connection",
        "5.1",
        Required,
        "What the application answers does not change who closes the connection",
        |cx| {
            let mut peer = cx.open()?;
            for path in ["/unknown", "/status?code=500", "/status?code=503", "/exit?status=1", "/exit?status=255"] {
                peer.send(&cx.get(path).keep().bytes())?;
                peer.response(1)?.expect_complete()?;
            }
            peer.expect_quiet(Duration::from_millis(200))?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "the-whole-answer-comes-before-the-close",
        "5.1",
        Required,
        "The connection is closed after responding: not a byte of a long answer is lost",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=3000000").bytes())?;
            std::thread::sleep(Duration::from_millis(100));
            peer.response(1)?.expect_body(&pattern(3_000_000))?;
            peer.expect_closed()?;
            passed()
        },
    )
    .workload()
    .patience(2),
    Case::new(
        "an-answer-survives-a-body-that-nobody-reads",
        "5.1",
        Recommended,
        "An application that closes with bytes unread sends a reset, and the reset may cost the end of its answer",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().body(pattern(1_000_000)).bytes())?;
            peer.response(1)?.expect_complete()?;
            match peer.expect_closed()? {
                End::Closed => passed(),
                End::Reset => failed("the connection was reset after the answer"),
            }
        },
    )
    .patience(2),
    Case::new(
        "the-close-is-no-reset",
        "3.5",
        Recommended,
        "A connection whose bytes are all read is closed, not reset",
        |cx| {
            for _ in 0..20 {
                let mut peer = cx.open()?;
                peer.send(&cx.plain().bytes())?;
                peer.response(1)?.expect_complete()?;
                if peer.expect_closed()? == End::Reset {
                    return failed("the connection was reset after the answer");
                }
            }
            passed()
        },
    ),
    Case::new(
        "mixed-flags-on-one-connection",
        "5.1",
        ImplementationDefined,
        "Nothing is said about a request without FCGI_KEEP_CONN that ends while another is active",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=300").keep().id(1).bytes())?;
            peer.send(&cx.get("/hello").id(2).bytes())?;
            peer.response(2)?.expect_complete()?;
            reported(match peer.response(1) {
                Ok(_) if peer.expect_closed().is_ok() => "closed once the last request has ended",
                Ok(_) => "kept open",
                Err(_) => "closed at once, which ends the other request",
            })
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "the-workload-servers-close-after-the-last-request",
        "workload",
        Required,
        "A request without FCGI_KEEP_CONN closes the connection once no request is active any more",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=300").keep().id(1).bytes())?;
            peer.send(&cx.get("/hello").id(2).bytes())?;
            peer.response(2)?.expect_body(b"Hello, world\n")?;
            peer.response(1)?.expect_body(b"waited 300 ms\n")?;
            peer.expect_closed()?;
            passed()
        },
    )
    .workload()
    .multiplexing(),
];
