//! `fcgi-lab socket-race`: servers that start and stop at one path, at the same time.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use bench_harness::client::{Client, Request};
use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Strategy, launch};
use fcgi_load::Address;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::Signal;

use crate::output::{complain, print};
use crate::{soak, stop};

/// How long a pool may take to start, to be refused or to stop.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(500);

/// Start and stop pools that race for one socket path, and look whether a socket is ever lost or stolen.
///
/// In each round two pools start at once, every other time where a stale socket file is. One has to own the path and answer,
/// the other to say so and end with status 2. Then, in turn, the owner is stopped; or its file is removed and another pool
/// started, whose socket must survive the end of the first; or another is started in the moment in which the first stops.
/// After the last one has stopped the path must be gone. Exit status: 0 where all of that was so, 1 otherwise, 2 where it
/// could not be tried.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds, of two or three starts each
    #[arg(value_name = "ROUNDS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// The strategy that serves
    #[arg(value_name = "STRATEGY", default_value = "prefork")]
    strategy: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop::on_signals()?;
    launch::try_here(Family::Unix)?;
    let strategies = soak::strategies(std::slice::from_ref(&args.strategy))?;
    let strategy = strategies.first().context("there is no such strategy")?;
    let mut race = Race { strategy, starts: 0, refused: 0 };

    // Away from a terminal it is not drawn.
    let style = ProgressStyle::with_template("{elapsed:>5} {wide_bar} {pos}/{len} rounds, {msg} faults")?;
    let bar = ProgressBar::new(args.rounds.into()).with_style(style).with_message("0");
    let mut faults = 0;
    for number in 0..args.rounds {
        let done = race.round(number);
        if stop.load(Ordering::Relaxed) {
            // A pool gets the same signal from the terminal: what the round has come to says nothing.
            bar.finish_and_clear();
            return Ok(stop::interrupted());
        }
        if let Err(fault) = done {
            faults += 1;
            bar.set_message(faults.to_string());
            bar.suspend(|| complain(format_args!("round {number}: {fault:#}")));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Race { starts, refused, .. } = race;
    let summary = format!(
        "{}: {} rounds, {starts} starts, {refused} of them refused as they had to be, {faults} sockets lost, stolen or left\n",
        strategy.name(),
        args.rounds,
    );
    print(summary)?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Race<'a> {
    strategy: &'a Strategy,
    starts: usize,
    refused: usize,
}

impl Race<'_> {
    fn round(&mut self, number: u32) -> anyhow::Result<()> {
        let place = Place::new(Family::Unix)?;
        let Address::Unix(path) = place.address() else { bail!("the place has no path") };
        if number % 2 == 1 {
            drop(place.listen()?);
        }
        let mut owner = self.contest(&path)?;
        let owner = match number % 3 {
            0 => Some(owner),
            1 => {
                fs::remove_file(&path).context("the owner's file cannot be removed")?;
                let mut next = self.start(&path)?;
                answers(&mut next, &path).context("the one started where a file was removed")?;
                stop_it(owner)?;
                ensure!(path.exists(), "a stop removed the other's socket");
                answers(&mut next, &path).context("the one whose predecessor stopped")?;
                Some(next)
            }
            _ => {
                owner.signal(Signal::TERM)?;
                let next = self.start(&path)?;
                ends(&mut owner, 0)?;
                self.successor(next, &path)?
            }
        };
        if let Some(owner) = owner {
            stop_it(owner)?;
        }
        ensure!(!path.exists(), "its file is left behind");
        Ok(())
    }

    fn start(&mut self, path: &Path) -> anyhow::Result<Process> {
        let mut command = Command::new(self.strategy.binary());
        command.arg("--listen").arg(Address::Unix(path.to_owned()).to_string());
        command.args(["--processes", "2"]).stdin(Stdio::null());
        self.starts += 1;
        Ok(Process::spawn(command)?)
    }

    /// Two at once: the one that owns the path.
    fn contest(&mut self, path: &Path) -> anyhow::Result<Process> {
        let (mut first, mut second) = (self.start(path)?, self.start(path)?);
        let deadline = Instant::now() + LIMIT;
        let (mut owner, mut loser) = loop {
            if second.exited()?.is_some() {
                break (first, second);
            }
            if first.exited()?.is_some() {
                break (second, first);
            }
            ensure!(Instant::now() < deadline, "both serve: one has stolen the other's socket");
            thread::sleep(PAUSE);
        };
        self.is_refused(&mut loser)?;
        answers(&mut owner, path).context("the one that was not refused")?;
        Ok(owner)
    }

    fn is_refused(&mut self, process: &mut Process) -> anyhow::Result<()> {
        ends(process, 2)?;
        let said = process.stderr();
        ensure!(said.contains("a server answers on") && said.lines().count() == 1, "the loser says {said:?}");
        self.refused += 1;
        Ok(())
    }

    /// One that was started while another stopped, which has ended: it serves, or it came too early and was refused.
    fn successor(&mut self, mut next: Process, path: &Path) -> anyhow::Result<Option<Process>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if next.exited()?.is_some() {
                self.is_refused(&mut next)?;
                return Ok(None);
            }
            if Client::connect(&Address::Unix(path.to_owned())).is_ok() {
                answers(&mut next, path).context("the one started while another stopped")?;
                return Ok(Some(next));
            }
            ensure!(Instant::now() < deadline, "the successor runs, and its socket is lost");
            thread::sleep(PAUSE);
        }
    }
}

/// Waits until it answers there.
fn answers(process: &mut Process, path: &Path) -> anyhow::Result<()> {
    let address = Address::Unix(path.to_owned());
    let deadline = Instant::now() + LIMIT;
    let mut client = loop {
        match Client::connect(&address) {
            Ok(client) => break client,
            Err(error) => ensure!(Instant::now() < deadline, "its socket is lost: {error}"),
        }
        if let Some(status) = process.exited()? {
            bail!("it ended with {status}: {}", process.stderr());
        }
        thread::sleep(PAUSE);
    };
    let reply = client.request(&Request::get("/hello").closing())?;
    ensure!(reply.body == b"Hello, world\n", "it answers {reply:?}");
    ensure!(process.exited()?.is_none(), "it has ended: {}", process.stderr());
    Ok(())
}

fn stop_it(mut process: Process) -> anyhow::Result<()> {
    process.signal(Signal::TERM)?;
    ends(&mut process, 0)
}

fn ends(process: &mut Process, code: i32) -> anyhow::Result<()> {
    let status = process.wait(LIMIT)?;
    ensure!(status.code() == Some(code), "it ended with {status}, not {code}: {}", process.stderr());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_rounds_of_prefork_are_the_default() {
        let args: Args = crate::parse(&[]).unwrap();
        assert_eq!((args.rounds, args.strategy.as_str()), (2_000, "prefork"));
        let args: Args = crate::parse(&["50", "mio"]).unwrap();
        assert_eq!((args.rounds, args.strategy.as_str()), (50, "mio"));
        assert!(crate::parse::<Args>(&["0"]).is_err());
    }
}
