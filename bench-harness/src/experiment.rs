//! The experiment: everything is run once in each round, in an order shuffled anew, so that whatever drifts on the
//! machine meets everybody alike; and one entry runs twice under two names, which shows what the run can resolve.
//!
//! ```text
//!   admission (fcgi-verify, capacity) ──► schedule ──► trial, trial, ... ──► Record ──► report
//!                                         (seed)       (cpu, regime)        (JSON)     (statistics)
//! ```

mod admission;
mod cpu;
mod machine;
mod record;
mod regime;
mod schedule;
mod system_calls;
mod trial;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use fcgi_load::Mode;

pub use record::{
    FORMAT, Figures, Machine, Participant, Plan, Record, Skipped, Switches, SystemCalls, Trial, Verified,
    Versions, Worker, twin_of,
};
pub use regime::Regime;

use crate::entry::{Entry, Kind};
use regime::Cores;
use schedule::Cell;

/// Where an experiment has got to.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// An entry is being verified.
    Admission(&'a str),
    /// So many trials of all are made; this one is next.
    Trial {
        /// Made.
        done: usize,
        /// In all.
        of: usize,
        /// Its entry.
        entry: &'a str,
        /// Its mode.
        mode: Mode,
    },
    /// A trial counts for nothing.
    Void(&'a Trial),
    /// A round is over: this is what there is so far.
    Round(&'a Record),
    /// System calls are being counted.
    SystemCalls(&'a str, Mode),
}

/// Runs an experiment. Call it from a thread that lives until it returns: pools die with it.
///
/// An experiment that is stopped returns the rounds that it has finished.
///
/// # Errors
///
/// The plan cannot be carried out here.
pub fn run(
    plan: Plan,
    entries: &[Entry],
    skipped: Vec<Skipped>,
    reference: Option<&str>,
    counts_system_calls: bool,
    stop: &AtomicBool,
    see: &mut dyn FnMut(Seen<'_>),
) -> anyhow::Result<Record> {
    let cores = Cores::of(plan.regime)?;
    let mut record = Record {
        format: FORMAT,
        date: machine::date(),
        machine: Machine::here(),
        versions: Versions::here(),
        plan,
        reference: String::new(),
        entries: Vec::new(),
        skipped,
        trials: Vec::new(),
        system_calls: Vec::new(),
    };
    let mut admitted = Vec::new();
    for entry in entries {
        if stop.load(Ordering::Relaxed) {
            return Ok(record);
        }
        see(Seen::Admission(entry.name()));
        match admission::admit(entry, record.plan.family) {
            Ok(participant) => {
                record.entries.push(participant);
                admitted.push(entry);
            }
            Err(why) => {
                record.skipped.push(Skipped { name: entry.name().to_owned(), reason: format!("{why:#}") });
            }
        }
    }
    record.reference = choose_reference(&record.entries, reference)?;

    let cells = schedule::cells(&record.plan, &record.entries, &record.reference);
    let rounds = schedule::rounds(&record.plan, cells.len());
    let (mut done, of) = (0, cells.len() * rounds.len());
    for (index, order) in rounds.iter().enumerate() {
        let mut trials = Vec::new();
        for cell in order.iter().map(|at| &cells[*at]) {
            if stop.load(Ordering::Relaxed) {
                return Ok(record);
            }
            see(Seen::Trial { done, of, entry: &cell.name, mode: cell.mode });
            let trial = trial::run(&record.plan, &cores, admitted[cell.participant], cell, index + 1);
            if trial.void.is_some() {
                see(Seen::Void(&trial));
            }
            trials.push(trial);
            done += 1;
        }
        record.trials.append(&mut trials);
        see(Seen::Round(&record));
    }
    if counts_system_calls {
        let diagnosed: Vec<&Cell> = cells.iter().filter(|cell| is_diagnosed(&record, cell)).collect();
        for cell in diagnosed {
            if stop.load(Ordering::Relaxed) {
                return Ok(record);
            }
            see(Seen::SystemCalls(&cell.name, cell.mode));
            let counted = system_calls::count(&record.plan, &cores, admitted[cell.participant], cell);
            record.system_calls.push(counted);
        }
    }
    Ok(record)
}

/// The entry that the others are compared to: the one asked for, or the first strategy that takes part in most modes.
fn choose_reference(entries: &[Participant], asked: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = asked {
        let known = entries.iter().any(|entry| entry.name == name);
        return if known {
            Ok(name.to_owned())
        } else {
            bail!("{name} takes no part, so it is no reference")
        };
    }
    let first = |multiplexes: bool| {
        entries.iter().find(|entry| entry.kind == Kind::Strategy && entry.multiplexes >= multiplexes)
    };
    let reference = first(true).or_else(|| first(false)).or(entries.first());
    Ok(reference.context("nobody takes part")?.name.clone())
}

/// Everybody once in each mode, with the first number of processes.
fn is_diagnosed(record: &Record, cell: &Cell) -> bool {
    record.plan.processes.first() == Some(&cell.processes) && cell.name != twin_of(&record.reference)
}
