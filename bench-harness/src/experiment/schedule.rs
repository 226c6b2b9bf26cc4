//! What is run side by side, and with how many requests in flight.

use fcgi_load::Mode;

use super::record::{Ask, Participant, Plan, twin_of};
use crate::entry::Kind;

/// What is compared, at least one contender: all of it lives at the same time. In a comparison all are asked in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) contenders: Vec<Contender>,
}

impl Cell {
    /// What its first is asked: in a comparison, all of them.
    pub(crate) fn ask(&self) -> &Ask {
        &self.contenders[0].ask
    }

    /// The processes of its first: in a comparison, of all.
    pub(crate) fn processes(&self) -> usize {
        self.contenders[0].processes
    }
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// Its place among the participants.
    pub(crate) participant: usize,
    /// The name that it runs under: the participant's, or its twin's.
    pub(crate) name: String,
    pub(crate) ask: Ask,
    pub(crate) processes: usize,
    /// The generator's, behind a web server those to this.
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

/// All cells of a plan.
pub(super) fn cells(plan: &Plan, participants: &[Participant], reference: &str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for ask in &plan.asks {
        for &processes in &plan.processes {
            let contenders = contenders(plan, participants, reference, ask, processes);
            if !contenders.is_empty() {
                cells.push(Cell { contenders });
            }
        }
    }
    cells
}

fn contenders(
    plan: &Plan,
    participants: &[Participant],
    reference: &str,
    ask: &Ask,
    processes: usize,
) -> Vec<Contender> {
    let mut contenders = Vec::new();
    let is_asked = |participant: &Participant| {
        let may_be = !ask.on_all_cores || participant.has_thread_per_core || participant.name == reference;
        may_be && participant.kind.answers(&ask.workload)
    };
    let all = participants.iter().enumerate();
    for (index, participant) in all.filter(|(_, participant)| is_asked(participant)) {
        let is_reference = participant.name == reference;
        let Some(contender) = Contender::of(plan, index, participant, ask, processes, is_reference) else {
            continue;
        };
        if is_reference && (participant.kind != Kind::Target || participant.connections > 1) {
            contenders.push(Contender { name: twin_of(reference), ..contender.clone() });
        }
        contenders.push(contender);
    }
    // A reference is nothing by itself.
    if ask.on_all_cores && contenders.iter().all(|one| !participants[one.participant].has_thread_per_core) {
        contenders.clear();
    }
    contenders
}

impl Contender {
    /// None where it cannot be asked so.
    pub(crate) fn of(
        plan: &Plan,
        index: usize,
        participant: &Participant,
        ask: &Ask,
        processes: usize,
        is_reference: bool,
    ) -> Option<Self> {
        let (connections, streams) = offer(plan, participant, ask, processes, is_reference)?;
        let (name, ask) = (participant.name.clone(), ask.clone());
        Some(Self { participant: index, name, ask, processes, connections, streams })
    }
}

/// What of the load an entry is offered: no more connections kept than the pool holds, for then requests would wait
/// for a connection that idles; and several requests on one only where they are taken. A web server is offered all of it on
/// connections of their own, however it uses its own. A target is there once, however many processes the others have: as the
/// reference it shares its connections with its twin.
fn offer(
    plan: &Plan,
    entry: &Participant,
    ask: &Ask,
    processes: usize,
    is_reference: bool,
) -> Option<(usize, usize)> {
    let (holds, processes) = match entry.kind {
        Kind::Target if is_reference => (entry.connections / 2, 1),
        Kind::Target => (entry.connections, 1),
        _ => (entry.connections.saturating_mul(processes), processes),
    };
    let holds = holds.max(1);
    let (connections, streams) = plan.load(ask.mode);
    match ask.mode {
        Mode::Multiplex if !entry.multiplexes => None,
        Mode::Multiplex if ask.front_end.is_some() => Some((plan.clients, 1)),
        Mode::Close => Some((connections, 1)),
        Mode::Keep => Some((connections.min(holds), 1)),
        Mode::Multiplex => {
            // At least one for each process, so that none is left out, and the load spread over them.
            let requests = connections * streams;
            let spread = connections.max(processes).min(requests);
            Some((spread.min(holds), if spread > connections { requests.div_ceil(spread) } else { streams }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Verified;
    use super::super::regime::Regime;
    use super::*;
    use crate::launch::Family;
    use crate::mix::Mix;

    fn plan() -> Plan {
        Plan {
            seed: 7,
            launches: 20,
            minutes: None,
            slices: 5,
            slice: Duration::from_secs(1),
            lead_in: Duration::ZERO,
            warm_up: Duration::ZERO,
            regime: Regime::Shared,
            worker_cores: None,
            family: Family::Unix,
            processes: vec![1, 3],
            clients: 16,
            streams: 8,
            multiplexed: None,
            asks: [Mode::Close, Mode::Keep, Mode::Multiplex].map(Ask::hello).to_vec(),
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
            has_thread_per_core: false,
            is_form: false,
            address: None,
            idle_share: Some(0.0),
            verified,
        }
    }

    #[test]
    fn nobody_is_asked_for_what_it_cannot_answer() {
        let floor = Participant { kind: Kind::Floor, ..participant("a", 100, true) };
        let participants = [floor, participant("b", 100, true)];
        let asks = vec![Ask::hello(Mode::Keep), Ask::of(Mode::Keep, Mix::named("cpu").unwrap())];
        let plan = Plan { asks, processes: vec![1], ..plan() };
        let cells = cells(&plan, &participants, "b");
        assert_eq!(cells.iter().map(|cell| cell.contenders.len()).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn those_whose_threads_share_the_work_run_on_all_cores_too_beside_the_reference() {
        let sharing = Participant { has_thread_per_core: true, ..participant("c", 100, true) };
        let participants = [participant("a", 100, true), participant("b", 100, true), sharing];
        let on_all_cores = Ask { on_all_cores: true, ..Ask::hello(Mode::Keep) };
        let plan = Plan { asks: vec![Ask::hello(Mode::Keep), on_all_cores], processes: vec![1], ..plan() };
        let names = |participants: &[Participant], reference: &str| -> Vec<String> {
            let names = |cell: Cell| {
                cell.contenders.into_iter().map(|contender| contender.name).collect::<Vec<_>>().join(", ")
            };
            cells(&plan, participants, reference).into_iter().map(names).collect()
        };
        assert_eq!(names(&participants, "b"), ["a, b (twin), b, c", "b (twin), b, c"]);
        assert_eq!(names(&participants, "c"), ["a, b, c (twin), c", "c (twin), c"]);
        assert_eq!(names(&participants[..2], "b"), ["a, b (twin), b"]);
    }

    #[test]
    fn a_pool_is_offered_no_more_than_it_holds() {
        let one = participant("one", 1, false);
        let offers = |mode, processes| offer(&plan(), &one, &Ask::hello(mode), processes, false);
        assert_eq!(offers(Mode::Close, 3), Some((16, 1)));
        assert_eq!(offers(Mode::Keep, 3), Some((3, 1)));
        assert_eq!(offers(Mode::Multiplex, 3), None);
    }

    #[test]
    fn a_target_is_there_once_and_its_twin_shares_it() {
        let target = |connections| Participant {
            kind: Kind::Target,
            address: Some("tcp:192.0.2.1:9000".to_owned()),
            ..participant("there", connections, true)
        };
        let offers = |connections, mode, is_reference| {
            [1, 3].map(|processes| {
                offer(&plan(), &target(connections), &Ask::hello(mode), processes, is_reference)
            })
        };
        assert_eq!(offers(10, Mode::Keep, false), [Some((10, 1)); 2]);
        assert_eq!(offers(10, Mode::Keep, true), [Some((5, 1)); 2]);
        assert_eq!(offers(10, Mode::Multiplex, false), [Some((2, 8)); 2]);
        let names = |connections| {
            let plan = Plan { asks: vec![Ask::hello(Mode::Keep)], processes: vec![1], ..plan() };
            let [cell] = &cells(&plan, &[target(connections)], "there")[..] else { panic!("one cell") };
            cell.contenders.iter().map(|contender| contender.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(2), ["there (twin)", "there"]);
        // There is no connection for two.
        assert_eq!(names(1), ["there"]);
    }

    #[test]
    fn multiplexed_connections_reach_every_process_and_hold_all_clients() {
        let many = participant("many", 1000, true);
        let multiplexed = |processes| offer(&plan(), &many, &Ask::hello(Mode::Multiplex), processes, false);
        assert_eq!([1, 3, 100].map(multiplexed), [Some((2, 8)), Some((3, 6)), Some((16, 1))]);
    }

    #[test]
    fn multiplexed_connections_may_be_counted_by_themselves() {
        let plan = Plan { clients: 8, streams: 64, multiplexed: Some(8), ..plan() };
        let many = participant("many", 1000, true);
        let three = participant("three", 3, true);
        assert_eq!(offer(&plan, &many, &Ask::hello(Mode::Keep), 1, false), Some((8, 1)));
        assert_eq!(offer(&plan, &many, &Ask::hello(Mode::Multiplex), 1, false), Some((8, 64)));
        assert_eq!(offer(&plan, &three, &Ask::hello(Mode::Multiplex), 1, false), Some((3, 64)));
    }

    #[test]
    fn the_reference_alone_has_a_twin_in_every_cell() {
        let participants = [participant("a", 1, false), participant("b", 9, true)];
        let cells = cells(&plan(), &participants, "b");
        // Three modes, two numbers of processes; a does not multiplex, b runs twice.
        assert_eq!(cells.len(), 3 * 2);
        for cell in cells {
            let names: Vec<&str> = cell.contenders.iter().map(|contender| contender.name.as_str()).collect();
            let expected = if cell.ask().mode == Mode::Multiplex {
                vec!["b (twin)", "b"]
            } else {
                vec!["a", "b (twin)", "b"]
            };
            assert_eq!(names, expected, "{}", cell.ask().mode);
        }
    }
}
