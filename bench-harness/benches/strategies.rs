//! All strategies side by side: a group per connection mode over the concurrency, and one over the number of
//! processes, which is the axis of 2007. One chart of each group holds every strategy, those over the concurrency also the
//! floor, below which nothing can be; with FCGI_LAB_PEERS=1 also the other implementations that are installed.

use std::collections::BTreeMap;
use std::env;
use std::io::{IsTerminal, stderr};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::slice;
use std::time::Duration;

use bench_harness::peers::{PeerError, PeerSource};
use bench_harness::{BuildError, Entry, Family, Holds, Kind, Pool, Source, builds, check, discover, peers};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, PlottingBackend, SamplingMode};
use fcgi_load::{Generator, Mode, Options, Until};

/// Clients that each have one request in flight.
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// Worker processes, in the groups over the concurrency.
const PROCESSES: usize = 2;
/// The numbers of processes that the question of 2007 was asked over.
const PROCESSES_OF_2007: [usize; 6] = [1, 2, 3, 4, 8, 13];
/// Clients, in the group over the processes.
const CLIENTS_OF_2007: usize = 32;

/// The groups over the concurrency.
const MODES: [Mode; 3] = [Mode::Close, Mode::Keep, Mode::Multiplex];

/// What all measurements share, whatever their number: with it a whole run stays below six minutes.
const TOTAL: Duration = Duration::from_secs(320);
/// Of it, what each takes beside its own time: a pool that starts and ends, statistics, charts.
const BESIDE: Duration = Duration::from_millis(1_300);
/// With too many measurements, each takes so long all the same.
const LEAST: Duration = Duration::from_millis(500);

/// How long a server may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the forms of the floor are compared.
const TRIAL: Duration = Duration::from_millis(200);
/// What charts call it.
const FLOOR: &str = "floor (no protocol work)";

fn main() {
    let sources = discover::sources().unwrap_or_else(|error| {
        eprintln!("cannot find the strategies: {error}");
        std::process::exit(1);
    });
    let peers = if asks_for_peers() { peers::sources().unwrap_or_default() } else { Vec::new() };
    let share = share(&sources, peers.len());
    let mut criterion = Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .sample_size(15)
        .nresamples(20_000)
        // Criterion doubles the requests until the time is over, so warming up takes up to twice as long.
        .warm_up_time(share / 6)
        .measurement_time(share * 4 / 6)
        .configure_from_args();
    if !measures() {
        // Listing, or a test run of the benches: nothing is to be built or timed.
        return;
    }

    let mut laboratory = Laboratory::open(&sources, &peers);
    for mode in MODES {
        laboratory.over_concurrency(&mut criterion, mode);
    }
    laboratory.over_processes(&mut criterion);
    criterion.final_summary();
    laboratory.close();
}

/// Whether Cargo asks for a measurement (`cargo bench`), and not for a list or a test.
fn measures() -> bool {
    let words: Vec<_> = env::args().collect();
    words.iter().any(|word| word == "--bench")
        && !words.iter().any(|word| word == "--list" || word == "--test")
}

fn asks_for_peers() -> bool {
    env::var_os("FCGI_LAB_PEERS").is_some_and(|asked| asked != "0")
}

/// How long one measurement may take: the same with a filter as without, so that figures stay comparable.
fn share(sources: &[Source], peers: usize) -> Duration {
    let floors = sources.iter().filter(|source| source.is_floor()).count();
    let entries = sources.len() - floors + peers;
    let over_concurrency = MODES.len() * CONCURRENCY.len() * (entries + floors.min(1));
    let measurements = over_concurrency + PROCESSES_OF_2007.len() * entries;
    (TOTAL / measurements.max(1) as u32).saturating_sub(BESIDE).max(LEAST)
}

/// What can be measured, and what became of the rest.
struct Laboratory {
    entries: Vec<(Entry, Holds)>,
    /// The floor in its different forms.
    floors: Vec<Entry>,
    failures: Vec<String>,
}

/// What one point of a chart measures.
struct Point<'a> {
    name: String,
    /// One entry; of the floor all forms, of which the fastest stands for it.
    forms: &'a [Entry],
    processes: usize,
    mode: Mode,
    connections: usize,
    streams: usize,
}

