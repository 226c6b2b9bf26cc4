//! How long a peer may keep a connection waiting.

use std::time::Duration;

use fcgi_worker::{Config, Timeouts};

use crate::dialogue::{Answer, CONFIG, Dialogue, ONE_AT_A_TIME, end_of_stdin, head, request};

const SECOND: Duration = Duration::from_secs(1);

const IDLE: Config = Config { timeouts: Timeouts { idle: Some(SECOND), ..Timeouts::NONE }, ..CONFIG };
const RECEIVE: Config = Config { timeouts: Timeouts { receive: Some(SECOND), ..Timeouts::NONE }, ..CONFIG };
const REQUEST: Config = Config { timeouts: Timeouts { request: Some(SECOND), ..Timeouts::NONE }, ..CONFIG };

#[test]
fn without_timeouts_an_idle_session_has_no_deadline() {
    assert_eq!(Dialogue::new(&CONFIG).session.deadline(), None);
}

#[test]
fn an_idle_connection_is_closed_after_its_last_answer() {
    let mut dialogue = Dialogue::new(&IDLE);
    assert_eq!(dialogue.session.deadline(), Some(dialogue.now + SECOND));
    dialogue.pass(SECOND / 2);
    dialogue.receive(&request(1, "x"));
    dialogue.settle();
    assert_eq!(dialogue.session.deadline(), Some(dialogue.now + SECOND));
    dialogue.pass(SECOND / 2);
    dialogue.resume();
    assert!(!dialogue.shuts_write());
    dialogue.wait();
    assert!(dialogue.shuts_write());
    assert_eq!(dialogue.answer(1), Answer::to("x"));
}

#[test]
fn a_connection_with_a_request_in_flight_or_half_received_is_not_idle() {
    let mut dialogue = Dialogue::new(&IDLE);
    dialogue.receive(&request(1, "M"));
    dialogue.pass(SECOND * 2);
    dialogue.resume();
    assert!(!dialogue.shuts_write());

    let mut dialogue = Dialogue::new(&IDLE);
    dialogue.receive(&[1, 1, 0]);
    dialogue.pass(SECOND * 2);
    dialogue.resume();
    assert!(!dialogue.shuts_write());
}

#[test]
fn a_request_that_does_not_come_to_its_end_ends_the_input_and_not_those_that_were_complete() {
    let mut dialogue = Dialogue::new(&RECEIVE);
    dialogue.receive(&[request(1, "aM"), head(2, "x", 1)].concat());
    dialogue.settle();
    let begun = dialogue.now;
    dialogue.pass(SECOND / 2);
    dialogue.receive(&[1, 5, 0, 2, 0, 4, 0, 0, b'h', b'a']);
    assert_eq!(dialogue.session.deadline(), Some(begun + SECOND), "a trickle does not put it off");
    dialogue.wait();
    assert!(!dialogue.session.wants_read() && !dialogue.shuts_write(), "the first one is served");
    dialogue.receive(&end_of_stdin(2));
    dialogue.settle();
    assert!(!dialogue.answers().contains_key(&2));

    let mut dialogue = Dialogue::new(&RECEIVE);
    dialogue.receive(&head(2, "x", 1));
    dialogue.wait();
    assert!(dialogue.shuts_write());
}

#[test]
fn each_request_has_its_own_time_to_come() {
    let mut dialogue = Dialogue::new(&RECEIVE);
    for id in 1..=5 {
        dialogue.receive(&head(id, "x", 1));
        dialogue.pass(SECOND * 3 / 4);
        dialogue.resume();
        dialogue.receive(&[head(id + 100, "y", 1), end_of_stdin(id)].concat());
        dialogue.pass(SECOND / 2);
        dialogue.resume();
        dialogue.receive(&end_of_stdin(id + 100));
        dialogue.settle();
        assert!(dialogue.session.wants_read());
    }
    assert_eq!(dialogue.answers().len(), 10);
}

/// The peer cannot help it: nobody reads.
#[test]
fn time_in_which_nothing_was_read_does_not_count_as_the_peers() {
    let config = Config { timeouts: RECEIVE.timeouts, ..ONE_AT_A_TIME };
    let mut dialogue = Dialogue::new(&config);
    dialogue.receive(&[request(1, "M"), head(2, "x", 1)].concat());
    dialogue.pass(SECOND * 5);
    dialogue.resume();
    assert!(!dialogue.session.is_over() && !dialogue.shuts_write());
}

#[test]
fn a_request_that_is_served_for_too_long_is_ended_as_by_an_abort() {
    let mut dialogue = Dialogue::new(&REQUEST);
    dialogue.receive(&request(1, "aM"));
    dialogue.pass(SECOND / 2);
    dialogue.receive(&request(2, "bM"));
    dialogue.settle();
    dialogue.pass(SECOND / 2);
    dialogue.resume();
    dialogue.settle();
    let answers = dialogue.answers();
    assert_eq!((&answers[&1], answers[&2].end), (&Answer::aborted(b"a"), None));
    assert!(dialogue.session.wants_read(), "the connection goes on");
}

#[test]
fn a_peer_that_never_pauses_is_held_to_the_timeouts_too() {
    let mut dialogue = Dialogue::new(&REQUEST);
    dialogue.receive(&request(1, "aM"));
    dialogue.settle();
    dialogue.pass(SECOND);
    // The first bytes of a record.
    dialogue.receive(&[1, 99]);
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::aborted(b"a"));
}

#[test]
fn a_peer_that_takes_no_output_for_too_long_loses_its_connection() {
    let mut dialogue = Dialogue::new(&REQUEST);
    dialogue.receive(&request(1, "BBB"));
    dialogue.pass(SECOND / 2);
    dialogue.send(1);
    assert_eq!(dialogue.session.deadline(), Some(dialogue.now + SECOND / 2), "the request's own time");
    dialogue.wait();
    assert!(!dialogue.session.is_over(), "the peer has taken some of it half a second ago");
    dialogue.wait();
    assert!(dialogue.session.is_over());
}
