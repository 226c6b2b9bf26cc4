//! Every strategy that the workspace holds, on both kinds of socket, seen from outside: bytes, processes, signals.
//!
//! A test is named `STRATEGY::FAMILY::sentence`, so `cargo test --test strategies prefork::tcp` runs some of them.

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

use std::process::ExitCode;

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
        help::TESTS,
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
    support::run(6, |strategy| trial::of(strategy, &groups))
}
