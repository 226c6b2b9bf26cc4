//! Each way of using connections, with servers that do nothing wrong, but do it in every way the specification allows.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fcgi_load::{Expect, Generator, Mode, Options, RequestSpec, Until};

use crate::server::{Server, counting, end, hello, record, reply, reply_with, stdout};
use crate::{assert_clean, assert_errors, run};

fn multiplex(server: &Server, connections: usize, streams: usize) -> Options {
    Options { streams, ..server.options(Mode::Multiplex, connections) }
}

#[test]
fn keep_mode_sends_all_requests_over_the_same_connections() {
    for server in [Server::unix(hello), Server::abstract_name(hello), Server::tcp(hello)] {
        let report = run(server.options(Mode::Keep, 3), 1000);
        assert_clean(&report, 1000);
        assert_eq!((report.connections_opened, server.accepted()), (3, 3));
        assert_eq!(report.peak_in_flight, 1);
    }
}

#[test]
fn close_mode_opens_a_connection_for_each_request_and_does_not_ask_to_keep_it() {
    let kept = Arc::new(AtomicBool::new(false));
    let saw = Arc::clone(&kept);
    let script = counting(move |request, _| {
        saw.fetch_or(request.keep_conn, Ordering::SeqCst);
        reply(request.id, b"Hello")
    });
    let script = Arc::new(script);
    let (unix, tcp) = (Arc::clone(&script), script);
    for server in [Server::unix(move |peer| unix(peer)), Server::tcp(move |peer| tcp(peer))] {
        let report = run(server.options(Mode::Close, 4), 300);
        assert_clean(&report, 300);
        assert_eq!(report.connections_opened, 300);
        assert_eq!(server.accepted(), 300);
    }
    assert!(!kept.load(Ordering::SeqCst));
}

#[test]
fn multiplex_mode_really_has_as_many_requests_in_flight_as_it_was_told() {
    // Answers only once five requests are there, so it would wait for ever for the fifth if there were but four.
    for server in [Server::unix(by_fives), Server::tcp(by_fives)] {
        let report = run(multiplex(&server, 2, 5), 1000);
        assert_clean(&report, 1000);
        assert_eq!((report.peak_in_flight, report.connections_opened), (5, 2));
    }

    fn by_fives(mut peer: crate::server::Peer) {
        loop {
            let mut replies = Vec::new();
            for _ in 0..5 {
                let Some(request) = peer.request() else { return };
                assert!(request.keep_conn);
                replies.push(reply(request.id, b"Hello"));
            }
            // In another order than they were asked for.
            replies.rotate_left(2);
            peer.send(&replies.concat());
        }
    }
}

#[test]
fn replies_whose_records_alternate_are_told_apart() {
    let server = Server::unix(|mut peer| {
        loop {
            let Some(first) = peer.request() else { return };
            let Some(second) = peer.request() else { return };
            let (a, b) = (first.id, second.id);
            let bytes = [
                stdout(a, b"Content-Type: text/plain\r\n"),
                stdout(b, b"X: y\n\nHel"),
                record(7, a, b"a word of warning", 3),
                stdout(a, b"\r\nHell"),
                stdout(b, b"lo"),
                stdout(b, b""),
                stdout(a, b"o"),
                record(7, a, b"", 0),
                stdout(a, b""),
                end(a, 0, 0),
                end(b, 0, 0),
            ];
            peer.send(&bytes.concat());
        }
    });
    let report = run(multiplex(&server, 1, 2), 100);
    assert_clean(&report, 100);
    assert_eq!(report.stderr_bytes, 50 * 17);
    assert_eq!(report.parsed, 100, "nothing came in one piece");
}

#[test]
fn error_output_is_no_fault_and_all_of_it_is_counted() {
    let server = Server::unix(counting(|request, _| {
        let good = reply(request.id, b"Hello");
        [record(7, request.id, b"oh", 6), record(7, request.id, b"", 0), good].concat()
    }));
    let report = run(server.options(Mode::Keep, 1), 100);
    assert_clean(&report, 100);
    assert_eq!(report.stderr_bytes, 200);
}

