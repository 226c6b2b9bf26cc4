//! One launch of a cell: fresh pools of everybody, all alive, asked in turns.
//!
//! What is to be compared must lie close together in time: what a machine does moves within seconds, and hardly within
//! a tenth of one. So all pools live at once, idle but for one, and each is asked for a slice of some milliseconds in
//! each cycle, in an order shuffled anew. A launch decides more than slices can repair (where memory lies, who accepted
//! which connection), so intervals come of launches alone.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fcgi_load::{Latency, Until};
use rustix::process::Signal;

use super::account::Account;
use super::asked::Asked;
use super::cpu::{self, Clocks};
use super::load::Load;
use super::neighbour::Running;
use super::record::{BUSY_WHEN_IDLE, Figures, Plan, Trial, Worker};
use super::regime::Cores;
use super::schedule::{self, Cell, Contender};
use super::slices::Slices;
use super::{Lineup, Seen};
use crate::entry::{Entry, Kind};
use crate::rng::Rng;
use crate::usage;

/// What a pool takes to start and to end, roughly.
const POOL: Duration = Duration::from_millis(80);

/// How long workers have to come to rest after the last reply. The kernel adds what a thread has run to its process's clock when
/// the thread stops, or at a tick; a clock that is read while a worker still runs lacks up to 4 ms.
pub(crate) const REST: Duration = Duration::from_micros(200);

/// What a launch needs of the experiment.
pub(super) struct Launcher<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cores: &'a Cores,
    pub(super) lineup: &'a Lineup<'a>,
    pub(super) stop: &'a AtomicBool,
}

/// A contender, while it lives.
struct Living<'a> {
    contender: &'a Contender,
    entry: &'a Entry,
    /// It costs time when idle, so it is stopped while others have their turn.
    is_stopped_when_idle: bool,
    asked: Asked,
    load: Load,
    clocks: Clocks,
    /// Of the web server's processes: none where there is no web server.
    front_end: Clocks,
    /// Where processes end meanwhile, whose time no clock tells. It outlives the workers.
    account: Option<Account>,
    /// At the first slice.
    before: cpu::Usage,
    /// Requests of the warm-up, and of all lead-ins.
    warm_up: u64,
    lead_in: u64,
    slices: Slices,
    latency: Latency,
    generator_cpu: Duration,
    achieved_by_offered: Option<f64>,
    peak_in_flight: u32,
    parsed: u64,
}

