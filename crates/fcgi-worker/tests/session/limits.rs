//! What a peer can make a session do in one turn, and hold.

use std::mem;

use crate::dialogue::{Answer, CONFIG, Dialogue, Script, request};

use fcgi_worker::Session;

/// A peer that never pauses must not keep the others waiting.
#[test]
fn a_gigabyte_of_pipelined_requests_is_one_turn_of_64() {
    let one = request(1, "x");
    let input = one.repeat((1 << 30) / one.len());
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&input);
    drop(input);
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.counted_ends(), 64);
    assert!(dialogue.session.has_more() && !dialogue.session.wants_read());
    dialogue.resume();
    dialogue.send(usize::MAX);
    assert_eq!(dialogue.counted_ends(), 64);
}

#[test]
fn a_turn_of_responses_fills_the_output_to_its_limit_and_no_further() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&(1..=50).flat_map(|id| request(id, "B")).collect::<Vec<_>>());
    let unsent = dialogue.session.unsent().len();
    assert!((CONFIG.output_bytes..CONFIG.output_bytes + 4096).contains(&unsent), "{unsent}");
    dialogue.settle();
    let answers = dialogue.answers();
    assert_eq!(answers.len(), 50);
    assert!(answers.values().all(|answer| *answer == Answer::to("B")));
}

/// What the protocol owes is output like any other.
#[test]
fn replies_that_nobody_reads_are_bounded() {
    // A management record of an unknown type is answered by one of 16 bytes (spec 4.2); a role that is not offered, by
    // an END_REQUEST (5.5).
    let unknown_type: &[u8] = &[1, 99, 0, 0, 0, 0, 0, 0];
    let refused_role: &[u8] = &[1, 1, 0, 5, 0, 8, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0];
    let values: &[u8] = &[1, 9, 0, 0, 0, 0, 0, 0];
    for record in [unknown_type, refused_role, values] {
        let mut dialogue = Dialogue::new(&CONFIG);
        let mut received = 0;
        while dialogue.session.wants_read() {
            dialogue.receive(&record.repeat(8192));
            received += 8192 * record.len();
            assert!(received < 1 << 20, "{record:?}: read on without end");
        }
        let unsent = dialogue.session.unsent().len();
        assert!(unsent < 2 * CONFIG.output_bytes, "{record:?}: {unsent} bytes of output");
        // Once the peer reads, all of it is answered.
        let mut answered = 0;
        while dialogue.session.wants_write() || dialogue.session.has_more() {
            answered += dialogue.session.unsent().len();
            dialogue.settle_once();
        }
        assert!(answered >= received / record.len() * 8, "{record:?}: {answered} bytes for {received}");
    }
}

#[test]
fn a_response_that_is_never_all_sent_does_not_stay_in_the_buffer() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, &"B".repeat(50)));
    for _ in 0..30 {
        dialogue.send(dialogue.session.unsent().len() - 1);
        dialogue.resume();
    }
    assert!(!dialogue.session.has_room(), "it goes on");
    let held = dialogue.session.held_bytes();
    assert!(held <= 4 * CONFIG.output_bytes, "{held} bytes");
}

#[test]
fn an_idle_session_owns_no_buffer() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&(1..=60).flat_map(|id| request(id, "BW")).collect::<Vec<_>>());
    dialogue.settle();
    dialogue.wait();
    dialogue.settle();
    assert!(dialogue.session.is_idle());
    assert!(dialogue.session.unsent().is_empty());
    assert_eq!(dialogue.session.held_bytes(), 0);
    assert!(mem::size_of::<Session<Script>>() <= 512, "{}", mem::size_of::<Session<Script>>());
}
