//! Several requests in one load.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fcgi_load::{Generator, Mode, Options, Report, RequestSpec, Share, Until};

use crate::server::{Peer, Request, Server, counting, reply};
use crate::{assert_clean, assert_errors, run};

const SLOW: Duration = Duration::from_millis(20);

/// Nine requests of /a, which is answered by "a", and one of /b, a POST that is answered by "long b".
fn nine_to_one(server: &Server, mode: Mode, connections: usize) -> Options {
    let a = RequestSpec::get("/a").expect_body("a");
    let b = RequestSpec::post("/b", "x".repeat(1000)).expect_body("long b");
    let requests = vec![Share { weight: 9, request: a }, Share { weight: 1, request: b }];
    Options { requests, streams: 7, ..server.options(mode, connections) }
}

/// The same, of which so many bytes are sent with /b.
fn with_body(options: Options, length: usize) -> Options {
    let b = RequestSpec::post("/b", vec![b'x'; length]).expect_body("long b");
    let requests = vec![options.requests[0].clone(), b.into()];
    Options { requests, ..options }
}

fn is_b(request: &Request) -> bool {
    let is = |pair: &[u8]| request.params.windows(pair.len()).any(|bytes| bytes == pair);
    assert!(is(b"\x0b\x02SCRIPT_NAME/a") != is(b"\x0b\x02SCRIPT_NAME/b"));
    is(b"\x0b\x02SCRIPT_NAME/b")
}

fn right(request: &Request) -> Vec<u8> {
    reply(request.id, if is_b(request) { b"long b" } else { b"a" })
}

fn answer(peer: Peer) {
    counting(|request, _| right(request))(peer);
}

fn completed(report: &Report) -> Vec<u64> {
    report.by_request.iter().map(|request| request.completed).collect()
}

/// What is told of each request adds up to what is told of all.
#[track_caller]
fn assert_adds_up(report: &Report) {
    assert_eq!(completed(report).iter().sum::<u64>(), report.completed);
    let good: Vec<u64> = report.by_request.iter().map(|request| request.latency.good().len()).collect();
    assert_eq!(good, completed(report));
    assert_eq!(counted(report).iter().sum::<u64>(), report.latency.len());
}

/// How many requests there were of each, with a good reply and without.
fn counted(report: &Report) -> Vec<u64> {
    report.by_request.iter().map(|request| request.latency.len()).collect()
}

#[test]
fn requests_come_by_their_weights_in_every_mode_and_each_reply_is_held_against_its_own() {
    for (mode, connections) in [(Mode::Keep, 1), (Mode::Keep, 3), (Mode::Close, 2), (Mode::Multiplex, 3)] {
        for server in [Server::unix(answer), Server::tcp(answer)] {
            let report = run(nine_to_one(&server, mode, connections), 1000);
            assert_clean(&report, 1000);
            assert_eq!(completed(&report), [900, 100], "{mode}");
            assert_adds_up(&report);
        }
    }
}

#[test]
fn the_order_is_even_and_every_run_begins_it_anew() {
    let seen = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&seen);
    let server = Server::unix(counting(move |request, _| {
        log.lock().unwrap().push(if is_b(request) { 'b' } else { 'a' });
        right(request)
    }));
    let mut generator = Generator::new(nine_to_one(&server, Mode::Keep, 1)).unwrap();
    for requests in [23, 10] {
        assert_clean(&generator.run(Until::Requests(requests)).unwrap(), requests);
    }
    assert_eq!(*seen.lock().unwrap(), "aaaaabaaaa".repeat(2) + "aaa" + "aaaaabaaaa");
}

#[test]
fn requests_too_long_to_be_kept_ready_and_short_ones_alternate() {
    for length in [300 << 10, 2 << 20] {
        for mode in [Mode::Multiplex, Mode::Keep] {
            let server = Server::unix(counting(move |request, _| {
                assert_eq!(request.body.len(), if is_b(request) { length } else { 0 });
                right(request)
            }));
            let report = run(with_body(nine_to_one(&server, mode, 2), length), 50);
            assert_clean(&report, 50);
            assert_eq!(completed(&report), [45, 5]);
        }
    }
}

