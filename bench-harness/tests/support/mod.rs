//! What both test programs need: the strategies, built, and short ways to fail.

pub(crate) mod programs;

use std::process::ExitCode;

use bench_harness::{BuildError, Source, Strategy, builds, discover};
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

/// Runs the trials that `trials_of` makes for each strategy. A strategy that does not build is a failed test, and the
/// others are still tested. One that this machine lacks something for is shown as ignored, and so is a floor: no right
/// answer can be asked of it.
pub(crate) fn run(threads: usize, trials_of: impl Fn(&Strategy) -> Vec<Trial>) -> ExitCode {
    let mut args = Arguments::from_args();
    // Most tests wait for other processes most of the time.
    args.test_threads.get_or_insert(threads);
    let sources = match discover::sources() {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials: Vec<_> = sources.iter().flat_map(|source| build(source, &args, &trials_of)).collect();
    // The same test of all strategies together: those of one strategy may have to wait for each other.
    trials.sort_by_cached_key(|trial| trial.name().splitn(3, "::").nth(2).map(str::to_owned));
    libtest_mimic::run(&args, trials).exit_code()
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
