//! Thousands of connections, and more than there are descriptors for (section 3.2).

use std::time::{Duration, Instant};

use crate::case::Level::{Required, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, failed, passed};
use crate::peer::Peer;
use crate::process::{self, FewDescriptors};

/// How long a connection is tried that the server may have no room for.
const SHORT: Duration = Duration::from_millis(100);

pub(super) const CASES: &[Case] = &[
    Case::new(
        "three-thousand-connections-opened-and-dropped-are-survived",
        "3.2",
        Robustness,
        "Connections that come and go without a byte leave nothing behind",
        |cx| {
            for _ in 0..3_000 {
                cx.open()?;
            }
            passed()
        },
    )
    .patience(4),
    Case::new(
        "two-thousand-connections-dropped-within-a-request-are-survived",
        "3.2",
        Robustness,
        "Connections that come, begin a request and go leave nothing behind",
        |cx| {
            let bytes = cx.plain().body("0123456789").bytes();
            for round in 0..2_000 {
                let mut peer = cx.open()?;
                peer.send(&bytes[..round % bytes.len()])?;
            }
            passed()
        },
    )
    .patience(4),
    Case::new(
        "five-hundred-idle-connections-are-survived",
        "3.2",
        Robustness,
        "As many of 500 idle connections as the server and its queue take, held and then dropped",
        |cx| {
            drop(hold(cx, 500)?);
            passed()
        },
    )
    .patience(2),
    Case::new(
        "idle-connections-do-not-hold-up-others",
        "3.2",
        Robustness,
        "Thirty idle connections occupy no more than themselves",
        |cx| {
            let held = hold(cx, 30)?;
            for _ in 0..20 {
                cx.serve_plain()?;
            }
            drop(held);
            passed()
        },
    )
    .connections(31),
    Case::new(
        "sixty-connections-at-once-are-all-served",
        "3.2",
        Required,
        "Requests on sixty connections at the same time are all answered",
        |cx| {
            let bytes = cx.plain().bytes();
            let mut peers = Vec::new();
            for _ in 0..60 {
                let mut peer = cx.open()?;
                peer.send(&bytes)?;
                peers.push(peer);
            }
            for peer in peers.iter_mut().rev() {
                peer.response(1)?.expect_complete()?;
            }
            passed()
        },
    )
    .connections(60),
    Case::new(
        "nine-hundred-kept-connections-are-all-served",
        "3.2",
        Required,
        "An application that says FCGI_MAX_CONNS is 1000 or more serves 900 kept connections, again and again",
        |cx| {
            process::allow_descriptors(1_000).map_err(Stop::NotApplicable)?;
            let mut peers = Vec::new();
            for _ in 0..900 {
                let mut peer = cx.open()?;
                cx.serve_on(&mut peer, 1)?;
                peers.push(peer);
            }
            for peer in &mut peers {
                cx.serve_on(peer, 1)?;
            }
            passed()
        },
    )
    .connections(1_000)
    .patience(3),
    Case::new(
        "a-thousand-requests-over-changing-connections-are-served",
        "3.5",
        Robustness,
        "Connections for one request, for three, and for none, in turns",
        |cx| {
            for round in 0..500 {
                let mut peer = cx.open()?;
                match round % 3 {
                    0 => {}
                    1 => {
                        peer.send(&cx.plain().bytes())?;
                        peer.response(1)?.expect_complete()?;
                    }
                    _ => {
                        for id in 1..=3 {
                            cx.serve_on(&mut peer, id)?;
                        }
                    }
                }
            }
            passed()
        },
    )
    .patience(3),
    Case::new(
        "descriptors-are-given-back",
        "3.2",
        Robustness,
        "After 300 connections the server holds no more descriptors than before",
        |cx| {
            let pid = known_process(cx)?;
            cx.serve_plain()?;
            let before = process::descriptors(pid);
            let bytes = cx.plain().bytes();
            for round in 0..300 {
                let mut peer = cx.open()?;
                peer.send(&bytes[..bytes.len() * (round % 3) / 2])?;
            }
            cx.serve_plain()?;
            let until = Instant::now() + cx.target().timeout.min(Duration::from_secs(3));
            loop {
                let now = process::descriptors(pid);
                // A few may serve a pool that has grown.
                if now <= before + 8 {
                    return passed();
                }
                if Instant::now() > until {
                    return failed(format!("{before} descriptors before, {now} afterwards"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        },
    )
    .process()
    .patience(2),
    Case::new(
        "memory-does-not-grow-with-requests",
        "3.2",
        Robustness,
        "After a first thousand requests, two thousand more cost no memory",
        |cx| {
            let pid = known_process(cx)?;
            for _ in 0..1_000 {
                cx.serve_plain()?;
            }
            let before = process::resident(pid);
            for _ in 0..2_000 {
                cx.serve_plain()?;
            }
            let grown = process::resident(pid).saturating_sub(before);
            if grown > 8 << 20 {
                return failed(format!("the server's resident memory has grown by {} KiB", grown >> 10));
            }
            passed()
        },
    )
    .process()
    .patience(4),
    Case::new(
        "descriptor-exhaustion-is-survived",
        "3.2",
        Robustness,
        "More connections than the server has descriptors for: once they are gone, it serves as before",
        |cx| {
            let pid = known_process(cx)?;
            let few = FewDescriptors::impose(pid, 8).map_err(Stop::NotApplicable)?;
            let held = hold(cx, 100)?;
            std::thread::sleep(Duration::from_millis(300));
            if !process::is_alive(pid) {
                return failed("the server has ended for lack of descriptors");
            }
            drop(held);
            // The limit still holds: it is the connections that have to be given back.
            cx.serve_plain()?;
            drop(few);
            passed()
        },
    )
    .process()
    .patience(2),
    Case::new(
        "a-kept-connection-is-served-during-descriptor-exhaustion",
        "3.2",
        Robustness,
        "A lack of descriptors concerns new connections, not those that are there",
        |cx| {
            let pid = known_process(cx)?;
            let mut kept = cx.open()?;
            cx.serve_on(&mut kept, 1)?;
            let few = FewDescriptors::impose(pid, 4).map_err(Stop::NotApplicable)?;
            let held = hold(cx, 60)?;
            std::thread::sleep(Duration::from_millis(200));
            for _ in 0..20 {
                cx.serve_on(&mut kept, 1)?;
            }
            drop(held);
            drop(few);
            passed()
        },
    )
    .process()
    .connections(20)
    .patience(2),
    Case::new("two-thousand-resets-are-survived", "3.2", Robustness, "Connections that are reset leave nothing behind", |cx| {
        let bytes = cx.plain().bytes();
        for round in 0..2_000 {
            let mut peer = cx.open()?;
            peer.send(&bytes[..round % bytes.len()])?;
            peer.reset();
        }
        passed()
    })
    .tcp()
    .patience(4),
];

/// Opens up to `count` connections, as many as are taken without a wait.
fn hold(cx: &mut Context<'_>, count: usize) -> Result<Vec<Peer>, Stop> {
    process::allow_descriptors(count as u64 + 50).map_err(Stop::NotApplicable)?;
    let mut held = Vec::new();
    for _ in 0..count {
        match cx.open_within(SHORT) {
            Ok(peer) => held.push(peer),
            Err(_) => break,
        }
    }
    Ok(held)
}

fn known_process(cx: &Context<'_>) -> Result<u32, Stop> {
    cx.target().pid.ok_or_else(|| Stop::NotApplicable("the server's process is not known".to_owned()))
}
