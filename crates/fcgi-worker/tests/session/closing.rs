//! How a connection ends: by its peer, by its last request, by a drain, by an error.

use std::time::Duration;

use crate::dialogue::{Answer, CONFIG, Dialogue, ONE_AT_A_TIME, end_of_stdin, head, last_request, request};

#[test]
fn the_last_request_ends_the_connection_once_its_answer_is_sent() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&last_request(1, "bye"));
    assert!(!dialogue.session.is_over());
    dialogue.settle();
    assert!(dialogue.session.is_over() && !dialogue.shuts_write());
    assert_eq!(dialogue.answer(1), Answer::to("bye"));
}

/// npm's fastcgi-client does so. To close at once would reset the connection, and it would lose the answer.
#[test]
fn bytes_behind_the_last_request_make_the_close_linger() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[last_request(1, "bye"), end_of_stdin(1)].concat());
    assert!(!dialogue.shuts_write(), "not before the answer is sent");
    dialogue.settle();
    assert!(dialogue.shuts_write() && !dialogue.shuts_write(), "once");
    assert!(dialogue.session.wants_read() && !dialogue.session.is_over());
    dialogue.receive(b"whatever comes is thrown away");
    dialogue.end_input();
    assert!(dialogue.session.is_over());
}

#[test]
fn a_lingering_close_ends_after_half_a_second() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[last_request(1, "bye"), end_of_stdin(1)].concat());
    dialogue.settle();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.session.deadline(), Some(dialogue.now + Duration::from_millis(500)));
    dialogue.resume();
    assert!(!dialogue.session.is_over(), "not yet");
    dialogue.wait();
    assert!(dialogue.session.is_over());
}

#[test]
fn a_peer_that_never_stops_sending_does_not_put_the_end_of_a_lingering_close_off() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[last_request(1, "bye"), end_of_stdin(1)].concat());
    dialogue.settle();
    assert!(dialogue.shuts_write());
    for _ in 0..4 {
        assert!(!dialogue.session.is_over());
        dialogue.pass(Duration::from_millis(125));
        dialogue.receive(&[0; 1000]);
    }
    assert!(dialogue.session.is_over());
}

#[test]
fn a_read_so_long_that_more_may_be_left_makes_the_close_linger() {
    let mut dialogue = Dialogue::new(&CONFIG);
    // An unknown management record of 40,000 bytes before the request.
    let long = [[1, 99, 0, 0, 0x9c, 0x40, 0, 0].as_slice(), &[0; 40_000], &last_request(1, "bye")].concat();
    dialogue.receive(&long);
    dialogue.settle();
    assert!(dialogue.shuts_write());
}

#[test]
fn an_end_of_input_aborts_nothing_that_was_complete() {
    for config in [CONFIG, ONE_AT_A_TIME] {
        for (requests, flags) in [(request(1, "aWBc"), "kept"), (last_request(1, "aWBc"), "last")] {
            let mut dialogue = Dialogue::new(&config);
            dialogue.receive(&requests);
            dialogue.end_input();
            dialogue.settle();
            assert!(!dialogue.session.wants_read() && !dialogue.session.is_over(), "{flags}");
            dialogue.wait();
            dialogue.settle();
            assert_eq!(dialogue.answer(1), Answer::to("aWBc"), "{flags}");
            assert!(dialogue.session.is_over(), "{flags}");
        }
    }
}

#[test]
fn an_end_of_input_ends_a_request_that_is_not_complete() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&head(1, "x", 1));
    dialogue.end_input();
    assert!(dialogue.session.is_over());
}

/// Only a write tells whether a peer that has ended its input is still there.
#[test]
fn a_peer_that_has_ended_its_input_is_probed_while_a_request_waits() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "M"));
    assert!(!dialogue.session.wants_write());
    dialogue.end_input();
    assert!(dialogue.session.wants_write() && dialogue.session.unsent().is_empty(), "at once");
    dialogue.send(0);
    assert!(!dialogue.session.wants_write());
    assert_eq!(dialogue.session.deadline(), Some(dialogue.now + Duration::from_millis(500)));
    dialogue.wait();
    assert!(dialogue.session.wants_write() && dialogue.session.unsent().is_empty(), "again");
}

