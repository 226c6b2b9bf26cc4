//! `fcgi-lab soak`: load and faults, for a while.

mod progress;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use bench_harness::soak::{Outcome, Plan, SoakError};
use bench_harness::{BuildError, Strategy, builds, discover, launch, soak};

use crate::entries::Socket;
use crate::output::{complain, print};
use crate::results::{ResultFile, kept_elsewhere};
use crate::{EXIT_NOT_DONE, stop};
use progress::Lines;

/// Keep strategies under load while workers are killed, connections break and peers stall, and count what is lost.
///
/// Every reply is checked. Exit status: 0 where nothing was lost but what was in flight on a killed worker and nothing
/// grew, 1 otherwise, 2 where it could not be tried; 130 where it was interrupted, with all that was complete by then.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Strategies to soak, or forms of them [default: all strategies]
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

    /// Replace that file, if it exists
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop::on_signals()?;
    let claim = |path: &PathBuf| ResultFile::claim(path, args.overwrite);
    let mut file = args.json.as_ref().map(claim).transpose()?;
    let seed = args.seed.unwrap_or_else(stop::time);
    let plan = Plan { duration: Duration::from_secs(args.seconds), family: args.family.into(), seed };
    launch::try_here(plan.family)?;
    let strategies = strategies(&args.strategies)?;
    print(format_args!("seed {seed}, {} s for each strategy, {} sockets\n", args.seconds, plan.family))?;

    let lines = Lines::start(&strategies, plan.duration);
    let mut found = Found::default();
    if args.parallel {
        for (strategy, soaked) in strategies.iter().zip(all_at_once(&strategies, &plan, &lines, &stop)) {
            found.add(strategy, soaked);
        }
    } else {
        for strategy in &strategies {
            found.add(strategy, soak::run(strategy, &plan, lines.watch(strategy), &stop));
            // A run that is killed has kept what it found. What cannot be kept now is tried again at the end.
            if let Some(file) = file.as_mut().filter(|file| !file.is_stream() && !found.outcomes.is_empty()) {
                let _ = file.write(&found.json()?);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    lines.finish();
    found.tell(file)?;
    Ok(match () {
        () if stop.load(Ordering::Relaxed) => stop::interrupted(),
        () if !found.absent.is_empty() => ExitCode::from(EXIT_NOT_DONE),
        () if found.outcomes.iter().all(Outcome::passed) => ExitCode::SUCCESS,
        () => ExitCode::FAILURE,
    })
}

/// What has been found so far.
#[derive(Default)]
struct Found {
    outcomes: Vec<Outcome>,
    /// Strategies without an outcome, and why.
    absent: Vec<String>,
}

impl Found {
    fn add(&mut self, strategy: &Strategy, soaked: Result<Outcome, SoakError>) {
        match soaked {
            Ok(outcome) => self.outcomes.push(outcome),
            Err(error) => self.absent.push(format!("{}: {error}", strategy.name())),
        }
    }

    fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.outcomes)? + "\n")
    }

    /// Tells all of it in every way there is, even where one of them fails.
    fn tell(&self, file: Option<ResultFile>) -> anyhow::Result<()> {
        for absent in &self.absent {
            complain(absent);
        }
        if self.outcomes.is_empty() {
            return Ok(());
        }
        let json = self.json()?;
        let is_kept = file.is_some();
        let kept = file.map_or(Ok(()), |mut file| file.keep(&json));
        let printed = print(table::Table(&self.outcomes));
        kept?;
        printed.map_err(|error| if is_kept { error } else { kept_elsewhere(error, &json) })
    }
}

pub(crate) fn strategies(names: &[String]) -> anyhow::Result<Vec<Strategy>> {
    let mut sources = if names.is_empty() { discover::sources()? } else { discover::all()? };
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
            Err(error @ BuildError::Unsupported { .. }) if names.is_empty() => {
                complain(format_args!("left out: {error}"))
            }
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
