//! Servers that close kept connections between requests, as php-fpm does after pm.max_requests.

use crate::command::{run, stdout};
use crate::server::{Peer, Server, reply};

/// Ends each connection after five replies; what comes after the fifth is never read.
fn after_five(mut peer: Peer) {
    for _ in 0..5 {
        let Some(request) = peer.request() else { return };
        peer.send(&reply(request.id, b"Hello"));
    }
}

/// The same, but it takes the sixth request and drops it.
fn drops_the_sixth(mut peer: Peer) {
    for _ in 0..5 {
        let Some(request) = peer.request() else { return };
        peer.send(&reply(request.id, b"Hello"));
    }
    peer.request();
}

#[test]
fn a_connection_that_is_closed_between_requests_is_counted_apart() {
    for server in [Server::unix(drops_the_sixth), Server::tcp(drops_the_sixth)] {
        let output = run(&server, &["--no-get-values", "-n", "60"]);
        let text = stdout(&output);
        assert!(
            text.contains("error closed 10") && text.contains("checked           50 of 60 good"),
            "{text}"
        );
        assert!(!text.contains("unanswered") && !text.contains("error lost"), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn with_retry_closed_it_is_sent_again_as_front_ends_do() {
    for script in [after_five, drops_the_sixth] {
        for server in [Server::unix(script), Server::tcp(script)] {
            for args in [&["-n", "60"][..], &["-n", "60", "-r", "2000"], &["-n", "60", "-c", "3"]] {
                let output = run(&server, &[&["--no-get-values", "--retry-closed"], args].concat());
                let text = stdout(&output);
                assert!(text.contains("checked           60 of 60 good"), "{args:?}: {text}");
                assert!(!text.contains("error "), "{args:?}: {text}");
            }
        }
    }
    let server = Server::unix(drops_the_sixth);
    let output = run(&server, &["--no-get-values", "--retry-closed", "-n", "60"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    // The last of the twelve connections was not tried a sixth time.
    assert!(stdout(&output).contains("11 sent again"), "{}", stdout(&output));
}

#[test]
fn several_requests_on_one_connection_are_sent_again_too() {
    let server = Server::unix(|mut peer| {
        for _ in 0..6 {
            let Some(request) = peer.request() else { return };
            peer.send(&reply(request.id, b"Hello"));
        }
    });
    let args = ["--no-get-values", "--retry-closed", "--mode", "multiplex", "--streams", "4", "-n", "100"];
    let output = run(&server, &args);
    assert!(stdout(&output).contains("checked           100 of 100 good"), "{}", stdout(&output));
}

#[test]
fn a_connection_that_never_answered_is_not_tried_again_for_ever() {
    let server = Server::unix(|mut peer| drop(peer.request()));
    let output = run(&server, &["--no-get-values", "--retry-closed", "-n", "6"]);
    let text = stdout(&output);
    assert!(text.contains("error unanswered 6"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_closes_at_once_what_was_never_used_is_not_reconnected_in_a_storm() {
    let server = Server::unix(drop);
    let output = run(&server, &["--no-get-values", "-r", "2", "-d", "1500ms", "--timeout", "200ms"]);
    assert!(server.accepted() < 200, "{} connections: {}", server.accepted(), stdout(&output));
}