#[test]
fn a_drain_closes_an_idle_connection_when_nothing_waits_to_be_read() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.find_nothing_to_read();
    assert!(!dialogue.shuts_write(), "not without a drain");
    dialogue.session.drain();
    assert!(!dialogue.shuts_write() && dialogue.session.wants_read(), "something may have come");
    dialogue.receive(&request(1, "x"));
    dialogue.find_nothing_to_read();
    assert!(!dialogue.shuts_write(), "not before the answer is sent");
    dialogue.settle();
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.answer(1), Answer::to("x"));
    dialogue.end_input();
    assert!(dialogue.session.is_over());
}

#[test]
fn a_drain_gives_a_new_connection_time_for_its_request() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.session.drain();
    dialogue.find_nothing_to_read();
    assert!(!dialogue.shuts_write() && dialogue.session.wants_read());
    assert!(!dialogue.session.wants_last_read(), "to read at once again would be to spin");
    dialogue.pass(Duration::from_millis(50));
    // FCGI_GET_VALUES without a name (spec 4.1): a front end may ask first.
    dialogue.receive(&[1, 9, 0, 0, 0, 0, 0, 0]);
    dialogue.settle();
    dialogue.receive(&request(1, "x"));
    dialogue.settle();
    assert!(dialogue.session.wants_last_read());
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.answer(1), Answer::to("x"));
}

#[test]
fn a_drain_does_not_wait_long_for_a_connection_that_brings_nothing() {
    let mut dialogue = Dialogue::draining(&CONFIG);
    dialogue.find_nothing_to_read();
    let begun = dialogue.now;
    dialogue.wait();
    assert_eq!(dialogue.now - begun, Duration::from_millis(100));
    assert!(dialogue.session.wants_last_read(), "something may have come in this moment");
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
}

#[test]
fn a_drain_lets_requests_finish() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[request(1, "W"), head(2, "late", 1)].concat());
    dialogue.session.drain();
    dialogue.find_nothing_to_read();
    dialogue.wait();
    dialogue.settle();
    dialogue.find_nothing_to_read();
    assert!(!dialogue.shuts_write(), "the second one is still coming");
    dialogue.receive(&end_of_stdin(2));
    dialogue.settle();
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.answer(2), Answer::to("late"));
}

#[test]
fn a_drained_session_is_to_be_read_once_more_when_its_last_request_has_ended() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "Wx"));
    dialogue.session.drain();
    assert!(!dialogue.session.wants_last_read(), "its request is served to its end");
    dialogue.wait();
    assert!(!dialogue.session.wants_last_read(), "the answer is sent first");
    dialogue.settle();
    assert!(dialogue.session.wants_last_read());
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
    assert!(!dialogue.session.wants_last_read(), "it lingers: what comes is waited for");
}

#[test]
fn a_session_that_begins_in_a_drain_is_served_and_closed() {
    let mut dialogue = Dialogue::draining(&CONFIG);
    dialogue.receive(&request(1, "x"));
    dialogue.settle();
    dialogue.find_nothing_to_read();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.answer(1), Answer::to("x"));
}

/// Version 9 (spec 3.3): nothing behind it can be understood.
#[test]
fn a_violation_of_the_protocol_takes_no_answer_that_was_made_before() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[request(1, "aW"), request(2, "B"), vec![9; 8], request(3, "never")].concat());
    dialogue.settle();
    assert!(!dialogue.session.wants_read() && !dialogue.shuts_write());
    assert_eq!(dialogue.answers().into_iter().collect::<Vec<_>>()[1..], [(2, Answer::to("B"))]);
    dialogue.wait();
    dialogue.settle();
    assert_eq!(dialogue.answer(1).end, Answer::to("aW").end);
    assert!(dialogue.shuts_write());
    dialogue.end_input();
    assert!(dialogue.session.is_over());
}

#[test]
fn a_peer_whose_input_is_refused_is_probed_while_its_requests_wait() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[request(1, "M"), vec![9; 8]].concat());
    assert!(dialogue.session.wants_write() && dialogue.session.unsent().is_empty());
    dialogue.send(0);
    assert!(!dialogue.session.wants_write());
    dialogue.wait();
    assert!(dialogue.session.wants_write() && dialogue.session.unsent().is_empty());
}
