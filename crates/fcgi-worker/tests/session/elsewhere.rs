//! Sessions whose steps run elsewhere: in threads, or in a pool behind a loop.

use fcgi_worker::{Exchange, Step};

use crate::dialogue::{Answer, CONFIG, Dialogue, Script, abort, request};

#[test]
fn requests_are_taken_out_stepped_and_put_back() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&[request(1, "aWb"), request(2, "c")].concat());
    assert!(!dialogue.session.has_more() && !dialogue.session.wants_write());
    let (first, second) = (take(&mut dialogue, 1), take(&mut dialogue, 2));
    assert!(dialogue.session.take_exchange().is_none());
    step_and_put_back(&mut dialogue, second);
    step_and_put_back(&mut dialogue, first);
    dialogue.settle();
    assert_eq!(dialogue.answers()[&2], Answer::to("c"));
    assert!(dialogue.session.take_exchange().is_none(), "it waits");
    dialogue.wait();
    let first = take(&mut dialogue, 1);
    step_and_put_back(&mut dialogue, first);
    dialogue.settle();
    assert_eq!(dialogue.answer(1).end, Answer::to("aWb").end);
    assert!(dialogue.session.is_idle());
}

#[test]
fn an_abort_ends_a_queued_request_at_once_and_a_taken_one_when_it_is_put_back() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&[request(1, "aM"), request(2, "b")].concat());
    let first = take(&mut dialogue, 1);
    dialogue.receive(&[abort(1), abort(2)].concat());
    dialogue.settle();
    assert_eq!(dialogue.answers().into_iter().collect::<Vec<_>>(), [(2, Answer::aborted(b""))]);
    assert!(!dialogue.session.is_wanted(1) && dialogue.session.take_exchange().is_none());
    step_and_put_back(&mut dialogue, first);
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::aborted(b"a"));
    assert!(dialogue.session.is_idle());
}

#[test]
fn who_keeps_an_exchange_writes_as_it_goes() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&request(1, "aWb"));
    let mut exchange = take(&mut dialogue, 1);
    let mut output = Vec::new();
    let step = exchange.step(&Script, &mut output, 1000);
    assert!(matches!(step, Step::Wait(_)));
    dialogue.session.write(1, &output, dialogue.now, &mut dialogue.shared);
    dialogue.settle();
    assert_eq!(dialogue.answer(1).stdout, b"a");
    assert_eq!(dialogue.session.deadline(), None, "whoever keeps it waits for it");
    step_and_put_back(&mut dialogue, exchange);
    dialogue.settle();
    assert_eq!(dialogue.answer(1).stdout, b"b");
}

#[test]
fn nothing_is_taken_out_while_the_output_is_at_its_limit() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&[request(1, "B"), request(2, "x")].concat());
    let first = take(&mut dialogue, 1);
    step_and_put_back(&mut dialogue, first);
    assert!(!dialogue.session.has_room() && dialogue.session.take_exchange().is_none());
    dialogue.send(usize::MAX);
    assert!(dialogue.session.take_exchange().is_some());
}

/// 503 on STDOUT, and FCGI_OVERLOADED (spec 5.5).
#[test]
fn a_request_that_nothing_is_left_to_run_is_refused_as_overloaded() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&request(1, "x"));
    let exchange = take(&mut dialogue, 1);
    dialogue.session.refuse(exchange, dialogue.now, &mut dialogue.shared);
    dialogue.settle();
    let answer = dialogue.answer(1);
    assert!(answer.stdout.starts_with(b"Status: 503 Service Unavailable\r\n"), "{answer:?}");
    assert_eq!((answer.stdout_ended, answer.end), (true, Some((0, 2))));
    assert!(dialogue.session.is_idle() && dialogue.session.wants_read(), "the connection is kept");
}

#[test]
fn what_is_put_back_after_the_end_is_gone() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&request(1, "x"));
    let exchange = take(&mut dialogue, 1);
    dialogue.session.abandon();
    assert!(!dialogue.session.is_wanted(1) && dialogue.session.is_over());
    step_and_put_back(&mut dialogue, exchange);
    assert!(!dialogue.session.wants_write());
}

fn take(dialogue: &mut Dialogue, id: u16) -> Exchange<Script> {
    let exchange = dialogue.session.take_exchange().expect("a request that is ready");
    assert_eq!(exchange.request().id(), id);
    exchange
}

fn step_and_put_back(dialogue: &mut Dialogue, mut exchange: Exchange<Script>) {
    let mut output = Vec::new();
    let step = exchange.step(&Script, &mut output, CONFIG.output_bytes);
    dialogue.session.put_back(exchange, step, &output, dialogue.now, &mut dialogue.shared);
}
