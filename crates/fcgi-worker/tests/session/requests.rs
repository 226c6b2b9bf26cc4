//! What a request is answered, and when.

use crate::dialogue::{Answer, CONFIG, Dialogue, LARGE, ONE_AT_A_TIME, abort, request};

#[test]
fn a_request_is_answered_in_the_turn_that_receives_it() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "hello"));
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.answer(1), Answer::to("hello"));
    assert!(dialogue.session.is_idle() && dialogue.session.wants_read() && !dialogue.session.is_over());
}

#[test]
fn a_request_that_waits_goes_on_at_its_deadline_and_lets_others_pass() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "aWb"));
    dialogue.receive(&request(2, "c"));
    dialogue.settle();
    let answers = dialogue.answers();
    assert_eq!(answers[&1].stdout, b"a");
    assert_eq!(answers[&2], Answer::to("c"));
    dialogue.wait();
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer { stdout: b"b".to_vec(), ..Answer::to("aWb") });
}

#[test]
fn a_wait_without_end_is_no_overflow() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "M"));
    dialogue.settle();
    assert!(dialogue.session.deadline().is_some_and(|deadline| deadline > dialogue.now));
    dialogue.receive(&abort(1));
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::aborted(b""));
}

#[test]
fn an_abort_ends_a_waiting_request_once_and_frees_its_id() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(7, "xW"));
    dialogue.receive(&abort(7));
    dialogue.receive(&abort(7));
    dialogue.settle();
    assert_eq!(dialogue.answer(7), Answer::aborted(b"x"));
    dialogue.receive(&request(7, "again"));
    dialogue.settle();
    assert_eq!(dialogue.answer(7), Answer::to("again"));
}

#[test]
fn an_abort_that_came_before_the_room_for_more_output_is_seen_first() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "BBBB"));
    assert!(!dialogue.session.wants_read(), "the output is at its limit");
    dialogue.send(usize::MAX);
    dialogue.receive(&abort(1));
    dialogue.settle();
    let answer = dialogue.answer(1);
    assert_eq!(answer.end, Some((1, 0)));
    assert!(answer.stdout.len() < LARGE, "it went on for {} bytes", answer.stdout.len());
}

#[test]
fn long_answers_of_one_connection_come_in_turn() {
    let mut dialogue = Dialogue::new(&CONFIG);
    for id in 1..=3 {
        dialogue.receive(&request(id, "BBBB"));
        dialogue.send(usize::MAX);
    }
    for _ in 0..6 {
        dialogue.resume();
        dialogue.send(usize::MAX);
    }
    let lengths: Vec<_> = dialogue.answers().values().map(|answer| answer.stdout.len()).collect();
    assert_eq!(lengths.len(), 3);
    assert!(lengths.iter().all(|length| *length > 100_000), "{lengths:?}");
    dialogue.settle();
}

/// They wait in the input, and none is refused: a peer may send them one after the other.
#[test]
fn where_one_is_served_at_a_time_the_next_request_waits() {
    let mut dialogue = Dialogue::new(&ONE_AT_A_TIME);
    dialogue.receive(&[request(1, "aW"), request(2, "bW"), request(3, "c")].concat());
    dialogue.settle();
    assert!(!dialogue.session.wants_read());
    assert_eq!(dialogue.answers().keys().copied().collect::<Vec<_>>(), [1]);
    dialogue.wait();
    dialogue.settle();
    dialogue.wait();
    dialogue.settle();
    let answers = dialogue.answers();
    assert_eq!(answers[&2], Answer::to("bW"));
    assert_eq!(answers[&3], Answer::to("c"));
    assert!(dialogue.session.wants_read());
}
