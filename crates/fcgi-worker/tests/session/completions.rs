//! What a session offers a strategy that is told of what is done, not of what can be done: input comes when it comes, and
//! a send is in flight while the session goes on.

use std::io::ErrorKind;
use std::time::Duration;

use fcgi_worker::{Config, Timeouts};

use crate::dialogue::{Answer, CONFIG, Dialogue, LARGE, abort, last_request, request};

#[test]
fn input_that_is_kept_is_served_by_the_next_turn() {
    let mut dialogue = Dialogue::new(&CONFIG);
    let one = request(1, "x");
    dialogue.receive(&one);
    for _ in 0..2 {
        dialogue.session.keep(&one, dialogue.now, &mut dialogue.shared);
    }
    assert!(dialogue.session.has_more() && !dialogue.session.takes_input());
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.counted_ends(), 1);
    dialogue.resume();
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.counted_ends(), 2);
    assert!(!dialogue.session.has_more() && dialogue.session.takes_input());
}

#[test]
fn nothing_is_kept_of_what_is_thrown_away() {
    let mut dialogue = Dialogue::new(&CONFIG);
    // A record of version 2 (spec 3.3) breaks the protocol.
    dialogue.receive(&[2; 64]);
    dialogue.session.keep(&request(1, "x"), dialogue.now, &mut dialogue.shared);
    assert!(!dialogue.session.has_more() && !dialogue.session.takes_input());
    dialogue.resume();
    assert!(!dialogue.session.wants_write());
}

#[test]
fn input_that_came_while_there_was_no_room_comes_before_the_output() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "B"));
    let sending = dialogue.session.take_unsent();
    assert!(!dialogue.session.wants_read() && dialogue.session.takes_input(), "the abort is to be heard");
    dialogue.receive(&abort(1));
    assert!(!dialogue.session.takes_input(), "one piece of input at a time waits for room");
    assert!(dialogue.session.unsent().is_empty(), "there is no room yet");
    dialogue.session.sent(sending.len(), dialogue.now, &mut dialogue.shared);
    dialogue.resume();
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.answer(1).stdout.len(), 0, "nothing of the answer is behind the abort");
    assert!(sending.len() < LARGE && dialogue.session.takes_input());
}

#[test]
fn a_session_rests_once_its_output_is_sent_if_nothing_follows_from_that() {
    let rests = |input: &[u8], drains: bool| {
        let mut dialogue = Dialogue::new(&CONFIG);
        dialogue.receive(input);
        if drains {
            dialogue.session.drain();
        }
        let sending = dialogue.session.take_unsent();
        let rests = dialogue.session.rests_once_sent();
        dialogue.session.sent(sending.len(), dialogue.now, &mut dialogue.shared);
        assert!(!rests || !dialogue.session.has_more() && !dialogue.session.is_over());
        rests
    };
    assert!(rests(&request(1, "x"), false));
    assert!(rests(&request(1, "xW"), false), "the deadline is what it waits for");
    assert!(!rests(&last_request(1, "x"), false), "the connection is to be closed (spec 5.1)");
    assert!(!rests(&request(1, "B"), false), "the rest of the answer is to be made");
    assert!(!rests(&request(1, "x").repeat(65), false), "there is more input than one turn serves");
    assert!(!rests(&request(1, "x"), true), "the connection is to be closed");
}

#[test]
fn while_output_is_taken_out_nobody_else_is_to_write_any_and_what_is_left_of_it_comes_first() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "xW"));
    let unsent = dialogue.session.take_unsent();
    dialogue.wait();
    assert!(!dialogue.session.wants_write(), "the request's end is behind what is taken out");
    assert!(!dialogue.put_back_unsent(unsent, Ok(5)), "there was room all the time");
    let rest = dialogue.session.unsent();
    // What is left of the record with the answer (spec 3.3), and the end of the request at the end.
    assert_eq!(
        (rest[..3].to_vec(), &rest[rest.len() - 16..][..8]),
        (vec![1, 7, 0], &[1, 3, 0, 1, 0, 8, 0, 0][..])
    );
    assert!(dialogue.session.wants_write());
    let unsent = dialogue.session.take_unsent();
    let length = unsent.len();
    dialogue.put_back_unsent(unsent, Ok(length));
    assert!(!dialogue.session.wants_write() && dialogue.session.is_idle());
    assert_eq!(dialogue.session.held_bytes(), 0);
}

#[test]
fn output_that_a_full_transport_has_not_taken_is_put_back_whole() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "x"));
    for error in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        let unsent = dialogue.session.take_unsent();
        dialogue.put_back_unsent(unsent, Err(error.into()));
        assert!(dialogue.session.wants_write() && !dialogue.session.is_over());
    }
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.answer(1), Answer::to("x"));
}

#[test]
fn a_write_that_the_transport_did_not_take_puts_no_timeout_off() {
    let timeouts = Timeouts { request: Some(Duration::from_secs(1)), ..Timeouts::NONE };
    let mut dialogue = Dialogue::new(&Config { timeouts, ..CONFIG });
    dialogue.receive(&request(1, "x"));
    let deadline = dialogue.session.deadline();
    let unsent = dialogue.session.take_unsent();
    dialogue.pass(Duration::from_millis(500));
    dialogue.put_back_unsent(unsent, Err(ErrorKind::WouldBlock.into()));
    assert_eq!(dialogue.session.deadline(), deadline);
    dialogue.wait();
    assert!(dialogue.session.is_over());
}

#[test]
fn who_puts_output_back_learns_that_there_is_room_again() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "B"));
    assert!(!dialogue.session.has_room());
    let unsent = dialogue.session.take_unsent();
    assert!(!dialogue.session.has_room(), "it counts until it is sent");
    assert!(!dialogue.put_back_unsent(unsent, Ok(0)));
    let unsent = dialogue.session.take_unsent();
    assert!(dialogue.put_back_unsent(unsent, Ok(10_000)));
    assert!(dialogue.session.has_room());
}

#[test]
fn a_write_that_fails_is_the_end_and_so_is_what_came_to_an_end_during_a_write() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "xM"));
    let unsent = dialogue.session.take_unsent();
    dialogue.put_back_unsent(unsent, Err(ErrorKind::BrokenPipe.into()));
    assert!(dialogue.session.is_over() && !dialogue.session.wants_write());

    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "xM"));
    let unsent = dialogue.session.take_unsent();
    dialogue.session.abandon();
    dialogue.put_back_unsent(unsent, Ok(3));
    assert!(dialogue.session.is_over() && !dialogue.session.wants_write());
    assert_eq!(dialogue.session.deadline(), None);
}
