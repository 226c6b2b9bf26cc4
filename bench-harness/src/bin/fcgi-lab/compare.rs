//! `fcgi-lab compare`: everything against everything, interleaved.

mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use bench_harness::experiment::{self, Ask, LEAD_IN, Participant, Plan, Record, Regime, Seen};
use bench_harness::mix::Mix;
use bench_harness::{Target, discover, launch};
use clap::ValueEnum;
use fcgi_load::Mode;

use crate::entries::{self, Socket};
use crate::line::Line;
use crate::output::{complain, print};
use crate::results::{self, ResultFile, json};
use crate::{report, stop};

/// Measure strategies, other implementations and servers that are there in turns of some milliseconds, and say which differ.
///
/// In each launch all that is started here has a fresh pool, and each pool its turns, in an order shuffled anew. Every reply is
/// checked. The raw data are written after each launch; the report is made of them (see `fcgi-lab report`).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Entries to compare [default: all strategies, and the other implementations that are installed]. The forms of a strategy,
    /// which do without one of its costs, take part only where they are named
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    entries: Vec<String>,

    /// A folder of programs that are started as a strategy is, older builds for example: all of them take part, each by its
    /// file's name. Such a run cannot be resumed
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,

    /// A server that is there already, perhaps on another machine: tcp:HOST:PORT or unix:PATH, known by that or by NAME. Repeat it
    /// for several. It is sent fcgi-verify's quick cases, then loaded as fast as it answers, so let nobody depend on it meanwhile.
    /// What is told of it is throughput and latency; what its processes take cannot be known. Where no entries are named it is
    /// measured alone
    #[arg(long, value_name = "ADDRESS[=NAME]")]
    target: Vec<Target>,

    /// The entry that the others are compared to, and that runs twice [default: the first that multiplexes]
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,

    /// How often all pools are started afresh; fewer than 10 launches give intervals and no verdict
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    launches: u16,

    /// Go on beyond the launches for so many minutes in all, until every ratio of CPU per request is known within 2 %
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,

    /// How often each pool has its turn in a launch
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    slices: u16,

    /// Milliseconds that a turn is timed
    #[arg(long, value_name = "MS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    slice_ms: u64,

    /// Milliseconds that each pool is asked before the first slice
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    warm_up_ms: u64,

    /// Who runs on which cores: workers on one and the generator on another, or everybody on all. Entries whose threads
    /// share the work have one for each core of the workers, and are asked for /hello once more with everybody on all cores
    #[arg(long, value_enum, default_value = "isolated")]
    regime: Cores,

    /// Cores for the workers, where they are isolated; a generator runs on each of the others [default: one and one]
    #[arg(long, value_name = "K", value_parser = positive)]
    worker_cores: Option<usize>,

    /// The kind of socket
    #[arg(long, value_enum, default_value = "unix")]
    family: Socket,

    /// Worker processes; several numbers make a series
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = positive)]
    processes: Vec<usize>,

    /// Requests in flight, over all connections
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    clients: usize,

    /// Of them on one connection, in multiplex mode
    #[arg(long, value_name = "N", default_value = "8", value_parser = positive)]
    streams: usize,

    /// Connections in multiplex mode, with all the streams on each [default: as many as the clients need]
    #[arg(long, value_name = "N", value_parser = positive)]
    multiplexed: Option<usize>,

    /// How connections are used [default: /hello in all modes; the others kept, and waits multiplexed, too]
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    modes: Vec<Mode>,

    /// What is asked for: hello, cpu, wait, upload, mixed, or paths such as '/wait?ms=50', '/echo+1000' (a body of so many
    /// bytes), '9x/hello,1x/cpu?us=500' (a mix); repeat it for several
    #[arg(long, value_name = "WORKLOAD")]
    workload: Vec<Mix>,

    /// All five workloads in all modes
    #[arg(long, conflicts_with_all = ["modes", "workload"])]
    full: bool,

    /// Requests per second that all are offered, an open loop, instead of one as fast as each can
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,

    /// Do not count system calls after the timed slices
    #[arg(long)]
    no_system_calls: bool,

    /// What all shuffles are made from [default: the time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Where the raw data go, and beside them the report [default: data/results/DATE-HOST-REGIME.json]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace what is there
    #[arg(long)]
    overwrite: bool,

    /// Go on with a run that was interrupted, as it was planned, and add to its raw data
    #[arg(long, value_name = "FILE", exclusive = true)]
    resume: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Everything, in eight cells:
      fcgi-lab compare
  Two strategies whose requests wait, until the ratios are known within 2 %, for ten minutes at most:
      fcgi-lab compare --entries mio,tokio --workload '/wait?ms=50' --modes keep,multiplex --minutes 10
  A build against an older one, kept in the folder before:
      fcgi-lab compare --entries mio --programs before
  A server on another machine, alone, and beside a strategy on this one:
      fcgi-lab compare --target tcp:10.0.0.2:9000 --workload hello
      fcgi-lab compare --target tcp:10.0.0.2:9000=php --entries mio --workload hello
  The question of 2007, over the number of processes:
      fcgi-lab compare --regime shared --modes close --processes 1,2,3,4,8,13 --clients 32";

