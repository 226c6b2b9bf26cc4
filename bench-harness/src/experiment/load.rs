//! What asks a pool: a generator, or one on each of the cores that are left for them.

use std::thread;
use std::time::Duration;

use anyhow::bail;
use fcgi_load::{Generator, Latency, Mode, Options, Protocol, Report, Until};

use super::asked::Asked;
use super::schedule::Contender;
use crate::entry::Entry;

/// How long a server may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Less of what was offered means that a queue grew, and the latencies tell of the queue.
const KEPT_UP: f64 = 0.99;

/// The generators of a pool. Each is a thread with a part of the connections.
pub(super) struct Load(Vec<Generator>);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Answered {
    /// Requests, each answered rightly.
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// Of all generators.
    pub(super) cpu: Duration,
    /// Of a mix that of its first request: what it waits for the others.
    pub(super) latency: Latency,
    pub(super) achieved_by_offered: Option<f64>,
    pub(super) peak_in_flight: u32,
    pub(super) parsed: u64,
}

impl Load {
    /// Opens a contender's connections, divided among so many generators.
    pub(super) fn new(
        asked: &Asked,
        entry: &Entry,
        contender: &Contender,
        rate: Option<f64>,
        generators: usize,
    ) -> anyhow::Result<Self> {
        let generators = generators.clamp(1, contender.connections);
        let (protocol, mode) = asked.speaks(&contender.ask);
        let generator = |index: usize| {
            let connections =
                contender.connections * (index + 1) / generators - contender.connections * index / generators;
            let share = connections as f64 / contender.connections as f64;
            let options = Options {
                protocol,
                mode,
                // A web server may close a connection that has rested, and a client then sends its request again.
                retry_closed: protocol == Protocol::Http,
                connections,
                streams: if mode == Mode::Multiplex { contender.streams } else { 1 },
                timeout: PATIENCE,
                rate: rate.map(|rate| rate * share),
                requests: contender.ask.workload.shares(entry),
                ..Options::new(asked.address(), entry.hello())
            };
            Ok(Generator::new(options)?)
        };
        (0..generators).map(generator).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Asks until the end, and with all generators at once.
    ///
    /// # Errors
    ///
    /// One wrong reply is enough.
    pub(super) fn run(&mut self, until: Until) -> anyhow::Result<Answered> {
        let (first, others) = self.0.split_first_mut().expect("there is one at least");
        let reports = thread::scope(|scope| {
            let others: Vec<_> =
                others.iter_mut().map(|generator| scope.spawn(move || generator.run(until))).collect();
            let mut reports = vec![first.run(until)];
            reports.extend(others.into_iter().map(|other| other.join().expect("a generator does not panic")));
            reports
        });
        let answered = reports.into_iter().map(|report| checked(report?));
        let answered = answered.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(answered.into_iter().reduce(Answered::and).expect("there is one at least"))
    }
}

impl Answered {
    /// What two generators did at the same time.
    fn and(mut self, other: Self) -> Self {
        self.latency.add(&other.latency);
        let achieved = [self.achieved_by_offered, other.achieved_by_offered].into_iter().flatten();
        Self {
            requests: self.requests + other.requests,
            elapsed: self.elapsed.max(other.elapsed),
            cpu: self.cpu + other.cpu,
            achieved_by_offered: achieved.reduce(f64::min),
            peak_in_flight: self.peak_in_flight.max(other.peak_in_flight),
            parsed: self.parsed + other.parsed,
            latency: self.latency,
        }
    }
}

/// One wrong reply voids a contender's launch.
fn checked(report: Report) -> anyhow::Result<Answered> {
    if let Some(sample) = report.errors.samples.first() {
        bail!("{} of {} requests failed: {sample}", report.errors.total(), report.due);
    }
    if report.refused > 0 {
        bail!("{} of {} requests were refused", report.refused, report.due);
    }
    if report.gave_up || report.completed == 0 {
        bail!("nothing was answered");
    }
    let achieved_by_offered = report.achieved_by_offered();
    if let Some(achieved) = achieved_by_offered.filter(|achieved| *achieved < KEPT_UP) {
        bail!("{:.1} % of the offered rate was achieved", achieved * 100.0);
    }
    Ok(Answered {
        requests: report.completed,
        elapsed: report.elapsed,
        cpu: report.cpu,
        achieved_by_offered,
        peak_in_flight: report.peak_in_flight,
        parsed: report.parsed,
        latency: report.by_request.into_iter().next().map_or(report.latency, |first| first.latency),
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::Ask;
    use super::*;
    use crate::launch::Family;

    #[test]
    fn generators_divide_the_connections_and_add_up() {
        let source =
            crate::discover::sources().unwrap().into_iter().find(|source| !source.is_floor()).unwrap();
        let entry = Entry::Strategy(crate::builds::build(&source).unwrap());
        let asked = Asked::Pool(entry.launch(Family::Unix, 8).unwrap());
        let (name, ask) = (source.name().to_owned(), Ask::hello(Mode::Close));
        let contender = Contender { participant: 0, name, ask, processes: 8, connections: 5, streams: 1 };
        for (generators, expected) in [(1, 1), (2, 2), (9, 5)] {
            let mut load = Load::new(&asked, &entry, &contender, None, generators).unwrap();
            assert_eq!(load.0.len(), expected);
            let answered = load.run(Until::Requests(10)).unwrap();
            assert_eq!(answered.requests, 10 * expected as u64);
            assert_eq!(answered.latency.len(), answered.requests);
        }
        asked.end(&entry).unwrap();
    }
}
