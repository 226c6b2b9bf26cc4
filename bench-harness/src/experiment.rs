//! The experiment: all that is compared lives at the same time, and is asked in turns of some milliseconds, in an order
//! shuffled anew, so that whatever the machine does meets everybody alike. One entry runs twice under two names, which
//! checks the run. All of it is repeated on fresh pools.
//!
//! ```text
//!   admission (fcgi-verify, capacity) ──► schedule ──► launch, launch, ... ──► Record ──► report
//!                                         (cells)      (slices, cpu, regime)  (JSON)     (statistics)
//! ```

mod account;
mod admission;
mod asked;
mod cpu;
mod launch;
mod load;
mod machine;
mod neighbour;
mod record;
mod regime;
mod schedule;
mod slices;
mod system_calls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::Mode;

pub(crate) use launch::REST;
#[cfg(test)]
pub(crate) use launch::quantiles;
pub(crate) use machine::date;
pub use machine::{name_now, today};
pub use neighbour::Neighbour;
pub use record::{
    Ask, BUSY_WHEN_IDLE, FORMAT, Figures, Machine, OLDEST_FORMAT, Participant, Plan, Record, Skipped,
    Switches, SystemCalls, Trial, Verified, Versions, Worker, twin_of,
};
pub use regime::Regime;
pub(crate) use schedule::{Cell, Contender};
pub use slices::Slices;

use crate::entry::{Entry, Kind};
use crate::launch::Family;
use crate::rng::Rng;
use launch::Launcher;
use regime::Cores;

/// How long each turn runs before it is timed. A connection that has rested has its first request in a turn, which is none
/// of its usual ones.
pub const LEAD_IN: Duration = Duration::from_millis(2);

