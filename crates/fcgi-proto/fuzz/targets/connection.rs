//! Any bytes, in reads of any length, for a connection whose limits they can reach.
//!
//! - Nothing panics, not even after a failure.
//! - How the bytes are cut into reads changes neither events nor output, nor does it whether whole requests are taken from
//!   the input.
//! - Output that the connection makes is at most five times its input, at any moment.
//! - Memory has a bound that the limits make, whatever comes.
//! - What is handed over is within the limits; an abort names a request that the application holds.
//! - Output is whole records of known types on borders of 8 bytes. A request ends once at most for each time that it
//!   was begun; its STDOUT is ended before it is.
//!
//! The first four bytes of the input choose limits, application and reads; the others are what the peer sends.

#![no_main]

use std::collections::BTreeMap;

use fcgi_fuzz::{memory, wire};
use fcgi_proto::{
    AppStatus, Connection, Event, Limits, OwnedRequest, ProtocolError, ProtocolStatus, Request, RequestId,
    Spares, Stdout, Values, response,
};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fuzz_target!(|data: &[u8]| {
    let Some((setup, input)) = Setup::read(data) else {
        return;
    };
    let whole = Trace::of(setup, input, Path::Records, |_| usize::MAX);
    let straight = Trace::of(setup, input, Path::WholeFirst, |_| usize::MAX);
    assert_eq!(whole, straight, "on the straight path");
    let byte_by_byte = Trace::of(setup, input, Path::Records, |_| 1);
    assert_eq!(whole, byte_by_byte, "byte by byte");
    let random = Trace::of(setup, input, Path::WholeFirst, |at| setup.read_length(at));
    assert_eq!(whole, random, "in random reads");
    check_output(input, &whole.out);
});

/// How a request is received: record by record, or from the input if it lies there whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Records,
    WholeFirst,
}

#[derive(Clone, Copy)]
struct Setup {
    limits: Limits,
    values: Values,
    /// Requests that the application holds before it answers the oldest.
    holds: usize,
    seed: u32,
}

impl Setup {
    fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let [sizes, counts, seed1, seed0, input @ ..] = data else {
            return None;
        };
        let requests = usize::from(counts & 3) + 1;
        let limits = Limits {
            params_bytes: [0, 20, 64, 200][usize::from(sizes & 3)],
            body_bytes: [0, 7, 32, 200][usize::from(sizes >> 2 & 3)],
            connection_bytes: [1, 30, 100, 1000][usize::from(sizes >> 4 & 3)],
            requests,
        };
        let values = Values { connections: 1, requests, multiplexes: sizes & 0x40 == 0 };
        let holds = usize::from(counts >> 2 & 3).min(requests - 1);
        let seed = u32::from(*seed1) << 8 | u32::from(*seed0);
        Some((Self { limits, values, holds, seed }, input))
    }

    /// Lengths from 1 to 64, the short ones more often.
    fn read_length(&self, at: usize) -> usize {
        let mixed = (self.seed ^ at as u32).wrapping_mul(0x9e37_79b9) >> 16;
        1 + (mixed as usize & 63 >> (mixed >> 8 & 7))
    }

    /// For each request that is served: its two buffers, which double as they grow, and itself. For each that is refused too: its slot. And the names of GET_VALUES.
    fn memory_bound(&self, input: usize) -> usize {
        let request = 256 + 2 * self.limits.params_bytes + 2 * self.limits.body_bytes;
        self.limits.requests * request + (4 * self.limits.requests + 4) * 64 + 2 * input + 64
    }
}

/// All that came of the input.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    /// Events, and where in the output each one came.
    events: Vec<u8>,
    out: Vec<u8>,
    error: Option<ProtocolError>,
    state: [bool; 3],
}

