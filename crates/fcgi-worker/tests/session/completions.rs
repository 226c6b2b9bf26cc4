//! What a session offers a strategy that is told of what is done, not of what can be done: input comes when it comes, and
//! a send is in flight while the session goes on.

use crate::dialogue::{CONFIG, Dialogue, LARGE, abort, last_request, request};

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
