//! One trial: a fresh pool, warmed up, timed, ended.

use std::time::Duration;

use anyhow::bail;
use fcgi_load::{Generator, Latency, Mode, Options, Report, Until};

use super::cpu;
use super::record::{Figures, Plan, Trial, Worker};
use super::regime::Cores;
use super::schedule::Cell;
use crate::entry::Entry;
use crate::launch::Pool;
use crate::usage;

/// How long a server may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Less of what was offered means that a queue grew, and the latencies tell of the queue.
const KEPT_UP: f64 = 0.99;

/// Runs one cell once. Whatever goes wrong voids the trial, and the experiment goes on.
pub(super) fn run(plan: &Plan, cores: &Cores, entry: &Entry, cell: &Cell, round: usize) -> Trial {
    let (void, figures) = match measure(plan, cores, entry, cell) {
        Ok(figures) => (None, Some(figures)),
        Err(why) => (Some(format!("{why:#}")), None),
    };
    Trial {
        round,
        entry: cell.name.clone(),
        mode: cell.mode,
        processes: cell.processes,
        connections: cell.connections,
        streams: cell.streams,
        void,
        figures,
    }
}

fn measure(plan: &Plan, cores: &Cores, entry: &Entry, cell: &Cell) -> anyhow::Result<Figures> {
    let pool = cores.among_workers(|| entry.launch(plan.family, cell.processes))??;
    let mut generator = generator(&pool, entry, cell, plan.rate)?;
    let warm_up = checked(generator.run(Until::Duration(plan.warm_up))?)?;

    let before = cpu::Usage::of(&pool.started_pids());
    let report = checked(generator.run(Until::Duration(plan.trial))?)?;
    let after = cpu::Usage::of(&pool.started_pids());

    // While the connections are still held.
    let workers = pool.worker_pids().into_iter().filter_map(|pid| {
        let usage = usage::of(pid).ok()?;
        let cpu = after.of_process_since(pid, &before);
        Some(Worker { rss_kib: usage.rss_kib, pss_kib: usage.pss_kib, threads: usage.threads, cpu })
    });
    let workers = workers.collect();
    drop(generator);
    let reaped = cpu::reaped_switches();
    entry.end(pool)?;
    let requests = warm_up.completed + report.completed;
    let switches = cpu::switches(reaped, cpu::reaped_switches(), requests);

    let (worker_cpu, user_share) = after.since(&before);
    let (latency_p50_ns, latency_p99_ns) = quantiles(&report.latency);
    Ok(Figures {
        requests: report.completed,
        elapsed: report.elapsed,
        worker_cpu,
        user_share,
        generator_cpu: report.cpu,
        latency_p50_ns,
        latency_p99_ns,
        achieved_by_offered: report.achieved_by_offered(),
        peak_in_flight: report.peak_in_flight,
        parsed: report.parsed,
        switches,
        workers,
    })
}

/// The median, and what 99 of 100 do not exceed, in nanoseconds.
pub(crate) fn quantiles(latency: &Latency) -> (u64, u64) {
    (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99))
}

/// What asks a pool as its cell says.
pub(super) fn generator(
    pool: &Pool,
    entry: &Entry,
    cell: &Cell,
    rate: Option<f64>,
) -> anyhow::Result<Generator> {
    let options = Options {
        mode: cell.mode,
        connections: cell.connections,
        streams: if cell.mode == Mode::Multiplex { cell.streams } else { 1 },
        timeout: PATIENCE,
        rate,
        ..Options::new(pool.address().clone(), entry.hello())
    };
    Ok(Generator::new(options)?)
}

/// One wrong reply voids a trial.
pub(super) fn checked(report: Report) -> anyhow::Result<Report> {
    if let Some(sample) = report.errors.samples.first() {
        bail!("{} of {} requests failed: {sample}", report.errors.total(), report.due);
    }
    if report.refused > 0 {
        bail!("{} of {} requests were refused", report.refused, report.due);
    }
    if report.gave_up || report.completed == 0 {
        bail!("nothing was answered");
    }
    match report.achieved_by_offered() {
        Some(achieved) if achieved < KEPT_UP => {
            bail!("{:.1} % of the offered rate was achieved", achieved * 100.0)
        }
        _ => Ok(report),
    }
}