impl Trace {
    fn of(setup: Setup, input: &[u8], path: Path, length: impl Fn(usize) -> usize) -> Self {
        let mut trace = Self {
            events: Vec::with_capacity(256),
            out: Vec::with_capacity(1024),
            error: None,
            state: [false; 3],
        };
        let mut held = Vec::with_capacity(8);
        let before = memory::in_use();
        let (mut own, mut others) = (0, 0);
        let mut connection = Connection::new(setup.limits, setup.values);
        let mut spares = Spares::new();
        let mut at = 0;
        while at < input.len() {
            let end = at.saturating_add(length(at)).min(input.len());
            let mut read = &input[at..end];
            at = end;
            loop {
                let output = trace.out.len();
                if path == Path::WholeFirst
                    && let Some(request) = connection.receive_whole(&mut read)
                {
                    trace.hear_request(setup, request);
                    if setup.holds == 0 {
                        answer(request, AppStatus::SUCCESS, &mut trace.out);
                    } else {
                        held.push(connection.hold(request, &mut spares));
                        if held.len() > setup.holds {
                            let request = held.remove(0);
                            answer(request.as_request(), AppStatus::SUCCESS, &mut trace.out);
                            connection.recycle(request, &mut spares);
                        }
                    }
                    others += trace.out.len() - output;
                    continue;
                }
                let received = connection.receive(&mut read, &mut trace.out, &mut spares);
                own += trace.out.len() - output;
                let consumed = end - read.len();
                assert!(own <= 5 * consumed, "{own} bytes of output for {consumed}");
                let output = trace.out.len();
                match received {
                    Ok(Some(event)) => {
                        if let Some((request, status)) = trace.hear(setup, event, &mut held) {
                            answer(request.as_request(), status, &mut trace.out);
                            connection.recycle(request, &mut spares);
                        }
                    }
                    Ok(None) => {
                        assert!(read.is_empty(), "input left");
                        break;
                    }
                    Err(error) => {
                        trace.error = Some(error);
                        break;
                    }
                }
                others += trace.out.len() - output;
            }
            // The trace's own buffers grow too; what they may have taken is left aside.
            let buffers = (trace.events.capacity() - 256) + (trace.out.capacity() - 1024);
            let used = memory::in_use() - before - buffers;
            assert!(used <= setup.memory_bound(input.len()), "{used} bytes held");
            if trace.error.is_some() {
                break;
            }
        }
        assert_eq!(own + others, trace.out.len());
        trace.state = [connection.is_finished(), connection.is_idle(), connection.was_answered_early()];
        if trace.error.is_some() {
            // Whoever goes on regardless gets anything but a panic.
            let mut rest = &input[at..];
            while !rest.is_empty() {
                let _ = connection.receive(&mut rest, &mut Vec::new(), &mut spares);
            }
        }
        trace
    }

    fn hear_request(&mut self, setup: Setup, request: Request<'_>) {
        self.events.extend_from_slice(&(self.out.len() as u32).to_be_bytes());
        self.events.push(b'R');
        self.events.extend_from_slice(&request.id().to_be_bytes());
        self.events.push(u8::from(request.keeps_connection()));
        let mut params = 0;
        for (name, value) in request.params().iter() {
            params += 2 + name.len() + value.len();
            for text in [name, value] {
                self.events.extend_from_slice(&(text.len() as u32).to_be_bytes());
                self.events.extend_from_slice(text);
            }
        }
        self.events.extend_from_slice(request.body());
        assert!(params <= setup.limits.params_bytes, "{params} bytes of parameters");
        assert!(request.body().len() <= setup.limits.body_bytes);
    }

    /// Writes the event down. Returns the request that the application ends on it.
    fn hear(
        &mut self,
        setup: Setup,
        event: Event,
        held: &mut Vec<OwnedRequest>,
    ) -> Option<(OwnedRequest, AppStatus)> {
        match event {
            Event::Request(request) => {
                self.hear_request(setup, request.as_request());
                held.push(request);
                assert!(held.len() <= setup.limits.requests, "{} requests", held.len());
                (held.len() > setup.holds).then(|| (held.remove(0), AppStatus::SUCCESS))
            }
            Event::Abort(id) => {
                self.events.extend_from_slice(&(self.out.len() as u32).to_be_bytes());
                self.events.push(b'A');
                self.events.extend_from_slice(&id.to_be_bytes());
                let of_id = |request: &OwnedRequest| request.id() == id;
                let at = held.iter().position(of_id).expect("an abort of a request that is held");
                Some((held.remove(at), AppStatus::ABORTED))
            }
        }
    }
}

fn answer(request: Request<'_>, status: AppStatus, out: &mut Vec<u8>) {
    Stdout::new(out, request.id(), 0).write(request.body());
    response::end(out, request.id(), status, ProtocolStatus::RequestComplete);
}

/// Reads the output as the peer would.
fn check_output(input: &[u8], out: &[u8]) {
    let mut begun = BTreeMap::<RequestId, usize>::new();
    // The last record need not have come whole to be answered.
    let mut questions = 1;
    for record in wire::records(input) {
        match (record.id, record.number) {
            (0, _) => questions += 1,
            (id, 1) => *begun.entry(id).or_default() += 1,
            _ => {}
        }
    }

    let mut answers = 0;
    let mut stdout_ended = BTreeMap::<RequestId, bool>::new();
    let mut records = wire::records(out);
    for record in records.by_ref() {
        assert_eq!((record.content.len() + record.padding) % 8, 0, "a border of 8 bytes");
        let ended = stdout_ended.get(&record.id).copied();
        match record.number {
            // After the empty record STDOUT is over, until the request has ended.
            6 => {
                assert_ne!(ended, Some(true), "STDOUT after its end");
                stdout_ended.insert(record.id, record.content.is_empty());
            }
            3 => {
                assert_ne!(ended, Some(false), "END_REQUEST before the end of STDOUT");
                stdout_ended.remove(&record.id);
                let left = begun.get_mut(&record.id).expect("the end of a request that was begun");
                *left = left.checked_sub(1).expect("one end for each begin");
            }
            10 | 11 => {
                assert_eq!(record.id, 0);
                answers += 1;
            }
            other => panic!("a record of type {other}"),
        }
    }
    assert!(records.rest.is_empty() && out.len().is_multiple_of(8), "a record that is not whole");
    assert!(answers <= questions, "{answers} answers to {questions} management records");
    assert!(stdout_ended.is_empty(), "STDOUT without END_REQUEST");
}
