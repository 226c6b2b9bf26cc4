//! `fcgi-lab soak`: load and faults, for a while.

mod progress;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use bench_harness::soak::{Outcome, Plan, SoakError};
use bench_harness::{BuildError, Strategy, builds, discover, soak};

use crate::entries::Socket;
use crate::stop;
use progress::Lines;

/// Keep strategies under load while workers are killed, connections break and peers stall, and count what is lost.
///
/// Every reply is checked. Exit status: 0 where nothing was lost but what was in flight on a killed worker and nothing
/// grew, 1 otherwise, 2 where it could not be tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Strategies to soak [default: all]
    #[arg(value_name = "STRATEGY")]
    strategies: Vec<String>,

    /// Seconds for each strategy
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,

    /// Soak all strategies at the same time instead of one after the other
    #[arg(long)]
    parallel: bool,

    /// The kind of socket
    #[arg(long, value_enum, default_value = "unix")]
    family: Socket,

    /// What all random choices are made from [default: the time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Write all that was found to this file, beside the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop::on_signals()?;
    let strategies = strategies(&args.strategies)?;
    let seed = args.seed.unwrap_or_else(stop::time);
    let plan = Plan { duration: Duration::from_secs(args.seconds), family: args.family.into(), seed };
    println!("seed {seed}, {} s for each strategy, {} sockets", args.seconds, plan.family);

    let lines = Lines::start(&strategies, plan.duration);
    let soaked = if args.parallel {
        all_at_once(&strategies, &plan, &lines, &stop)
    } else {
        let one = |strategy: &Strategy| soak::run(strategy, &plan, lines.watch(strategy), &stop);
        strategies.iter().map(one).collect()
    };
    lines.finish();
    if stop.load(Ordering::Relaxed) {
        return Ok(stop::interrupted());
    }
    let mut outcomes = Vec::new();
    for (strategy, soaked) in strategies.iter().zip(soaked) {
        outcomes.push(soaked.with_context(|| strategy.name().to_owned())?);
    }
    report(&outcomes, args)?;
    Ok(if outcomes.iter().all(Outcome::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn strategies(names: &[String]) -> anyhow::Result<Vec<Strategy>> {
    let mut sources = discover::sources()?;
    // Nothing that a floor answers can be wrong, so nothing can be lost.
    sources.retain(|source| !source.is_floor());
    if let Some(unknown) = names.iter().find(|name| sources.iter().all(|source| source.name() != **name)) {
        let known: Vec<&str> = sources.iter().map(discover::Source::name).collect();
        bail!("there is no strategy {unknown}: there are {}", known.join(", "));
    }
    sources.retain(|source| names.is_empty() || names.iter().any(|name| name == source.name()));
    let mut strategies = Vec::new();
    for source in &sources {
        match builds::build(source) {
            Ok(strategy) => strategies.push(strategy),
            // By default all that can run here; who names one is told that it cannot.
            Err(error @ BuildError::Unsupported { .. }) if names.is_empty() => eprintln!("left out: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(strategies)
}

fn all_at_once(
    strategies: &[Strategy],
    plan: &Plan,
    lines: &Lines,
    stop: &AtomicBool,
) -> Vec<Result<Outcome, SoakError>> {
    thread::scope(|scope| {
        let soaks: Vec<_> = strategies
            .iter()
            .map(|strategy| scope.spawn(move || soak::run(strategy, plan, lines.watch(strategy), stop)))
            .collect();
        soaks
            .into_iter()
            .map(|soak| soak.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn report(outcomes: &[Outcome], args: &Args) -> anyhow::Result<()> {
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(outcomes)?;
        std::fs::write(path, json + "\n").with_context(|| path.display().to_string())?;
    }
    let mut out = std::io::stdout().lock();
    match write!(out, "{}", table::Table(outcomes)).and_then(|()| out.flush()) {
        // `fcgi-lab soak | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        crate::parse(words)
    }

    #[test]
    fn a_minute_of_each_strategy_is_the_default() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.seconds, args.strategies.len(), args.parallel), (60, 0, false));
    }

    #[test]
    fn too_short_a_soak_is_refused() {
        assert!(parse(&["--seconds", "9"]).is_err());
        assert!(parse(&["--seconds", "10", "mio"]).is_ok());
    }
}
