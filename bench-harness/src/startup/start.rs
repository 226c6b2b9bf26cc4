//! The first two situations: a pool that starts, and is asked for its first answers, or by whoever happens to come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::{Address, Quantile, Until};

use super::record::{Burst, ColdStart};
use super::watch::watch;
use super::{Case, PATIENCE, POOL, check_replies, late};
use crate::launch::Pool;

/// Clients of a cold start.
const CLIENTS: usize = 8;
/// Answers after which it is over.
const ANSWERS: u64 = 100;
/// So often they look whether there is a socket.
const KNOCK: Duration = Duration::from_micros(100);

/// Requests per second of a burst: far fewer than any pool can take, so that what is late is late for the start.
const BURST_RATE: f64 = 400.0;
/// How long a burst goes on when the start-up time is over.
const BURST_TAIL: Duration = Duration::from_millis(600);
/// Connections that a burst has at most: the requests beyond wait for one of these, and are as late.
const BURST_CONNECTIONS: usize = 512;

/// How long both take, as far as is known.
pub(super) fn time(startup: Duration) -> Duration {
    2 * (POOL + startup) + BURST_TAIL
}

/// A pool is started, and clients ask it for as long as it takes.
pub(super) fn cold(case: &Case<'_>, stop: &AtomicBool) -> anyhow::Result<ColdStart> {
    let limit = case.startup() + PATIENCE;
    let spawned = Instant::now();
    let mut pool = case.spawn()?;
    // All requests are due at once, so their latencies count from the first attempt.
    const AT_ONCE: f64 = 1e9;
    let clients = case.clients(&pool, CLIENTS, Some(AT_ONCE))?;
    wait_for_socket(&mut pool, spawned + limit, stop)?;
    let waited = spawned.elapsed();
    let report = watch(clients, Until::Duration(limit), stop, |progress| {
        pool.check_runs()?;
        Ok(progress.completed() < ANSWERS)
    })?;
    check_replies(&report)?;
    if report.completed < ANSWERS {
        bail!("a cold start had {} good answers within {limit:?}", report.completed);
    }
    case.entry.end(pool).context("after a cold start")?;
    let good = report.latency.good();
    let answered = |number: u64| {
        // Half a place lower, so that no rounding leads to the next one.
        let latency = good.value_at_quantile((number as f64 - 0.5) / good.len() as f64);
        (waited + Duration::from_nanos(latency)).as_secs_f64()
    };
    Ok(ColdStart {
        first_s: answered(1),
        hundredth_s: answered(ANSWERS),
        lost: report.refused + report.errors.total() - report.errors.connect,
    })
}

/// Waits for the socket's file. It is not connected to, since a worker would have to serve that connection first; and a client
/// that is refused pauses, longer each time, which would blur the time of the first answer.
fn wait_for_socket(pool: &mut Pool, deadline: Instant, stop: &AtomicBool) -> anyhow::Result<()> {
    let Address::Unix(path) = pool.address().clone() else { return Ok(()) };
    while !path.exists() && !stop.load(Ordering::Relaxed) {
        pool.check_runs()?;
        if Instant::now() >= deadline {
            bail!("there is no socket after {PATIENCE:?}");
        }
        thread::sleep(KNOCK);
    }
    Ok(())
}

/// A pool is started, and requests come at their rate from then on.
pub(super) fn burst(case: &Case<'_>, stop: &AtomicBool) -> anyhow::Result<Burst> {
    let lasts = case.startup() + BURST_TAIL;
    let requests = (lasts.as_secs_f64() * BURST_RATE).ceil() as usize;
    let mut pool = case.spawn()?;
    let clients = case.clients(&pool, requests.min(BURST_CONNECTIONS), Some(BURST_RATE))?;
    let report = watch(clients, Until::Duration(lasts), stop, |_| {
        pool.check_runs()?;
        Ok(true)
    })?;
    check_replies(&report)?;
    case.entry.end(pool).context("after a burst")?;
    let p99 = report.latency.quantile(0.99);
    Ok(Burst {
        rate: BURST_RATE,
        due: report.due,
        refused: report.errors.connect,
        lost: report.due - report.completed - report.errors.connect,
        late: late(&report),
        p99_s: p99.map(|p99| Duration::from_nanos(p99.nanoseconds()).as_secs_f64()),
        p99_is_at_least: matches!(p99, Some(Quantile::AtLeast(_))),
        backlog_full: report.backlog_full,
    })
}
