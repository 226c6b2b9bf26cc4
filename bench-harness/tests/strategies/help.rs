//! What --help says is true.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Strategy, check};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::support::{Outcome, programs};
use crate::trial::{Test, takes};

pub(crate) const TESTS: &[Test] = &[
    Test::unix("the_examples_of_help_serve", examples),
    Test::unix("help_is_in_groups_and_fits_a_hundred_columns", groups),
    Test::unix("more_processes_or_threads_than_are_of_use_are_refused_before_they_are_tried", absurd),
];

/// Each line of them is run as a shell would, but for where it listens. Those of programs that are not installed are left out.
fn examples(strategy: &Strategy, _: Family) -> Outcome {
    let help = help(strategy)?;
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let examples: Vec<&str> = lines.take_while(|line| !line.is_empty()).map(str::trim).collect();
    ensure!(examples.len() >= 2, "no examples: {help}");
    ensure!(examples.iter().all(|example| example.len() <= 78), "on 80 columns one is broken: {examples:?}");
    let worker = format!("strategy-{}", strategy.name());
    for example in examples {
        let program = example.split(' ').next().unwrap_or_default();
        if program != worker && programs::find(program).is_none() {
            continue;
        }
        serves(strategy, &worker, example)
            .map_err(|failed| format!("{example}: {}", failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn serves(strategy: &Strategy, worker: &str, example: &str) -> Outcome {
    let family = if example.contains("9000") { Family::Tcp } else { Family::Unix };
    let place = Place::new(family)?;
    let address = place.address().to_string();
    let (_, bare) = address.split_once(':').ok_or("no address")?;
    let line = example
        .replace("127.0.0.1:9000", bare)
        .replace("/run/app.sock", bare)
        .replace(worker, &strategy.binary().display().to_string());
    ensure!(line.contains(bare), "it listens nowhere that is known");
    let mut command = Command::new("sh");
    // A group of its own: what a spawner starts ends with it.
    command.arg("-c").arg(format!("exec {line}")).stdin(Stdio::null()).process_group(0);
    let mut process = Process::spawn(command)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while check(&place.address()).is_err() {
        ensure!(process.exited()?.is_none(), "it has ended: {}", process.stderr());
        ensure!(Instant::now() < deadline, "nobody answers: {}", process.stderr());
        thread::sleep(Duration::from_millis(5));
    }
    process.signal(Signal::TERM)?;
    let status = process.wait(Duration::from_secs(10))?;
    ensure!(status.success(), "it ended with {status} and said: {}", process.stderr());
    Ok(())
}

fn groups(strategy: &Strategy, _: Family) -> Outcome {
    let help = help(strategy)?;
    for group in
        ["Listening:", "Processes and threads:", "Limits of a peer:", "Timeouts:", "Stopping:", "Testing:"]
    {
        ensure!(help.lines().any(|line| line == group), "{group} is missing: {help}");
    }
    let longest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    ensure!(longest <= 100, "a line of {longest} columns: {help}");
    let names_threads = help.contains("--threads");
    ensure!(names_threads == takes(strategy, &["--threads", "2"])?, "--threads: {help}");
    Ok(())
}

fn absurd(strategy: &Strategy, _: Family) -> Outcome {
    let mut wrong =
        vec![("--processes", "100000", "1 to 4096"), ("--processes", "99999999999999999999", "1 to 4096")];
    if takes(strategy, &["--threads", "2"])? {
        wrong.push(("--threads", "1000000", "1 to 10000"));
    }
    for (option, value, range) in wrong {
        let place = Place::new(Family::Unix)?;
        let address = place.address().to_string();
        let mut command = Command::new(strategy.binary());
        command.args(["--listen", &address, option, value]).stdin(Stdio::null());
        let mut process = Process::spawn(command)?;
        let (status, said) = (process.wait(Duration::from_secs(10))?, process.stderr());
        ensure!(status.code() == Some(2), "{option} {value}: {status}, {said}");
        ensure!(said.lines().count() == 1, "one line expected: {said:?}");
        for word in [option, value, range] {
            ensure!(said.contains(word), "{word} is not named: {said:?}");
        }
    }
    Ok(())
}

fn help(strategy: &Strategy) -> Result<String, Failed> {
    let output = Command::new(strategy.binary()).arg("--help").output()?;
    ensure!(output.status.success(), "--help ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
