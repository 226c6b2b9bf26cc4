//! The web server goes away: at once, at every stage of a request, half, with a reset (section 3.5).

use std::time::Duration;

use super::Run;
use super::records::pattern;
use crate::case::Level::{ImplementationDefined, Recommended, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, passed, reported};
use crate::peer::{Next, Peer};
use crate::wire::{PARAMS, STDIN, get_values, record};

const SURVIVES: &str = "A connection that is closed by the web server ends that connection and nothing else";
const CLOSES: &str =
    "Once the web server has ended its side within a request, the application closes the connection";

pub(super) const CASES: &[Case] = &[
    Case::new("closed-at-once", "3.5", Robustness, SURVIVES, |cx| gone(cx, &[], Peer::close)),
    Case::new("closed-within-a-header", "3.5", Robustness, SURVIVES, |cx| {
        for count in 1..8 {
            let begin = cx.plain().begin_bytes();
            gone(cx, &begin[..count], Peer::close)?;
        }
        passed()
    }),
    Case::new("closed-within-a-record", "3.5", Robustness, SURVIVES, |cx| {
        let begin = cx.plain().begin_bytes();
        gone(cx, &begin[..12], Peer::close)
    }),
    Case::new("closed-after-begin-request", "3.5", Robustness, SURVIVES, |cx| {
        let begin = cx.plain().begin_bytes();
        gone(cx, &begin, Peer::close)
    }),
    Case::new("closed-within-params", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = within_params(cx);
        gone(cx, &bytes, Peer::close)
    }),
    Case::new("closed-before-stdin", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = before_stdin(cx);
        gone(cx, &bytes, Peer::close)
    }),
    Case::new("closed-within-stdin", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = within_stdin(cx);
        gone(cx, &bytes, Peer::close)
    }),
    Case::new("closed-before-the-answer", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = cx.plain().body("0123456789").bytes();
        gone(cx, &bytes, Peer::close)
    })
    .quick(),
    Case::new("closed-before-the-answer-to-get-values", "3.5", Robustness, SURVIVES, |cx| {
        gone(cx, &get_values(&["FCGI_MAX_CONNS"]).repeat(50), Peer::close)
    }),
    Case::new("closed-at-every-byte-of-a-request", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = cx.plain().body("body").bytes();
        for count in 1..bytes.len() {
            let mut peer = cx.open()?;
            peer.send(&bytes[..count])?;
            peer.close();
        }
        passed()
    })
    .patience(3),
    Case::new("closed-within-the-answer", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..10 {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=20000000").bytes())?;
            peer.first_output(1)?;
            peer.close();
        }
        passed()
    })
    .workload(),
    Case::new("closed-while-the-request-waits", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..5 {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=100").bytes())?;
            std::thread::sleep(Duration::from_millis(20));
            peer.close();
        }
        // Their answers are due now, and nobody is there to read them.
        std::thread::sleep(Duration::from_millis(600));
        passed()
    })
    .workload(),
    Case::new("closed-while-chunks-are-sent", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..5 {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/stream?chunks=20&ms=5").bytes())?;
            peer.first_output(1)?;
            peer.close();
        }
        std::thread::sleep(Duration::from_millis(200));
        passed()
    })
    .workload(),
    Case::new("closed-with-many-requests-in-flight", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..5 {
            let mut peer = cx.open()?;
            for id in 1..=8 {
                let path = if id % 2 == 0 { "/wait?ms=100" } else { "/bytes?n=3000000" };
                peer.send_without_reading(&cx.get(path).keep().id(id).bytes(), Duration::from_millis(50));
            }
            peer.close();
        }
        std::thread::sleep(Duration::from_millis(200));
        passed()
    })
    .workload()
    .multiplexing(),
    Case::new("reset-within-a-request", "3.5", Robustness, SURVIVES, |cx| {
        let stages =
            [vec![], cx.plain().begin_bytes(), within_params(cx), before_stdin(cx), within_stdin(cx)];
        for bytes in stages {
            gone(cx, &bytes, Peer::reset)?;
        }
        passed()
    })
    .tcp(),
    Case::new("reset-before-the-answer", "3.5", Robustness, SURVIVES, |cx| {
        let bytes = cx.plain().body("0123456789").bytes();
        gone(cx, &bytes, Peer::reset)
    })
    .tcp(),
    Case::new("reset-within-the-answer", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..10 {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=20000000").bytes())?;
            peer.first_output(1)?;
            peer.reset();
        }
        passed()
    })
    .workload()
    .tcp(),
    Case::new("reset-while-the-request-waits", "3.5", Robustness, SURVIVES, |cx| {
        for _ in 0..5 {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=100").bytes())?;
            std::thread::sleep(Duration::from_millis(20));
            peer.reset();
        }
        std::thread::sleep(Duration::from_millis(600));
        passed()
    })
    .workload()
    .tcp(),
    Case::new("half-closed-at-once", "3.5", Recommended, CLOSES, |cx| closes(cx, &[])),
    Case::new("half-closed-within-a-header", "3.5", Recommended, CLOSES, |cx| {
        let begin = cx.plain().begin_bytes();
        closes(cx, &begin[..5])
    }),
    Case::new("half-closed-within-params", "3.5", Recommended, CLOSES, |cx| {
        let bytes = within_params(cx);
        closes(cx, &bytes)
    }),
    Case::new("half-closed-within-stdin", "3.5", Recommended, CLOSES, |cx| {
        let bytes = within_stdin(cx);
        closes(cx, &bytes)
    }),
    Case::new(
        "half-closed-after-a-kept-request",
        "3.5",
        Recommended,
        "Once the web server has ended its side of an idle connection, the application closes it",
        |cx| {
            let mut peer = cx.open()?;
            cx.serve_on(&mut peer, 1)?;
            peer.half_close();
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "half-closed-after-a-whole-request",
        "5.4",
        ImplementationDefined,
        "A closed connection aborts a request; whether the end of one side does is left open",
        |cx| {
            let request = cx.plain();
            let mut peer = cx.open()?;
            peer.send(&request.bytes())?;
            peer.half_close();
            reported(match peer.response(1) {
                Ok(_) => "the request is answered",
                Err(_) => "the request is aborted",
            })
        },
    ),
    Case::new(
        "half-closed-while-the-request-waits",
        "5.4",
        ImplementationDefined,
        "A closed connection aborts a request; whether the end of one side does is left open",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/wait?ms=400").bytes())?;
            std::thread::sleep(Duration::from_millis(50));
            peer.half_close();
            reported(match peer.response(1) {
                Ok(response) if response.body() == b"waited 400 ms\n" => "the request is answered",
                Ok(_) => "the request is aborted by END_REQUEST",
                Err(_) => "the request is aborted by closing",
            })
        },
    )
    .workload(),
    Case::new(
        "half-closed-before-a-large-answer-is-sent",
        "5.4",
        Recommended,
        "Whoever ends its side behind a whole request still reads: an answer that has begun is sent to its end",
        |cx| {
            for request in [cx.get("/bytes?n=3000000"), cx.get("/bytes?n=3000000").keep()] {
                let mut peer = cx.open()?;
                peer.send(&request.bytes())?;
                peer.half_close();
                // More than there is room for, so that the server sees the end while it still sends.
                std::thread::sleep(Duration::from_millis(100));
                peer.response(1)?.expect_body(&pattern(3_000_000))?;
                peer.expect_closed()?;
            }
            passed()
        },
    )
    .workload(),
];

