//! A dialogue between a peer and a connection, and its application: what a vector consists of.

use std::collections::VecDeque;

use fcgi_proto::{
    AppStatus, Connection, Event, Limits, OwnedRequest, ProtocolError, ProtocolStatus, Request, RequestId,
    Spares, Values, response,
};

/// Defines tests, each a dialogue under its name: `name => [steps];`, or `name with SETUP => [steps];`.
macro_rules! vectors {
    ($($(#[$meta:meta])* $name:ident $(with $setup:expr)? => [$($step:expr),* $(,)?];)*) => {$(
        #[test]
        $(#[$meta])*
        fn $name() {
            #[allow(unused_mut, unused_assignments, reason = "only some vectors say `with`")]
            let mut setup = $crate::dialogue::SETUP;
            $(setup = $setup;)?
            $crate::dialogue::check(setup, &[$($step),*]);
        }
    )*};
}
pub(crate) use vectors;

/// What the connection under test is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) values: Values,
}

pub(crate) const SETUP: Setup = Setup {
    limits: Limits { params_bytes: 64 << 10, body_bytes: 8 << 20, connection_bytes: 32 << 20, requests: 128 },
    values: Values { connections: 7, requests: 350, multiplexes: true },
};

/// A turn of the dialogue. All that the peer sends up to the next other step is cut as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// The peer sends this.
    Peer(&'a [u8]),
    /// A request is handed over: its id, its parameters in order, its body. The application keeps it.
    Serve(RequestId, &'a [(&'a [u8], &'a [u8])], &'a [u8]),
    /// The application is told to end this request.
    Abort(RequestId),
    /// The application ends this request with this status, and gives it back.
    End(RequestId, u32),
    /// This, and no less, stands in the output next.
    Reply(&'a [u8]),
    /// This is true of the request that the application holds.
    Holds(RequestId, fn(Request<'_>) -> bool),
    /// This is true of the connection.
    Is(fn(&Connection) -> bool),
    /// This is not true of the connection.
    Not(fn(&Connection) -> bool),
    /// The connection has failed.
    Fails(ProtocolError),
}

/// Runs the dialogue once for every way to cut its input into reads.
pub(crate) fn check(setup: Setup, steps: &[Step<'_>]) {
    let longest = steps.split(|step| !matches!(step, Step::Peer(_))).map(input_bytes).max().unwrap_or(0);
    for cut in cuts(longest) {
        // Only shown where the test fails.
        println!("{cut:?}");
        run(setup, steps, cut);
    }
}

/// Runs the dialogue once, its input not cut: for those that are made in great numbers.
pub(crate) fn check_whole(setup: Setup, steps: &[Step<'_>]) {
    run(setup, steps, Cut::Whole);
}

fn input_bytes(steps: &[Step<'_>]) -> usize {
    steps.iter().map(|step| if let Step::Peer(bytes) = step { bytes.len() } else { 0 }).sum()
}

/// How input is cut into reads.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    /// A first read of so many bytes, and the rest.
    InTwo(usize),
    /// Reads of so many bytes.
    Every(usize),
    /// Reads of random lengths, from this seed.
    Random(u64),
}

fn cuts(longest: usize) -> Vec<Cut> {
    // Miri is some hundred times slower.
    if cfg!(miri) {
        return if longest <= 1024 { vec![Cut::Whole, Cut::Every(1)] } else { vec![Cut::Whole] };
    }
    let mut cuts = vec![Cut::Whole, Cut::Every(1)];
    cuts.extend([2, 3, 7, 8, 9].map(Cut::Every));
    cuts.extend((1..=16).map(Cut::Random));
    if longest <= 1024 {
        cuts.extend((1..longest).map(Cut::InTwo));
    }
    cuts
}

fn run(setup: Setup, steps: &[Step<'_>], cut: Cut) {
    let mut side = Side::new(setup, cut);
    let mut input = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if let Step::Peer(bytes) = step {
            if input.is_empty() {
                side.assert_nothing_unsaid(at);
            }
            input.extend_from_slice(bytes);
            continue;
        }
        side.read(&std::mem::take(&mut input));
        side.step(at, step);
    }
    side.read(&input);
    side.assert_nothing_unsaid(steps.len());
}

/// The connection's side of the dialogue.
struct Side {
    connection: Connection,
    spares: Spares,
    cut: Cut,
    /// Output that no step has named yet.
    out: Vec<u8>,
    /// Events that no step has named yet.
    events: VecDeque<Event>,
    held: Vec<OwnedRequest>,
    error: Option<ProtocolError>,
}

impl Side {
    fn new(setup: Setup, cut: Cut) -> Self {
        Self {
            connection: Connection::new(setup.limits, setup.values),
            spares: Spares::new(),
            cut,
            out: Vec::new(),
            events: VecDeque::new(),
            held: Vec::new(),
            error: None,
        }
    }

    fn step(&mut self, at: usize, step: &Step<'_>) {
        match *step {
            Step::Peer(_) => {}
            Step::Serve(id, params, body) => match self.events.pop_front() {
                Some(Event::Request(request)) => {
                    let seen = request.as_request();
                    assert_eq!(request.id(), id, "step {at}: the id");
                    assert_eq!(seen.params().iter().collect::<Vec<_>>(), params, "step {at}: the parameters");
                    assert!(seen.body() == body, "step {at}: a body of {} bytes", seen.body().len());
                    self.held.push(request);
                }
                other => panic!("step {at}: {other:?}, where request {id} should come"),
            },
            Step::Abort(id) => match self.events.pop_front() {
                Some(Event::Abort(aborted)) => assert_eq!(aborted, id, "step {at}"),
                other => panic!("step {at}: {other:?}, where request {id} should be aborted"),
            },
            Step::End(id, status) => {
                let held = self.held.iter().position(|request| request.id() == id).expect("a held request");
                let request = self.held.remove(held);
                response::end(&mut self.out, id, AppStatus(status), ProtocolStatus::RequestComplete);
                self.connection.recycle(request, &mut self.spares);
            }
            Step::Reply(bytes) => {
                let reply = self.out.drain(..bytes.len().min(self.out.len())).collect::<Vec<_>>();
                assert_eq!(reply.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "step {at}");
            }
            Step::Holds(id, predicate) => {
                let request = self.held.iter().find(|request| request.id() == id).expect("a held request");
                assert!(predicate(request.as_request()), "step {at}: of request {id}");
            }
            Step::Is(predicate) => assert!(predicate(&self.connection), "step {at}"),
            Step::Not(predicate) => assert!(!predicate(&self.connection), "step {at}"),
            Step::Fails(error) => assert_eq!(self.error.take(), Some(error), "step {at}"),
        }
    }

    fn assert_nothing_unsaid(&self, at: usize) {
        assert!(self.events.is_empty(), "before step {at}: {:?}", self.events);
        assert!(self.out.is_empty(), "before step {at}: {}", self.out.escape_ascii());
        assert_eq!(self.error, None, "before step {at}");
    }

    fn read(&mut self, input: &[u8]) {
        match self.cut {
            Cut::Whole => self.receive(input),
            Cut::InTwo(first) => {
                let (first, second) = input.split_at(first.min(input.len()));
                self.receive(first);
                self.receive(second);
            }
            Cut::Every(bytes) => input.chunks(bytes).for_each(|read| self.receive(read)),
            Cut::Random(seed) => {
                let mut rest = input;
                let mut state = seed;
                while !rest.is_empty() {
                    let (read, later) = rest.split_at(random_length(&mut state).min(rest.len()));
                    self.receive(read);
                    rest = later;
                }
            }
        }
    }

    fn receive(&mut self, mut read: &[u8]) {
        while self.error.is_none() {
            if let Some(request) = self.connection.receive_whole(&mut read) {
                let request = self.connection.hold(request, &mut self.spares);
                self.events.push_back(Event::Request(request));
                continue;
            }
            match self.connection.receive(&mut read, &mut self.out, &mut self.spares) {
                Ok(Some(event)) => self.events.push_back(event),
                Ok(None) => {
                    assert!(read.is_empty(), "None before the input is used up");
                    return;
                }
                Err(error) => self.error = Some(error),
            }
        }
    }
}

/// Mostly a few bytes, sometimes thousands (xorshift).
fn random_length(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    let magnitude = (*state >> 32) % 12;
    1 + (*state as usize & ((1 << magnitude) - 1))
}
