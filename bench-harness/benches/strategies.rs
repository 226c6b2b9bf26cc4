//! All strategies side by side: a group per connection mode over the concurrency, and one over the number of
//! processes, which is the axis of 2007. One chart of each group holds every strategy.

use std::collections::BTreeMap;
use std::env;
use std::io::{IsTerminal, stderr};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use bench_harness::{Family, Pool, Strategy, builds, check, discover};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, PlottingBackend, SamplingMode};
use fcgi_load::{Capacity, Generator, Mode, Options, RequestSpec, Until, capacity};

/// Clients that each have one request in flight.
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// Worker processes, in the groups over the concurrency.
const PROCESSES: usize = 2;
/// The numbers of processes that the question of 2007 was asked over.
const PROCESSES_OF_2007: [usize; 6] = [1, 2, 3, 4, 8, 13];
/// Clients, in the group over the processes.
const CLIENTS_OF_2007: usize = 32;

/// How long a server may leave a request unanswered.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let mut criterion = Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .sample_size(15)
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1_500))
        .configure_from_args();
    if !measures() {
        // Listing, or a test run of the benches: nothing is to be built or timed.
        return;
    }

    let mut laboratory = Laboratory::open();
    for mode in [Mode::Close, Mode::Keep, Mode::Multiplex] {
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

/// The strategies that can be measured, and what became of the others.
struct Laboratory {
    strategies: Vec<(Strategy, Capacity)>,
    failures: Vec<String>,
}

/// What one line of a chart measures.
struct Entry<'a> {
    strategy: &'a Strategy,
    processes: usize,
    mode: Mode,
    connections: usize,
    streams: usize,
}

impl Laboratory {
    /// Builds every strategy and asks each for every path of the workload: nothing is measured that answers wrongly.
    fn open() -> Self {
        let mut laboratory = Self { strategies: Vec::new(), failures: Vec::new() };
        let sources = discover::sources().unwrap_or_else(|error| {
            eprintln!("cannot find the strategies: {error}");
            std::process::exit(1);
        });
        for source in sources {
            eprint!("{:>20}  building ... ", source.name());
            match admit(&source) {
                Ok(admitted) => {
                    eprintln!("answers correctly");
                    laboratory.strategies.push(admitted);
                }
                Err(problem) => {
                    eprintln!("left out");
                    laboratory.fail(format!("{} is not measured: {problem}", source.name()));
                }
            }
        }
        laboratory
    }

    fn over_concurrency(&mut self, criterion: &mut Criterion, mode: Mode) {
        let mut group = criterion.benchmark_group(mode.to_string());
        group.sampling_mode(SamplingMode::Flat);
        let mut failures = Vec::new();
        for (strategy, capacity) in &self.strategies {
            for clients in CONCURRENCY {
                let (name, entry) = entry(strategy, *capacity, mode, clients);
                measure(&mut group, BenchmarkId::new(name, clients), &entry, &mut failures);
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
        for (strategy, _) in &self.strategies {
            for processes in PROCESSES_OF_2007 {
                let entry = Entry {
                    strategy,
                    processes,
                    mode: Mode::Close,
                    connections: CLIENTS_OF_2007,
                    streams: 1,
                };
                measure(&mut group, BenchmarkId::new(strategy.name(), processes), &entry, &mut failures);
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

fn admit(source: &discover::Source) -> Result<(Strategy, Capacity), Box<dyn std::error::Error>> {
    let strategy = builds::build(source)?;
    let pool = Pool::launch(&strategy, Family::Unix, &["--processes", &PROCESSES.to_string()])?;
    check(pool.address())?;
    let capacity = capacity(pool.address(), PATIENCE)?;
    pool.drain()?;
    Ok((strategy, capacity))
}

/// What `clients` clients mean for a strategy. A front end offers a server no more kept connections than it can hold
/// (FCGI_MAX_CONNS), and several requests on one only where it takes them (FCGI_MPXS_CONNS); its clients then wait
/// for each other. A strategy that does not multiplex stands in that group as what such a front end makes of it.
fn entry(strategy: &Strategy, capacity: Capacity, mode: Mode, clients: usize) -> (String, Entry<'_>) {
    let most = capacity.connections.map_or(usize::MAX, |most| most as usize);
    let of =
        |mode, connections, streams| Entry { strategy, processes: PROCESSES, mode, connections, streams };
    let name = strategy.name().to_owned();
    match mode {
        Mode::Close => (name, of(mode, clients, 1)),
        Mode::Keep => (name, of(mode, clients.min(most), 1)),
        Mode::Multiplex if capacity.multiplexes == Some(true) => {
            // One connection for each process, so that none is left out.
            let connections = PROCESSES.min(clients);
            (name, of(mode, connections, clients / connections))
        }
        Mode::Multiplex => (format!("{name} (kept, no multiplexing)"), of(Mode::Keep, clients.min(most), 1)),
    }
}

/// Measures one entry on a pool of its own; a failure is noted, and the others go on.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    entry: &Entry<'_>,
    failures: &mut Vec<String>,
) {
    // Started when the filter lets the benchmark run, and kept over its samples: Criterion calls the closure for each.
    let mut bench: Option<(Pool, Generator)> = None;
    let name = entry.strategy.name().to_owned();
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let measured = panic::catch_unwind(AssertUnwindSafe(|| {
        group.bench_with_input(id, entry, |bencher, entry| {
            let (_, generator) = bench.get_or_insert_with(|| start(entry));
            bencher.iter_custom(|requests| {
                let report =
                    generator.run(Until::Requests(requests)).unwrap_or_else(|error| panic!("{error}"));
                assert!(report.is_clean(), "{}", complaint(&report.errors.by_kind(), report.refused));
                report.elapsed
            });
        });
    }));
    panic::set_hook(quiet);
    if let Err(problem) = measured {
        let problem = problem.downcast_ref::<String>().map_or("a bug in the harness", String::as_str);
        let failure = format!("{name} failed under load, which voids the measurement: {problem}");
        eprintln!("{failure}");
        failures.push(failure);
    }
}

fn start(entry: &Entry<'_>) -> (Pool, Generator) {
    let arguments = ["--processes", &entry.processes.to_string()];
    let pool =
        Pool::launch(entry.strategy, Family::Unix, &arguments).unwrap_or_else(|error| panic!("{error}"));
    let options = Options {
        mode: entry.mode,
        connections: entry.connections,
        streams: entry.streams,
        timeout: PATIENCE,
        ..Options::new(pool.address().clone(), RequestSpec::get("/hello").expect_body("Hello, world\n"))
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
