//! Servers that do something wrong: each wrong is found, counted once, and under its own name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fcgi_load::{Address, Generator, Mode, Options, OptionsError, Quantile, RequestSpec, Share, Until};

use crate::server::{Peer, Request, Server, counting, end, hello, record, reply, reply_with, stdout};
use crate::{assert_clean, assert_errors, run};

/// Of a hundred replies in each mode the fiftieth is `bad`; returns the reports.
fn one_bad_reply(bad: fn(&Request) -> Vec<u8>) -> Vec<fcgi_load::Report> {
    [Mode::Close, Mode::Keep, Mode::Multiplex]
        .map(|mode| {
            let server =
                Server::unix(counting(
                    move |request, number| {
                        if number == 50 { bad(request) } else { reply(request.id, b"Hello") }
                    },
                ));
            let options = Options { streams: 1, ..server.options(mode, 1) };
            let report = run(options, 100);
            assert_eq!(report.completed + report.refused + report.errors.total(), 100, "{mode}");
            assert_eq!((report.due, report.latency.len()), (100, 100), "{mode}");
            report
        })
        .into()
}

#[track_caller]
fn assert_one(bad: fn(&Request) -> Vec<u8>, kind: &str) {
    for report in one_bad_reply(bad) {
        assert_errors(&report, &[(kind, 1)]);
        assert_eq!(report.completed, 99, "{}", report.mode);
    }
}

