//! Every strategy that the workspace holds, on both kinds of socket, seen from outside: bytes, processes, signals.
//!
//! A test is named `STRATEGY::FAMILY::sentence`, so `cargo test --test strategies prefork::tcp` runs some of them.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod cgi_fcgi;
mod connections;
mod draining;
mod limits;
mod multiplexing;
mod refused_starts;
mod starting;
mod supervision;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    let groups = [
        answers::TESTS,
        bodies::TESTS,
        cgi_fcgi::TESTS,
        connections::TESTS,
        draining::TESTS,
        limits::TESTS,
        multiplexing::TESTS,
        refused_starts::TESTS,
        starting::TESTS,
        supervision::TESTS,
    ];
    support::run(4, |strategy| trial::of(strategy, &groups))
}