/// Where an experiment has got to.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// An entry is being verified.
    Admission(&'a str),
    /// Everybody is admitted. So long it takes, as far as is known.
    Begun(Duration),
    /// So many cycles of all are made, and another one begins.
    Cycle {
        /// Made.
        done: usize,
        /// In all.
        of: usize,
        /// The launch.
        launch: usize,
        /// What is asked.
        ask: &'a Ask,
        /// Worker processes of each.
        processes: usize,
    },
    /// What an entry did in a launch counts for nothing.
    Void(&'a Trial),
    /// A launch is over: this is what there is so far.
    Launch(&'a Record),
    /// System calls are being counted.
    SystemCalls(&'a str, Mode),
}

/// Who takes part: verified, and asked what they hold.
#[derive(Debug, Default)]
pub struct Lineup<'a> {
    /// As a record tells of them.
    pub participants: Vec<Participant>,
    /// Each of them, in the same order.
    pub entries: Vec<&'a Entry>,
    /// Those that were not admitted, and why.
    pub skipped: Vec<Skipped>,
}

impl<'a> Lineup<'a> {
    /// Admits entries, until it is told to stop. Call it from a thread that lives until it returns: pools die with it.
    pub fn of(
        entries: &'a [Entry],
        family: Family,
        stop: &AtomicBool,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Self {
        let mut lineup = Self::default();
        for entry in entries {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            see(Seen::Admission(entry.name()));
            match admission::admit(entry, family) {
                Ok(participant) => {
                    lineup.participants.push(participant);
                    lineup.entries.push(entry);
                }
                Err(why) => {
                    let (name, reason) = (entry.name().to_owned(), format!("{why:#}"));
                    lineup.skipped.push(Skipped { name, reason });
                }
            }
        }
        lineup
    }
}

/// Runs the experiment of a record that has begun, which may have launches already. Call it from a thread that lives until
/// it returns: pools die with it. It goes on after the launches that were planned where the plan says for how long, until
/// this is over or they are `enough`.
///
/// An experiment that is stopped returns the launches that it has finished.
///
/// # Errors
///
/// The plan cannot be carried out here.
pub fn run(
    mut record: Record,
    entries: &[Entry],
    reference: Option<&str>,
    counts_system_calls: bool,
    enough: &dyn Fn(&Record) -> bool,
    stop: &AtomicBool,
    see: &mut dyn FnMut(Seen<'_>),
) -> anyhow::Result<Record> {
    let begun = Instant::now();
    let cores = Cores::of(&record.plan)?;
    if reference.is_some_and(|name| entries.iter().all(|entry| entry.name() != name)) {
        // It will take no part, so nobody is verified in vain.
        choose_reference(&record, reference)?;
    }
    let mut lineup = Lineup::of(entries, record.plan.family, stop, see);
    if stop.load(Ordering::Relaxed) {
        return Ok(record);
    }
    if record.trials.is_empty() {
        record.skipped.append(&mut lineup.skipped);
        record.entries = lineup.participants.clone();
    } else {
        are_the_same(&record.entries, &lineup)?;
    }
    record.reference = choose_reference(&record, reference)?;

    let plan = record.plan.clone();
    let launcher = Launcher { plan: &plan, cores: &cores, lineup: &lineup, stop };
    let cells = launcher.cells(&record.reference);
    if cells.is_empty() {
        bail!("there is nothing to measure: nobody that takes part multiplexes, or can be asked for that");
    }
    let one = launcher.time_of(&cells);
    see(Seen::Begun(one * plan.launches.saturating_sub(record.launches()) as u32));
    loop {
        let number = record.launches() + 1;
        let is_over = match plan.minutes {
            None => number > plan.launches,
            Some(minutes) => {
                begun.elapsed() + one > Duration::from_secs(60) * minutes
                    || number > plan.launches && enough(&record)
            }
        };
        if is_over {
            break;
        }
        let Some(mut trials) = launcher.all(&cells, number, see) else { return Ok(record) };
        record.trials.append(&mut trials);
        see(Seen::Launch(&record));
    }
    if counts_system_calls && record.system_calls.is_empty() {
        // Everybody once in each mode, for `/hello`, with the first number of processes.
        let is_hello = |cell: &&Cell| *cell.ask() == Ask::hello(cell.ask().mode);
        let diagnosed = cells.iter().filter(|cell| plan.processes.first() == Some(&cell.processes()));
        let diagnosed = diagnosed.filter(is_hello);
        let twin = twin_of(&record.reference);
        // What nobody here has started cannot be traced.
        let is_traced = |contender: &&Contender| {
            contender.name != twin && lineup.entries[contender.participant].kind() != Kind::Target
        };
        for contender in diagnosed.flat_map(|cell| &cell.contenders).filter(is_traced) {
            if stop.load(Ordering::Relaxed) {
                return Ok(record);
            }
            see(Seen::SystemCalls(&contender.name, contender.ask.mode));
            let entry = lineup.entries[contender.participant];
            record.system_calls.push(system_calls::count(&plan, &cores, entry, contender));
        }
    }
    Ok(record)
}

/// Runs one launch of a plan, for whoever keeps records of their own: one trial of each of the `lineup`, and of the twin of
/// the reference, in each cell. `number` counts from 1. None where it was told to stop.
///
/// # Errors
///
/// The regime cannot be had here.
pub fn launch(
    plan: &Plan,
    lineup: &Lineup<'_>,
    reference: &str,
    number: usize,
    stop: &AtomicBool,
    see: &mut dyn FnMut(Seen<'_>),
) -> anyhow::Result<Option<Vec<Trial>>> {
    let cores = Cores::of(plan)?;
    let launcher = Launcher { plan, cores: &cores, lineup, stop };
    Ok(launcher.all(&launcher.cells(reference), number, see))
}

/// Runs a cell once, for whoever plans cells otherwise: a trial of each contender. None where it was told to stop.
///
/// # Errors
///
/// The regime cannot be had here.
pub(crate) fn run_cell(
    plan: &Plan,
    lineup: &Lineup<'_>,
    cell: &Cell,
    number: usize,
    rng: &mut Rng,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Vec<Trial>>> {
    let cores = Cores::of(plan)?;
    let launcher = Launcher { plan, cores: &cores, lineup, stop };
    Ok(launcher.run(cell, number, rng, &mut |_| ()))
}

/// Counts the system calls of a contender.
///
/// # Errors
///
/// The regime cannot be had here.
pub(crate) fn count_system_calls(
    plan: &Plan,
    lineup: &Lineup<'_>,
    contender: &Contender,
) -> anyhow::Result<SystemCalls> {
    let cores = Cores::of(plan)?;
    Ok(system_calls::count(plan, &cores, lineup.entries[contender.participant], contender))
}

/// The entry that the others are compared to: the one asked for, or the first strategy that takes part in most modes, or whoever
/// there is.
fn choose_reference(record: &Record, asked: Option<&str>) -> anyhow::Result<String> {
    let entries = &record.entries;
    if let Some(name) = asked {
        if entries.iter().any(|entry| entry.name == name) {
            return Ok(name.to_owned());
        }
        let why: Vec<Skipped> =
            record.skipped.iter().filter(|skipped| skipped.name == name).cloned().collect();
        let why = if why.is_empty() { "it was not asked to".to_owned() } else { reasons(&why) };
        bail!("{name} takes no part, so it is no reference: {why}");
    }
    let first = |multiplexes: bool| {
        entries.iter().find(|entry| entry.kind == Kind::Strategy && entry.multiplexes >= multiplexes)
    };
    let reference = first(true).or_else(|| first(false)).or(entries.first());
    Ok(reference.with_context(|| format!("nobody takes part: {}", reasons(&record.skipped)))?.name.clone())
}

/// Whether those that took part in a record's launches do so again.
pub(crate) fn are_the_same(before: &[Participant], lineup: &Lineup<'_>) -> anyhow::Result<()> {
    let now = &lineup.participants;
    let missing = before.iter().find(|one| now.iter().all(|other| other.name != one.name));
    if let Some(Participant { name, .. }) = missing {
        let why: Vec<Skipped> =
            lineup.skipped.iter().filter(|skipped| skipped.name == *name).cloned().collect();
        bail!("the run cannot go on: {name} took part, and does not now: {}", reasons(&why));
    }
    Ok(())
}

/// Why these take no part, in one line.
fn reasons(skipped: &[Skipped]) -> String {
    let one = |skipped: &Skipped| {
        let lines: Vec<&str> =
            skipped.reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        format!("{}: {}", skipped.name, lines.join(" "))
    };
    skipped.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let data = crate::discover::data_folder().join("results/2026-11-23/modes.json");
        let mut record: Record = serde_json::from_str(&std::fs::read_to_string(data).unwrap()).unwrap();
        let reason = "it ended with exit status: 2\n  before it answered\n".to_owned();
        record.skipped = vec![
            Skipped { name: "one".into(), reason },
            Skipped { name: "other".into(), reason: "not installed".into() },
        ];
        record
    }

    fn refusal(record: &Record, asked: Option<&str>) -> String {
        choose_reference(record, asked).unwrap_err().to_string()
    }

    #[test]
    fn where_nobody_takes_part_one_line_says_why_of_each() {
        let record = Record { entries: Vec::new(), ..record() };
        assert_eq!(
            refusal(&record, None),
            "nobody takes part: one: it ended with exit status: 2 before it answered; other: not installed"
        );
    }

    #[test]
    fn a_reference_that_takes_no_part_is_refused_with_the_reason() {
        let why = "takes no part, so it is no reference";
        assert_eq!(refusal(&record(), Some("other")), format!("other {why}: other: not installed"));
        assert_eq!(refusal(&record(), Some("third")), format!("third {why}: it was not asked to"));
    }
}
