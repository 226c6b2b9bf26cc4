//! However the input is cut, in whatever order time, room and turns come, wherever steps run: each request gets the same
//! answer.

use std::collections::BTreeMap;

use fcgi_worker::{Config, Exchange};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::dialogue::{Answer, CONFIG, Dialogue, ONE_AT_A_TIME, Script, WAIT, request};

/// What happens next to a session, if it is possible.
#[derive(Clone, Copy, Debug)]
enum Event {
    Receive(usize),
    Send(usize),
    Resume,
    Pass,
    Take,
    PutBack(usize),
}

fn scripts() -> impl Strategy<Value = Vec<String>> {
    vec("[a-eWZFB]{0,8}", 1..20)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop_oneof![1..20_usize, 20..500_usize, Just(usize::MAX)].prop_map(Event::Receive),
        4 => prop_oneof![0..20_usize, 1000..100_000_usize, Just(usize::MAX)].prop_map(Event::Send),
        2 => Just(Event::Resume),
        1 => Just(Event::Pass),
        2 => Just(Event::Take),
        2 => any::<usize>().prop_map(Event::PutBack),
    ]
}

/// A session that is fed by events, and the steps that run elsewhere meanwhile.
struct Run {
    dialogue: Dialogue,
    input: Vec<u8>,
    taken: Vec<Exchange<Script>>,
    output_bytes: usize,
}

impl Run {
    /// Whether it was possible.
    fn happen(&mut self, event: Event) -> bool {
        let session = &self.dialogue.session;
        match event {
            Event::Receive(most) if session.wants_read() && !self.input.is_empty() => {
                let piece: Vec<u8> = self.input.drain(..most.min(self.input.len())).collect();
                self.dialogue.receive(&piece);
            }
            Event::Send(most) if session.wants_write() => self.dialogue.send(most),
            Event::Resume if session.has_more() => self.dialogue.resume(),
            Event::Pass if session.deadline().is_some() => {
                self.dialogue.pass(WAIT / 3);
                self.dialogue.resume();
            }
            Event::Take => match self.dialogue.session.take_exchange() {
                Some(exchange) => self.taken.push(exchange),
                None => return false,
            },
            Event::PutBack(number) if !self.taken.is_empty() => {
                let mut exchange = self.taken.swap_remove(number % self.taken.len());
                let mut output = Vec::new();
                let step = exchange.step(&Script, &mut output, self.output_bytes);
                let Dialogue { session, shared, now, .. } = &mut self.dialogue;
                session.put_back(exchange, step, &output, *now, shared);
            }
            _ => return false,
        }
        true
    }

    /// Until nothing is possible any more.
    fn finish(&mut self) {
        let all = [
            Event::Receive(usize::MAX),
            Event::Send(usize::MAX),
            Event::Resume,
            Event::Take,
            Event::PutBack(0),
            Event::Pass,
        ];
        while all.iter().any(|event| self.happen(*event)) {}
    }
}

fn check(
    config: &Config,
    elsewhere: bool,
    scripts: &[String],
    events: &[Event],
) -> Result<(), TestCaseError> {
    let dialogue = if elsewhere { Dialogue::with_steps_elsewhere(config) } else { Dialogue::new(config) };
    let requests = scripts.iter().zip(1..).flat_map(|(script, id)| request(id, script));
    let mut run =
        Run { dialogue, input: requests.collect(), taken: Vec::new(), output_bytes: config.output_bytes };
    for event in events {
        run.happen(*event);
    }
    run.finish();
    let expected: BTreeMap<u16, Answer> =
        (1..).zip(scripts).map(|(id, script)| (id, Answer::to(script))).collect();
    let answers = run.dialogue.answers();
    for (id, answer) in &expected {
        let got = answers.get(id).cloned().unwrap_or_default();
        prop_assert_eq!((got.stdout.len(), got.end), (answer.stdout.len(), answer.end), "request {}", id);
        prop_assert!(got == *answer, "request {}: other bytes", id);
    }
    prop_assert_eq!(answers.len(), expected.len());
    prop_assert!(run.dialogue.session.is_idle() && run.dialogue.session.wants_read());
    prop_assert_eq!(run.dialogue.session.held_bytes(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn many_requests_at_a_time(scripts in scripts(), events in vec(event(), 0..200)) {
        check(&CONFIG, false, &scripts, &events)?;
    }

    #[test]
    fn one_request_at_a_time(scripts in scripts(), events in vec(event(), 0..200)) {
        check(&ONE_AT_A_TIME, false, &scripts, &events)?;
    }

    #[test]
    fn steps_that_run_elsewhere(scripts in scripts(), events in vec(event(), 0..200)) {
        check(&CONFIG, true, &scripts, &events)?;
    }
}
