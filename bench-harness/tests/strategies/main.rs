//! Every strategy that the workspace holds, on both kinds of socket, seen from outside: bytes, processes, signals.
//!
//! A test is named `STRATEGY::FAMILY::sentence`, so `cargo test --test strategies prefork::tcp` runs some of them.
//!
//! Of the forms of strategies those tests are run in whose subject a form may differ from its strategy: how requests get threads
//! and give them back, wait, and are drained. `FCGI_LAB_FORMS=1` runs all the others of them too, but for what help says, whose
//! examples are broken where the program's name is long.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod activation;
mod answers;
mod at_rest;
mod bodies;
mod cgi_fcgi;
mod closing;
mod connections;
mod deadlines;
mod descriptors;
mod draining;
mod fairness;
mod floods;
mod gone;
mod half_close;
mod head;
mod help;
mod kernel;
mod limits;
mod many;
mod multiplexing;
mod no_threads;
mod parking;
mod pools;
mod refused_starts;
mod reloading;
mod service_manager;
mod sockets;
mod stalled;
mod starting;
mod stopping;
mod supervision;
mod surroundings;
mod trial;

use std::env;
use std::process::ExitCode;

use bench_harness::discover;

fn main() -> ExitCode {
    let groups = [
        activation::TESTS,
        answers::TESTS,
        at_rest::TESTS,
        bodies::TESTS,
        cgi_fcgi::TESTS,
        closing::TESTS,
        connections::TESTS,
        deadlines::TESTS,
        descriptors::TESTS,
        draining::TESTS,
        fairness::TESTS,
        floods::TESTS,
        gone::TESTS,
        half_close::TESTS,
        head::TESTS,
        limits::TESTS,
        many::TESTS,
        multiplexing::TESTS,
        no_threads::TESTS,
        parking::TESTS,
        refused_starts::TESTS,
        reloading::TESTS,
        service_manager::TESTS,
        sockets::TESTS,
        stalled::TESTS,
        starting::TESTS,
        stopping::TESTS,
        supervision::TESTS,
        surroundings::TESTS,
    ];
    let of_forms = [answers::TESTS, draining::TESTS, multiplexing::TESTS, no_threads::TESTS, parking::TESTS];
    let of_strategies = [&groups[..], &[help::TESTS]].concat();
    let wants_all_of_forms = env::var_os("FCGI_LAB_FORMS").is_some_and(|asked| asked != "0");
    support::run(discover::all(), 6, |strategy| match strategy.is_form() {
        false => trial::of(strategy, &of_strategies),
        true if wants_all_of_forms => trial::of(strategy, &groups),
        true => trial::of(strategy, &of_forms),
    })
}
