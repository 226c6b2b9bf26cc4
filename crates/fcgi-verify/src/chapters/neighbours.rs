//! What one peer does must not starve the others: each of them has a connection of its own (section 3.2).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use super::Run;
use crate::case::Level::{Recommended, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, failed, passed};
use crate::process;
use crate::request::Request;
use crate::wire::{self, Record, begin_request, get_values, record};

/// How many requests of a busy peer may be served while a newcomer waits: far above a fair share.
const MEANWHILE: usize = 10_000;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a-peer-that-pipelines-does-not-hold-up-others",
        "3.2",
        Robustness,
        "New connections are served while one peer sends requests without a pause, and before 10,000 of them",
        |cx| {
            let request = if cx.target().workload { cx.get("/cpu?us=100") } else { cx.plain() };
            let socket = cx.target().address.connect(cx.target().timeout);
            let socket = socket.map_err(|error| Stop::Failed(format!("cannot connect: {error}")))?;
            let (served, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
            thread::scope(|scope| {
                scope.spawn(|| pipeline(&socket, &request.keep(), &served, &stop));
                thread::sleep(Duration::from_millis(300));
                let outcome = (0..3).try_for_each(|_| newcomer(cx, &served));
                stop.store(true, Ordering::Relaxed);
                outcome
            })?;
            passed()
        },
    )
    .connections(2)
    .patience(2),
    Case::new(
        "many-answers-that-are-not-read-do-not-hold-up-others",
        "5.3",
        Robustness,
        "Other connections are served while one has many large answers under way and reads none of them",
        |cx| {
            let mut stalled = cx.open()?;
            // The first ones may fit into the sockets' buffers: more take their places.
            for (first, last) in [(1, 128), (129, 168)] {
                for id in first..=last {
                    let bytes = cx.get("/bytes?n=1000000").keep().id(id).bytes();
                    stalled.send_without_reading(&bytes, Duration::from_millis(100));
                }
                thread::sleep(Duration::from_millis(200));
            }
            others_are_served(cx)
        },
    )
    .workload()
    .multiplexing()
    .connections(2)
    .patience(2),
    Case::new(
        "unread-answers-to-queries-do-not-hold-up-others",
        "4.1",
        Robustness,
        "Other connections are served while one sends GET_VALUES and reads no answer",
        |cx| unread(cx, &get_values(&["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"])),
    )
    .connections(2)
    .patience(4),
    Case::new(
        "unread-answers-to-unknown-types-do-not-hold-up-others",
        "4.2",
        Robustness,
        "Other connections are served while one sends unknown management records and reads no answer",
        |cx| unread(cx, &record(99, 0, &[], 0)),
    )
    .connections(2)
    .patience(4),
    Case::new(
        "unread-refusals-do-not-hold-up-others",
        "5.5",
        Robustness,
        "Other connections are served while one begins requests of a role that is not played and reads no answer",
        |cx| unread(cx, &begin_request(1, 77, wire::KEEP_CONN)),
    )
    .connections(2)
    .patience(4),
    Case::new(
        "requests-of-peers-that-have-left-do-not-hold-up-others",
        "5.4",
        Recommended,
        "A connection that is gone takes its requests with it: whoever comes is served before they would have ended",
        |cx| {
            let (connections, requests) = match cx.target().multiplexing {
                true => (cx.target().connections.min(128), 8),
                false => (cx.target().connections.min(256), 1),
            };
            process::allow_descriptors(connections as u64 + 50).map_err(Stop::NotApplicable)?;
            let request = cx.get(&cx.long_wait()).keep();
            let mut peers = Vec::new();
            for _ in 0..connections {
                let mut peer = cx.open()?;
                for id in 1..=requests {
                    peer.send(&request.clone().id(id).bytes())?;
                }
                peers.push(peer);
            }
            thread::sleep(Duration::from_millis(300));
            // A TCP connection that is only closed could be one that is half-closed.
            for peer in peers {
                peer.reset();
            }
            others_are_served(cx)
        },
    )
    .workload()
    .patience(2),
];

fn others_are_served(cx: &mut Context<'_>) -> Run {
    for _ in 0..3 {
        cx.serve_plain()?;
    }
    passed()
}

/// Sends the same record over and over until it is not taken any more, and does so again before each of the others: what
/// the kernel holds, it packs more tightly after a while.
fn unread(cx: &mut Context<'_>, record: &[u8]) -> Run {
    let records = record.repeat((64 << 10) / record.len());
    let mut peer = cx.open()?.lenient();
    let mut sent = 0;
    for _ in 0..4 {
        while sent < 64 << 20 {
            let rest = &records[sent % record.len()..];
            let taken = peer.send_without_reading(rest, Duration::from_millis(400));
            sent += taken;
            if taken < rest.len() {
                break;
            }
        }
        cx.serve_plain()?;
    }
    passed()
}

fn newcomer(cx: &mut Context<'_>, served: &AtomicUsize) -> Result<(), Stop> {
    let before = served.load(Ordering::Relaxed);
    cx.serve_plain()?;
    let meanwhile = served.load(Ordering::Relaxed) - before;
    if meanwhile > MEANWHILE {
        return failed(format!("{meanwhile} requests of the busy peer were served before a newcomer was"));
    }
    Ok(())
}

/// Sends requests as long as they are taken, reads the answers, and counts those that were not refused.
fn pipeline(mut socket: &Socket, request: &Request, served: &AtomicUsize, stop: &AtomicBool) {
    /// Unsent bytes and requests under way: much more than a server reads at once.
    const SENDING: usize = 64 << 10;
    const UNDER_WAY: usize = 5_000;

    let (mut id, mut active) = (0_u16, BTreeSet::new());
    let (mut sending, mut inbox) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        while sending.len() < SENDING && active.len() < UNDER_WAY {
            id = id % 60_000 + 1;
            // An id is free when its request has ended.
            if active.insert(id) {
                sending.extend(request.clone().id(id).bytes());
            }
        }
        let sent = if sending.is_empty() { 0 } else { socket.write(&sending).unwrap_or(0) };
        sending.drain(..sent);
        let read = match socket.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => count,
            Err(_) => 0,
        };
        inbox.extend_from_slice(&chunk[..read]);
        let mut used = 0;
        while let Some((record, length)) = Record::read(&inbox[used..]) {
            used += length;
            if record.header.kind == wire::END_REQUEST {
                active.remove(&record.header.id);
                let is_served = record.content.get(4) == Some(&wire::REQUEST_COMPLETE);
                served.fetch_add(usize::from(is_served), Ordering::Relaxed);
            }
        }
        inbox.drain(..used);
        if sent == 0 && read == 0 {
            let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            let flags = if sending.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let _ = poll(&mut [PollFd::new(socket, flags)], Some(&timeout));
        }
    }
}
