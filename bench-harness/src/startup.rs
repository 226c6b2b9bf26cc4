//! The start-up experiment: what it costs that each process takes a while before it serves. It answers a sentence of 2007:
//! "If for example a process (application) require considerable amount of startup time (when the process is spawned), it may be
//! quicker to run few, or one single, process and instead make it spawn threads, thus avoiding any startup processing overhead
//! each time it needs more connection handlers."
//!
//! ```text
//!   cases ──► trial, trial, ... ──► StartTrial
//!             cold start, burst, killed worker
//! ```
//!
//! A trial is three situations, each with a pool of its own on a unix socket. Every request has a new connection, as lighttpd
//! makes one:
//!
//! 1. **A cold start:** eight clients ask as soon as there is a socket. When is the first answered, and when the hundredth?
//! 2. **A burst at the start:** requests come at a fixed rate from the moment when the program runs, whether it serves or not.
//!    How many are refused, lost or late?
//! 3. **A killed worker:** a pool that has been warm for a while is asked at a quarter of the rate that it can take, and one of
//!    its workers is killed. How many requests are lost or late, and for how long? With one process that is an outage, with
//!    several it is a share.
//!
//! # What the supervisor does
//!
//! A part of what is measured is fcgi-worker's supervisor, which is the same in every strategy:
//!
//! - It binds the socket before it forks the workers. So clients are refused only until the program has come that far;
//!   afterwards they wait in the kernel's backlog (1,024 connections), which outlives every worker, for one that accepts.
//! - It forks all workers at once and each makes its application for itself, so each takes the whole start-up time, a replacement
//!   too.
//! - It replaces a worker that lived for a second or longer, its start-up included, at once. One that died earlier is replaced
//!   after a pause of 100 ms, twice as long after each further early death in the same place, up to 5 s. Here the killed
//!   worker is older than a second, whatever its start-up time, so that no pause is measured.
//!
//! # What it does not say
//!
//! Where a start-up is slept (`--startup-ms`), eight processes start in the time of one, like applications that wait for a disk
//! or a database. Where it is CPU time (`--startup-cpu-ms`), more processes than cores take longer.
//!
//! Generator and workers share all cores, and the pool of the third situation is alive, and idle, during the other two.
//!
//! A start-up time near [`LATE`] makes few requests late, or many, by chance: of an outage of 100 ms only what came in its first
//! moment waited longer. How long it was is told by [`KilledWorker::longest_s`].

mod kill;
mod record;
mod recovery;
mod start;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use fcgi_load::{Generator, Mode, Options, Report};

pub use record::{Burst, ColdStart, KilledWorker, Start, StartFigures, StartTrial};

use crate::entry::Entry;
use crate::launch::{Family, Pool};
use crate::rng::Rng;

/// Somebody who waits longer than this has noticed: a request answered so long after it was due is late.
pub const LATE: Duration = Duration::from_millis(100);

/// How old a pool is before one of its workers is killed: its supervisor then replaces the worker at once.
const SETTLED: Duration = Duration::from_millis(1_100);
/// How long that pool has, before another one is started, to fork its workers, beside what they compute.
const APART: Duration = Duration::from_millis(50);
/// What a pool takes to start and to end, roughly, beside its start-up time.
const POOL: Duration = Duration::from_millis(20);
/// How long a reply may take beyond the start-up time.
const PATIENCE: Duration = Duration::from_secs(10);

/// One pool to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// A strategy.
    pub entry: &'a Entry,
    /// Worker processes.
    pub processes: usize,
    /// What each process does before it serves.
    pub start: Start,
}

/// Each of these pools with each of these starts.
pub fn cases<'a>(pools: &[(&'a Entry, usize)], starts: &[Start]) -> Vec<Case<'a>> {
    let with = |start: Start| pools.iter().map(move |&(entry, processes)| Case { entry, processes, start });
    starts.iter().copied().flat_map(with).collect()
}