#[test]
fn the_request_arrives_as_it_was_specified() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let server = Server::unix(counting(move |request, _| {
        requests.lock().unwrap().push(request.clone());
        reply(request.id, b"Hello")
    }));
    let mut options = server.options(Mode::Keep, 1);
    let request = RequestSpec::post("/echo?a=b", "x=y").param("EXTRA", "v".repeat(200)).expect_body("Hello");
    options.requests = vec![request.into()];
    assert_clean(&run(options, 2), 2);
    let seen = seen.lock().unwrap();
    for request in seen.iter() {
        assert_eq!(request.id, 1);
        assert_eq!(request.body, b"x=y");
        for pair in [&b"\x0b\x05SCRIPT_NAME/echo"[..], b"\x0c\x03QUERY_STRINGa=b", b"\x0e\x01CONTENT_LENGTH3"]
        {
            assert!(request.params.windows(pair.len()).any(|bytes| bytes == pair), "{}", pair.escape_ascii());
        }
        assert!(request.params.ends_with(&[b"\x05\x80\0\0\xc8EXTRA", "v".repeat(200).as_bytes()].concat()));
    }
}

#[test]
fn replies_in_single_bytes_and_with_all_the_padding_there_can_be_are_good() {
    let server = Server::unix(counting(|request, _| {
        let mut bytes = Vec::new();
        for byte in b"A: b\n\nHello" {
            bytes.extend(record(6, request.id, &[*byte], 255));
        }
        bytes.extend(record(6, request.id, b"", 8));
        bytes.extend(record(3, request.id, &[0; 8], 7));
        bytes
    }));
    assert_clean(&run(server.options(Mode::Keep, 2), 50), 50);

    let server = Server::unix(|mut peer| {
        while let Some(request) = peer.request() {
            for byte in reply(request.id, b"Hello") {
                peer.send(&[byte]);
                // Lets the generator read here, more often than not.
                std::thread::yield_now();
            }
        }
    });
    assert_clean(&run(multiplex(&server, 1, 2), 50), 50);
}

#[test]
fn a_header_that_changes_is_no_fault() {
    let server = Server::unix(counting(|request, number| {
        reply_with(request.id, &format!("Date: {number}"), b"Hello")
    }));
    let report = run(server.options(Mode::Keep, 2), 3000);
    assert_clean(&report, 3000);
    assert!(report.parsed > 2900);
}

#[test]
fn equal_replies_are_parsed_once() {
    let server = Server::unix(hello);
    let report = run(server.options(Mode::Keep, 1), 1000);
    assert_eq!((report.completed, report.parsed), (1000, 1));
}

#[test]
fn kept_connections_stay_open_from_one_run_to_the_next() {
    for mode in [Mode::Keep, Mode::Multiplex] {
        let server = Server::unix(hello);
        let mut generator = Generator::new(server.options(mode, 2)).unwrap();
        assert_eq!(generator.run(Until::Requests(10)).unwrap().connections_opened, 2);
        for requests in [1, 2, 3, 100] {
            let report = generator.run(Until::Requests(requests)).unwrap();
            assert_clean(&report, requests);
            assert_eq!(report.connections_opened, 0);
        }
        assert_eq!(server.accepted(), 2);
    }
}

#[test]
fn large_bodies_go_both_ways_at_once_without_a_deadlock() {
    const BODY: usize = 1 << 20;
    // Echoes each record as it comes, tenfold: the client must read while it still writes.
    fn echo(mut peer: crate::server::Peer) {
        let mut out = peer.writer();
        let mut begun = std::collections::HashSet::new();
        while let Some((kind, id, content)) = peer.record() {
            if kind != 5 {
                continue;
            }
            let mut bytes = Vec::new();
            if begun.insert(id) {
                bytes.extend(stdout(id, b"A: b\n\n"));
            }
            if content.is_empty() {
                begun.remove(&id);
                bytes.extend([stdout(id, b""), end(id, 0, 0)].concat());
            } else {
                bytes.extend(stdout(id, &content).repeat(10));
            }
            if out.write_all(&bytes).is_err() {
                return;
            }
        }
    }
    let body: Vec<u8> = (0..BODY).map(|at| (at / 65_528) as u8).collect();
    let expected: Vec<u8> = body.chunks(65_528).flat_map(|chunk| chunk.repeat(10)).collect();
    for (mode, server) in [
        (Mode::Multiplex, Server::unix(echo)),
        (Mode::Multiplex, Server::tcp(echo)),
        (Mode::Keep, Server::unix(echo)),
        (Mode::Close, Server::tcp(echo)),
    ] {
        let request = RequestSpec::post("/echo", body.clone()).expect_body(expected.clone());
        let options = Options { requests: vec![request.into()], streams: 3, ..server.options(mode, 2) };
        let report = run(options, 6);
        assert_clean(&report, 6);
        assert!(report.bytes_in > 60 << 20 && report.bytes_out > 6 << 20);
    }
}