/// Sends a part of a request and goes away, several times over.
fn gone(cx: &mut Context<'_>, bytes: &[u8], leave: fn(Peer)) -> Run {
    for _ in 0..10 {
        let mut peer = cx.open()?;
        peer.send(bytes)?;
        leave(peer);
    }
    passed()
}

/// Sends a part of a request and ends this side: the server ends its own.
fn closes(cx: &mut Context<'_>, bytes: &[u8]) -> Run {
    let mut peer = cx.open()?;
    peer.send(bytes)?;
    peer.half_close();
    loop {
        match peer.observe(cx.target().timeout)? {
            // An END_REQUEST for what has begun is as good.
            Next::Record(_) => {}
            Next::Ended(_) => return passed(),
            Next::Silence => return Err(Stop::Failed("the server has not closed the connection".to_owned())),
        }
    }
}

fn within_params(cx: &Context<'_>) -> Vec<u8> {
    let request = cx.plain();
    [request.begin_bytes(), record(PARAMS, 1, &request.pairs_in_halves()[0], 0)].concat()
}

fn before_stdin(cx: &Context<'_>) -> Vec<u8> {
    let request = cx.plain().body("0123456789");
    [request.begin_bytes(), request.params_bytes()].concat()
}

fn within_stdin(cx: &Context<'_>) -> Vec<u8> {
    [before_stdin(cx), record(STDIN, 1, b"01234", 0)].concat()
}
