//! The third situation: a worker of a warm pool is killed under load.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::Until;

use super::record::KilledWorker;
use super::recovery::Recovery;
use super::watch::watch;
use super::{Case, LATE, POOL, check_replies, late};
use crate::launch::Pool;
use crate::process;
use crate::rng::Rng;

/// Clients that show what a pool can take, for so long at a time, after a warm-up. The best time counts, since a machine that does
/// something else makes the others worse.
const CLIENTS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(20);
const CAPACITY: [Duration; 3] = [Duration::from_millis(35); 3];
/// All of them.
pub(super) const CAPACITY_TIME: Duration = Duration::from_millis(125);

/// Connections that the load has at most, as a web server has a bound. Requests beyond wait for one of these, and that counts.
const CONNECTIONS: usize = 64;
/// How long the load goes on before the kill.
const LEAD: Duration = Duration::from_millis(100);
/// How long it goes on, after the start-up of the replacement and what is then to be made up for.
const TAIL: Duration = Duration::from_millis(250);

/// How long the load goes on after the kill. What comes in a start-up time at a quarter of what the pool can take is made up
/// for, beside what still comes, in a third of that time. It has twice as long, since a machine is not always as fast.
fn after(startup: Duration) -> Duration {
    startup + startup * 2 / 3 + TAIL
}

/// How long it takes, as far as is known.
pub(super) fn time(startup: Duration) -> Duration {
    LEAD + after(startup) + POOL
}

/// What a pool can take, in requests per second.
pub(super) fn capacity(case: &Case<'_>, pool: &Pool, stop: &AtomicBool) -> anyhow::Result<f64> {
    let run = |lasts| {
        let clients = case.clients(pool, CLIENTS, None)?;
        let report = watch(clients, Until::Duration(lasts), stop, |_| Ok(true))?;
        check_replies(&report)?;
        if report.completed == 0 || report.completed < report.due {
            bail!("a warm pool gave {} good answers to {} requests", report.completed, report.due);
        }
        Ok(report.throughput())
    };
    run(WARM_UP)?;
    CAPACITY.into_iter().try_fold(0.0, |best: f64, lasts| Ok(best.max(run(lasts)?)))
}

/// Kills one of the workers of a warm pool that is asked at this rate.
pub(super) fn kill(
    case: &Case<'_>,
    pool: Pool,
    rate: f64,
    rng: &mut Rng,
    stop: &AtomicBool,
) -> anyhow::Result<KilledWorker> {
    let workers = pool.worker_pids();
    let Some(&worker) = rng.pick(&workers).filter(|_| workers.len() == case.processes) else {
        bail!("the pool has {} workers, not {}: {}", workers.len(), case.processes, pool.stderr());
    };
    let lasts = LEAD + after(case.startup());
    let clients = case.clients(&pool, CONNECTIONS, Some(rate))?;
    let begun = Instant::now();
    let mut recovery: Option<Recovery> = None;
    let report = watch(clients, Until::Duration(lasts), stop, |progress| {
        let without_answer = progress.errors() + progress.refused();
        if let Some(recovery) = &mut recovery {
            recovery.see(begun.elapsed(), progress.completed(), without_answer);
        } else if begun.elapsed() >= LEAD {
            recovery = Some(Recovery::new(rate, lasts, begun.elapsed(), without_answer));
            process::kill(worker);
        }
        Ok(true)
    })?;
    let ended = begun.elapsed();
    check_replies(&report)?;
    let mut recovery = recovery.context("the load ended before the kill")?;
    recovery.see(ended, report.completed, report.errors.total() + report.refused);
    case.entry.end(pool).context("after a kill")?;
    let late = late(&report);
    // One that is late by less than the time between two looks was not seen; it ended so long after the kill.
    let recovered = recovery.took().max(if late > 0 { LATE } else { Duration::ZERO });
    Ok(KilledWorker {
        rate,
        due: report.due,
        lost: report.due - report.completed - report.unsent,
        unsent: report.unsent,
        late,
        longest_s: Duration::from_nanos(report.latency.good().max()).as_secs_f64(),
        recovered_s: (report.unsent == 0).then_some(recovered.as_secs_f64()),
    })
}
