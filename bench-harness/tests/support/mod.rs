//! What these test programs need: the strategies, built, and short ways to fail.

pub(crate) mod programs;

use std::process::ExitCode;
use std::thread;

use bench_harness::{BuildError, DiscoverError, Source, Strategy, builds};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// How a test ends: `Err` is a sentence for the reader.
pub(crate) type Outcome = Result<(), Failed>;

/// Fails a test unless the condition holds.
#[allow(unused_macros, reason = "not every test program fails by hand")]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}

/// More cores than these run no more tests at a time: what they hold together (connections, descriptors) has limits, too.
const CORES: usize = 4;

/// Runs the trials that `trials_of` makes for each of the strategies, so many at a time for each core: most of them wait for other
/// processes most of the time. A strategy that does not build is a failed test, and the
/// others are still tested. One that this machine lacks something for is shown as ignored, and so is a floor: no right
/// answer can be asked of it.
pub(crate) fn run(
    sources: Result<Vec<Source>, DiscoverError>,
    at_a_time: usize,
    trials_of: impl Fn(&Strategy) -> Vec<Trial>,
) -> ExitCode {
    let mut args = Arguments::from_args();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    args.test_threads.get_or_insert(at_a_time * cores.min(CORES));
    let sources = match sources {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let of_each = sources.iter().map(|source| build(source, &args, &trials_of)).collect();
    libtest_mimic::run(&args, in_turn(of_each)).exit_code()
}

/// A trial of each strategy in turn, and of each another one: the trials of one strategy may have to wait for each other, and so
/// may the same trial of several strategies.
fn in_turn(of_each: Vec<Vec<Trial>>) -> Vec<Trial> {
    let count = of_each.len();
    let turns = of_each.into_iter().enumerate().flat_map(|(at, mut trials)| {
        let first = trials.len() * at / count;
        trials.rotate_left(first);
        trials.into_iter().enumerate()
    });
    let mut turns: Vec<(usize, Trial)> = turns.collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, trial)| trial).collect()
}

fn build(source: &Source, args: &Arguments, trials_of: &impl Fn(&Strategy) -> Vec<Trial>) -> Vec<Trial> {
    if source.is_floor() {
        let ignored = || Ok(Completion::ignored_with("a floor, which does no protocol work"));
        return vec![Trial::ignorable_test(format!("{}::it_is_left_out", source.name()), ignored)];
    }
    if !args.list {
        eprintln!("building {}", source.name());
    }
    match builds::build(source) {
        Ok(strategy) => trials_of(&strategy),
        Err(error @ BuildError::Unsupported { .. }) => {
            let ignored = Completion::ignored_with(error.to_string());
            vec![Trial::ignorable_test(format!("{}::it_runs_here", source.name()), move || Ok(ignored))]
        }
        Err(error) => {
            let message = error.to_string();
            vec![Trial::test(format!("{}::it_builds", source.name()), move || Err(message.into()))]
        }
    }
}
