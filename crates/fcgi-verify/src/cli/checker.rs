//! The thread that runs the cases and tells of them. It may be left in the middle of one, when a signal ends the run.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use fcgi_verify::{Case, CaseReport, Outcome, Target, run_case};

use super::args::Args;
use super::run::Ran;
use super::spawner::{END_LIMIT, Place, Spawner};

/// After so many cases in a row in which the server has not sent a single byte, it is asked whether it answers at all.
const SILENT_CASES: usize = 3;

/// What happens in a run.
#[derive(Debug)]
pub(crate) enum Event {
    /// The server was asked what it is.
    Probed(Target),
    /// Something to know that belongs to no case.
    Note(String),
    /// This case has begun.
    Running(&'static Case),
    /// A case has ended.
    Ran(Ran),
    /// No more cases are run: all were, or it makes no sense for this reason.
    Finished(Option<String>),
    /// There was no run: the server cannot be started or reached.
    Refused(Error),
    /// This signal has come.
    Signal(i32),
}

/// Starts the thread. Its last event is `Finished` or `Refused`.
pub(crate) fn start(
    args: &Args,
    spawner: Option<Arc<Spawner>>,
    cases: Vec<&'static Case>,
    events: Sender<Event>,
) {
    let args = args.clone();
    thread::spawn(move || {
        let tell = Tell(events);
        match probe(&args, spawner.as_deref(), &tell) {
            Ok(target) => {
                tell.of(Event::Probed(target.clone()));
                let stopped = Checker { target, spawner, tell: &tell, silent: 0 }.run(&cases);
                tell.of(Event::Finished(stopped));
            }
            Err(error) => tell.of(Event::Refused(error)),
        }
    });
}

struct Tell(Sender<Event>);

impl Tell {
    fn of(&self, event: Event) {
        // Where nobody listens any more, the process is about to exit.
        let _ = self.0.send(event);
    }
}

/// Starts the server, if it is ours to start, and asks it what it is.
fn probe(args: &Args, spawner: Option<&Spawner>, tell: &Tell) -> Result<Target> {
    let options = args.options();
    let Some(spawner) = spawner else {
        let address =
            args.address.clone().context("say where the server listens, or start it with --exec")?;
        return Target::probe(address.clone(), options)
            .with_context(|| format!("nobody answers at {address}"));
    };
    let asked = spawner
        .start_and_ask(|place| {
            let options = fcgi_verify::Options { pid: Some(place.pid), ..options };
            Target::probe(place.address.clone(), options)
                .with_context(|| format!("nobody answers at {}", place.address))
        })
        .context("cannot start the server")?;
    let Some(end) = asked.end else { return asked.answer };
    let mut target =
        asked.answer.with_context(|| format!("the server exited with {end} when somebody connected"))?;
    move_to(&mut target, asked.place);
    tell.of(Event::Note(format!(
        "the server exited with {end} when it was asked what it is, and was started again; --workload, \
         --multiplexing and --connections say what could not be found out"
    )));
    Ok(target)
}

struct Checker<'t> {
    target: Target,
    spawner: Option<Arc<Spawner>>,
    tell: &'t Tell,
    /// Cases in a row in which the server was not heard.
    silent: usize,
}

impl Checker<'_> {
    /// Runs the cases; why not all of them, if so.
    fn run(&mut self, cases: &[&'static Case]) -> Option<String> {
        for (at, &case) in cases.iter().enumerate() {
            self.tell.of(Event::Running(case));
            let ran = self.ran(case);
            self.tell.of(Event::Ran(ran.clone()));
            if let Some(reason) = self.gone(&ran) {
                return Some(reason);
            }
            // Otherwise, what the last one leaves behind troubles nobody.
            if at + 1 < cases.len()
                && let Some(reason) = self.prepare_for_next(&ran)
            {
                return Some(reason);
            }
        }
        None
    }

    fn ran(&self, case: &'static Case) -> Ran {
        let mut report = run_case(&self.target, case);
        let end = self.end_within(&report);
        if let Some(end) = &end {
            let found = match report.outcome {
                Outcome::Failed(why) | Outcome::Reported(why) => format!("; {why}"),
                Outcome::Passed | Outcome::NotApplicable(_) => String::new(),
            };
            report.outcome = Outcome::Failed(format!("the server exited with {end}{found}"));
        }
        Ran { case, report, ended_server: end.is_some() }
    }

    /// How the server has ended within a case, if it has.
    fn end_within(&self, report: &CaseReport) -> Option<String> {
        let patience = match report.outcome {
            // It was not even connected to.
            Outcome::NotApplicable(_) if !report.heard => return None,
            _ if is_calm(report) => Duration::ZERO,
            _ => END_LIMIT,
        };
        self.spawner.as_deref()?.ended(patience)
    }

    /// Whether nobody listens any more, and nobody can start the server again.
    fn gone(&self, ran: &Ran) -> Option<String> {
        let gone = self.spawner.is_none() && !is_calm(&ran.report) && !self.target.is_reachable();
        gone.then(|| format!("the server is gone since {}", ran.case.path()))
    }

    /// What a case has broken must not be laid to the next one's charge. The reason to stop, if there is one.
    fn prepare_for_next(&mut self, ran: &Ran) -> Option<String> {
        let path = ran.case.path();
        if let Some(spawner) = self.spawner.clone()
            && ran.failure().is_some()
            && let Err(error) = self.start_again(&spawner, ran.ended_server)
        {
            return Some(format!("the server cannot be started again after {path}: {error:#}"));
        }
        // A case may pass in silence: where nothing is owed.
        if ran.report.heard {
            self.silent = 0;
        } else if !is_calm(&ran.report) {
            self.silent += 1;
        }
        if self.silent < SILENT_CASES {
            return None;
        }
        self.silent = 0;
        (!self.target.answers()).then(|| {
            format!("the server never answers: not a byte came in {SILENT_CASES} cases up to {path}, nor after them")
        })
    }

    fn start_again(&mut self, spawner: &Spawner, had_ended: bool) -> Result<()> {
        let place = if had_ended {
            // Whether it can still be started is not known before it answers: a file or a port may be taken.
            let ask = |place: &Place| {
                move_to(&mut self.target, place.clone());
                self.target.answers()
            };
            spawner.start_and_ask(ask)?.place
        } else {
            spawner.start()?
        };
        move_to(&mut self.target, place);
        Ok(())
    }
}

/// Whether a case ended without a sign that the server may be hurt.
fn is_calm(report: &CaseReport) -> bool {
    matches!(report.outcome, Outcome::Passed | Outcome::NotApplicable(_))
}

fn move_to(target: &mut Target, place: Place) {
    target.address = place.address;
    target.pid = Some(place.pid);
}
