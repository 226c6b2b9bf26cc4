//! The generator against scripted servers, over real sockets.

mod capacity;
mod closed;
mod command;
mod failures;
mod http;
mod http_command;
mod http_server;
mod log;
mod mix;
mod modes;
mod open_loop;
mod outage;
mod output;
mod rows;
mod server;
mod small;

use std::time::Duration;

use fcgi_load::{Generator, Options, Report, Until};

/// Runs so many requests through a new generator.
fn run(options: Options, requests: u64) -> Report {
    Generator::new(options).unwrap().run(Until::Requests(requests)).unwrap()
}

/// Asserts that all of so many replies were good.
#[track_caller]
fn assert_clean(report: &Report, requests: u64) {
    assert_eq!(report.errors.total(), 0, "{:?}", report.errors);
    assert_eq!((report.completed, report.refused), (requests, 0));
    assert_eq!(report.latency.good().len(), requests);
    assert_eq!(report.latency.len(), requests);
    assert!(report.elapsed > Duration::ZERO);
}

/// Asserts that the errors are these kinds, in these numbers, and no other.
#[track_caller]
fn assert_errors(report: &Report, expected: &[(&str, u64)]) {
    let found: Vec<_> = report.errors.by_kind().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, expected, "{:?}", report.errors);
}
