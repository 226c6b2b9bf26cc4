//! Slow senders, slow readers, and those who never read at all: others are served, and memory stays bounded.

use std::time::{Duration, Instant};

use super::Run;
use super::records::pattern;
use crate::case::Case;
use crate::case::Level::{ImplementationDefined, Recommended, Required, Robustness};
use crate::context::{Context, failed, passed, reported};
use crate::peer::Next;
use crate::process;
use crate::wire::{get_values, record};

/// What a server may hold for connections that do not read: far above any sane bound, far below what they ask for.
const BOUND: u64 = 96 << 20;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a-request-that-takes-a-second-to-send-is-served",
        "3.3",
        Required,
        "Nothing bounds the time between two bytes of a request",
        |cx| {
            let bytes = cx.plain().body("0123456789").bytes();
            let mut peer = cx.open()?;
            peer.send_slowly(&bytes, bytes.len() / 8 + 1, Duration::from_millis(125))?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "half-a-header-and-a-pause-are-no-end",
        "3.3",
        Required,
        "A pause within a header is not the end of a connection",
        |cx| {
            let bytes = cx.plain().bytes();
            let mut peer = cx.open()?;
            peer.send(&bytes[..5])?;
            peer.expect_quiet(Duration::from_millis(700))?;
            peer.send(&bytes[5..])?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "a-silent-connection-does-not-hold-up-others",
        "3.2",
        Robustness,
        "A connection on which nothing comes occupies no more than itself",
        |cx| {
            let _silent = cx.open()?;
            cx.serve_plain()?;
            passed()
        },
    )
    .connections(2),
    Case::new(
        "unfinished-requests-do-not-hold-up-others",
        "3.2",
        Robustness,
        "Connections within a header, within PARAMS and within STDIN occupy no more than themselves",
        |cx| {
            let bytes = cx.plain().body("0123456789").bytes();
            let mut held = Vec::new();
            for part in [3, 20, 100, bytes.len() - 9] {
                let mut peer = cx.open()?;
                peer.send(&bytes[..part])?;
                held.push((peer, part));
            }
            for _ in 0..20 {
                cx.serve_plain()?;
            }
            for (mut peer, part) in held {
                peer.send(&bytes[part..])?;
                peer.response(1)?.expect_complete()?;
            }
            passed()
        },
    )
    .connections(5),
    Case::new(
        "twenty-slow-senders-are-all-served",
        "3.2",
        Robustness,
        "Twenty requests that arrive a few bytes at a time, in turns, are all served",
        |cx| {
            let bytes = cx.plain().body("0123456789").bytes();
            let mut peers = Vec::new();
            for _ in 0..20 {
                peers.push(cx.open()?);
            }
            for part in bytes.chunks(11) {
                for peer in &mut peers {
                    peer.send(part)?;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            for peer in &mut peers {
                peer.response(1)?.expect_complete()?;
            }
            passed()
        },
    )
    .connections(20),
    Case::new(
        "a-body-is-taken-while-nothing-is-read-here",
        "6.2",
        Recommended,
        "A body of 4 MiB is read although the answer is not: neither side waits for the other",
        |cx| {
            let body = pattern(4 << 20);
            let request = cx.get("/echo").body(&body);
            let bytes = request.bytes();
            let mut peer = cx.open()?;
            let taken = peer.send_without_reading(&bytes, Duration::from_secs(2));
            if taken < bytes.len() {
                return failed(format!("{taken} of {} bytes were taken", bytes.len()));
            }
            peer.response(1)?.expect_body(&body)?;
            passed()
        },
    )
    .workload()
    .patience(2),
    Case::new(
        "a-slow-reader-gets-every-byte",
        "5.3",
        Required,
        "An answer that is read slowly is whole",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=4000000").bytes())?;
            while !peer.has_ended(1) {
                peer.read_some(40_000)?;
                std::thread::sleep(Duration::from_millis(5));
                if Instant::now() > cx.until() {
                    return failed("the answer has not ended");
                }
            }
            peer.response(1)?.expect_body(&pattern(4_000_000))?;
            passed()
        },
    )
    .workload()
    .patience(3),
    Case::new(
        "an-answer-that-is-not-read-for-a-second-is-whole",
        "5.3",
        Required,
        "An answer for which there is no room at first is whole",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=8000000").bytes())?;
            std::thread::sleep(Duration::from_secs(1));
            peer.response(1)?.expect_body(&pattern(8_000_000))?;
            passed()
        },
    )
    .workload()
    .patience(2),
    Case::new(
        "a-reader-that-does-not-read-costs-bounded-memory",
        "5.3",
        Robustness,
        "An answer of 1 GB that is not read is not held in memory",
        |cx| {
            let before = resident(cx);
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=1000000000").bytes())?;
            memory_stays(cx, before, Duration::from_secs(1))
        },
    )
    .workload()
    .process(),
    Case::new(
        "eight-readers-that-do-not-read-cost-bounded-memory",
        "5.3",
        Robustness,
        "Answers that are not read are not held in memory, and other connections are served meanwhile",
        |cx| {
            let before = resident(cx);
            let mut held = Vec::new();
            for _ in 0..8 {
                let mut peer = cx.open()?;
                peer.send(&cx.get("/bytes?n=1000000000").bytes())?;
                held.push(peer);
            }
            memory_stays(cx, before, Duration::from_millis(700))?;
            for _ in 0..20 {
                cx.serve(&cx.get("/hello"))?.expect_body(b"Hello, world\n")?;
            }
            passed()
        },
    )
    .workload()
    .process()
    .connections(9),
    Case::new(
        "a-reader-that-does-not-read-does-not-hold-up-others",
        "5.3",
        Robustness,
        "Other connections are served while one does not read its answer",
        |cx| {
            let mut stalled = cx.open()?;
            stalled.send(&cx.get("/bytes?n=1000000000").bytes())?;
            std::thread::sleep(Duration::from_millis(200));
            for _ in 0..20 {
                cx.serve(&cx.get("/hello"))?.expect_body(b"Hello, world\n")?;
            }
            passed()
        },
    )
    .workload()
    .connections(2),
    Case::new(
        "a-reader-that-reads-and-goes-away-is-survived",
        "5.3",
        Robustness,
        "A connection that is closed with output unsent ends alone",
        |cx| {
            for _ in 0..10 {
                let mut peer = cx.open()?;
                peer.send(&cx.get("/bytes?n=1000000000").bytes())?;
                peer.read_some(100_000)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "queries-whose-answers-are-not-read-cost-bounded-memory",
        "4.1",
        Robustness,
        "Up to 64 MiB of GET_VALUES whose answers nobody reads: the server stops reading, or closes",
        |cx| {
            let queries = get_values(&["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"]).repeat(1_000);
            flood_unread(cx, &queries)
        },
    )
    .patience(4),
    Case::new(
        "unknown-types-whose-answers-are-not-read-cost-bounded-memory",
        "4.2",
        Robustness,
        "Up to 64 MiB of unknown management records whose answers nobody reads: the server stops reading, or closes",
        |cx| flood_unread(cx, &record(99, 0, &[], 0).repeat(8_000)),
    )
    .patience(4),
    Case::new(
        "requests-whose-answers-are-not-read-cost-bounded-memory",
        "5.5",
        Robustness,
        "Requests for 64 KiB each on one connection, whose answers nobody reads: the server stops reading, or refuses",
        |cx| {
            let before = resident(cx);
            let mut peer = cx.open()?;
            let mut id = 0_u16;
            for _ in 0..20_000 {
                id = id % 60_000 + 1;
                let bytes = cx.get("/bytes?n=65536").keep().id(id).bytes();
                if peer.send_without_reading(&bytes, Duration::from_millis(500)) < bytes.len() {
                    break;
                }
            }
            memory_stays(cx, before, Duration::from_millis(300))
        },
    )
    .workload()
    .multiplexing()
    .patience(3),
    Case::new(
        "a-chunk-arrives-before-the-next-is-written",
        "6.2",
        Recommended,
        "What an application has flushed is sent, not kept until the request ends",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/stream?chunks=2&ms=1500").keep().bytes())?;
            let started = Instant::now();
            loop {
                let so_far = peer.stdout_so_far(1);
                if so_far.windows(8).any(|part| part == b"chunk 0\n") {
                    break;
                }
                if so_far.len() > 4_096 {
                    return failed("much came, but not the first chunk");
                }
                match peer.observe(cx.target().timeout)? {
                    Next::Record(_) if !peer.has_ended(1) => {}
                    _ => return failed("the first chunk did not come before the end"),
                }
            }
            let first = started.elapsed();
            peer.response(1)?.expect_body(b"chunk 0\nchunk 1\n")?;
            if first * 2 < started.elapsed() { passed() } else { failed("both chunks came together") }
        },
    )
    .workload(),
    Case::new(
        "a-neighbour-on-a-connection-that-is-not-read",
        "1",
        ImplementationDefined,
        "The protocol has no flow control per request: one answer that is not read may hold up its neighbours",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=50000000").keep().id(1).bytes())?;
            std::thread::sleep(Duration::from_millis(200));
            peer.send(&cx.get("/hello").keep().id(2).bytes())?;
            peer.response(2)?.expect_complete()?;
            reported(if peer.has_ended(1) {
                "the neighbour is answered after the long answer"
            } else {
                "the neighbour is answered within the long answer"
            })
        },
    )
    .workload()
    .multiplexing()
    .patience(2),
];

fn resident(cx: &Context<'_>) -> Option<u64> {
    cx.target().pid.map(process::resident)
}

/// Watches the server's memory for a while, if its process is known.
fn memory_stays(cx: &Context<'_>, before: Option<u64>, time: Duration) -> Run {
    let (Some(pid), Some(before)) = (cx.target().pid, before) else { return passed() };
    let until = Instant::now() + time;
    while Instant::now() < until {
        let grown = process::resident(pid).saturating_sub(before);
        if grown > BOUND {
            return failed(format!("the server's resident memory has grown by {} MiB", grown >> 20));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    passed()
}

/// Sends the same records over and over and reads nothing.
fn flood_unread(cx: &mut Context<'_>, records: &[u8]) -> Run {
    let before = resident(cx);
    let mut peer = cx.open()?.lenient();
    let mut sent = 0;
    while sent < 64 << 20 {
        let taken = peer.send_without_reading(records, Duration::from_millis(300));
        sent += taken;
        if taken < records.len() {
            break;
        }
    }
    memory_stays(cx, before, Duration::from_millis(100))
}
