//! Requests that wait to be woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use fcgi_worker::Step;

use crate::dialogue::{Answer, CONFIG, Dialogue, Script, abort, request, waker};

/// Counts how often a connection's owner is told.
#[derive(Default)]
struct Turns(AtomicUsize);

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Turns {
    fn told(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn give_waker(dialogue: &mut Dialogue) -> Arc<Turns> {
    let turns = Arc::new(Turns::default());
    dialogue.session.set_waker(Waker::from(Arc::clone(&turns)));
    turns
}

#[test]
fn a_parked_request_goes_on_when_it_is_woken_and_not_before() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&[request(1, "aPb"), request(2, "c")].concat());
    dialogue.settle();
    assert_eq!(dialogue.answers()[&2], Answer::to("c"));
    assert!(dialogue.session.is_parked() && dialogue.session.wants_waker());
    let turns = give_waker(&mut dialogue);
    assert!(!dialogue.session.wants_waker() && !dialogue.session.has_more());
    assert_eq!(dialogue.session.deadline(), None);
    dialogue.resume();
    assert!(!dialogue.session.wants_write());

    waker().wake();
    assert_eq!(turns.told(), 1);
    assert!(dialogue.session.has_more());
    dialogue.settle();
    assert_eq!(dialogue.answer(1).stdout, b"b");
    assert!(dialogue.session.is_idle() && !dialogue.session.is_parked());
}

#[test]
fn what_was_woken_before_it_parked_goes_on_at_once() {
    let mut dialogue = Dialogue::with_steps_elsewhere(&CONFIG);
    dialogue.receive(&request(1, "Pa"));
    let mut exchange = dialogue.session.take_exchange().unwrap();
    let mut output = Vec::new();
    let step = exchange.step(&Script, &mut output, 1000);
    assert_eq!(step, Step::Park);
    waker().wake();
    dialogue.session.put_back(exchange, step, &output, dialogue.now, &mut dialogue.shared);
    assert!(dialogue.session.has_more());
    dialogue.resume();
    assert!(dialogue.session.take_exchange().is_some());
}

#[test]
fn what_was_woken_before_its_connection_had_a_waker_goes_on_at_once() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "Pa"));
    waker().wake();
    let turns = give_waker(&mut dialogue);
    assert_eq!(turns.told(), 0);
    assert!(dialogue.session.has_more());
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::to("Pa"));
}

#[test]
fn one_waker_does_for_all_requests_of_a_connection_and_for_each_time_that_they_park() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "PPa"));
    let turns = give_waker(&mut dialogue);
    dialogue.receive(&request(2, "Pb"));
    assert!(!dialogue.session.wants_waker());
    waker().wake();
    dialogue.settle();
    waker().wake();
    dialogue.settle();
    assert_eq!(dialogue.answers().keys().collect::<Vec<_>>(), [&2]);
    waker().wake();
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::to("PPa"));
    assert_eq!(turns.told(), 3);
}

#[test]
fn a_waker_that_is_called_twice_or_too_late_does_nothing_more() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "PaMb"));
    let turns = give_waker(&mut dialogue);
    let waker = waker();
    waker.wake_by_ref();
    waker.wake_by_ref();
    assert_eq!(turns.told(), 1);
    dialogue.settle();
    assert_eq!(dialogue.answer(1).stdout, b"a");
    dialogue.receive(&abort(1));
    dialogue.settle();
    waker.wake();
    assert_eq!(turns.told(), 1);
    assert!(!dialogue.session.has_more() && dialogue.session.is_idle());
}

#[test]
fn an_abort_ends_a_parked_request_and_nothing_is_left_of_it() {
    let mut dialogue = Dialogue::new(&CONFIG);
    dialogue.receive(&request(1, "aPb"));
    let turns = give_waker(&mut dialogue);
    dialogue.receive(&abort(1));
    dialogue.settle();
    assert_eq!(dialogue.answer(1), Answer::aborted(b"a"));
    waker().wake();
    assert_eq!(turns.told(), 0);
    assert_eq!(Arc::strong_count(&turns), 1, "who was to be told is not held");
    assert_eq!(dialogue.session.held_bytes(), 0);
}