#[test]
fn an_answer_that_comes_before_the_whole_request_is_sent_does_not_confuse_the_next() {
    const BODY: usize = 4 << 20;
    let server = Server::unix(|mut peer| {
        loop {
            // Answers the beginning, and reads the rest only then.
            let Some((kind, id, _)) = peer.record() else { return };
            if kind != 1 {
                continue;
            }
            peer.send(&reply(id, b"Hello"));
            while let Some((kind, _, content)) = peer.record() {
                if kind == 5 && content.is_empty() {
                    break;
                }
            }
        }
    });
    for (mode, streams) in [(Mode::Keep, 1), (Mode::Multiplex, 2)] {
        let request = RequestSpec::post("/", vec![0; BODY]).expect_body("Hello");
        let options = Options { requests: vec![request.into()], streams, ..server.options(mode, 1) };
        assert_clean(&run(options, 20), 20);
    }
}

#[test]
fn a_full_backlog_is_waited_for_and_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::sleep(Duration::from_millis(2));
            let _ = stream.write_all(&reply(1, b"Hello"));
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let request = RequestSpec::get("/").expect_body("Hello");
    let options = Options {
        mode: Mode::Close,
        connections: 20,
        ..Options::new(fcgi_load::Address::Unix(path), request)
    };
    let report = run(options, 100);
    assert_clean(&report, 100);
    assert!(report.backlog_full > 0);
}

#[test]
fn another_expected_status_and_app_status_are_good_replies() {
    let server = Server::unix(counting(|request, _| {
        [stdout(request.id, b"Status: 503 Down\n\n"), stdout(request.id, b""), end(request.id, 7, 0)].concat()
    }));
    let mut options = server.options(Mode::Keep, 1);
    options.requests[0].request.expect = Expect { status: 503, app_status: 7, ..Expect::default() };
    assert_clean(&run(options, 10), 10);
}

#[test]
fn a_reply_without_the_end_of_stdout_is_good_only_where_that_is_allowed() {
    let server = Server::unix(counting(|request, _| {
        [stdout(request.id, b"\n\nHello"), end(request.id, 0, 0)].concat()
    }));
    let mut options = server.options(Mode::Keep, 1);
    options.requests[0].request.expect.body = Some(b"\nHello".into());
    assert_errors(&run(options.clone(), 5), &[("protocol", 5)]);
    options.requests[0].request.expect.stdout_end = false;
    assert_clean(&run(options, 5), 5);
}

#[test]
fn a_run_by_time_ends_after_that_time_and_when_it_is_stopped() {
    let server = Server::unix(hello);
    let mut generator = Generator::new(server.options(Mode::Keep, 2)).unwrap();
    let report = generator.run(Until::Duration(Duration::from_millis(100))).unwrap();
    assert!(report.completed > 0 && report.elapsed >= Duration::from_millis(100));
    assert_clean(&report, report.completed);
    assert!(!report.stopped);

    let mut generator = Generator::new(server.options(Mode::Keep, 2)).unwrap();
    let progress = generator.progress();
    let stopper = std::thread::spawn(move || {
        while progress.completed() == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        progress.stop();
    });
    let report = generator.run(Until::Duration(Duration::from_secs(600))).unwrap();
    stopper.join().unwrap();
    assert!(report.stopped && report.completed > 0);
    assert_eq!(report.errors.total(), 0);
}
