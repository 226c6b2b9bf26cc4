//! How web servers use their connections to the pool, as counted on the line.

use std::thread;

use bench_harness::{Family, Pool, Strategy, workload};
use libtest_mimic::Failed;

use crate::front_end::{FrontEnd, Site, multiplexes, pool_args};
use crate::http;
use crate::support::Outcome;
use crate::tap::Tap;
use crate::workload::ask;

pub(crate) fn kept(strategy: &Strategy, site: Site) -> Outcome {
    let pool = Pool::launch(strategy, Family::Unix, &pool_args(strategy, Family::Unix)?)?;
    let tap = Tap::before(&pool)?;
    let front_end = FrontEnd::start_before_address(&tap.address(), None, site)?;
    let cases = workload::cases();
    for case in &cases {
        ask(&front_end, case)?;
    }
    let seen = tap.seen();
    let requests: usize = seen.iter().map(|seen| seen.requests).sum();
    ensure!(requests == cases.len(), "{requests} requests on {seen:?}, {} were sent", cases.len());
    ensure!(seen.len() < requests / 2, "connections are not kept: {seen:?}");
    Ok(())
}

/// Where the pool multiplexes, requests of several clients must be seen on one connection at a time; where it does
/// not, and HAProxy is configured so, never.
pub(crate) fn shared(strategy: &Strategy, site: Site) -> Outcome {
    const CLIENTS: usize = 20;

    let pool = Pool::launch(strategy, Family::Unix, &pool_args(strategy, Family::Unix)?)?;
    let multiplexes = multiplexes(pool.address())?;
    let tap = Tap::before(&pool)?;
    let front_end = FrontEnd::start_before_address(&tap.address(), None, site)?;
    // A connection must be there, and known to multiplex, before it can be shared.
    ensure!(http::request(&front_end.address(), "GET", "/hello", None)?.status == 200, "no answer");

    // Without multiplexing there are eight places, so no more than eight clients; the others would wait for one.
    let clients = if multiplexes { CLIENTS } else { 6 };
    thread::scope(|scope| {
        let client = || -> Outcome {
            for _ in 0..3 {
                let response = http::request(&front_end.address(), "GET", "/wait?ms=150", None)?;
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
    let peak = seen.iter().map(|seen| seen.peak_in_flight).max().unwrap_or(0);
    if multiplexes {
        ensure!(peak > 1, "no connection ever carried two requests at a time: {seen:?}");
    } else {
        ensure!(peak == 1, "a connection carried {peak} requests at a time: {seen:?}");
    }
    Ok(())
}