/// How long all of them take in so many launches, as far as is known.
pub fn time_of(cases: &[Case<'_>], launches: usize) -> Duration {
    cases.iter().map(Case::time).sum::<Duration>() * launches as u32
}

/// Tries one case. `launch` counts from 1; with the seed it decides which worker is killed. None where it was told to stop. Call
/// it from a thread that lives until it returns: pools die with it.
pub fn trial(case: &Case<'_>, seed: u64, launch: usize, stop: &AtomicBool) -> Option<StartTrial> {
    let mut rng = Rng::new(seed.wrapping_add(launch as u64)).split();
    let measured = case.measure(&mut rng, stop);
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    let (void, figures) = match measured {
        Ok(figures) => (None, Some(figures)),
        Err(why) => (Some(format!("{why:#}")), None),
    };
    Some(StartTrial {
        launch,
        entry: case.entry.name().to_owned(),
        processes: case.processes,
        start: case.start,
        void,
        figures,
    })
}

impl Case<'_> {
    /// All three situations. Where it was told to stop what it returns means nothing.
    fn measure(&self, rng: &mut Rng, stop: &AtomicBool) -> anyhow::Result<StartFigures> {
        // It is started first, since it has to be old, and it is at rest while the others are asked.
        let born = Instant::now();
        let settled = self.spawn()?.ready()?;
        rest_until(Instant::now() + self.computing() + APART, stop);
        let cold = start::cold(self, stop)?;
        let burst = start::burst(self, stop)?;
        let quarter = kill::capacity(self, &settled, stop)? / 4.0;
        rest_until(born + SETTLED, stop);
        let kill = kill::kill(self, settled, quarter, rng, stop)?;
        Ok(StartFigures { cold, burst, kill })
    }

    /// How long that takes, as far as is known.
    fn time(&self) -> Duration {
        let before = POOL + self.computing() + APART + start::time(self.startup()) + kill::CAPACITY_TIME;
        before.max(SETTLED) + kill::time(self.startup())
    }

    /// How long all of its processes take to start, where they have the cores to themselves.
    fn startup(&self) -> Duration {
        match self.start {
            Start::Sleeps(milliseconds) => Duration::from_millis(milliseconds),
            Start::Computes(_) => self.computing(),
        }
    }

    /// For how much of that they take all cores.
    fn computing(&self) -> Duration {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match self.start {
            Start::Sleeps(_) => Duration::ZERO,
            Start::Computes(milliseconds) => {
                Duration::from_millis(milliseconds) * self.processes.div_ceil(cores) as u32
            }
        }
    }

    /// Starts a pool, and waits for nothing.
    fn spawn(&self) -> anyhow::Result<Pool> {
        let Entry::Strategy(strategy) = self.entry else {
            bail!("{} cannot be told how long to start", self.entry.name());
        };
        let (processes, (option, milliseconds)) = (self.processes.to_string(), self.start.option());
        let args = ["--processes", &processes, option, &milliseconds.to_string()];
        Ok(Pool::spawn(strategy, Family::Unix, &args)?)
    }

    /// Clients of a pool, none of them connected yet: so many requests at a time, each on a new connection, in an open loop where
    /// there is a rate.
    fn clients(&self, pool: &Pool, connections: usize, rate: Option<f64>) -> anyhow::Result<Generator> {
        let options = Options {
            mode: Mode::Close,
            connections,
            rate,
            timeout: self.startup() + PATIENCE,
            ..Options::new(pool.address().clone(), self.entry.hello())
        };
        Ok(Generator::new(options)?)
    }
}

/// Sleeps until then, or until it is told to stop.
fn rest_until(end: Instant, stop: &AtomicBool) {
    const STEP: Duration = Duration::from_millis(50);

    while !stop.load(Ordering::Relaxed)
        && let Some(left) = end.checked_duration_since(Instant::now())
    {
        thread::sleep(left.min(STEP));
    }
}

/// A pool that starts or dies may lose requests, but never answer wrongly: a wrong reply voids the trial.
fn check_replies(report: &Report) -> anyhow::Result<()> {
    let errors = &report.errors;
    let missing = errors.connect + errors.closed + errors.unanswered + errors.lost + errors.timeout;
    let wrong = errors.total() - missing + report.stray;
    if wrong > 0 {
        bail!("{wrong} of {} requests were answered wrongly: {}", report.due, errors.samples.join("; "));
    }
    Ok(())
}

/// How many good replies came late.
fn late(report: &Report) -> u64 {
    let late = report.latency.good().iter_recorded();
    let late = late.filter(|step| Duration::from_nanos(step.value_iterated_to()) > LATE);
    late.map(|step| step.count_at_value()).sum()
}

#[cfg(test)]
mod tests;
