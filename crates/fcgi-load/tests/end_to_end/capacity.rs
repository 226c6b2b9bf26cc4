//! `FCGI_GET_VALUES`, asked of servers that answer and of servers that do not.

use std::time::Duration;

use fcgi_load::{Capacity, capacity};

use crate::server::{Server, record};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_server_is_asked_for_its_three_values_and_believed() {
    let server = Server::tcp(|mut peer| {
        let (kind, id, content) = peer.record().unwrap();
        assert_eq!((kind, id), (9, 0));
        assert_eq!(content, b"\x0e\0FCGI_MAX_CONNS\x0d\0FCGI_MAX_REQS\x0f\0FCGI_MPXS_CONNS");
        let pairs = b"\x0f\x01FCGI_MPXS_CONNS1\x0e\x02FCGI_MAX_CONNS16\x0d\x03FCGI_MAX_REQS128";
        for byte in record(10, 0, pairs, 5) {
            peer.send(&[byte]);
        }
        peer.wait_for_close();
    });
    let expected = Capacity { connections: Some(16), requests: Some(128), multiplexes: Some(true) };
    assert_eq!(capacity(&server.address, PATIENCE).unwrap(), expected);
}

#[test]
fn a_server_that_closes_answers_something_else_or_nothing_has_said_nothing() {
    let closes = Server::unix(|mut peer| drop(peer.record()));
    let breaks_off = Server::unix(|mut peer| {
        peer.record();
        peer.send(&record(10, 0, b"\x0e\x02FCGI_MAX_CONNS16", 0)[..20]);
    });
    let does_not_know = Server::unix(|mut peer| {
        peer.record();
        peer.send(&record(11, 0, &[9, 0, 0, 0, 0, 0, 0, 0], 0));
        peer.wait_for_close();
    });
    let speaks_smtp = Server::unix(|mut peer| peer.send(b"220 mail.example.org ESMTP\r\n"));
    for server in [closes, breaks_off, does_not_know, speaks_smtp] {
        assert_eq!(capacity(&server.address, PATIENCE).unwrap(), Capacity::default());
    }
    let silent = Server::unix(|mut peer| peer.wait_for_close());
    assert_eq!(capacity(&silent.address, Duration::from_millis(50)).unwrap(), Capacity::default());
}

#[test]
fn an_http_server_is_an_error_that_names_it() {
    let server = Server::unix(|mut peer| peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let error = capacity(&server.address, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("an HTTP server"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let error = capacity(&"unix:/nonexistent".parse().unwrap(), PATIENCE).unwrap_err();
    assert!(error.to_string().contains("unix:/nonexistent"), "{error}");
}
