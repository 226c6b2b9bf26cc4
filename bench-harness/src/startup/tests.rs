use std::path::Path;

use super::*;
use crate::{builds, discover};

/// The first strategy that this machine can run.
fn entry() -> Entry {
    let sources = discover::sources().unwrap();
    let mut strategies = sources.iter().filter(|source| !source.is_floor());
    Entry::Strategy(strategies.find_map(|source| builds::build(source).ok()).expect("one can be built"))
}

/// Ends at once, with a word about options that it does not know.
fn no_worker() -> Entry {
    Entry::Strategy(builds::program(Path::new("/bin/sh")).unwrap())
}

fn try_it(case: &Case<'_>) -> StartTrial {
    trial(case, 7, 1, &AtomicBool::new(false)).expect("nobody stops it")
}

#[test]
fn one_process_answers_nothing_before_it_has_started_loses_nothing_and_is_missed_while_it_is_replaced() {
    let (entry, startup) = (entry(), 0.3);
    let trial = try_it(&Case { entry: &entry, processes: 1, startup_ms: 300 });
    assert_eq!(trial.void, None);
    let StartFigures { cold, burst, kill } = trial.figures.unwrap();

    assert!(startup <= cold.first_s && cold.first_s <= cold.hundredth_s, "{cold:?}");
    assert_eq!(cold.lost, 0, "{cold:?}");

    // Those that came in the first 200 ms wait longer than 100, except for those that came before there was a socket.
    assert_eq!(burst.due, 360, "{burst:?}");
    assert!(burst.late + burst.refused >= 80, "{burst:?}");
    assert!(burst.late + burst.refused + burst.lost <= burst.due, "{burst:?}");
    assert!(burst.p99_s.unwrap() > LATE.as_secs_f64(), "{burst:?}");

    // The replacement takes 300 ms, too.
    assert!((kill.late + kill.unsent) as f64 >= 0.15 * kill.rate, "{kill:?}");
    assert!(kill.late + kill.lost + kill.unsent <= kill.due, "{kill:?}");
    assert!(kill.longest_s >= 0.2, "{kill:?}");
    assert!(kill.recovered_s.is_none_or(|recovered| recovered >= startup), "{kill:?}");
}

#[test]
fn a_pool_that_does_not_start_is_void_and_says_why() {
    let entry = no_worker();
    let trial = try_it(&Case { entry: &entry, processes: 1, startup_ms: 0 });
    let void = trial.void.unwrap();
    assert!(void.starts_with("sh ended with exit status: 2 before it answered: "), "{void}");
    assert_eq!(trial.figures, None);
}

#[test]
fn each_launch_tries_every_case_once_in_an_order_that_the_seed_repeats() {
    let entry = no_worker();
    let pools: Vec<_> = (1..=7).map(|processes| (&entry, processes)).collect();
    let cases = cases(&pools, &[0, 100, 1000]);
    let order = |seed, launch| -> Vec<_> {
        let order = super::order(&cases, seed, launch);
        order.iter().map(|case| (case.processes, case.startup_ms)).collect()
    };
    assert_eq!(order(7, 1), order(7, 1));
    assert_ne!(order(7, 1), order(7, 2));
    assert_ne!(order(7, 1), order(9, 1));
    let mut sorted = order(7, 1);
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 21);
}

#[test]
fn what_a_run_takes_is_told_before_it_begins() {
    let entry = no_worker();
    let time = |startups_ms: &[u64]| time_of(&cases(&[(&entry, 1); 7], startups_ms), 6);
    assert_eq!(time(&[0, 100, 1000]), time(&[0]) + time(&[100]) + time(&[1000]));
    // It passes three times, one after the other: until a cold start, in a burst, and until a replacement.
    assert!(time(&[1000]) >= time(&[0]) + 42 * Duration::from_secs(3));
    assert!(time(&[0, 100, 1000]) < Duration::from_secs(6 * 60));
}

#[test]
fn a_run_tells_of_each_trial_and_ends_where_it_is_told_to() {
    let entry = no_worker();
    let cases = cases(&[(&entry, 1), (&entry, 2)], &[0]);
    let stop = AtomicBool::new(false);
    let (mut begun, mut over) = (Vec::new(), 0);
    let trials = run(&cases, 5, 7, &stop, &mut |seen| match seen {
        Seen::Begun(time) => assert_eq!(time, time_of(&cases, 5)),
        Seen::Trial { done, of, launch, .. } => begun.push((done, of, launch)),
        Seen::Over(_) => {
            over += 1;
            stop.store(over == 3, Ordering::Relaxed);
        }
    });
    assert_eq!(begun, [(0, 10, 1), (1, 10, 1), (2, 10, 2), (3, 10, 2)]);
    assert_eq!(trials.len(), 3);
}
