//! All entries side by side: a group for each way of using connections over the number of clients, with one worker process,
//! others for requests that wait, compute or upload, and one over the number of processes, which is the axis of 2007. With FCGI_LAB_PEERS=1 the other implementations that are
//! installed stand beside the strategies.
//!
//! **Criterion measures nothing here.** It finishes one benchmark before it begins the next, so that what is to be compared
//! lies minutes apart, and a machine does not stay the same for minutes. So before it is asked for the first time, all points
//! are measured as `fcgi-lab compare` does it ([`bench_harness::series`]): all pools of a point live at the same
//! time, on the same cores, and have their turns of some milliseconds in an order shuffled anew, in three launches. Then
//! `iter_custom` hands one of these slices to Criterion for each sample that it wants, scaled to the iterations that it asks
//! for. So its mean, its violins, its lines and its baselines tell of an interleaved run. For that:
//!
//! - sampling is flat, since each slice counts as much as any other, and the sample size is the number of slices;
//! - the warm-up is over after one call, which uses up no slice;
//! - the measurement time only says how many iterations Criterion asks for; no time passes;
//! - a run of everything has three minutes for all launches: what does not fit is turns, of which each entry then has fewer;
//! - there are 1,001 resamples: 20,000 take half a second for each benchmark, and say the same. (1,000 make it warn.)
//!
//! Criterion takes the samples for independent, and slices are not: those of a launch share where memory lies and who
//! accepted which connection. So its intervals are too narrow, its "change" would be found too often, and a change of less
//! than 7 % is called noise. The intervals on our own page, `target/criterion/fcgi-lab/index.html`, come from the launches.
//!
//! A filter is Criterion's, and only what it names is built, launched and drawn.

mod laboratory;
mod pages;

use std::collections::HashSet;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::ensure;
use bench_harness::series::{GROUPS, Group, id};
use bench_harness::{Family, launch};
use criterion::measurement::WallTime;
use criterion::{
    AxisScale, BenchmarkGroup, BenchmarkId, Criterion, PlotConfiguration, PlottingBackend, SamplingMode,
};

use laboratory::{Found, Laboratory};
use pages::Pages;

/// What a bad command line ends with.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut criterion = Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .nresamples(1001)
        .noise_threshold(0.07)
        .configure_from_args();
    let outcome = if has("--list") {
        list(&mut criterion)
    } else if !has("--bench") || has("--test") {
        // A test run of the benches: nothing is to be built or timed.
        Ok(ExitCode::SUCCESS)
    } else if has("--profile-time") {
        eprintln!(
            "--profile-time: there is nothing to profile here, the strategies run in processes of their own"
        );
        Ok(ExitCode::from(USAGE))
    } else {
        run(&mut criterion)
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("{why:#}");
        ExitCode::FAILURE
    })
}

/// Whether the command line has this option, with a value or without.
fn has(option: &str) -> bool {
    let is_it = |word: String| word.split('=').next() == Some(option);
    env::args().any(is_it)
}

/// Names every benchmark that there can be. Nothing is built or started, so an entry that turns out not to multiplex is
/// named among those that do.
fn list(criterion: &mut Criterion) -> anyhow::Result<ExitCode> {
    let found = Found::here()?;
    for (group, chart) in charts() {
        let mut benchmarks = criterion.benchmark_group(chart);
        for (name, size) in found.points(group) {
            benchmarks.bench_function(BenchmarkId::new(name, size), |_| {});
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What each chart is called, and what it is of.
fn charts() -> impl Iterator<Item = (&'static Group, &'static str)> {
    GROUPS.iter().flat_map(|group| group.figures().map(move |(chart, _)| (group, chart)))
}

/// The benchmarks that the command line names. Which those are Criterion alone can say, and it says it in a list: so this
/// program is run again.
fn asked() -> anyhow::Result<HashSet<String>> {
    let mut command = Command::new(env::current_exe()?);
    let output = command.arg("--list").args(env::args_os().skip(1)).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the benchmarks cannot be listed: {}: {}", output.status, said.trim());
    let list = String::from_utf8_lossy(&output.stdout);
    Ok(list.lines().filter_map(|line| line.strip_suffix(": benchmark")).map(str::to_owned).collect())
}

fn run(criterion: &mut Criterion) -> anyhow::Result<ExitCode> {
    let asked = asked()?;
    if asked.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let found = Found::here()?;
    if has("--load-baseline") {
        return load(criterion, &found, &asked);
    }
    let pages = Pages::claim()?;
    launch::try_here(Family::Unix)?;
    let (entries, absent) = found.build(&asked);
    let mut laboratory = Laboratory::open(&entries, absent, &asked);
    laboratory.measure()?;
    let mut failures = laboratory.failures.clone();
    for measured in &laboratory.measured {
        for (chart, figure) in measured.group.figures() {
            let mut benchmarks = group(criterion, chart);
            for (name, size) in found.points(measured.group) {
                // Whatever has no samples was named when it was measured.
                if asked.contains(&id(chart, name, size))
                    && let Some(mut samples) = measured.samples(name, size, figure)
                {
                    benchmarks.sample_size(samples.count());
                    failures.extend(
                        hand_out(&mut benchmarks, [chart, name], size, |iterations| samples.next(iterations))
                            .err(),
                    );
                }
            }
        }
    }
    criterion.final_summary();
    pages.write(&laboratory.page())?;
    let [criterions, ours] = [pages.criterions(), pages.ours()];
    eprintln!("\nThe charts, Criterion's and ours:\n{}\n{}", criterions.display(), ours.display());
    Ok(told(&failures))
}

/// Looks again at what is kept: nothing is measured.
fn load(criterion: &mut Criterion, found: &Found, asked: &HashSet<String>) -> anyhow::Result<ExitCode> {
    let kept = pages::home();
    let mut failures = Vec::new();
    for (of, chart) in charts() {
        let mut benchmarks = group(criterion, chart);
        for (name, size) in found.points(of) {
            let id = id(chart, name, size);
            // What takes no part has never been measured.
            if asked.contains(&id) && kept.join(&id).is_dir() {
                failures.extend(hand_out(&mut benchmarks, [chart, name], size, |_| Duration::ZERO).err());
            }
        }
    }
    criterion.final_summary();
    Ok(told(&failures))
}

/// Fails if something could not be measured.
fn told(failures: &[String]) -> ExitCode {
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("\nNot everything was measured:");
    for failure in failures {
        // The whole of it was said when it happened.
        eprintln!("- {}", failure.lines().next().unwrap_or_default());
    }
    ExitCode::FAILURE
}

fn group<'a>(criterion: &'a mut Criterion, chart: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(chart);
    group
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_nanos(1))
        .measurement_time(Duration::from_millis(10))
        .plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    group
}

/// Gives Criterion the samples of a point. It panics where the baseline that it is to compare with, or to load, is missing.
fn hand_out(
    group: &mut BenchmarkGroup<'_, WallTime>,
    [chart, name]: [&str; 2],
    size: usize,
    mut sample: impl FnMut(u64) -> Duration,
) -> Result<(), String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter_custom(&mut sample);
        });
    }));
    panic::set_hook(hook);
    outcome.map_err(|why| {
        let why = why.downcast_ref::<String>().map_or("a bug in the harness", String::as_str);
        let failure = format!("{}: {why}", id(chart, name, size));
        eprintln!("{failure}");
        failure
    })
}