impl Laboratory {
    /// Builds every strategy and asks each for every path of the workload: nothing is measured that answers wrongly.
    fn open(sources: &[Source], peers: &[PeerSource]) -> Self {
        let mut laboratory = Self { entries: Vec::new(), floors: Vec::new(), failures: Vec::new() };
        for source in sources {
            laboratory.admit(source.name(), || Ok(Entry::Strategy(builds::build(source)?)));
        }
        for source in peers {
            match source.build() {
                // No failure.
                Err(why @ PeerError::NotInstalled(_)) => eprintln!("{:>20}  skipped: {why}", source.name()),
                built => laboratory.admit(source.name(), || Ok(Entry::Peer(built?))),
            }
        }
        laboratory
    }

    fn admit(&mut self, name: &str, build: impl FnOnce() -> Result<Entry, Box<dyn std::error::Error>>) {
        eprint!("{name:>20}  building ... ");
        match build().and_then(admit) {
            Ok((floor, _)) if floor.kind() == Kind::Floor => {
                eprintln!("does no protocol work");
                self.floors.push(floor);
            }
            Ok(admitted) => {
                eprintln!("answers correctly");
                self.entries.push(admitted);
            }
            Err(problem) if matches!(problem.downcast_ref(), Some(BuildError::Unsupported { .. })) => {
                eprintln!("skipped: {problem}");
            }
            Err(problem) => {
                eprintln!("left out");
                self.fail(format!("{name} is not measured: {problem}"));
            }
        }
    }

    fn over_concurrency(&mut self, criterion: &mut Criterion, mode: Mode) {
        let mut group = criterion.benchmark_group(mode.to_string());
        group.sampling_mode(SamplingMode::Flat);
        let mut failures = Vec::new();
        for (entry, holds) in &self.entries {
            for clients in CONCURRENCY {
                let point = point(entry.name(), slice::from_ref(entry), *holds, mode, clients);
                measure(&mut group, clients, &point, &mut failures);
            }
        }
        if !self.floors.is_empty() {
            let holds = Holds { connections: usize::MAX, multiplexes: true };
            for clients in CONCURRENCY {
                let point = point(FLOOR, &self.floors, holds, mode, clients);
                measure(&mut group, clients, &point, &mut failures);
            }
        }
        group.finish();
        self.failures.extend(failures);
    }

    /// As in 2007: a front end that never keeps a connection, before more and more processes.
    fn over_processes(&mut self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("processes");
        group.sampling_mode(SamplingMode::Flat);
        let mut failures = Vec::new();
        for (entry, _) in &self.entries {
            // Part of what its line shows is not the model's work on requests.
            let mark = if entry.wakes_all() { " (wakes all processes)" } else { "" };
            for processes in PROCESSES_OF_2007 {
                let point = Point {
                    name: format!("{}{mark}", entry.name()),
                    forms: slice::from_ref(entry),
                    processes,
                    mode: Mode::Close,
                    connections: CLIENTS_OF_2007,
                    streams: 1,
                };
                measure(&mut group, processes, &point, &mut failures);
            }
        }
        group.finish();
        self.failures.extend(failures);
    }

    fn fail(&mut self, failure: String) {
        eprintln!("{failure}");
        self.failures.push(failure);
    }

    /// Says where to look, and fails if something could not be measured.
    fn close(self) {
        eprintln!("\nThe charts: {}", report().display());
        if !self.failures.is_empty() {
            eprintln!("\nNot everything was measured:");
            for failure in &self.failures {
                // The whole of it was said when it happened.
                eprintln!("- {}", failure.lines().next().unwrap_or_default());
            }
            std::process::exit(1);
        }
    }
}

/// Nothing is measured that answers wrongly: of ours every path is asked for, of others' and of the floor the one that
/// is measured.
fn admit(entry: Entry) -> Result<(Entry, Holds), Box<dyn std::error::Error>> {
    let pool = entry.launch(Family::Unix, PROCESSES)?;
    if entry.kind() == Kind::Strategy {
        check(pool.address())?;
    }
    let holds = entry.holds(&pool)?;
    entry.end(pool)?;
    Ok((entry, holds))
}