#[test]
fn a_body_with_one_wrong_byte_is_wrong_content() {
    assert_one(|request| reply(request.id, b"Hallo"), "wrong_content");
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_wrong_content() {
    assert_one(|request| reply(request.id, b"Hell"), "wrong_content");
    assert_one(|request| reply(request.id, b"Hello!"), "wrong_content");
    assert_one(|request| [stdout(request.id, b""), end(request.id, 0, 0)].concat(), "wrong_content");
}

#[test]
fn another_status_is_a_wrong_status() {
    assert_one(|request| reply_with(request.id, "Status: 500 Oops", b"Hello"), "wrong_status");
}

#[test]
fn another_app_status_is_a_wrong_app_status() {
    assert_one(
        |request| {
            let good = reply(request.id, b"Hello");
            [&good[..good.len() - 16], &end(request.id, 256, 0)].concat()
        },
        "wrong_app_status",
    );
}

#[test]
fn a_reply_under_another_id_breaks_the_protocol() {
    assert_one(|request| reply(request.id + 1, b"Hello"), "protocol");
    assert_one(|request| reply(request.id + 255, b"Hello"), "protocol");
}

#[test]
fn a_second_reply_to_the_same_request_breaks_the_protocol() {
    for mode in [Mode::Keep, Mode::Multiplex] {
        let server = Server::unix(counting(|request, number| {
            reply(request.id, b"Hello").repeat(if number == 50 { 2 } else { 1 })
        }));
        let report = run(Options { streams: 1, ..server.options(mode, 1) }, 100);
        // It belongs to no request, so none is charged with it.
        assert_errors(&report, &[]);
        assert_eq!((report.completed, report.stray, report.connections_opened), (100, 1, 2));
        assert!(!report.is_clean());
    }
}

#[test]
fn a_reply_under_an_id_that_could_be_in_flight_and_is_not_breaks_the_protocol() {
    let server = Server::unix(counting(|_, _| reply(4, b"Hello")));
    let report = run(Options { streams: 4, ..server.options(Mode::Multiplex, 1) }, 1);
    assert_errors(&report, &[("protocol", 1)]);
}

#[test]
fn two_replies_whose_records_alternated_are_no_model_for_one() {
    let server = Server::unix(|mut peer| {
        for round in 0.. {
            let Some(first) = peer.request() else { return };
            let Some(second) = peer.request() else { return };
            let (a, b) = (first.id, second.id);
            // What lies between the beginning and the end of b is, but for the ids, what comes for each later.
            let bytes = if round == 0 {
                [
                    stdout(a, b"\nHel"),
                    stdout(b, b"\nHello"),
                    stdout(b, b""),
                    stdout(a, b"lo"),
                    stdout(a, b""),
                    end(b, 0, 0),
                    end(a, 0, 0),
                ]
                .concat()
            } else {
                let bad =
                    [stdout(a, b"\nHello"), stdout(a, b""), stdout(a, b"lo"), stdout(a, b""), end(a, 0, 0)];
                bad.concat()
            };
            peer.send(&bytes);
        }
    });
    let report = run(Options { streams: 2, ..server.options(Mode::Multiplex, 1) }, 4);
    assert_eq!((report.completed, report.errors.protocol), (2, 1), "{:?}", report.errors);
}

#[test]
fn records_no_server_may_send_break_the_protocol() {
    assert_one(|request| record(1, request.id, &[0; 8], 0), "protocol");
    assert_one(|request| record(99, request.id, b"?", 0), "protocol");
    assert_one(|_| record(10, 0, b"", 0), "protocol");
    assert_one(|request| [2, 6, 0, request.id as u8, 0, 0, 0, 0].into(), "protocol");
    assert_one(|request| record(3, request.id, &[0; 4], 0), "protocol");
    assert_one(|request| [stdout(request.id, b""), stdout(request.id, b"\n\nHello")].concat(), "protocol");
}

#[test]
fn an_unknown_role_is_a_wrong_protocol_status() {
    assert_one(|request| end(request.id, 0, 3), "wrong_protocol_status");
    assert_one(|request| end(request.id, 0, 9), "wrong_protocol_status");
}

#[test]
fn a_server_that_refuses_is_counted_apart_from_errors() {
    for refusal in [
        (|request| end(request.id, 0, 1)) as fn(&Request) -> Vec<u8>,
        |request| end(request.id, 0, 2),
        |request| reply_with(request.id, "Status: 503 Service Unavailable", b""),
        |request| {
            [stdout(request.id, b"Status: 503\n\n"), stdout(request.id, b""), end(request.id, 0, 2)].concat()
        },
    ] {
        for report in one_bad_reply(refusal) {
            assert_errors(&report, &[]);
            assert_eq!((report.refused, report.completed), (1, 99));
        }
    }
}

#[test]
fn one_stream_that_is_refused_leaves_the_others_alone() {
    let server = Server::unix(|mut peer| {
        while let Some(request) = peer.request() {
            let bytes = if request.id == 3 { end(request.id, 0, 1) } else { reply(request.id, b"Hello") };
            peer.send(&bytes);
        }
    });
    let report = run(Options { streams: 4, ..server.options(Mode::Multiplex, 1) }, 400);
    assert_errors(&report, &[]);
    assert!(report.refused > 0 && report.completed > 0);
    assert_eq!(report.refused + report.completed, 400);
}

/// Plays `broken` on the connections with these numbers, and serves well on the others.
fn broken_on(numbers: &'static [usize], broken: fn(&mut Peer)) -> impl Fn(Peer) + Send + Sync {
    move |mut peer| if numbers.contains(&peer.number) { broken(&mut peer) } else { hello(peer) }
}

#[test]
fn a_reply_that_breaks_off_is_lost_wherever_it_breaks_off_and_the_run_goes_on() {
    static CUT: AtomicUsize = AtomicUsize::new(0);
    let whole = reply(1, b"Hello").len();
    for mode in [Mode::Close, Mode::Keep] {
        for cut in [1, 7, 8, 20, whole - 17, whole - 1] {
            CUT.store(cut, Ordering::SeqCst);
            let server = Server::unix(broken_on(&[0], |peer| {
                let request = peer.request().unwrap();
                peer.send(&reply(request.id, b"Hello")[..CUT.load(Ordering::SeqCst)]);
            }));
            let report = run(server.options(mode, 1), 20);
            assert_errors(&report, &[("lost", 1)]);
            assert_eq!(report.completed, 19, "cut at {cut}");
        }
    }
}

#[test]
fn a_connection_that_ends_before_the_first_byte_of_a_reply_leaves_its_requests_unanswered() {
    let server = Server::unix(broken_on(&[0, 1], |peer| {
        // Once with everything read, once with it unread, which resets the connection.
        if peer.number == 0 {
            peer.request();
        }
    }));
    let report = run(server.options(Mode::Keep, 1), 20);
    assert_errors(&report, &[("unanswered", 2)]);
    assert_eq!((report.completed, report.connections_opened), (18, 3));
}

#[test]
fn of_several_requests_in_flight_each_is_counted_by_what_became_of_it() {
    let server = Server::unix(broken_on(&[0], |peer| {
        let ids: Vec<u16> = (0..4).map(|_| peer.request().unwrap().id).collect();
        peer.send(&[reply(ids[0], b"Hello"), stdout(ids[1], b"X: y")].concat());
    }));
    let options = Options { streams: 4, ..server.options(Mode::Multiplex, 1) };
    let report = run(options, 5);
    // The fifth was sent for the one that was answered, or after the reconnection.
    let (unanswered, lost) = (report.errors.unanswered, report.errors.lost);
    assert_eq!(lost, 1);
    assert!(unanswered == 2 || unanswered == 3, "{:?}", report.errors);
    assert_eq!(report.completed + report.errors.total(), 5);
}

#[test]
fn a_server_that_closes_after_each_reply_is_followed() {
    let server = Server::unix(|mut peer| {
        let Some(request) = peer.request() else { return };
        peer.send(&reply(request.id, b"Hello"));
        peer.end_writing();
        peer.wait_for_close();
    });
    let report = run(server.options(Mode::Keep, 2), 100);
    // Whether the next request was on its way already when the connection ended is a matter of luck.
    assert_eq!(report.completed + report.errors.closed, 100);
    assert_eq!(report.errors.total(), report.errors.closed);
    assert!(report.completed >= 30);
}

#[test]
fn a_server_that_takes_no_more_may_still_answer_what_it_took() {
    let server = Server::unix(broken_on(&[0], |peer| {
        let ids: Vec<u16> = (0..2).map(|_| peer.request().unwrap().id).collect();
        peer.end_reading();
        // The client sends its third request for this, and cannot.
        peer.send(&reply(ids[0], b"Hello"));
        std::thread::sleep(Duration::from_millis(50));
        peer.send(&reply(ids[1], b"Hello"));
    }));
    let options = Options { streams: 2, ..server.options(Mode::Multiplex, 1) };
    let report = run(options, 4);
    assert_errors(&report, &[("closed", 1)]);
    assert_eq!(report.completed, 3);
}

#[test]
fn a_connection_closed_between_runs_harms_no_request() {
    let server = Server::unix(broken_on(&[0], |peer| {
        let request = peer.request().unwrap();
        peer.send(&reply(request.id, b"Hello"));
    }));
    let mut generator = Generator::new(server.options(Mode::Keep, 1)).unwrap();
    let first = generator.run(Until::Requests(1)).unwrap();
    assert_clean(&first, 1);
    // Time for the end to arrive, if it did not come with the reply.
    std::thread::sleep(Duration::from_millis(200));
    let second = generator.run(Until::Requests(10)).unwrap();
    assert_clean(&second, 10);
    assert_eq!(first.closed_idle + second.closed_idle, 1);
    assert_eq!(first.connections_opened + second.connections_opened, 2);
}

#[test]
fn a_server_that_never_answers_ends_in_timeouts_and_not_in_a_hang() {
    for mode in [Mode::Close, Mode::Keep, Mode::Multiplex] {
        let server = Server::unix(|mut peer| peer.wait_for_close());
        let options = Options { timeout: Duration::from_millis(200), streams: 3, ..server.options(mode, 2) };
        let start = Instant::now();
        let report = run(options, 1_000_000);
        assert!(report.errors.timeout > 0 && report.gave_up, "{mode}: {report:?}");
        assert_eq!((report.completed, report.errors.total()), (0, report.errors.timeout));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_reply_that_stops_halfway_ends_in_a_timeout_and_the_run_goes_on() {
    let server = Server::unix(broken_on(&[0], |peer| {
        let request = peer.request().unwrap();
        peer.send(&reply(request.id, b"Hello")[..20]);
        peer.wait_for_close();
    }));
    let timeout = Duration::from_millis(200);
    let options = Options { timeout, ..server.options(Mode::Keep, 1) };
    let report = run(options, 20);
    assert_errors(&report, &[("timeout", 1)]);
    assert_eq!(report.completed, 19);
    // In a closed loop too the percentiles know of it.
    let Some(Quantile::AtLeast(longest)) = report.latency.quantile(1.0) else { panic!("{report:?}") };
    assert!(longest >= timeout.as_nanos() as u64 * 99 / 100, "{longest}");
}

#[test]
fn a_server_that_restarts_under_load_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let address = Address::Unix(path.clone());
    // Serves 50 requests over any number of connections, dies, and is back a moment later.
    std::thread::spawn(move || {
        for life in 0.. {
            let _ = std::fs::remove_file(&path);
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            let Ok((mut stream, _)) = listener.accept() else { return };
            for _ in 0..50 {
                use std::io::{Read, Write};
                let mut byte = [0; 4096];
                if !matches!(stream.read(&mut byte), Ok(1..))
                    || stream.write_all(&reply(1, b"Hello")).is_err()
                {
                    break;
                }
            }
            drop((stream, listener));
            std::thread::sleep(Duration::from_millis(30 + life % 2));
        }
    });
    let until = Instant::now() + Duration::from_secs(10);
    let options = Options::new(address, RequestSpec::get("/").expect_body("Hello"));
    let mut generator = loop {
        match Generator::new(options.clone()) {
            Ok(generator) => break generator,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    let report = generator.run(Until::Duration(Duration::from_millis(600))).unwrap();
    assert!(report.completed > 100 && report.connections_opened > 2, "{report:?}");
    assert!(report.connects_failed > 0, "{report:?}");
    assert!(!report.gave_up);
    // With pauses of at most a tenth of a second, not a storm of attempts.
    assert!(report.connects_failed < 1000, "{report:?}");
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_names_it() {
    let address: Address = "unix:/nonexistent/socket".parse().unwrap();
    let options = Options::new(address.clone(), RequestSpec::get("/"));
    let error = Generator::new(options.clone()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("unix:/nonexistent/socket"));

    // In close mode nothing is opened before the run, which then gives up.
    let options = Options { mode: Mode::Close, timeout: Duration::from_millis(100), ..options };
    let report = run(options, 1_000_000);
    assert!(report.gave_up && report.errors.connect > 0 && report.completed == 0);
    assert!(report.errors.connect < 1000, "it pauses between attempts");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let good = Options::new("tcp:127.0.0.1:1".parse().unwrap(), RequestSpec::get("/"));
    assert_eq!(good.validate(), Ok(()));
    let mix = |weights: &[u32]| -> Vec<Share> {
        weights.iter().map(|&weight| Share { weight, request: RequestSpec::get("/") }).collect()
    };
    assert_eq!(Options { requests: mix(&[999, 1]), ..good.clone() }.validate(), Ok(()));
    for (options, error) in [
        (Options { connections: 0, ..good.clone() }, OptionsError::NoConnection),
        (Options { mode: Mode::Multiplex, streams: 0, ..good.clone() }, OptionsError::Streams(0)),
        (Options { mode: Mode::Multiplex, streams: 65_536, ..good.clone() }, OptionsError::Streams(65_536)),
        (Options { requests: vec![], ..good.clone() }, OptionsError::Requests(0)),
        (Options { requests: mix(&[1; 65]), ..good.clone() }, OptionsError::Requests(65)),
        (Options { requests: mix(&[1, 0]), ..good.clone() }, OptionsError::NoWeight),
        (Options { requests: mix(&[999, 2]), ..good.clone() }, OptionsError::Weights(1001)),
        (Options { requests: mix(&[u32::MAX; 2]), ..good.clone() }, OptionsError::Weights(8_589_934_590)),
        (Options { rate: Some(0.0), ..good.clone() }, OptionsError::Rate(0.0)),
        (Options { rate: Some(f64::INFINITY), ..good.clone() }, OptionsError::Rate(f64::INFINITY)),
        (Options { timeout: Duration::ZERO, ..good.clone() }, OptionsError::NoTimeout),
    ] {
        assert_eq!(options.validate(), Err(error));
        assert_eq!(Generator::new(options).err().unwrap().kind(), std::io::ErrorKind::InvalidInput);
    }
}