impl Launcher<'_> {
    /// Runs all cells once; `number` counts launches from 1. None where the experiment was stopped before its end. Who runs
    /// when is made from the plan's seed and the number alone.
    pub(super) fn all(
        &self,
        cells: &[Cell],
        number: usize,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Option<Vec<Trial>> {
        let plan = self.plan;
        let mut rng = Rng::new(plan.seed.wrapping_add(number as u64));
        let mut order: Vec<&Cell> = cells.iter().collect();
        rng.shuffle(&mut order);
        let (mut done, of) =
            ((number - 1) * cells.len() * plan.slices, plan.launches * cells.len() * plan.slices);
        let mut trials = Vec::new();
        for cell in order {
            let of_cell = self.run(cell, number, &mut rng, &mut |cycle| {
                let (ask, processes) = (cell.ask(), cell.processes());
                see(Seen::Cycle { done: done + cycle, of, launch: number, ask, processes });
            })?;
            done += plan.slices;
            of_cell.iter().filter(|trial| trial.void.is_some()).for_each(|trial| see(Seen::Void(trial)));
            trials.extend(of_cell);
        }
        Some(trials)
    }

    /// All that is compared.
    pub(super) fn cells(&self, reference: &str) -> Vec<Cell> {
        schedule::cells(self.plan, &self.lineup.participants, reference)
    }

    /// How long a launch of all cells takes, as far as is known.
    pub(super) fn time_of(&self, cells: &[Cell]) -> Duration {
        let plan = self.plan;
        let each = POOL + plan.warm_up + (plan.slice + plan.lead_in + 2 * REST) * plan.slices as u32;
        each * cells.iter().map(|cell| cell.contenders.len()).sum::<usize>() as u32
    }

    /// Runs a cell once. Whatever goes wrong voids a contender's part, and the others go on.
    /// None where the experiment was stopped.
    pub(super) fn run(
        &self,
        cell: &Cell,
        number: usize,
        rng: &mut Rng,
        see: &mut dyn FnMut(usize),
    ) -> Option<Vec<Trial>> {
        let mut living: Vec<anyhow::Result<Living<'_>>> =
            cell.contenders.iter().map(|contender| self.start(contender)).collect();
        let mut order: Vec<usize> = (0..living.len()).collect();
        for cycle in 0..self.plan.slices {
            see(cycle);
            rng.shuffle(&mut order);
            for at in &order {
                if self.stop.load(Ordering::Relaxed) {
                    return None;
                }
                if let Ok(contender) = &mut living[*at]
                    && let Err(why) = contender.turn(self.plan)
                {
                    living[*at] = Err(why);
                }
            }
        }
        let ended = living.into_iter().map(|living| living.and_then(|living| living.end()));
        let trial = |(contender, figures): (&Contender, anyhow::Result<Figures>)| {
            let (void, figures) = match figures {
                Ok(figures) => (None, Some(figures)),
                Err(why) => (Some(format!("{why:#}")), None),
            };
            Trial {
                launch: number,
                entry: contender.name.clone(),
                ask: contender.ask.clone(),
                processes: contender.processes,
                connections: contender.connections,
                streams: contender.streams,
                void,
                figures,
            }
        };
        Some(cell.contenders.iter().zip(ended).map(trial).collect())
    }

    fn start<'a>(&'a self, contender: &'a Contender) -> anyhow::Result<Living<'a>> {
        let entry = self.lineup.entries[contender.participant];
        let division = self.cores.during(&contender.ask);
        let asked = Asked::start(division, self.plan, entry, contender)?;
        asked.check_workers()?;
        let generators = division.generators();
        let mut load = Load::new(&asked, entry, contender, self.plan.rate, generators)?;
        let roots = asked.roots();
        let at_start = cpu::Usage::of(&roots);
        let warm_up = load.run(Until::Duration(self.plan.warm_up))?.requests;
        let before = cpu::Usage::of(&roots);
        let account = before.has_reaped_since(&at_start).then(|| Account::open(&roots).ok()).flatten();
        let living = Living {
            contender,
            entry,
            is_stopped_when_idle: self.lineup.participants[contender.participant]
                .idle_share
                .is_some_and(|share| share > BUSY_WHEN_IDLE),
            clocks: Clocks::of(&before),
            // What lighttpd has started are workers.
            front_end: Clocks::of_processes(&asked.front_end_pids()),
            account,
            before,
            asked,
            load,
            warm_up,
            lead_in: 0,
            slices: Slices::default(),
            latency: Latency::default(),
            generator_cpu: Duration::ZERO,
            achieved_by_offered: None,
            peak_in_flight: 0,
            parsed: 0,
        };
        living.rest();
        Ok(living)
    }
}

