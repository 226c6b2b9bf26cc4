//! The load that goes on all the time: requests of all modes, each reply checked.

use std::time::Duration;

use fcgi_load::{Address, Generator, Mode, Options, Report, RequestSpec, Until};

use super::gate::Gate;
use super::ledger::{Counts, Incident, Kind, Ledger};
use crate::workload::pattern;

/// The load is applied in slices, so that a loss can be placed in time.
const SLICE: Duration = Duration::from_millis(200);
/// Connections are kept for so many slices.
const SLICES: usize = 10;
/// How long a reply may take. Longer than any client here keeps a worker busy.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// A closed loop of one kind of request.
#[derive(Debug)]
pub(super) struct Load {
    name: &'static str,
    options: Options,
    in_flight: u64,
}

impl Load {
    pub(super) fn all(address: &Address) -> Vec<Self> {
        let body = pattern(3_000);
        let load = |name, mode, connections: usize, streams: usize, request| {
            let timeout = PATIENCE;
            let mut options = Options::new(address.clone(), request);
            (options.mode, options.connections, options.streams, options.timeout) =
                (mode, connections, streams, timeout);
            Self { name, options, in_flight: (connections * streams) as u64 }
        };
        let hello = RequestSpec::get("/hello").expect_body("Hello, world\n");
        let echo = RequestSpec::post("/echo", body.clone()).expect_body(body);
        let bytes = RequestSpec::get("/bytes?n=100000").expect_body(pattern(100_000));
        let stream = RequestSpec::get("/stream?chunks=3&ms=4").expect_body("chunk 0\nchunk 1\nchunk 2\n");
        vec![
            load("keep /hello", Mode::Keep, 2, 1, hello),
            load("keep /bytes", Mode::Keep, 1, 1, bytes),
            load("close /echo", Mode::Close, 2, 1, echo),
            load("multiplex /stream", Mode::Multiplex, 1, 8, stream),
        ]
    }

    /// Until the gate says that it is over.
    pub(super) fn apply(&self, gate: &Gate, ledger: &Ledger) {
        while let Some(_pass) = gate.enter() {
            let from = ledger.now();
            match Generator::new(self.options.clone()) {
                Ok(mut generator) => self.run(&mut generator, gate, ledger),
                Err(error) => {
                    self.report(ledger, from, Kind::NotConnected, 1, error.to_string());
                    gate.sleep(PAUSE);
                }
            }
        }
    }

    fn run(&self, generator: &mut Generator, gate: &Gate, ledger: &Ledger) {
        for _ in 0..SLICES {
            if !gate.is_open() {
                return;
            }
            let from = ledger.now();
            match generator.run(Until::Duration(SLICE)) {
                Ok(report) => self.note(ledger, from, &report),
                Err(error) => self.report(ledger, from, Kind::Wrong, 1, format!("the generator: {error}")),
            }
        }
    }

    fn note(&self, ledger: &Ledger, from: Duration, report: &Report) {
        let errors = &report.errors;
        let sent = report.completed + report.refused;
        ledger.add(
            self.name,
            Counts { sent, answered: report.completed, refused: report.refused, ..Counts::default() },
        );
        // A kept connection that ended before a byte of reply leaves its requests as unanswered as a new one does.
        let unanswered = errors.closed + errors.unanswered;
        let wrong =
            errors.total() - unanswered - errors.lost - errors.timeout - errors.connect + report.stray;
        let counts = [
            (Kind::Unanswered, unanswered),
            (Kind::Lost, errors.lost),
            (Kind::TimedOut, errors.timeout),
            (Kind::NotConnected, report.connects_failed),
            (Kind::Wrong, wrong),
        ];
        for (kind, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            self.report(ledger, from, kind, count, errors.samples.join("; "));
        }
    }

    fn report(&self, ledger: &Ledger, from: Duration, kind: Kind, count: u64, words: String) {
        let (client, in_flight, to) = (self.name, self.in_flight, ledger.now());
        ledger.report(Incident { from, to, client, kind, count, in_flight, words });
    }
}
