//! What is alive at the same time, and how long it all takes.

use std::time::Duration;

use super::design::{Part, Use};
use super::record::{self, SLICE, Trial};
use crate::entry::Kind;
use crate::experiment::{Ask, Cell, Contender, LEAD_IN, Neighbour, Participant, Plan, REST, twin_of};
use crate::launch::Family;

/// What a contender takes to start and to end: roughly, and in a launch.
const DIRECT: Duration = Duration::from_millis(100);
const FRONT_END: Duration = Duration::from_millis(350);
/// How long each is asked before its first turn.
const WARM_UP: Duration = Duration::from_millis(50);
/// Turns in a launch.
const MOST_SLICES: usize = 40;
const LEAST_SLICES: usize = 8;
/// Requests on one connection, where the generator multiplexes itself.
const STREAMS: usize = 8;

/// A cell of a part.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) part: &'a Part,
    /// Its place among all.
    pub(crate) number: usize,
    pub(crate) plan: Plan,
    pub(crate) cell: Cell,
}

/// All cells of these parts, with as many turns as there is time for.
pub(crate) fn cells<'a>(
    parts: &'a [Part],
    participants: &[Participant],
    cores: usize,
    plan: &record::Plan,
) -> Vec<Planned<'a>> {
    let mut cells = Vec::new();
    for part in parts {
        for &clients in &part.clients {
            let turns = turns(part, plan.slices);
            let plan = cell_plan(part, clients, turns, plan);
            for group in groups(part, participants) {
                for asks in asks(part) {
                    let contenders = contenders(part, &plan, participants, &group, &asks, &part.sizes(cores));
                    if !contenders.is_empty() {
                        let (number, plan) = (cells.len(), plan.clone());
                        cells.push(Planned { part, number, plan, cell: Cell { contenders } });
                    }
                }
            }
        }
    }
    cells
}

/// How many turns of the usual length there is time for in each launch.
pub(crate) fn slices_within(
    budget: Duration,
    parts: &[Part],
    participants: &[Participant],
    cores: usize,
    plan: &record::Plan,
) -> usize {
    let with = |slices: usize| {
        let plan = record::Plan { slices, ..plan.clone() };
        time_of(&cells(parts, participants, cores, &plan)) * plan.launches as u32
    };
    (LEAST_SLICES..=MOST_SLICES).rev().find(|slices| with(*slices) <= budget).unwrap_or(LEAST_SLICES)
}

/// How long one launch takes, as far as is known.
pub(crate) fn time_of(cells: &[Planned<'_>]) -> Duration {
    cells.iter().map(Planned::time).sum()
}

impl Planned<'_> {
    /// Of one launch.
    pub(crate) fn time(&self) -> Duration {
        let plan = &self.plan;
        let turns = (plan.lead_in + plan.slice + 2 * REST) * plan.slices as u32;
        let of = |contender: &Contender| {
            let start = if contender.ask.front_end.is_some() { FRONT_END } else { DIRECT };
            start + plan.warm_up + turns
        };
        self.cell.contenders.iter().map(of).sum()
    }

    /// Whether its launch of that number has been made.
    pub(crate) fn is_done(&self, number: usize, trials: &[Trial]) -> bool {
        trials.iter().any(|done| (done.cell, done.measured.launch) == (self.number, number))
    }
}

/// The groups of those that take part: places among the participants.
fn groups(part: &Part, participants: &[Participant]) -> Vec<Vec<usize>> {
    let place = |name: &String| participants.iter().position(|participant| participant.name == *name);
    let mut groups: Vec<Vec<usize>> =
        part.groups.iter().map(|group| group.iter().filter_map(place).collect()).collect();
    if part.others > 0 {
        let is_other = |participant: &Participant| {
            participant.kind == Kind::Strategy
                && !participant.is_form
                && part.groups.iter().flatten().all(|name| *name != participant.name)
                && (participant.multiplexes || !part.multiplexing)
        };
        let others: Vec<usize> = (0..participants.len()).filter(|at| is_other(&participants[*at])).collect();
        groups.extend(others.chunks(part.others).map(<[usize]>::to_vec));
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// All uses side by side, of each workload and beside each neighbour.
fn asks(part: &Part) -> Vec<Vec<Ask>> {
    let neighbours: Vec<Option<Neighbour>> = match &part.neighbours[..] {
        [] => vec![None],
        neighbours => neighbours.iter().cloned().map(Some).collect(),
    };
    let mut asks = Vec::new();
    for workload in &part.workloads {
        for neighbour in &neighbours {
            let ask = |used: &Use| used.ask(workload.clone(), neighbour.clone());
            asks.push(part.uses.iter().map(ask).collect());
        }
    }
    asks
}

fn contenders(
    part: &Part,
    plan: &Plan,
    participants: &[Participant],
    group: &[usize],
    asks: &[Ask],
    sizes: &[usize],
) -> Vec<Contender> {
    let mut contenders = Vec::new();
    for &at in group {
        let participant = &participants[at];
        for ask in asks.iter().filter(|ask| participant.kind.answers(&ask.workload)) {
            for &processes in sizes {
                let Some(contender) = Contender::of(plan, at, participant, ask, processes, false) else {
                    continue;
                };
                if part.twin.as_ref() == Some(&participant.name) {
                    contenders.push(Contender { name: twin_of(&participant.name), ..contender.clone() });
                }
                contenders.push(contender);
            }
        }
    }
    contenders
}

/// How often in a launch, and for how long: in the same time in all parts, but for longer turns a few times at least.
pub(crate) fn turns(part: &Part, slices: usize) -> (usize, Duration) {
    match part.slice_ms {
        None => (slices, SLICE),
        Some(milliseconds) => {
            let slice = Duration::from_millis(milliseconds);
            let count = SLICE.as_secs_f64() * slices as f64 / slice.as_secs_f64();
            ((count.round() as usize).max(LEAST_SLICES / 2), slice)
        }
    }
}

fn cell_plan(part: &Part, clients: usize, (slices, slice): (usize, Duration), plan: &record::Plan) -> Plan {
    Plan {
        seed: plan.seed,
        launches: plan.launches,
        minutes: None,
        slices,
        slice,
        lead_in: LEAD_IN,
        warm_up: WARM_UP,
        regime: part.regime,
        worker_cores: None,
        family: Family::Unix,
        processes: Vec::new(),
        clients,
        streams: STREAMS,
        multiplexed: None,
        asks: Vec::new(),
        rate: None,
    }
}
