//! Requests that fail, and what is said on STDERR (spec 6.1).

use crate::dialogue::{Answer, CONFIG, Dialogue, abort, last_request, request};

const PAGE: &[u8] =
    b"Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n500 Internal Server Error\n";

/// The lines, and the empty record that ends the stream.
fn stderr(lines: &[&[u8]]) -> Vec<Vec<u8>> {
    lines.iter().copied().chain([&b""[..]]).map(<[u8]>::to_vec).collect()
}

#[test]
fn a_failed_request_is_a_500_and_a_line_on_stderr_and_the_connection_goes_on() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[request(1, "E"), request(2, "a")].concat());
    dialogue.settle();
    let answers = dialogue.answers();
    let failed = Answer {
        stdout: PAGE.to_vec(),
        stdout_ended: true,
        stderr: stderr(&[b"it has failed\n"]),
        end: Some((1, 0)),
    };
    assert_eq!(answers[&1], failed);
    assert_eq!(answers[&2], Answer::to("a"));
}

#[test]
fn what_the_failing_step_wrote_is_taken_back_and_what_it_said_is_not() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "LaLbE"));
    dialogue.settle();
    let answer = dialogue.answer(1);
    assert_eq!(answer.stdout, PAGE);
    assert_eq!(answer.stderr, stderr(&[b"a line\na line\nit has failed\n"]));
}

#[test]
fn a_response_that_has_begun_breaks_off() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "aFbE"));
    dialogue.settle();
    let answer = dialogue.answer(1);
    assert_eq!((&answer.stdout[..], answer.end), (&b"ab"[..], Some((1, 0))));
    assert_eq!(answer.stderr, stderr(&[b"it has failed\n"]));
}

#[test]
fn a_step_that_only_waited_has_begun_nothing() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "LWE"));
    dialogue.settle();
    dialogue.wait();
    dialogue.settle();
    let answer = dialogue.answer(1);
    assert_eq!(answer.stdout, PAGE);
    assert_eq!(answer.stderr, stderr(&[b"a line\n", b"it has failed\n"]));
}

#[test]
fn a_line_of_a_request_that_is_served_goes_before_its_end() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&last_request(1, "aLb"));
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer { stderr: stderr(&[b"a line\n"]), ..Answer::to("aLb") });
    assert!(dialogue.session.is_over());
}

#[test]
fn an_abort_ends_stderr_too() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "aLM"));
    dialogue.settle();
    dialogue.receive(&abort(1));
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer { stderr: stderr(&[b"a line\n"]), ..Answer::aborted(b"a") });
}
