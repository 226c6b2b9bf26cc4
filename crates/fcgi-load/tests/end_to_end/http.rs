//! The same generator against HTTP servers, which do nothing wrong or one thing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fcgi_load::{Generator, Mode, Options, OptionsError, Protocol, Report, RequestSpec, Share, Until};

use crate::http_server::{CHUNKED, Client, Request, answering, hello, options, raw, reply};
use crate::server::{Peer, Server};
use crate::{assert_clean, assert_errors, run};

const MODES: [Mode; 2] = [Mode::Keep, Mode::Close];

#[test]
fn kept_connections_carry_all_requests_and_equal_replies_are_parsed_once() {
    for server in [Server::unix(hello), Server::abstract_name(hello), Server::tcp(hello)] {
        let report = run(options(&server, Mode::Keep, 1), 1000);
        assert_clean(&report, 1000);
        assert_eq!((report.connections_opened, server.accepted(), report.peak_in_flight), (1, 1, 1));
        assert_eq!((report.parsed, report.bytes_in), (1, 1000 * reply("", b"Hello").len() as u64));
        let report = run(options(&server, Mode::Keep, 3), 1000);
        assert_clean(&report, 1000);
        assert_eq!((report.connections_opened, report.peak_in_flight), (3, 1));
    }
}

#[test]
fn close_mode_says_so_and_opens_a_connection_for_each_request() {
    let polite = answering(|request, _| reply("", if request.wants_close() { b"Hello" } else { b"kept?" }));
    let polite = Arc::new(polite);
    let (unix, tcp) = (Arc::clone(&polite), polite);
    for server in [Server::unix(move |peer| unix(peer)), Server::tcp(move |peer| tcp(peer))] {
        let report = run(options(&server, Mode::Close, 4), 300);
        assert_clean(&report, 300);
        assert_eq!((report.connections_opened, server.accepted()), (300, 300));
        assert!(report.parsed < 300);
    }
}

#[test]
fn the_request_arrives_as_it_was_specified() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let server = Server::unix(answering(move |request, _| {
        requests.lock().unwrap().push(request.clone());
        reply("", b"Hello")
    }));
    let request = RequestSpec::post("/echo?a=b", "x=y").param("HTTP_X_Trace", "1").expect_body("Hello");
    let requests = vec![RequestSpec::get("/").expect_body("Hello").into(), request.into()];
    assert_clean(&run(Options { requests, ..options(&server, Mode::Keep, 1) }, 4), 4);
    let seen = seen.lock().unwrap();
    assert_eq!((&seen[0].lines[0][..], &seen[0].body[..]), ("GET / HTTP/1.1", &b""[..]));
    assert_eq!(seen[0].values("Content-Length"), [""; 0]);
    assert_eq!((&seen[3].lines[0][..], &seen[3].body[..]), ("POST /echo?a=b HTTP/1.1", &b"x=y"[..]));
    for (name, value) in [
        ("Host", "localhost"),
        ("User-Agent", concat!("fcgi-load/", env!("CARGO_PKG_VERSION"))),
        ("X-Trace", "1"),
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", "3"),
    ] {
        assert_eq!(seen[3].values(name), [value], "{name}");
    }
    assert_eq!(seen[3].values("Connection"), [""; 0]);
}

#[test]
fn bodies_end_by_length_by_their_last_chunk_or_by_the_end_of_the_connection() {
    // Each, and whether the connection can be kept after it.
    for (bytes, is_kept) in [
        (reply("", b"Hello"), true),
        (CHUNKED.into(), true),
        (raw("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5", b"Hello"), true),
        (reply("Connection: close\r\n", b"Hello"), false),
        (raw("HTTP/1.0 200 OK\r\nContent-Length: 5", b"Hello"), false),
        (raw("HTTP/1.1 200 OK", b"Hello"), false),
        (raw("HTTP/1.0 200 OK", b"Hello"), false),
    ] {
        for mode in MODES {
            let bytes = bytes.clone();
            let script = move |peer| {
                let mut client = Client::new(peer);
                while let Some(request) = client.request() {
                    client.send(&bytes);
                    if !is_kept || request.wants_close() {
                        return;
                    }
                }
            };
            let script = Arc::new(script);
            let (unix, tcp) = (Arc::clone(&script), script);
            for server in [Server::unix(move |peer| unix(peer)), Server::tcp(move |peer| tcp(peer))] {
                let report = run(options(&server, mode, 2), 50);
                assert_clean(&report, 50);
                assert_eq!(report.closed_idle, 0);
                if mode == Mode::Keep && is_kept {
                    assert_eq!(report.connections_opened, 2);
                } else {
                    assert!(report.connections_opened >= 50, "{report:?}");
                }
            }
        }
    }
}

