//! `fcgi-lab question`, as somebody calls it: with claims of its own, so small that it takes seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use bench_harness::front_ends::Server;
use bench_harness::question::{Record, Use};
use bench_harness::{Source, discover};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Any strategy: the test looks at what is recorded, not at how much.
fn strategy() -> String {
    let sources = discover::sources().unwrap();
    sources.iter().find(|source| !source.is_floor()).unwrap().name().to_owned()
}

/// One part, with and without a web server, and one claim about it.
fn claims(folder: &TempDir, uses: &str) -> PathBuf {
    claims_of(folder, uses, &strategy(), "")
}

/// The same of this strategy, with more lines for the part.
fn claims_of(folder: &TempDir, uses: &str, strategy: &str, lines: &str) -> PathBuf {
    let file = folder.path().join("my-claims.toml");
    let text = format!(
        r#"
[[parts]]
name = "part"
title = "A part"
says = "A sentence."
uses = [{uses}]
workloads = ["hello"]
regime = "shared"
processes = ["1", "5"]
clients = [4]
groups = [["{strategy}"]]
{lines}

[startup]
title = "Starts"
says = "Another."
starts = ["sleeps 0 ms"]
pools = [{{ entry = "{strategy}", processes = 1 }}]

[[claims]]
number = 1
source = "ours"
says = "Five processes answer twice as much."
chart = "part"

[[claims.tests]]
says = "five against one"
decides = "today"
part = "part"
metric = "throughput"
of = {{ entry = "{strategy}", processes = "5" }}
to = {{ entry = "{strategy}", processes = "1" }}
claimed = "more"
margin = 2.0
"#
    );
    fs::write(&file, text).unwrap();
    file
}

fn question(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"));
    command.arg("question").args(words).stdin(Stdio::null());
    command
}

fn run(claims: &Path, output: &Path, launches: &str) -> Command {
    let mut command = question(&["--launches", launches, "--minutes", "1", "--seed", "7"]);
    command.arg("--claims").arg(claims).arg("--output").arg(output);
    command
}

/// The clock of a process may be so much behind.
const TICK: Duration = Duration::from_millis(30);

fn read(folder: &Path) -> Record {
    serde_json::from_str(&fs::read_to_string(folder.join("question.json")).unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn everything_is_measured_in_each_launch_and_the_page_is_made_of_the_data_and_their_claims_alone() {
    let folder = tempfile::tempdir().unwrap();
    let claims = claims(&folder, r#""direct close", "lighttpd-spawning close""#);
    let kept = folder.path().join("kept");
    let output = run(&claims, &kept, "2").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let record = read(&kept);
    assert!(record.is_whole);
    // Without lighttpd half of it is left out, by name.
    let uses = if record.skipped.is_empty() { 2 } else { 1 };
    assert_eq!(record.trials.len(), 2 * 2 * uses, "{:?}", record.skipped);
    for trial in &record.trials {
        let figures = trial.measured.figures.as_ref().unwrap_or_else(|| panic!("{trial:?}"));
        assert!(figures.requests > 0 && figures.worker_cpu > Some(Duration::ZERO), "{trial:?}");
        assert_eq!(figures.workers.len(), trial.measured.processes, "{trial:?}");
        let has_front_end = Use::of(&trial.measured.ask).front_end.is_some();
        assert_eq!(figures.front_end_cpu.is_some_and(|cpu| cpu > Duration::ZERO), has_front_end, "{trial:?}");
        // Turns of one process with one thread: lighttpd has no more than the time, whatever its children take.
        assert!(figures.front_end_cpu.is_none_or(|cpu| cpu <= figures.elapsed + TICK), "{trial:?}");
    }
    assert_eq!(record.starts.len(), 2);
    assert!(record.starts.iter().all(|start| start.figures.is_some()), "{:?}", record.starts);

    let files =
        || ["question.html", "question.md", "verdicts.json"].map(|name| fs::read(kept.join(name)).unwrap());
    let before = files();
    let output = question(&["--report"]).arg(&kept).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files(), before);
    let verdicts = String::from_utf8_lossy(&before[2]).into_owned();
    assert!(verdicts.contains("undecided: too few launches"), "{verdicts}");

    // Claims that were changed afterwards decide nothing.
    let changed = fs::read_to_string(&claims).unwrap().replace("margin = 2.0", "margin = 1.0");
    fs::write(kept.join("claims.toml"), changed).unwrap();
    let output = question(&["--report"]).arg(&kept).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("claims cannot be changed"), "{}", said(&output));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
}

#[test]
fn what_a_slow_neighbour_holds_up_is_waited_for_and_no_part_of_the_time_of_a_turn() {
    if Server::HaProxy.find().is_none() {
        return eprintln!("skipped: HAProxy is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let sources = discover::sources().unwrap();
    let strategy = sources.iter().map(Source::name).find(|name| *name == "mio").unwrap();
    let lines = "neighbours = [\"slowly /bytes?n=16777216\"]\nslice_ms = 100";
    let claims = claims_of(&folder, r#""haproxy multiplex""#, strategy, lines);
    let kept = folder.path().join("kept");
    let output = run(&claims, &kept, "1").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    for trial in &read(&kept).trials {
        let slices = &trial.measured.figures.as_ref().unwrap_or_else(|| panic!("{trial:?}")).slices;
        assert!(slices.elapsed_ns.iter().all(|elapsed| *elapsed == 100_000_000), "{slices:?}");
        assert_eq!(slices.longest_ns.len(), slices.elapsed_ns.len());
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let claims = claims(&folder, r#""direct close""#);
    let kept = folder.path().join("kept");
    let mut child = run(&claims, &kept, "3").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !kept.join("question.json").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let before = read(&kept);
    assert!(!before.is_whole && before.trials.len() < 6, "{} trials", before.trials.len());
    assert!(fs::read_to_string(kept.join("question.html")).unwrap().contains("interrupted"));

    let output = question(&["--resume"]).arg(&kept).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let after = read(&kept);
    assert!(after.is_whole);
    assert_eq!((after.trials.len(), after.starts.len()), (6, 3));
    assert_eq!(after.trials[0].measured, before.trials[0].measured);
    // There is nothing more to do.
    let output = question(&["--resume"]).arg(&kept).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn claims_that_make_no_sense_are_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let claims = claims(&folder, r#""apache keep""#);
    let output = run(&claims, &folder.path().join("kept"), "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("apache keep"), "{}", said(&output));
}
