//! The run: launch by launch, all cells in an order shuffled anew, and after that what is counted apart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use fcgi_load::{Address, Generator, Mode, Options, Protocol, Until};

use super::design::{Design, Part, Use};
use super::record::{Connections, Record, Trial};
use super::schedule::{self, Planned};
use crate::entry::Entry;
use crate::experiment::{self, Contender, Lineup, Skipped};
use crate::front_ends::tap::Tap;
use crate::front_ends::{FrontEnd, Server, Site};
use crate::launch::Family;
use crate::rng::Rng;
use crate::startup;

/// Requests through a tap: enough to see how a web server uses its connections.
const TAPPED: u64 = 5_000;
/// Clients of a tapped web server.
const TAP_CLIENTS: usize = 64;

/// Where the experiment has got to.
#[derive(Debug)]
pub enum Seen<'a> {
    /// An entry is being verified.
    Admission(&'a str),
    /// Everybody is admitted. So long it takes from here, as far as is known.
    Begun(Duration),
    /// A step of the run begins, after so much of its time.
    Step {
        /// The time of all that is done, as it was estimated.
        done: Duration,
        /// The same of all there is.
        of: Duration,
        /// From 1.
        launch: usize,
        /// What is being done.
        name: &'a str,
    },
    /// What a contender did counts for nothing.
    Void(&'a Trial),
    /// This is what there is so far, to be saved.
    Saved(&'a Record),
}

/// What is run of a design.
pub struct Question<'a> {
    /// What was written down.
    pub design: &'a Design,
    /// The entries that can be started.
    pub entries: &'a [Entry],
    /// How long all launches may take.
    pub budget: Duration,
    /// Set where the run is to end.
    pub stop: &'a AtomicBool,
}

impl Question<'_> {
    /// Runs the experiment of a record that has begun, which may have trials already. Call it from a thread that lives until
    /// it returns: pools die with it. An experiment that is stopped returns what it has.
    ///
    /// # Errors
    ///
    /// Nobody can take part; or one that did, does not now.
    pub fn run(&self, mut record: Record, see: &mut dyn FnMut(Seen<'_>)) -> anyhow::Result<Record> {
        let mut lineup = Lineup::of(self.entries, Family::Unix, self.stop, &mut |seen| {
            if let experiment::Seen::Admission(name) = seen {
                see(Seen::Admission(name));
            }
        });
        if self.is_stopped() {
            return Ok(record);
        }
        let is_new = record.trials.is_empty();
        let mut missing = Vec::new();
        let parts = parts(self.design, record.plan.is_quick, &mut missing);
        if is_new {
            record.skipped.append(&mut lineup.skipped);
            record.skipped.append(&mut missing);
            record.entries = lineup.participants.clone();
        } else {
            is_the_same(&record, &lineup, &missing)?;
        }
        let cases = if record.plan.is_quick { Vec::new() } else { self.cases(&lineup) };
        let cores = record.machine.cores;
        if is_new {
            let starts = startup::time_of(&cases, record.plan.launches);
            let budget = self.budget.saturating_sub(starts);
            record.plan.slices =
                schedule::slices_within(budget, &parts, &lineup.participants, cores, &record.plan);
        }
        let cells = schedule::cells(&parts, &lineup.participants, cores, &record.plan);
        if cells.is_empty() {
            bail!("there is nothing to measure: nobody takes part");
        }
        if !self.launches(&mut record, &cells, &cases, &lineup, see)? {
            return Ok(record);
        }
        self.count_apart(&mut record, &cells, &lineup, see)?;
        record.is_whole = !self.is_stopped();
        see(Seen::Saved(&record));
        Ok(record)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// All that are not made yet. False where it was stopped.
    fn launches(
        &self,
        record: &mut Record,
        cells: &[Planned<'_>],
        cases: &[startup::Case<'_>],
        lineup: &Lineup<'_>,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> anyhow::Result<bool> {
        let plan = record.plan.clone();
        let of_starts = startup::time_of(cases, 1);
        let of = (schedule::time_of(cells) + of_starts) * plan.launches as u32;
        let has_started = |record: &Record, launch| record.starts.iter().any(|start| start.launch == launch);
        let of_done = |launch| {
            let cells = cells.iter().filter(|cell| cell.is_done(launch, &record.trials)).map(Planned::time);
            let starts = Some(of_starts).filter(|_| has_started(record, launch));
            cells.chain(starts).sum::<Duration>()
        };
        let mut done: Duration = (1..=plan.launches).map(of_done).sum();
        see(Seen::Begun(of.saturating_sub(done)));
        for launch in 1..=plan.launches {
            let mut rng = Rng::new(plan.seed.wrapping_add(launch as u64));
            let mut order: Vec<&Planned<'_>> = cells.iter().collect();
            rng.shuffle(&mut order);
            for planned in order {
                // A launch that goes on has the order that it began with.
                let mut rng = rng.split();
                if planned.is_done(launch, &record.trials) {
                    continue;
                }
                let name = planned.part.name.as_str();
                see(Seen::Step { done, of, launch, name });
                let Some(trials) =
                    experiment::run_cell(&planned.plan, lineup, &planned.cell, launch, &mut rng, self.stop)?
                else {
                    return Ok(false);
                };
                for measured in trials {
                    let (part, cell, clients) = (name.to_owned(), planned.number, planned.plan.clients);
                    let trial = Trial { part, cell, clients, measured };
                    if trial.measured.void.is_some() {
                        see(Seen::Void(&trial));
                    }
                    record.trials.push(trial);
                }
                done += planned.time();
                see(Seen::Saved(record));
            }
            if !cases.is_empty() && !has_started(record, launch) {
                see(Seen::Step { done, of, launch, name: "startup" });
                let mut order = cases.to_vec();
                rng.shuffle(&mut order);
                let trial = |case| startup::trial(case, plan.seed, launch, self.stop);
                // Whole or not at all: a launch that goes on makes all of them anew.
                let Some(starts) = order.iter().map(trial).collect::<Option<Vec<_>>>() else {
                    return Ok(false);
                };
                record.starts.extend(starts);
                done += of_starts;
                see(Seen::Saved(record));
            }
        }
        Ok(true)
    }

    /// Every pool with every time that a worker takes to start.
    fn cases<'b>(&self, lineup: &'b Lineup<'_>) -> Vec<startup::Case<'b>> {
        let design = &self.design.startup;
        let entry = |name: &str| lineup.entries.iter().copied().find(|entry| entry.name() == name);
        let pools: Vec<(&Entry, usize)> =
            design.pools.iter().filter_map(|pool| Some((entry(&pool.entry)?, pool.processes))).collect();
        startup::cases(&pools, &design.starts)
    }

    /// What costs too much to be counted while it is timed.
    fn count_apart(
        &self,
        record: &mut Record,
        cells: &[Planned<'_>],
        lineup: &Lineup<'_>,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> anyhow::Result<()> {
        let launch = record.plan.launches;
        let mut step = |name| {
            // After all that has an estimate.
            see(Seen::Step { done: Duration::ZERO, of: Duration::ZERO, launch, name });
            !self.is_stopped()
        };
        // Whole or not at all: a run that goes on counts them anew.
        if record.connections.is_empty() {
            let mut counted = Vec::new();
            for (contender, used) in tapped(cells) {
                if !step("connections are being counted") {
                    return Ok(());
                }
                counted.push(count_connections(lineup.entries[contender.participant], contender, used));
            }
            record.connections = counted;
        }
        if record.system_calls.is_empty() {
            let mut counted = Vec::new();
            for planned in cells.iter().filter(|planned| planned.part.explains) {
                for contender in &planned.cell.contenders {
                    if !step("system calls are being counted") {
                        return Ok(());
                    }
                    counted.push(experiment::count_system_calls(&planned.plan, lineup, contender)?);
                }
            }
            record.system_calls = counted;
        }
        Ok(())
    }
}

/// The parts of a run, without the web servers that are missing here.
fn parts(design: &Design, is_quick: bool, missing: &mut Vec<Skipped>) -> Vec<Part> {
    let mut parts = design.parts_of(is_quick);
    for server in Server::ALL {
        let is_asked = parts.iter().any(|part| part.uses.iter().any(|used| used.front_end == Some(server)));
        if is_asked && server.find().is_none() {
            let reason = format!("{} is not installed: scripts/setup does that", server.program());
            missing.push(Skipped { name: server.to_string(), reason });
            for part in &mut parts {
                part.uses.retain(|used| used.front_end != Some(server));
            }
        }
    }
    parts
}

/// Whether those that took part in a record's launches do so again, behind the same web servers.
fn is_the_same(record: &Record, lineup: &Lineup<'_>, missing: &[Skipped]) -> anyhow::Result<()> {
    experiment::are_the_same(&record.entries, lineup)?;
    let were_missing = Server::ALL
        .into_iter()
        .filter(|server| record.skipped.iter().any(|skipped| skipped.name == server.to_string()));
    let are_missing = Server::ALL
        .into_iter()
        .filter(|server| missing.iter().any(|skipped| skipped.name == server.to_string()));
    if !were_missing.eq(are_missing) {
        bail!("the run cannot go on: other web servers are installed than when it began");
    }
    Ok(())
}

/// Each entry once in each use in which a web server connects to a pool: lighttpd's workers have sockets of its own.
fn tapped<'a>(cells: &'a [Planned<'_>]) -> Vec<(&'a Contender, Use)> {
    let mut tapped: Vec<(&Contender, Use)> = Vec::new();
    for contender in cells.iter().flat_map(|planned| &planned.cell.contenders) {
        let used = Use::of(&contender.ask);
        let can_be = used.front_end.is_some_and(|server| server != Server::LighttpdSpawning);
        let is_new =
            || tapped.iter().all(|(other, of)| (other.participant, *of) != (contender.participant, used));
        if can_be && is_new() {
            tapped.push((contender, used));
        }
    }
    tapped
}

fn count_connections(entry: &Entry, contender: &Contender, used: Use) -> Connections {
    // Not the contender's: that may be the twin's.
    let (entry_name, used_name) = (entry.name().to_owned(), used.to_string());
    let counted = seen_by_tap(entry, contender, used);
    let (void, [requests, connections, peak_in_flight]) = match counted {
        Ok(counted) => (None, counted),
        Err(why) => (Some(format!("{why:#}")), [0; 3]),
    };
    Connections { entry: entry_name, used: used_name, void, requests, connections, peak_in_flight }
}

/// Requests, connections, and the most in flight on one.
fn seen_by_tap(entry: &Entry, contender: &Contender, used: Use) -> anyhow::Result<[usize; 3]> {
    let server = used.front_end.context("no web server")?;
    let pool = entry.launch(Family::Unix, contender.processes)?;
    let tap = Tap::before(&pool)?;
    let connections = contender.connections.min(TAP_CLIENTS);
    let site =
        Site { server, family: Family::Unix, mode: used.mode, connections, processes: contender.processes };
    let front_end = FrontEnd::before_with(&tap.address(), site, entry.params())?;
    let address: Address = front_end.address();
    let options = Options {
        protocol: Protocol::Http,
        mode: Mode::Keep,
        connections,
        ..Options::new(address, entry.hello())
    };
    let report = Generator::new(options)?.run(Until::Requests(TAPPED))?;
    if report.completed < TAPPED {
        bail!("{} of {TAPPED} requests were answered: {:?}", report.completed, report.errors.samples.first());
    }
    let seen = tap.seen();
    let requests = seen.iter().map(|seen| seen.requests).sum();
    let peak = seen.iter().map(|seen| seen.peak_in_flight).max().unwrap_or(0);
    drop(front_end);
    entry.end(pool)?;
    Ok([requests, seen.len(), peak])
}