#[test]
fn a_wrong_answer_to_one_of_them_is_an_error_also_where_it_would_be_right_for_the_other() {
    for mode in [Mode::Keep, Mode::Multiplex] {
        // Each reply equals, byte for byte, a good one to the other request.
        let server = Server::unix(counting(|request, _| reply(request.id, b"a")));
        let report = run(nine_to_one(&server, mode, 1), 100);
        assert_errors(&report, &[("wrong_content", 10)]);
        assert_eq!(completed(&report), [90, 0]);
        assert_eq!(counted(&report), [90, 10]);
        assert_adds_up(&report);

        let server = Server::unix(counting(|request, _| reply(request.id, b"long b")));
        let report = run(nine_to_one(&server, mode, 1), 100);
        assert_errors(&report, &[("wrong_content", 90)]);
        assert_eq!(completed(&report), [0, 10]);
        assert_eq!(counted(&report), [90, 10]);
        assert_adds_up(&report);
    }
}

#[test]
fn the_latency_of_each_is_told_apart() {
    let slow = |request: &Request, _| {
        if is_b(request) {
            thread::sleep(SLOW);
        }
        right(request)
    };
    for rate in [None, Some(200.0)] {
        let server = Server::unix(counting(slow));
        let options = Options { rate, ..nine_to_one(&server, Mode::Keep, 1) };
        let report = run(options, 100);
        assert_clean(&report, 100);
        let [a, b] = &report.by_request[..] else { panic!("{report:?}") };
        assert_eq!((a.latency.len(), b.latency.len()), (90, 10));
        // Within the thousandth that a histogram may be wrong by.
        let slow = SLOW.as_nanos() as u64;
        assert!(b.latency.good().min() >= slow - slow / 1000, "{b:?}");
        assert!(b.latency.value_at_quantile(0.5) > a.latency.good().min());
        assert!(a.latency.good().min() < slow, "{a:?}");
        assert_adds_up(&report);
    }
}

#[test]
fn a_request_that_is_sent_again_is_the_same_one() {
    // Answers three, takes the fourth and drops it.
    let server = Server::unix(|mut peer| {
        for _ in 0..3 {
            let Some(request) = peer.request() else { return };
            peer.send(&right(&request));
        }
        peer.request();
    });
    for rate in [None, Some(2000.0)] {
        let options =
            Options { retry_closed: true, rate, streams: 2, ..nine_to_one(&server, Mode::Multiplex, 2) };
        let report = run(options, 200);
        assert_clean(&report, 200);
        assert!(report.retried > 0);
        assert_eq!(completed(&report), [180, 20]);
        assert_adds_up(&report);
    }
}

#[test]
fn requests_that_could_not_be_sent_wait_under_their_own_name() {
    // Answers one request, and no other for ever.
    let server = Server::unix(|mut peer| {
        if let Some(request) = peer.request() {
            peer.send(&right(&request));
        }
        peer.wait_for_close();
    });
    let options = Options {
        rate: Some(1000.0),
        timeout: Duration::from_secs(60),
        ..nine_to_one(&server, Mode::Keep, 1)
    };
    let mut generator = Generator::new(options).unwrap();
    let progress = generator.progress();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(600));
        progress.stop();
    });
    let report = generator.run(Until::Duration(Duration::from_millis(200))).unwrap();
    stopper.join().unwrap();
    assert_eq!((report.completed, report.unfinished, report.unsent), (1, 1, 198), "{report:?}");
    assert_eq!(counted(&report), [180, 20]);
    assert_adds_up(&report);
}

#[test]
fn of_a_single_request_nothing_is_told_twice() {
    let server = Server::unix(crate::server::hello);
    let report = run(server.options(Mode::Keep, 1), 10);
    assert_clean(&report, 10);
    assert!(report.by_request.is_empty());
}