const MODES: [Mode; 3] = [Mode::Close, Mode::Keep, Mode::Multiplex];

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Cores {
    Isolated,
    Shared,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop::on_signals()?;
    let begun = args.resume.as_deref().map(interrupted).transpose()?;
    let plan = begun.as_ref().map_or_else(|| plan(args), |record| record.plan.clone());
    let file = args.resume.clone().or(args.output.clone()).unwrap_or_else(|| default_output(&plan));
    let [markdown, page] = report::paths(&file)?;
    let mut data = claim(&file, args)?;
    let mut pages = [claim(&markdown, args)?, claim(&page, args)?];
    launch::try_here(plan.family)?;
    print(format_args!("seed {}\n", plan.seed))?;
    let (names, targets) = match &begun {
        Some(record) => took_part(record)?,
        None => (args.entries.clone(), args.target.clone()),
    };
    let (entries, skipped) = entries::build(&names, args.programs.as_deref(), &targets)?;
    for skipped in &skipped {
        print(entries::absent(skipped))?;
    }
    let reference = begun.as_ref().map(|record| record.reference.clone()).or(args.reference.clone());
    let begun = begun.unwrap_or_else(|| Record::begun(plan, skipped));
    let known = begun.skipped.len();

    let line = Line::start(progress::TEMPLATE);
    let mut complained = false;
    let record = experiment::run(
        begun,
        &entries,
        reference.as_deref(),
        !args.no_system_calls,
        &bench_harness::report::is_known,
        &stop,
        &mut |seen| {
            progress::show(&line, &seen);
            if let Seen::Begun(time) = seen {
                line.aside(|| drop(print(format_args!("{}\n", estimate(time)))));
            }
            // A run that is killed has kept its whole launches. What cannot be kept now is tried again at the end.
            if let Seen::Launch(record) = seen
                && let Err(error) = json(record).and_then(|json| data.write(&json))
                && !complained
            {
                complained = true;
                line.aside(|| complain(format_args!("fcgi-lab: {error:#}; the run goes on")));
            }
        },
    );
    line.finish();
    let record = record?;
    if !record.trials.is_empty() {
        data.keep(&json(&record)?)?;
        for (page, text) in pages.iter_mut().zip(report::texts(&record)) {
            page.write(&text)?;
        }
    }
    record.skipped.iter().skip(known).try_for_each(|skipped| print(entries::absent(skipped)))?;
    if !record.trials.is_empty() {
        print(format_args!("{}\n{}\n", data.path().display(), page.display()))?;
    }
    let is_whole = !record.trials.is_empty() && !stop.load(Ordering::Relaxed);
    Ok(if is_whole { ExitCode::SUCCESS } else { stop::interrupted() })
}

/// Its reports may be there, too.
fn claim(path: &Path, args: &Args) -> anyhow::Result<ResultFile> {
    ResultFile::claim(path, args.overwrite || args.resume.is_some())
}

/// The record of a run that was interrupted, to which more launches may be added here.
fn interrupted(file: &Path) -> anyhow::Result<Record> {
    let record = report::read(file)?;
    let (then, now) = (&record, Record::begun(record.plan.clone(), Vec::new()));
    let name = file.display();
    if then.format != now.format {
        bail!("{name}: its format is {}, to which nothing can be added", then.format);
    }
    let (then, now) = ((&then.machine, &then.versions), (&now.machine, &now.versions));
    results::may_go_on(name, then, now)?;
    Ok(record)
}

/// Those that are to be built, by name, and those that are there.
fn took_part(record: &Record) -> anyhow::Result<(Vec<String>, Vec<Target>)> {
    let (mut names, mut targets) = (Vec::new(), Vec::new());
    for Participant { name, address, .. } in &record.entries {
        match address {
            None => names.push(name.clone()),
            Some(address) => targets.push(Target::new(name, address.parse()?)?),
        }
    }
    Ok((names, targets))
}