#[test]
fn replies_cut_at_every_byte_are_good() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    for whole in [reply("X: y\r\n", b"Hello"), [interim, CHUNKED].concat()] {
        let length = whole.len();
        let server = Server::unix(move |peer| {
            let mut client = Client::new(peer);
            for cut in 1.. {
                if client.request().is_none() {
                    return;
                }
                let (first, second) = whole.split_at(cut % whole.len());
                client.send(first);
                // Lets the generator read here, more often than not.
                std::thread::sleep(Duration::from_micros(200));
                client.send(second);
            }
        });
        assert_clean(&run(options(&server, Mode::Keep, 1), length as u64), length as u64);
    }
    let server = Server::tcp(|peer| {
        let mut client = Client::new(peer);
        while client.request().is_some() {
            for byte in CHUNKED {
                client.send(&[*byte]);
                std::thread::yield_now();
            }
        }
    });
    assert_clean(&run(options(&server, Mode::Keep, 2), 50), 50);
}

#[test]
fn a_continue_or_a_hint_before_the_answer_is_skipped() {
    let server = Server::unix(|peer| {
        let mut client = Client::new(peer);
        while let Some(request) = client.request() {
            assert_eq!(request.values("Expect"), ["100-continue"]);
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n");
            client.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
            client.send(&reply("", b"Hello"));
        }
    });
    let request = RequestSpec::post("/", "x").param("HTTP_EXPECT", "100-continue").expect_body("Hello");
    let options = Options { requests: vec![request.into()], ..options(&server, Mode::Keep, 1) };
    assert_clean(&run(options, 100), 100);
}

#[test]
fn replies_to_head_and_with_some_statuses_have_no_content() {
    let server = Server::unix(answering(|request, _| match request.lines[0].as_str() {
        "HEAD /hello HTTP/1.1" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5", b""),
        "GET /none HTTP/1.1" => raw("HTTP/1.1 204 No Content", b""),
        "GET /same HTTP/1.1" => raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", b""),
        _ => reply("", b"Hello"),
    }));
    let requests = [
        RequestSpec::get("/hello").expect_body("Hello"),
        RequestSpec::with_method("HEAD", "/hello", Vec::new()).expect_body(""),
        RequestSpec::get("/none").expect_body("").expect_status(204),
        RequestSpec::get("/same").expect_body("").expect_status(304),
    ];
    for mode in MODES {
        let requests: Vec<Share> = requests.clone().map(Share::from).into();
        let report = run(Options { requests, ..options(&server, mode, 2) }, 400);
        assert_clean(&report, 400);
        assert!(report.by_request.iter().all(|request| request.completed == 100));
    }
}

#[test]
fn a_date_that_goes_on_is_parsed_once_and_learnt_anew() {
    let server =
        Server::unix(answering(|_, number| reply(&format!("Date: {:02}\r\n", number / 100), b"Hello")));
    let report = run(options(&server, Mode::Keep, 1), 1000);
    assert_clean(&report, 1000);
    assert_eq!(report.parsed, 10);
}

/// Of a hundred replies in each mode the fiftieth is `bad`; returns the reports.
fn one_bad_reply(bad: &[u8]) -> [Report; 2] {
    MODES.map(|mode| {
        let bad = bad.to_vec();
        let server = Server::unix(answering(
            move |_, number| {
                if number == 50 { bad.clone() } else { reply("", b"Hello") }
            },
        ));
        let report = run(options(&server, mode, 1), 100);
        assert_eq!(report.completed + report.refused + report.errors.total(), 100, "{mode}");
        assert_eq!((report.due, report.latency.len()), (100, 100), "{mode}");
        report
    })
}

