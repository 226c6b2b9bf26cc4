//! What `fcgi-lab` has measured is not lost: not to its own report, not to an earlier or a later result, not to an output
//! that cannot be written, not to a signal.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use bench_harness::discover;
use bench_harness::experiment::Record;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn fcgi_lab(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"));
    command.args(words).stdin(Stdio::null());
    command
}

/// One strategy in one mode, as short as can be.
fn compare(output: &Path, more: &[&str]) -> Command {
    let mut command =
        fcgi_lab(&["compare", "--slice-ms", "5", "--slices", "2", "--warm-up-ms", "5", "--regime", "shared"]);
    command.args(["--modes", "close", "--clients", "2", "--no-system-calls", "--entries", &strategy()]);
    command.arg("--output").arg(output).args(more);
    command
}

fn strategies() -> Vec<String> {
    let sources = discover::sources().unwrap();
    sources.iter().filter(|source| !source.is_floor()).map(|source| source.name().to_owned()).collect()
}

fn strategy() -> String {
    strategies().swap_remove(1)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A kept run's raw data.
fn data() -> PathBuf {
    discover::data_folder().join("results/2026-11-23/modes.json")
}

fn record(file: &Path) -> Record {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe's writing end, with nobody at the other.
fn unread() -> OwnedFd {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit status 2, nothing done, and one line that has these words.
#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[track_caller]
fn wait_for(file: &Path, child: &mut Child) {
    while !file.exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself, or kept nothing before its end");
        thread::sleep(Duration::from_millis(10));
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn a_report_never_takes_the_place_of_its_data() {
    let folder = folder();
    for name in ["data.html", "data.md"] {
        let file = folder.path().join(name);
        fs::copy(data(), &file).unwrap();
        assert_refused(&fcgi_lab(&["report"]).arg(&file).output().unwrap(), &[name, "rename"]);
        assert_eq!(fs::read(&file).unwrap(), fs::read(data()).unwrap(), "{name}");
    }
    // By another name, too.
    let link = folder.path().join("data.json");
    symlink("data.html", &link).unwrap();
    assert_refused(&fcgi_lab(&["report"]).arg(&link).output().unwrap(), &["data.html"]);
    assert_eq!(fs::read(&link).unwrap(), fs::read(data()).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn raw_data_are_not_written_where_their_report_goes() {
    let folder = folder();
    for name in ["run.html", "run.md"] {
        let output = compare(&folder.path().join(name), &["--launches", "1"]).output().unwrap();
        assert_refused(&output, &[name, "run.json"]);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_there_is_kept_unless_it_is_to_be_replaced() {
    for name in ["run.json", "run.md", "run.html"] {
        let folder = folder();
        let (file, run) = (folder.path().join(name), folder.path().join("run.json"));
        fs::write(&file, "precious").unwrap();
        let output = compare(&run, &["--launches", "1"]).output().unwrap();
        assert_refused(&output, &[name, "exists", "--overwrite"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let folder = folder();
    let run = folder.path().join("run.json");
    fs::write(&run, "precious").unwrap();
    let output = fcgi_lab(&["soak", "--seconds", "10", "--json"]).arg(&run).output().unwrap();
    assert_refused(&output, &["run.json", "exists", "--overwrite"]);
    assert_eq!(fs::read_to_string(&run).unwrap(), "precious");

    // Asked to, it does, and without a reader it goes on: what it measures goes to files.
    let output = compare(&run, &["--launches", "1", "--overwrite"]).stdout(unread()).output().unwrap();
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
    assert_eq!(record(&run).trials.len(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "data, page, tables, and nothing unfinished");
}

#[test]
fn a_report_replaces_no_text_that_is_not_its_own() {
    let folder = folder();
    let (file, notes) = (folder.path().join("run.json"), folder.path().join("run.md"));
    fs::copy(data(), &file).unwrap();
    fs::write(&notes, "notes").unwrap();
    let report = |more: &[&str]| fcgi_lab(&["report"]).arg(&file).args(more).output().unwrap();
    assert_refused(&report(&[]), &["run.md", "exists", "--overwrite"]);
    assert_eq!(fs::read_to_string(&notes).unwrap(), "notes");
    assert!(!file.with_extension("html").exists());
    assert!(report(&["--overwrite"]).status.success());
    assert_ne!(fs::read_to_string(&notes).unwrap(), "notes");
    // The same bytes: nothing is lost.
    assert!(report(&[]).status.success());
}

#[test]
fn an_output_that_cannot_be_written_is_known_before_anything_is_measured() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    // Below a file, in a folder that nobody can make, and a folder itself.
    for output in [file.join("run.json"), "/proc/nowhere/run.json".into(), folder.path().to_owned()] {
        let name = output.display().to_string();
        assert_refused(&compare(&output, &["--launches", "1"]).output().unwrap(), &["cannot write", &name]);
        let soak = fcgi_lab(&["soak", "--seconds", "10", "--json"]).arg(&output).output().unwrap();
        assert_refused(&soak, &["cannot write", &name]);
    }
}

#[test]
fn a_plan_of_nothing_is_refused_and_not_taken_for_an_interrupted_one() {
    let folder = folder();
    let single = record(&data())
        .entries
        .into_iter()
        .find(|entry| entry.kind == bench_harness::Kind::Strategy && !entry.multiplexes);
    let words = ["compare", "--modes", "multiplex", "--regime", "shared", "--entries", &single.unwrap().name];
    let mut command = fcgi_lab(&words);
    let output = command.arg("--output").arg(folder.path().join("run.json")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("nobody that takes part multiplexes"), "{}", stderr(&output));
}

#[test]
fn data_whose_folder_has_gone_are_kept_elsewhere() {
    let folder = folder();
    let [results, gone, temporary] = ["results", "gone", "temporary"].map(|name| folder.path().join(name));
    fs::create_dir(&temporary).unwrap();
    let file = results.join("run.json");
    let mut command = compare(&file, &["--launches", "1000"]);
    let mut child =
        command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&file, &mut child);
    fs::rename(&results, gone).unwrap();
    fs::write(&results, "a file in the folder's place").unwrap();
    thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));

    let kept: Vec<PathBuf> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    assert!(stderr(&output).contains(&kept.display().to_string()), "{}", stderr(&output));
    assert!(!record(kept).trials.is_empty());
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is_one_line() {
    let folder = folder();
    let file = folder.path().join("run.json");
    fs::copy(data(), &file).unwrap();
    let name = file.to_str().unwrap();

    for words in [&["report", name][..], &["--help"], &["compare", "--help"], &["--version"]] {
        let output = fcgi_lab(words).stdout(unread()).output().unwrap();
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""), "{words:?}");
        let output = fcgi_lab(words).stdout(full()).output().unwrap();
        assert_refused(&output, &["standard output"]);
    }
    assert!(file.with_extension("html").exists() && file.with_extension("md").exists());

    // Before anything is measured.
    let other = folder.path().join("other.json");
    let output = compare(&other, &["--launches", "1"]).stdout(full()).output().unwrap();
    assert_refused(&output, &["standard output"]);
    assert!(!other.exists());
    let output = fcgi_lab(&["soak", "--seconds", "10", &strategy()]).stdout(full()).output().unwrap();
    assert_refused(&output, &["standard output"]);
}

#[test]
fn a_complaint_that_cannot_be_written_keeps_its_exit_status() {
    for stderr in [Stdio::from(full()), unread().into()] {
        let status = fcgi_lab(&["report", "/nonexistent.json"]).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(2));
    }
}

#[test]
fn a_soak_interrupted_in_its_second_strategy_keeps_the_first() {
    let folder = folder();
    let file = folder.path().join("soak.json");
    let [first, second] = [0, 1].map(|at| strategies().swap_remove(at));
    let mut child = fcgi_lab(&["soak", "--seconds", "10", &first, &second, "--json"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&file, &mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));

    let outcomes: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(outcomes.as_array().unwrap().len(), 1);
    assert_eq!(outcomes[0]["strategy"], *first);
    assert!(outcomes[0]["counts"]["answered"].as_u64().unwrap() > 0);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("answered rightly") && table.contains(&first), "{table}");
    assert!(stderr(&output).contains(&format!("{second}: interrupted")), "{}", stderr(&output));
}

#[test]
fn a_folder_for_temporary_files_that_cannot_be_used_is_named() {
    let folder = folder();
    let long = folder.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    let output = folder.path().join("run.json");
    for (temporary, words) in [(long, "too long"), (folder.path().join("missing"), "No such file")] {
        let name = temporary.display().to_string();
        let compared = compare(&output, &["--launches", "1"]).env("TMPDIR", &temporary).output().unwrap();
        assert_refused(&compared, &[&name, words, "TMPDIR"]);
        let soaked = fcgi_lab(&["soak", "--seconds", "10", &strategy()]).env("TMPDIR", &temporary).output();
        assert_refused(&soaked.unwrap(), &[&name, words, "TMPDIR"]);
    }
}
