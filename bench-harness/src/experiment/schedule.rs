//! Who runs when: in each round everything once, in an order of its own.

use fcgi_load::Mode;

use super::record::{Participant, Plan, twin_of};
use crate::rng::Rng;

/// What is run once in each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its place among the participants.
    pub(super) participant: usize,
    /// The name that it runs under: the participant's, or its twin's.
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) processes: usize,
    pub(super) connections: usize,
    pub(super) streams: usize,
}

/// All cells of a plan.
pub(super) fn cells(plan: &Plan, participants: &[Participant], reference: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (index, participant) in participants.iter().enumerate() {
        for &mode in &plan.modes {
            for &processes in &plan.processes {
                let Some((connections, streams)) = offer(plan, participant, mode, processes) else {
                    continue;
                };
                let cell = Cell {
                    participant: index,
                    name: participant.name.clone(),
                    mode,
                    processes,
                    connections,
                    streams,
                };
                if participant.name == reference {
                    cells.push(Cell { name: twin_of(reference), ..cell.clone() });
                }
                cells.push(cell);
            }
        }
    }
    cells
}

/// What of the load an entry is offered: no more connections kept than the pool holds, for then requests would wait
/// for a connection that idles; and several requests on one only where they are taken.
fn offer(plan: &Plan, entry: &Participant, mode: Mode, processes: usize) -> Option<(usize, usize)> {
    let holds = entry.connections.saturating_mul(processes).max(1);
    let (connections, streams) = plan.load(mode);
    match mode {
        Mode::Close => Some((connections, 1)),
        Mode::Keep => Some((connections.min(holds), 1)),
        Mode::Multiplex if !entry.multiplexes => None,
        Mode::Multiplex => {
            // At least one for each process, so that none is left out, and the load spread over them.
            let requests = connections * streams;
            let spread = connections.max(processes).min(requests);
            Some((spread.min(holds), if spread > connections { requests.div_ceil(spread) } else { streams }))
        }
    }
}

/// Each round's order, as indexes of cells.
pub(super) fn rounds(plan: &Plan, cells: usize) -> Vec<Vec<usize>> {
    let mut rng = Rng::new(plan.seed);
    (0..plan.rounds)
        .map(|_| {
            let mut order: Vec<usize> = (0..cells).collect();
            rng.shuffle(&mut order);
            order
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Verified;
    use super::super::regime::Regime;
    use super::*;
    use crate::entry::Kind;
    use crate::launch::Family;

    fn plan() -> Plan {
        Plan {
            seed: 7,
            rounds: 20,
            trial: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            regime: Regime::Shared,
            family: Family::Unix,
            processes: vec![1, 3],
            clients: 16,
            streams: 8,
            multiplexed: None,
            modes: vec![Mode::Close, Mode::Keep, Mode::Multiplex],
            rate: None,
        }
    }

    fn participant(name: &str, connections: usize, multiplexes: bool) -> Participant {
        let verified = Verified::default();
        Participant {
            name: name.to_owned(),
            kind: Kind::Strategy,
            version: None,
            connections,
            multiplexes,
            wakes_all: false,
            verified,
        }
    }

    #[test]
    fn a_pool_is_offered_no_more_than_it_holds() {
        let one = participant("one", 1, false);
        let offers = |mode, processes| offer(&plan(), &one, mode, processes);
        assert_eq!(offers(Mode::Close, 3), Some((16, 1)));
        assert_eq!(offers(Mode::Keep, 3), Some((3, 1)));
        assert_eq!(offers(Mode::Multiplex, 3), None);
    }

    #[test]
    fn multiplexed_connections_reach_every_process_and_hold_all_clients() {
        let many = participant("many", 1000, true);
        assert_eq!(offer(&plan(), &many, Mode::Multiplex, 1), Some((2, 8)));
        assert_eq!(offer(&plan(), &many, Mode::Multiplex, 3), Some((3, 6)));
        assert_eq!(offer(&plan(), &many, Mode::Multiplex, 100), Some((16, 1)));
    }

    #[test]
    fn multiplexed_connections_may_be_counted_by_themselves() {
        let plan = Plan { clients: 8, streams: 64, multiplexed: Some(8), ..plan() };
        let many = participant("many", 1000, true);
        assert_eq!(offer(&plan, &many, Mode::Keep, 1), Some((8, 1)));
        assert_eq!(offer(&plan, &many, Mode::Multiplex, 1), Some((8, 64)));
        assert_eq!(offer(&plan, &participant("three", 3, true), Mode::Multiplex, 1), Some((3, 64)));
    }

    #[test]
    fn the_reference_alone_has_a_twin_in_every_cell() {
        let participants = [participant("a", 1, false), participant("b", 9, true)];
        let cells = cells(&plan(), &participants, "b");
        // Two and three modes, two numbers of processes, b twice.
        assert_eq!(cells.len(), 2 * 2 + 2 * 3 * 2);
        assert_eq!(cells.iter().filter(|cell| cell.name == twin_of("b")).count(), 3 * 2);
        assert!(cells.iter().all(|cell| cell.name != twin_of("a")));
    }

    #[test]
    fn each_round_holds_everything_once_in_an_order_that_the_seed_repeats() {
        let rounds = rounds(&plan(), 10);
        for round in &rounds {
            let mut sorted = round.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(rounds.len(), 20);
        assert_ne!(rounds[0], rounds[1]);
        assert_eq!(rounds, super::rounds(&plan(), 10));
    }
}
