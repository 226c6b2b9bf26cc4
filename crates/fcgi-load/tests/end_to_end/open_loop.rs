//! The open loop: when requests are due, and what counts from then.

use std::time::Duration;

use fcgi_load::{Generator, Mode, Options, Until};

use crate::server::{Server, counting, hello, reply};
use crate::{assert_clean, run};

/// So many latencies of at least this length.
fn at_least(latency: &fcgi_load::Latency, length: Duration) -> u64 {
    latency.good().count_between(length.as_nanos() as u64, u64::MAX)
}

#[test]
fn requests_due_while_the_server_stalls_count_the_stall_though_few_were_sent_in_it() {
    const STALL: Duration = Duration::from_millis(500);
    let server = Server::unix(counting(|request, number| {
        if number == 20 {
            std::thread::sleep(STALL);
        }
        reply(request.id, b"Hello")
    }));
    let options = Options { rate: Some(200.0), ..server.options(Mode::Keep, 1) };
    let report = run(options, 200);
    assert_clean(&report, 200);
    let service = report.service.as_ref().unwrap();
    // At 200 per second a hundred came due in half a second: fifty of them in its first half.
    let half = STALL / 2;
    assert!(at_least(&report.latency, half) >= 45, "{}", at_least(&report.latency, half));
    assert!(at_least(service, STALL) >= 1);
    // Counted from the sending nearly all of it would have been omitted.
    assert!(at_least(service, half) <= 10, "{}", at_least(service, half));
    assert!(report.late >= 90);
}

#[test]
fn a_server_that_keeps_up_is_offered_the_rate_and_achieves_it() {
    for (mode, streams) in [(Mode::Close, 1), (Mode::Keep, 1), (Mode::Multiplex, 4)] {
        let server = Server::unix(hello);
        let options = Options { rate: Some(500.0), streams, ..server.options(mode, 8) };
        let report =
            Generator::new(options).unwrap().run(Until::Duration(Duration::from_millis(400))).unwrap();
        assert_clean(&report, 200);
        assert_eq!((report.due, report.unsent, report.offered_rate), (200, 0, Some(500.0)));
        // The last is due after 398 milliseconds, however fast the server is.
        assert!(report.elapsed >= Duration::from_millis(398));
        assert!(report.achieved_by_offered().unwrap() <= 1.01);
    }
}

#[test]
fn slow_answers_do_not_lower_the_achieved_rate_if_all_are_sent_in_time() {
    let server = Server::unix(|mut peer| {
        while let Some(request) = peer.request() {
            std::thread::sleep(Duration::from_millis(200));
            peer.send(&reply(request.id, b"Hello"));
        }
    });
    let options = Options { rate: Some(20.0), ..server.options(Mode::Keep, 16) };
    let report = run(options, 10);
    assert_clean(&report, 10);
    assert!(report.throughput() < 18.0, "{}", report.throughput());
    assert!(report.achieved_by_offered().unwrap() > 0.9, "{:?}", report.achieved_by_offered());
}

#[test]
fn a_server_that_cannot_keep_up_shows_as_less_achieved_than_offered() {
    let server = Server::unix(counting(|request, _| {
        std::thread::sleep(Duration::from_millis(10));
        reply(request.id, b"Hello")
    }));
    let options =
        Options { rate: Some(2000.0), timeout: Duration::from_millis(300), ..server.options(Mode::Keep, 1) };
    let report = Generator::new(options).unwrap().run(Until::Duration(Duration::from_millis(300))).unwrap();
    assert_eq!(report.errors.total(), 0, "{:?}", report.errors);
    assert_eq!(report.due, 600);
    assert!(report.completed <= 70 && report.unsent == 600 - report.completed, "{report:?}");
    assert!(report.achieved_by_offered().unwrap() < 0.2);
}

#[test]
fn requests_are_spread_over_the_connections() {
    let counts: std::sync::Arc<std::sync::Mutex<Vec<usize>>> =
        std::sync::Arc::new(std::sync::Mutex::new(vec![0; 4]));
    let seen = std::sync::Arc::clone(&counts);
    let server = Server::unix(move |mut peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap()[peer.number] += 1;
            peer.send(&reply(request.id, b"Hello"));
        }
    });
    let options = Options { rate: Some(200.0), ..server.options(Mode::Keep, 4) };
    assert_clean(&run(options, 80), 80);
    assert!(counts.lock().unwrap().iter().all(|&count| count >= 10), "{counts:?}");
}
