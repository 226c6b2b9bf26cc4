//! How web servers use their connections to the pool, as counted on the line.

use std::thread;

use bench_harness::front_ends::tap::{Seen, Tap};
use bench_harness::front_ends::{FrontEnd, Site, http};
use bench_harness::{Strategy, workload};
use fcgi_load::Mode;
use libtest_mimic::Failed;

use crate::front_end::{launch, multiplexes, suited};
use crate::support::Outcome;
use crate::workload::ask;

/// Few connections for many requests, and never two requests at a time on one.
pub(crate) fn kept(strategy: &Strategy, site: Site) -> Outcome {
    let seen = seen_by(strategy, Site { mode: Mode::Keep, ..site }, 6)?;
    let requests: usize = seen.iter().map(|seen| seen.requests).sum();
    ensure!(seen.len() < requests / 2, "connections are not kept: {seen:?}");
    ensure!(peak(&seen) == 1, "a connection carried {} requests at a time: {seen:?}", peak(&seen));
    Ok(())
}

/// A connection for each request.
pub(crate) fn closed(strategy: &Strategy, site: Site) -> Outcome {
    let seen = seen_by(strategy, Site { mode: Mode::Close, ..site }, 6)?;
    ensure!(seen.iter().all(|seen| seen.requests == 1), "a connection carried several requests: {seen:?}");
    Ok(())
}

/// Where the pool multiplexes, requests of several clients must be seen on one connection at a time; where it does
/// not, and HAProxy is configured so, never.
pub(crate) fn shared(strategy: &Strategy, site: Site) -> Outcome {
    let pool = launch(strategy, site)?;
    let multiplexes = multiplexes(pool.address())?;
    drop(pool);
    let seen = seen_by(strategy, site, 20)?;
    if multiplexes {
        ensure!(peak(&seen) > 1, "no connection ever carried two requests at a time: {seen:?}");
    } else {
        ensure!(peak(&seen) == 1, "a connection carried {} requests at a time: {seen:?}", peak(&seen));
    }
    Ok(())
}

fn peak(seen: &[Seen]) -> usize {
    seen.iter().map(|seen| seen.peak_in_flight).max().unwrap_or(0)
}

/// What a tap sees of the workload, path by path, and of so many clients that wait at a time. Each request is seen.
fn seen_by(strategy: &Strategy, site: Site, clients: usize) -> Result<Vec<Seen>, Failed> {
    const EACH: usize = 3;

    let pool = launch(strategy, site)?;
    let site = suited(site, pool.address())?;
    let tap = Tap::before(&pool)?;
    let front_end = FrontEnd::before(&tap.address(), site)?;
    let requests = |seen: &[Seen]| -> usize { seen.iter().map(|seen| seen.requests).sum() };
    // It was asked once to see that it answers: more often where the first answer was not the right one.
    let before = requests(&tap.seen());

    let cases = workload::cases();
    for case in &cases {
        ask(&front_end, case)?;
    }
    thread::scope(|scope| {
        let client = || -> Outcome {
            for _ in 0..EACH {
                let response = http::request(&front_end.host_and_port(), "GET", "/wait?ms=150", None)?;
                ensure!(response.status == 200 && response.body == b"waited 150 ms\n", "{response:?}");
            }
            Ok(())
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| Failed::from("a client panicked"))?)
    })?;

    let seen = tap.seen();
    let (came, sent) = (requests(&seen) - before, cases.len() + clients * EACH);
    // HAProxy may have asked again (haproxy.cfg says why).
    ensure!(came >= sent, "{came} requests on {seen:?}, {sent} were sent");
    Ok(seen)
}