impl Living<'_> {
    /// A lead-in, which does not count, and a slice.
    fn turn(&mut self, plan: &Plan) -> anyhow::Result<()> {
        if self.is_stopped_when_idle {
            self.clocks.signal(Signal::CONT);
        }
        let neighbour = self.contender.ask.neighbour.as_ref().map(|one| one.begin(&self.asked.address()));
        if !plan.lead_in.is_zero() {
            self.lead_in += self.load.run(Until::Duration(plan.lead_in))?.requests;
        }
        let (cpu, delay) = (self.cpu()?, self.clocks.run_delay());
        let front_end = self.front_end.cpu();
        let answered = self.load.run(Until::Duration(plan.slice))?;
        let used = self.cpu()?.saturating_sub(cpu);
        neighbour.map_or(Ok(()), Running::end)?;
        let slices = &mut self.slices;
        if has_known_processes(self.entry) {
            let after = self.clocks.run_delay();
            slices.cpu_ns.push(nanoseconds(used));
            slices
                .run_delay_ns
                .extend(delay.zip(after).map(|(before, after): (u64, u64)| after.saturating_sub(before)));
        }
        if !self.front_end.is_empty() {
            slices.front_end_cpu_ns.push(nanoseconds(self.front_end.cpu().saturating_sub(front_end)));
        }
        slices.requests.push(answered.requests);
        // Those whom a neighbour holds up may have their last answers long after the others, who have nothing under way then.
        // Elsewhere all clients end together, and their last answers are a part of what was asked for.
        let elapsed = if self.contender.ask.neighbour.is_some() { plan.slice } else { answered.elapsed };
        slices.elapsed_ns.push(nanoseconds(elapsed));
        slices.longest_ns.push(answered.latency.max());
        self.latency.add(&answered.latency);
        self.generator_cpu += answered.cpu;
        let achieved = [self.achieved_by_offered, answered.achieved_by_offered].into_iter().flatten();
        self.achieved_by_offered = achieved.reduce(f64::min);
        self.peak_in_flight = self.peak_in_flight.max(answered.peak_in_flight);
        self.parsed += answered.parsed;
        self.rest();
        Ok(())
    }

    /// What the workers have used so far.
    fn cpu(&self) -> io::Result<Duration> {
        thread::sleep(REST);
        self.account.as_ref().map_or_else(|| Ok(self.clocks.cpu()), Account::cpu)
    }

    /// Another one's turn.
    fn rest(&self) {
        if self.is_stopped_when_idle {
            self.clocks.signal(Signal::STOP);
        }
    }

    fn end(self) -> anyhow::Result<Figures> {
        let Self { asked, load, mut slices, .. } = self;
        if self.is_stopped_when_idle {
            self.clocks.signal(Signal::CONT);
        }
        let after = cpu::Usage::of(&asked.roots());
        let (total, user_share) = after.since(&self.before);
        let requests = slices.requests.iter().sum();
        let have_ended = after.has_reaped_since(&self.before) || self.clocks.have_lost();
        let worker_cpu = if have_ended && self.account.is_none() {
            // Told as a whole only, the lead-ins included.
            slices.cpu_ns.clear();
            Some(total.mul_f64(requests as f64 / (requests + self.lead_in) as f64))
        } else {
            has_known_processes(self.entry).then(|| slices.cpu())
        };
        asked.check_workers()?;
        // While the connections are still held.
        let workers = asked.worker_pids().into_iter().filter_map(|pid| {
            let usage = usage::of(pid).ok()?;
            let cpu = after.of_process_since(pid, &self.before);
            Some(Worker { rss_kib: usage.rss_kib, pss_kib: usage.pss_kib, threads: usage.threads, cpu })
        });
        let workers = workers.collect();
        drop(load);
        let tells_switches = asked.tells_switches();
        let reaped = cpu::reaped_switches();
        asked.end(self.entry).map_err(|error| anyhow::anyhow!("{}: {error}", self.contender.name))?;
        let all_requests = self.warm_up + self.lead_in + requests;
        let switches = cpu::switches(reaped, cpu::reaped_switches(), all_requests);
        let front_end_cpu = (!self.front_end.is_empty()).then(|| slices.front_end_cpu());
        // Else those of nobody, or of a web server too.
        let switches = switches.filter(|_| tells_switches && has_known_processes(self.entry));
        let (latency_p50_ns, latency_p99_ns) = quantiles(&self.latency);
        Ok(Figures {
            requests,
            elapsed: Duration::from_nanos(slices.elapsed_ns.iter().sum()),
            worker_cpu,
            front_end_cpu,
            user_share,
            generator_cpu: self.generator_cpu,
            latency_p50_ns,
            latency_p99_ns,
            achieved_by_offered: self.achieved_by_offered,
            peak_in_flight: self.peak_in_flight,
            parsed: self.parsed,
            switches: switches.filter(|_| tells_switches),
            workers,
            slices,
        })
    }
}

/// Whether it is known here what its processes use: not of a server that was there already.
fn has_known_processes(entry: &Entry) -> bool {
    entry.kind() != Kind::Target
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// The median, and what 99 of 100 do not exceed, in nanoseconds.
pub(crate) fn quantiles(latency: &Latency) -> (u64, u64) {
    (latency.value_at_quantile(0.5), latency.value_at_quantile(0.99))
}