#[track_caller]
fn assert_one(bad: &[u8], kind: &str) {
    for report in one_bad_reply(bad) {
        assert_errors(&report, &[(kind, 1)]);
        assert_eq!(report.completed, 99, "{}", report.mode);
    }
}

const IN_CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";

#[test]
fn another_body_is_wrong_content() {
    assert_one(&reply("", b"Hallo"), "wrong_content");
    assert_one(&reply("", b"Hell"), "wrong_content");
    assert_one(&reply("", b"Hello!"), "wrong_content");
    assert_one(&reply("", b""), "wrong_content");
    assert_one(&raw(IN_CHUNKS, b"6\r\nHello!\r\n0\r\n\r\n"), "wrong_content");
    assert_one(&raw(IN_CHUNKS, b"2\r\nHe\r\n3\r\nlla\r\n0\r\n\r\n"), "wrong_content");
    assert_one(&raw(IN_CHUNKS, b"0\r\n\r\n"), "wrong_content");
    assert_one(&raw("HTTP/1.1 204 No Content\r\nStatus: 200", b""), "wrong_status");
}

#[test]
fn another_status_is_a_wrong_status_and_503_a_refusal() {
    assert_one(&raw("HTTP/1.1 500 Oops\r\nContent-Length: 5", b"Hello"), "wrong_status");
    assert_one(&raw("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0", b""), "wrong_status");
    // The CGI header of that name is nothing here.
    assert_one(&raw("HTTP/1.1 404 No\r\nStatus: 200 OK\r\nContent-Length: 5", b"Hello"), "wrong_status");
    for report in one_bad_reply(&raw("HTTP/1.1 503 Busy\r\nContent-Length: 0", b"")) {
        assert_errors(&report, &[]);
        assert_eq!((report.refused, report.completed), (1, 99));
    }
}