/// What `clients` clients mean for a strategy. A front end offers a server no more kept connections than it can hold
/// (FCGI_MAX_CONNS), and several requests on one only where it takes them (FCGI_MPXS_CONNS); its clients then wait
/// for each other. A strategy that does not multiplex stands in that group as what such a front end makes of it.
fn point<'a>(name: &str, forms: &'a [Entry], holds: Holds, mode: Mode, clients: usize) -> Point<'a> {
    let of = |name: &str, mode, connections, streams| {
        let name = name.to_owned();
        Point { name, forms, processes: PROCESSES, mode, connections, streams }
    };
    let kept = clients.min(holds.connections);
    match mode {
        Mode::Close => of(name, mode, clients, 1),
        Mode::Keep => of(name, mode, kept, 1),
        Mode::Multiplex if holds.multiplexes => {
            // One connection for each process, so that none is left out.
            let connections = PROCESSES.min(clients);
            of(name, mode, connections, clients / connections)
        }
        Mode::Multiplex => of(&format!("{name} (kept, no multiplexing)"), Mode::Keep, kept, 1),
    }
}

/// Measures one point on a pool of its own; a failure is noted, and the others go on.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    x: usize,
    point: &Point<'_>,
    failures: &mut Vec<String>,
) {
    // Started when the filter lets the benchmark run, and kept over its samples: Criterion calls the closure for each.
    let mut bench: Option<(Pool, Generator)> = None;
    let id = BenchmarkId::new(&point.name, x);
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let measured = panic::catch_unwind(AssertUnwindSafe(|| {
        group.bench_with_input(id, point, |bencher, point| {
            let (_, generator) = bench.get_or_insert_with(|| start(point));
            bencher.iter_custom(|requests| {
                let report =
                    generator.run(Until::Requests(requests)).unwrap_or_else(|error| panic!("{error}"));
                assert!(!report.gave_up, "given up, since the server fell silent");
                assert!(report.is_clean(), "{}", complaint(&report.errors.by_kind(), report.refused));
                assert_eq!(report.completed, requests, "not every request was answered");
                report.elapsed
            });
        });
    }));
    panic::set_hook(quiet);
    if let Err(problem) = measured {
        let problem = problem.downcast_ref::<String>().map_or("a bug in the harness", String::as_str);
        let failure = format!("{} failed under load, which voids the measurement: {problem}", point.name);
        eprintln!("{failure}");
        failures.push(failure);
    }
}

/// Of several forms, the one that answers most in a short trial.
fn start(point: &Point<'_>) -> (Pool, Generator) {
    if let [entry] = point.forms {
        return launch(entry, point);
    }
    let rated = point.forms.iter().map(|form| {
        let (pool, mut generator) = launch(form, point);
        let report = generator.run(Until::Duration(TRIAL)).unwrap_or_else(|error| panic!("{error}"));
        assert!(report.is_clean(), "{}", complaint(&report.errors.by_kind(), report.refused));
        (report.completed, (pool, generator))
    });
    match rated.max_by_key(|(completed, _)| *completed) {
        Some((_, fastest)) => fastest,
        None => panic!("there is no form of {}", point.name),
    }
}

fn launch(entry: &Entry, point: &Point<'_>) -> (Pool, Generator) {
    let launched = entry.launch(Family::Unix, point.processes);
    let pool = launched.unwrap_or_else(|error| panic!("{error}"));
    let options = Options {
        mode: point.mode,
        connections: point.connections,
        streams: point.streams,
        timeout: PATIENCE,
        ..Options::new(pool.address().clone(), entry.hello())
    };
    let generator = Generator::new(options).unwrap_or_else(|error| panic!("{error}"));
    (pool, generator)
}

fn complaint(errors: &[(&'static str, u64)], refused: u64) -> String {
    let counts: BTreeMap<_, _> = errors.iter().copied().filter(|(_, count)| *count > 0).collect();
    format!("{counts:?}, refused: {refused}")
}

/// Where Criterion puts its pages: below Cargo's target folder, as the executable is.
fn report() -> PathBuf {
    let home = env::var_os("CRITERION_HOME").map(PathBuf::from).or_else(|| {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).or_else(|| {
            let program = env::current_exe().ok()?;
            // target/release/deps/strategies-hash
            program.ancestors().nth(3).map(PathBuf::from)
        })?;
        Some(target.join("criterion"))
    });
    let page = home.unwrap_or_default().join("report/index.html");
    if stderr().is_terminal() { page } else { page.canonicalize().unwrap_or(page) }
}
