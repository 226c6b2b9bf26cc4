//! Every strategy that the workspace holds, on both kinds of socket, seen from outside: bytes, processes, signals.
//!
//! A test is named `STRATEGY::FAMILY::sentence`, so `cargo test --test strategies prefork::tcp` runs some of them.

#[path = "../support/mod.rs"]
mod support;

mod answers;

use std::process::ExitCode;

use bench_harness::{Family, Strategy};
use libtest_mimic::Trial;
use support::Outcome;

/// One test, run for every strategy and family.
type Test = fn(&Strategy, Family) -> Outcome;

fn main() -> ExitCode {
    support::run(4, |strategy| {
        let groups = [answers::TESTS];
        let tests = || groups.into_iter().flatten();
        Family::ALL
            .into_iter()
            .flat_map(|family| tests().map(move |test| trial(strategy, family, test)))
            .collect()
    })
}

fn trial(strategy: &Strategy, family: Family, &(sentence, test): &(&str, Test)) -> Trial {
    let name = format!("{}::{family}::{sentence}", strategy.name());
    let strategy = strategy.clone();
    Trial::test(name, move || test(&strategy, family))
}