#[test]
fn what_is_no_response_breaks_the_protocol() {
    assert_one(b"SSH-2.0-OpenSSH_9.2p1\r\n", "protocol");
    assert_one(&raw("HTTP/1.1  200 OK\r\nContent-Length: 5", b"Hello"), "protocol");
    assert_one(&raw("HTTP/2.0 200 OK\r\nContent-Length: 5", b"Hello"), "protocol");
    assert_one(&raw("HTTP/1.1 200 OK\r\nContent-Length : 5", b"Hello"), "protocol");
    assert_one(&raw("HTTP/1.1 200 OK\r\nContent-Length: 5, 6", b"Hello"), "protocol");
    assert_one(&raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999", b"Hello"), "protocol");
    assert_one(&raw(&format!("{IN_CHUNKS}\r\nContent-Length: 5"), b"5\r\nHello\r\n0\r\n\r\n"), "protocol");
    assert_one(&raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x", b""), "protocol");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5", "x".repeat(64 << 10));
    assert_one(&raw(&long, b"Hello"), "protocol");
}

#[test]
fn chunks_of_impossible_sizes_or_without_their_ends_break_the_protocol() {
    for chunks in [
        &b"ffffffffffffffff\r\nHello\r\n0\r\n\r\n"[..],
        b"10000000000000005\r\nHello\r\n0\r\n\r\n",
        b"-5\r\nHello\r\n0\r\n\r\n",
        b"5\nHello\n0\n\n",
        b"\r\n5\r\nHello\r\n0\r\n\r\n",
        b"4\r\nHello\r\n0\r\n\r\n",
        b"5\r\nHello0\r\n\r\n",
    ] {
        assert_one(&raw(IN_CHUNKS, chunks), "protocol");
    }
}

#[test]
fn a_chunk_that_is_said_to_be_huge_is_a_wrong_body_as_soon_as_it_breaks_off() {
    let server = Server::unix(|peer| {
        let number = peer.number;
        if number > 0 {
            return hello(peer);
        }
        let mut client = Client::new(peer);
        client.request();
        client.send(&raw(IN_CHUNKS, b"7fffffffffffffff\r\nHello"));
    });
    let report = run(options(&server, Mode::Keep, 1), 20);
    assert_errors(&report, &[("lost", 1)]);
    assert_eq!(report.completed, 19);
}

#[test]
fn a_second_response_to_the_same_request_breaks_the_protocol() {
    let server =
        Server::unix(answering(|_, number| reply("", b"Hello").repeat(if number == 50 { 2 } else { 1 })));
    let report = run(options(&server, Mode::Keep, 1), 100);
    // It belongs to no request, so none is charged with it.
    assert_errors(&report, &[]);
    assert_eq!((report.completed, report.stray, report.connections_opened), (100, 1, 2));
    assert!(!report.is_clean());
}

#[test]
fn a_reply_that_breaks_off_is_lost_wherever_it_breaks_off_and_the_run_goes_on() {
    let by_length = reply("", b"Hello");
    for (whole, cuts) in [
        (by_length.clone(), vec![1, 16, by_length.len() - 6, by_length.len() - 5, by_length.len() - 1]),
        (CHUNKED.to_vec(), (47..CHUNKED.len()).collect()),
        // After an interim response the reply has begun.
        ([b"HTTP/1.1 100 Continue\r\n\r\n", &by_length[..]].concat(), vec![25]),
    ] {
        for cut in cuts {
            for mode in MODES {
                let part = whole[..cut].to_vec();
                let server = Server::unix(move |peer: Peer| {
                    if peer.number > 0 {
                        return hello(peer);
                    }
                    let mut client = Client::new(peer);
                    client.request();
                    client.send(&part);
                });
                let report = run(options(&server, mode, 1), 10);
                assert_errors(&report, &[("lost", 1)]);
                assert_eq!(report.completed, 9, "cut at {cut}");
            }
        }
    }
}

/// Answers five requests on each connection, takes the sixth and drops it.
fn drops_the_sixth(peer: Peer) {
    let mut client = Client::new(peer);
    for _ in 0..5 {
        if client.request().is_none() {
            return;
        }
        client.send(&reply("", b"Hello"));
    }
    client.request();
}

#[test]
fn a_connection_that_is_closed_between_replies_is_counted_apart_or_its_request_sent_again() {
    for server in [Server::unix(drops_the_sixth), Server::tcp(drops_the_sixth)] {
        let report = run(options(&server, Mode::Keep, 1), 60);
        assert_errors(&report, &[("closed", 10)]);
        assert_eq!(report.completed, 50);
        for rate in [None, Some(2000.0)] {
            let options = Options { retry_closed: true, rate, ..options(&server, Mode::Keep, 2) };
            let report = run(options, 60);
            assert_clean(&report, 60);
            assert!(report.retried > 0);
        }
    }
}

#[test]
fn a_connection_that_never_answered_leaves_its_request_unanswered() {
    let server = Server::unix(|peer| drop(Client::new(peer).request()));
    let options = Options { retry_closed: true, ..options(&server, Mode::Keep, 1) };
    assert_errors(&run(options, 6), &[("unanswered", 6)]);
}

#[test]
fn a_server_that_says_it_closes_is_followed_without_an_error() {
    for server in [Server::unix(says_close_at_the_fifth), Server::tcp(says_close_at_the_fifth)] {
        for rate in [None, Some(2000.0)] {
            let mut generator = Generator::new(Options { rate, ..options(&server, Mode::Keep, 1) }).unwrap();
            let mut opened = 0;
            for _ in 0..4 {
                let report = generator.run(Until::Requests(25)).unwrap();
                assert_clean(&report, 25);
                assert_eq!((report.closed_idle, report.retried), (0, 0));
                opened += report.connections_opened;
            }
            // Each is opened again at once, the last too; that one may not be up before the end.
            assert!((20..=21).contains(&opened), "{opened}");
        }
    }

    fn says_close_at_the_fifth(peer: Peer) {
        let mut client = Client::new(peer);
        for number in 1.. {
            if client.request().is_none() {
                return;
            }
            client.send(&reply(if number == 5 { "Connection: close\r\n" } else { "" }, b"Hello"));
            if number == 5 {
                // It is the client that must know.
                return client.peer.wait_for_close();
            }
        }
    }
}

#[test]
fn a_reply_that_never_ends_is_a_timeout_and_the_run_goes_on() {
    for part in [
        raw("HTTP/1.1 200 OK\r\nContent-Length: 6", b"Hello"),
        raw("HTTP/1.1 200 OK", b"Hello"),
        raw(IN_CHUNKS, b"5\r\nHello\r\n0\r\n"),
        b"HTTP/1.1 200 OK\r\n".into(),
    ] {
        let server = Server::unix(move |peer: Peer| {
            if peer.number > 0 {
                return hello(peer);
            }
            let mut client = Client::new(peer);
            client.request();
            client.send(&part);
            client.peer.wait_for_close();
        });
        let timeout = Duration::from_millis(200);
        let report = run(Options { timeout, ..options(&server, Mode::Keep, 1) }, 20);
        assert_errors(&report, &[("timeout", 1)]);
        assert_eq!(report.completed, 19);
        assert_eq!(report.errors.samples, ["the reply did not end within the timeout"]);
    }
}

#[test]
fn large_bodies_go_both_ways_at_once_without_a_deadlock() {
    const BODY: usize = 4 << 20;
    // Sends each piece back as it comes, in a chunk: the client must read while it still writes.
    fn echo(peer: Peer) {
        let mut client = Client::new(peer);
        while let Some(head) = client.head() {
            let request = Request { lines: head, body: Vec::new() };
            client.send(&raw(IN_CHUNKS, b""));
            let mut left: usize = request.values("Content-Length")[0].parse().unwrap();
            while left > 0 {
                let Some(piece) = client.piece(left) else { return };
                left -= piece.len();
                let size = format!("{:x}\r\n", piece.len());
                client.send(&[size.as_bytes(), &piece, b"\r\n"].concat());
            }
            client.send(b"0\r\n\r\n");
            if request.wants_close() {
                return;
            }
        }
    }
    let body: Vec<u8> = (0..BODY).map(|at| (at / 4099) as u8).collect();
    for (mode, server) in
        [(Mode::Keep, Server::unix(echo)), (Mode::Keep, Server::tcp(echo)), (Mode::Close, Server::tcp(echo))]
    {
        let request = RequestSpec::post("/echo", body.clone()).expect_body(body.clone());
        let options = Options { requests: vec![request.into()], ..options(&server, mode, 2) };
        let report = run(options, 6);
        assert_clean(&report, 6);
        assert!(report.bytes_in > 24 << 20 && report.bytes_out > 24 << 20);
    }
}

#[test]
fn an_answer_that_comes_before_the_whole_request_is_sent_does_not_confuse_the_next() {
    let server = Server::unix(|peer| {
        let mut client = Client::new(peer);
        while let Some(head) = client.head() {
            client.send(&reply("", b"Hello"));
            let request = Request { lines: head, body: Vec::new() };
            let mut left: usize = request.values("Content-Length")[0].parse().unwrap();
            while left > 0 {
                let Some(piece) = client.piece(left) else { return };
                left -= piece.len();
            }
        }
    });
    let request = RequestSpec::post("/", vec![0; 4 << 20]).expect_body("Hello");
    let options = Options { requests: vec![request.into()], ..options(&server, Mode::Keep, 1) };
    assert_clean(&run(options, 20), 20);
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    for mode in MODES {
        let server = Server::tcp(hello);
        let options = Options { rate: Some(1000.0), ..options(&server, mode, 4) };
        let report = run(options, 200);
        assert_clean(&report, 200);
        assert_eq!(report.service.map(|service| service.len()), Some(200));
    }
}

#[test]
fn options_that_make_no_sense_in_http_are_refused_with_a_line_that_says_so() {
    let request = RequestSpec::get("/");
    let good = Options {
        protocol: Protocol::Http,
        ..Options::new("tcp:127.0.0.1:1".parse().unwrap(), request.clone())
    };
    assert_eq!(good.validate(), Ok(()));
    let multiplex = Options { mode: Mode::Multiplex, ..good.clone() };
    assert_eq!(multiplex.validate(), Err(OptionsError::HttpMultiplex));
    for (name, value) in [("REQUEST_URI", "/a b"), ("HTTP_CONNECTION", "close"), ("HTTP_X", "a\nb")] {
        let requests = vec![request.clone().into(), request.clone().param(name, value).into()];
        let options = Options { requests, ..good.clone() };
        assert_eq!(options.validate(), Err(OptionsError::HttpParameter(name.into())));
        let error = Generator::new(options.clone()).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name), "{error}");
        // In FastCGI they are bytes like others.
        assert_eq!(Options { protocol: Protocol::FastCgi, ..options }.validate(), Ok(()));
    }
}
