//! Programs that tests run and that are not ours.

use std::env;

pub(crate) use bench_harness::programs::find;
use libtest_mimic::{Completion, Failed};

/// How a test ends that needs a program which is not installed; `None` where it is. Where everything is to be there
/// (CI=true) it fails.
pub(crate) fn missing(program: &str) -> Option<Result<Completion, Failed>> {
    if find(program).is_some() {
        return None;
    }
    let message = format!("{program} not installed, run scripts/setup");
    let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    Some(if is_ci { Err(message.into()) } else { Ok(Completion::ignored_with(message)) })
}
