//! All points of a group, measured at once.

use std::sync::atomic::AtomicBool;

use std::time::Duration;

use fcgi_load::Mode;

use super::{BUDGET, Figure, Group, LAUNCHES, POOL, Samples, Turns, WARM_UP};
use crate::experiment::{self, Figures, Lineup, Plan, Seen, Trial};

/// What a group's points are made of.
#[derive(Debug)]
pub struct Measured {
    /// The group.
    pub group: &'static Group,
    /// Those that each pool had in a launch.
    pub(crate) turns: Turns,
    /// Each trial, and the size that it is of.
    pub trials: Vec<(usize, Trial)>,
}

/// Measures those points that are asked for. In each launch all entries of a size live at the same time and have their turns,
/// so what is compared was measured within a tenth of a second. The launches of a size lie far apart, with all the others
/// between, so that what the machine does for a while meets one of them. None where it was told to stop.
///
/// # Errors
///
/// The regime cannot be had here.
pub fn measure(
    groups: &'static [Group],
    lineup: &Lineup<'_>,
    seed: u64,
    is_asked: impl Fn(&Group, &str, usize) -> bool,
    stop: &AtomicBool,
    see: &mut dyn FnMut(&'static Group, usize, Seen<'_>),
) -> anyhow::Result<Option<Vec<Measured>>> {
    let share = share(groups, lineup, &is_asked);
    let of_group =
        |group: &'static Group| Measured { group, turns: group.turns.cut(share), trials: Vec::new() };
    let mut all: Vec<Measured> = groups.iter().map(of_group).collect();
    for launch in 1..=LAUNCHES {
        for Measured { group, turns, trials } in &mut all {
            for (at, &size) in group.sizes.iter().enumerate() {
                let part = part_of(lineup, group, |name| is_asked(group, name, size));
                // No entry has a twin: there is no verdict here that a twin could check.
                let reference = "";
                let plan = group.plan(size, seed.wrapping_add((at * LAUNCHES) as u64));
                let plan = Plan { slices: turns.slices, ..plan };
                let mut see = |seen: Seen<'_>| see(group, size, seen);
                let Some(of_size) = experiment::launch(&plan, &part, reference, launch, stop, &mut see)?
                else {
                    return Ok(None);
                };
                trials.extend(of_size.into_iter().map(|trial| (size, trial)));
            }
        }
    }
    all.retain(|measured| !measured.trials.is_empty());
    Ok(Some(all))
}

/// For which share of their turns there is time, that all launches of all points that are asked for take no longer than a run may:
/// 1 where there is time for all.
pub fn share(groups: &[Group], lineup: &Lineup<'_>, is_asked: impl Fn(&Group, &str, usize) -> bool) -> f64 {
    let mut pools = 0;
    let mut turns = Duration::ZERO;
    for group in groups {
        for &size in group.sizes {
            let part = part_of(lineup, group, |name| is_asked(group, name, size));
            let can = part.participants.iter().filter(|one| one.multiplexes || group.mode != Mode::Multiplex);
            let count = (LAUNCHES * can.count()) as u32;
            pools += count;
            turns += group.turns.time() * count;
        }
    }
    let left = BUDGET.saturating_sub((POOL + WARM_UP) * pools);
    if turns <= left { 1.0 } else { left.as_secs_f64() / turns.as_secs_f64() }
}

/// Those of a line-up who stand in a group and are asked for.
pub fn part_of<'a>(lineup: &Lineup<'a>, group: &Group, is_asked: impl Fn(&str) -> bool) -> Lineup<'a> {
    let all = lineup.participants.iter().zip(&lineup.entries);
    let asked = all.filter(|(participant, _)| group.is_for(participant.kind) && is_asked(&participant.name));
    let (participants, entries) = asked.map(|(participant, entry)| (participant.clone(), *entry)).unzip();
    Lineup { participants, entries, skipped: Vec::new() }
}

impl Measured {
    /// What an entry did at a size: a trial of each launch; none where it takes no part.
    pub fn trials_of(&self, name: &str, size: usize) -> impl Iterator<Item = &Trial> {
        self.trials
            .iter()
            .filter(move |(of, trial)| *of == size && trial.entry == name)
            .map(|(_, trial)| trial)
    }

    /// What each slice of a point says, over all launches. None where the entry takes no part, or where a launch counts for
    /// nothing, which voids the point.
    pub fn samples(&self, name: &str, size: usize, figure: Figure) -> Option<Samples> {
        let mut values = Vec::new();
        for trial in self.trials_of(name, size) {
            values.extend(seconds_per_request(trial.figures.as_ref()?, figure));
        }
        Samples::of(values)
    }
}