/// How long it takes, before it does.
fn estimate(time: Duration) -> String {
    let plural = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let words = match time.as_secs() {
        seconds @ ..120 => plural(seconds, "second"),
        seconds => plural(seconds.div_ceil(60), "minute"),
    };
    format!("about {words} for the launches that are planned; Ctrl-C keeps those that are complete")
}

fn plan(args: &Args) -> Plan {
    let mut asks = asks(args);
    if matches!(args.regime, Cores::Isolated) {
        let hello = asks.iter().filter(|ask| ask.workload == Mix::default());
        let on_all_cores: Vec<Ask> = hello.map(|ask| Ask { on_all_cores: true, ..ask.clone() }).collect();
        asks.extend(on_all_cores);
    }
    Plan {
        seed: args.seed.unwrap_or_else(stop::time),
        launches: args.launches.into(),
        minutes: args.minutes,
        slices: args.slices.into(),
        slice: Duration::from_millis(args.slice_ms),
        lead_in: LEAD_IN,
        warm_up: Duration::from_millis(args.warm_up_ms),
        regime: match args.regime {
            Cores::Isolated => Regime::Isolated,
            Cores::Shared => Regime::Shared,
        },
        worker_cores: args.worker_cores,
        family: args.family.into(),
        processes: args.processes.clone(),
        clients: args.clients,
        streams: args.streams,
        multiplexed: args.multiplexed,
        asks,
        rate: args.rate,
    }
}

/// What is compared. Where nothing else is said: `/hello` in all modes; what handlers do otherwise with kept connections, which
/// front ends prefer; and waits multiplexed, which is what multiplexing is for.
fn asks(args: &Args) -> Vec<Ask> {
    let hello = MODES.map(Ask::hello).to_vec();
    let ask = |name: &str, mode| Mix::named(name).map(|workload| Ask::of(mode, workload));
    if args.modes.is_empty() && args.workload.is_empty() && !args.full {
        let kept = Mix::NAMED.into_iter().skip(1).filter_map(|(name, _)| ask(name, Mode::Keep));
        return hello.into_iter().chain(kept).chain(ask("wait", Mode::Multiplex)).collect();
    }
    let workloads = match &args.workload[..] {
        [] if args.full => Mix::NAMED.into_iter().filter_map(|(name, _)| Mix::named(name)).collect(),
        [] => vec![Mix::default()],
        asked => asked.to_vec(),
    };
    let modes = if args.modes.is_empty() { &MODES[..] } else { &args.modes };
    let product =
        workloads.iter().flat_map(|workload| modes.iter().map(|&mode| Ask::of(mode, workload.clone())));
    product.collect()
}

fn default_output(plan: &Plan) -> PathBuf {
    discover::data_folder().join("results").join(experiment::name_now(plan) + ".json")
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=10_000).contains(number))
        .ok_or_else(|| "a number from 1 to 10000".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && rate.is_finite());
    rate.ok_or_else(|| "a positive number of requests per second".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        crate::parse(words)
    }

    #[test]
    fn twelve_launches_of_eight_cells_in_isolation_are_the_default_and_hello_on_all_cores() {
        let plan = plan(&parse(&[]).unwrap());
        assert_eq!((plan.launches, plan.regime, plan.processes), (12, Regime::Isolated, vec![1]));
        let (on_all_cores, asks): (Vec<Ask>, Vec<Ask>) =
            plan.asks.into_iter().partition(|ask| ask.on_all_cores);
        let names = |asks: &[Ask]| {
            let name = |ask: &Ask| format!("{} {}", ask.workload.name(), ask.mode);
            asks.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let expected = "hello close, hello keep, hello multiplex, cpu keep, wait keep, upload keep, mixed keep, wait multiplex";
        assert_eq!(names(&asks), expected);
        assert_eq!(names(&on_all_cores), "hello close, hello keep, hello multiplex");
        let count = |words: &[&str]| self::plan(&parse(words).unwrap()).asks.len();
        assert_eq!(count(&["--full"]), 5 * 3 + 3);
        assert_eq!(count(&["--workload", "wait", "--modes", "keep"]), 1);
        assert_eq!(count(&["--regime", "shared"]), 8);
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let args = parse(&["--processes", "1,2,13", "--modes", "close,keep", "--entries", "a,b"]).unwrap();
        assert_eq!(args.processes, [1, 2, 13]);
        assert_eq!(args.modes, [Mode::Close, Mode::Keep]);
        assert_eq!(args.entries, ["a", "b"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [["--launches", "0"], ["--processes", "0"], ["--rate", "-1"], ["--modes", "shut"]] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }
}
