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
    let trial = try_it(&Case { entry: &entry, processes: 1, start: Start::Sleeps(300) });
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
    let trial = try_it(&Case { entry: &entry, processes: 1, start: Start::Sleeps(0) });
    let void = trial.void.unwrap();
    assert!(void.starts_with("sh ended with exit status: 2 before it answered: "), "{void}");
    assert_eq!(trial.figures, None);
}

#[test]
fn what_a_run_takes_is_told_before_it_begins() {
    let entry = no_worker();
    let time = |sleeps: &[u64]| {
        let starts: Vec<Start> = sleeps.iter().copied().map(Start::Sleeps).collect();
        time_of(&cases(&[(&entry, 1); 7], &starts), 6)
    };
    assert_eq!(time(&[0, 100, 1000]), time(&[0]) + time(&[100]) + time(&[1000]));
    // It passes three times, one after the other: until a cold start, in a burst, and until a replacement.
    assert!(time(&[1000]) >= time(&[0]) + 42 * Duration::from_secs(3));
    assert!(time(&[0, 100, 1000]) < Duration::from_secs(6 * 60));
}

#[test]
fn a_start_that_computes_takes_its_time_too_and_reads_back() {
    let entry = entry();
    let trial = try_it(&Case { entry: &entry, processes: 1, start: Start::Computes(200) });
    let figures = trial.figures.unwrap_or_else(|| panic!("{:?}", trial.void));
    assert!(figures.cold.first_s >= 0.2, "{figures:?}");
    for text in ["sleeps 1000 ms", "computes 0 ms"] {
        assert_eq!(Start::try_from(text.to_owned()).unwrap().to_string(), text);
    }
    for text in ["", "sleeps", "sleeps -1 ms", "runs 10 ms", "sleeps 10"] {
        assert!(Start::try_from(text.to_owned()).is_err(), "{text:?}");
    }
}