/// In each slice of a launch.
fn seconds_per_request(figures: &Figures, figure: Figure) -> Vec<f64> {
    let slices = &figures.slices;
    let spent = match figure {
        Figure::Time => &slices.elapsed_ns,
        Figure::Cpu if slices.cpu_ns.is_empty() => {
            // A process for each connection, without an account: no clock tells its time before it is reaped, so no slice has
            // a figure of its own. Each stands for the whole launch, whose total the kernel tells in ticks of 10 ms.
            let Some(of_launch) = figures.worker_cpu else { return Vec::new() };
            let of_launch = of_launch.as_secs_f64() / figures.requests as f64;
            return vec![of_launch; slices.requests.len()];
        }
        Figure::Cpu => &slices.cpu_ns,
    };
    spent.iter().zip(&slices.requests).map(|(ns, requests)| *ns as f64 / 1e9 / *requests as f64).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::GROUPS;
    use super::*;
    use crate::entry::{Entry, Kind};
    use crate::experiment::{Ask, Participant, Slices, Verified};

    pub(crate) fn trial(launch: usize, entry: &str, cpu_ns: &[u64], elapsed_ns: &[u64]) -> Trial {
        let slices = Slices {
            requests: vec![1000; elapsed_ns.len()],
            elapsed_ns: elapsed_ns.to_vec(),
            cpu_ns: cpu_ns.to_vec(),
            run_delay_ns: Vec::new(),
            ..Slices::default()
        };
        let worker_cpu = if cpu_ns.is_empty() { Duration::from_millis(20) } else { slices.cpu() };
        let figures = Figures { worker_cpu: Some(worker_cpu), ..Figures::of(slices) };
        Trial {
            launch,
            entry: entry.to_owned(),
            ask: Ask::hello(Mode::Close),
            processes: 1,
            connections: 8,
            streams: 1,
            void: None,
            figures: Some(figures),
        }
    }

    fn of_close(trials: Vec<(usize, Trial)>) -> Measured {
        Measured { group: &GROUPS[0], turns: GROUPS[0].turns, trials }
    }

    fn handed_out(measured: &Measured, name: &str, figure: Figure) -> Vec<u128> {
        let mut samples = measured.samples(name, 8, figure).unwrap();
        samples.next(1);
        (0..samples.count()).map(|_| samples.next(1000).as_micros()).collect()
    }

    #[test]
    fn what_a_run_takes_stays_within_its_time_however_many_there_are() {
        let entry = |number: usize| Participant {
            name: number.to_string(),
            kind: Kind::Strategy,
            version: None,
            connections: 1000,
            multiplexes: !number.is_multiple_of(3),
            wakes_all: false,
            has_thread_per_core: false,
            is_form: false,
            address: None,
            idle_share: Some(0.0),
            verified: Verified::default(),
        };
        let source =
            crate::discover::sources().unwrap().into_iter().find(|source| !source.is_floor()).unwrap();
        let any = Entry::Strategy(crate::builds::build(&source).unwrap());
        let share = |count: usize, asked: &str| {
            let participants: Vec<Participant> = (0..count).map(entry).collect();
            let lineup = Lineup { participants, entries: vec![&any; count], skipped: Vec::new() };
            super::share(&GROUPS, &lineup, |group, _, _| group.name.starts_with(asked))
        };
        assert_eq!(share(5, ""), 1.0);
        // One group alone has all its turns.
        assert_eq!(share(15, "keep"), 1.0);
        let (of_15, of_20) = (share(15, ""), share(20, ""));
        assert!(1.0 > of_15 && of_15 > of_20 && of_20 > 0.0, "{of_15}, {of_20}");
        let turns = |share: f64| GROUPS[0].slices(share);
        assert!(turns(of_15) < turns(1.0) && turns(of_20) < turns(of_15));
    }

    #[test]
    fn each_slice_of_each_launch_is_a_sample() {
        let trials = vec![
            (8, trial(1, "one", &[1_000_000, 2_000_000], &[5_000_000, 6_000_000])),
            (64, trial(1, "one", &[9_000_000], &[9_000_000])),
            (8, trial(1, "other", &[8_000_000], &[8_000_000])),
            (8, trial(2, "one", &[3_000_000, 4_000_000], &[7_000_000, 8_000_000])),
        ];
        let measured = of_close(trials);
        assert_eq!(handed_out(&measured, "one", Figure::Time), [5000, 6000, 7000, 8000]);
        assert_eq!(handed_out(&measured, "one", Figure::Cpu), [1000, 2000, 3000, 4000]);
    }

    #[test]
    fn where_no_clock_tells_of_slices_each_has_the_launchs_cpu() {
        let trials = vec![(8, trial(1, "forking", &[], &[5_000_000, 6_000_000]))];
        let measured = of_close(trials);
        // 20 ms for 2,000 requests.
        assert_eq!(handed_out(&measured, "forking", Figure::Cpu), [10_000, 10_000]);
    }

    #[test]
    fn one_void_launch_voids_the_point() {
        let void = Trial { void: Some("silent".into()), figures: None, ..trial(2, "one", &[], &[1]) };
        let measured = of_close(vec![(8, trial(1, "one", &[1], &[1])), (8, void)]);
        for (name, size) in [("one", 8), ("one", 1), ("other", 8)] {
            assert!(measured.samples(name, size, Figure::Time).is_none(), "{name}, {size}");
        }
    }
}
