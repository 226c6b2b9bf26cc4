//! `fcgi-lab compare` and `fcgi-lab report`, as somebody calls them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use bench_harness::experiment::{Record, Trial};
use bench_harness::{Family, Kind, Pool, builds, discover};
use rustix::process::{Pid, Signal, kill_process};

/// Short slices, everybody on all cores: what comes of it is looked at, not how much.
fn compare(output: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"));
    command.args(["compare", "--slice-ms", "20", "--slices", "3", "--warm-up-ms", "20", "--clients", "4"]);
    if !more.contains(&"--regime") {
        command.args(["--regime", "shared"]);
    }
    command.args(["--no-system-calls", "--output"]).arg(output).args(more).stdin(Stdio::null());
    command
}

fn entries() -> String {
    let sources = discover::sources().unwrap();
    sources.iter().take(2).map(|source| source.name()).collect::<Vec<_>>().join(",")
}

fn read(file: &Path) -> Record {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn every_entry_and_the_twin_run_once_in_each_mode_of_each_launch_and_the_report_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let words = ["--launches", "2", "--modes", "close,keep", "--processes", "1,2", "--seed", "7"];
    let output = compare(&file, &words).args(["--entries", &entries()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let record = read(&file);
    // Two entries and the twin, two modes, two numbers of processes, two launches.
    assert_eq!(record.trials.len(), 3 * 2 * 2 * 2);
    for trial in &record.trials {
        let figures = trial.figures.as_ref().unwrap_or_else(|| panic!("{trial:?}"));
        assert!(figures.requests > 0 && figures.worker_cpu > Some(Duration::ZERO), "{trial:?}");
        assert_eq!(figures.workers.len(), trial.processes, "{trial:?}");
        let slices = &figures.slices;
        assert_eq!((slices.requests.len(), slices.elapsed_ns.len()), (3, 3), "{trial:?}");
        assert_eq!(slices.requests.iter().sum::<u64>(), figures.requests, "{trial:?}");
    }
    assert!(record.entries.iter().all(|entry| entry.verified.failed.is_empty()));

    let reports = || ["md", "html"].map(|form| fs::read(file.with_extension(form)).unwrap());
    let before = reports();
    let output = Command::new(env!("CARGO_BIN_EXE_fcgi-lab")).arg("report").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(reports(), before);
}

#[test]
fn a_model_whose_has_thread_per_core_has_one_on_a_core_of_its_own_and_runs_on_all_cores_too() {
    let sources = discover::sources().unwrap();
    let Some(loops) = sources.iter().find(|source| source.has_thread_per_core()) else {
        eprintln!("there is no such model");
        return;
    };
    if thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("there is no core for the workers alone");
        return;
    }
    let other = sources.iter().find(|source| !source.is_floor() && !source.has_thread_per_core()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let entries = format!("{},{}", loops.name(), other.name());
    let words = ["--launches", "1", "--modes", "close", "--regime", "isolated", "--reference", other.name()];
    let output = compare(&file, &words).args(["--entries", &entries]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let record = read(&file);
    let threads = |on_all_cores: bool| {
        let is_meant = |trial: &&Trial| trial.ask.on_all_cores == on_all_cores && trial.entry == loops.name();
        let mut trials = record.trials.iter().filter(is_meant);
        trials.next().unwrap().figures.as_ref().unwrap().workers[0].threads
    };
    assert!(threads(false) < threads(true), "{record:?}");
    // The reference and its twin beside it.
    assert_eq!(record.trials.iter().filter(|trial| trial.ask.on_all_cores).count(), 3);
}

#[test]
fn an_interrupted_run_keeps_its_whole_launches_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let sockets = folder.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let mut child = compare(&file, &["--launches", "1000", "--modes", "close"])
        .args(["--entries", &entries()])
        .env("TMPDIR", &sockets)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !file.exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let record = read(&file);
    let launches = record.trials.iter().map(|trial| trial.launch).max().unwrap();
    assert!((1..1000).contains(&launches) && record.trials.len() == launches * 3, "{launches} launches");
    assert!(file.with_extension("html").exists());
    // Its pools' sockets; and a pool that still ran would hold one.
    assert_eq!(fs::read_dir(&sockets).unwrap().count(), 0);
}

#[test]
fn a_run_that_was_interrupted_goes_on_as_it_was_planned_where_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let words = ["--launches", "3", "--modes", "close", "--seed", "7", "--entries", &entries()];
    let output = compare(&file, &words).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let whole = read(&file);
    let write = |record: &Record| fs::write(&file, serde_json::to_string(record).unwrap()).unwrap();
    let resume = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"));
        command.args(["compare", "--resume"]).arg(&file).stdin(Stdio::null()).output().unwrap()
    };
    let trials = |record: &Record, launches: std::ops::RangeInclusive<usize>| {
        let of = record.trials.iter().filter(|trial| launches.contains(&trial.launch));
        of.map(|trial| (trial.launch, trial.entry.clone(), trial.connections)).collect::<Vec<_>>()
    };

    let mut cut = whole.clone();
    cut.trials.retain(|trial| trial.launch == 1);
    write(&cut);
    let output = resume();
    assert!(output.status.success(), "{}", said(&output));
    let resumed = read(&file);
    assert_eq!(resumed.trials[..3], whole.trials[..3]);
    assert_eq!(trials(&resumed, 1..=3), trials(&whole, 1..=3));
    assert_eq!(resumed.plan, whole.plan);

    let elsewhere = {
        let mut record = cut.clone();
        record.machine.host.push('2');
        record
    };
    write(&elsewhere);
    let output = resume();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("it was measured on"), "{}", said(&output));
    assert_eq!(read(&file), elsewhere);

    let output = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"))
        .args(["compare", "--launches", "3", "--resume"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn programs_of_a_folder_take_part_under_their_files_names() {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // Asked by fcgi-verify under the file's name, as a strategy is.
    let source = &discover::sources().unwrap().into_iter().find(|source| !source.is_floor()).unwrap();
    let name = source.name().to_owned();
    let binary = bench_harness::builds::build(source).unwrap().binary().to_owned();
    fs::copy(&binary, programs.join("before")).unwrap();
    fs::write(programs.join("notes"), "no program").unwrap();
    let file = folder.path().join("run.json");
    let words = ["--launches", "1", "--modes", "close", "--entries", &name, "--programs"];
    let output = compare(&file, &words).arg(&programs).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let entries: Vec<String> = read(&file).entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(entries, [name.as_str(), "before"]);

    fs::rename(programs.join("before"), programs.join(&name)).unwrap();
    let output = compare(&folder.path().join("other.json"), &words).arg(&programs).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("has the name of another entry"), "{}", said(&output));
}

/// A server that answers already, of whichever strategy can be had, until it is dropped.
fn server(family: Family) -> Pool {
    let sources = discover::sources().unwrap();
    let mut strategies = sources.iter().filter(|source| !source.is_floor());
    let strategy = strategies.find_map(|source| builds::build(source).ok()).unwrap();
    Pool::launch(&strategy, family, &["--processes", "2"]).unwrap()
}

/// Column `column` of the row that begins with `entry`, in each table that has both.
fn cells(markdown: &str, column: &str, entry: &str) -> Vec<String> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut at = None;
    for row in markdown.lines().map(cells) {
        match row.get(1) {
            None => at = None,
            Some(name) if name.starts_with(entry) => found.extend(at.map(|at: usize| row[at].clone())),
            Some(_) => at = row.iter().position(|name| name == column).or(at),
        }
    }
    found
}

#[test]
fn a_target_alone_is_measured_and_what_cannot_be_known_of_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let pool = server(Family::Tcp);
    let words = ["--launches", "2", "--workload", "hello", "--target", &format!("{}=there", pool.address())];
    let output = compare(&file, &words).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let record = read(&file);
    let [there] = &record.entries[..] else { panic!("{:?}", record.entries) };
    assert_eq!((there.name.as_str(), there.kind, there.idle_share), ("there", Kind::Target, None));
    assert_eq!(there.address, Some(pool.address().to_string()));
    assert!(there.verified.passed > 0 && there.verified.failed.is_empty(), "{there:?}");
    // Itself and its twin, in each mode that it takes.
    assert_eq!(record.trials.len(), 2 * 2 * if there.multiplexes { 3 } else { 2 });
    for trial in &record.trials {
        let figures = trial.figures.as_ref().unwrap_or_else(|| panic!("{trial:?}"));
        assert!(figures.requests > 0 && figures.latency_p50_ns > 0, "{trial:?}");
        assert!(figures.generator_cpu > Duration::ZERO, "{trial:?}");
        assert_eq!((figures.worker_cpu, figures.user_share, figures.switches), (None, None, None));
        let slices = &figures.slices;
        assert!(figures.workers.is_empty() && slices.cpu_ns.is_empty() && slices.run_delay_ns.is_empty());
        assert_eq!((slices.requests.len(), slices.elapsed_ns.len()), (3, 3));
    }

    let markdown = fs::read_to_string(file.with_extension("md")).unwrap();
    for column in
        ["CPU µs/request", "verdict", "threads", "user CPU", "workers' load", "system calls", "PSS KiB"]
    {
        let cells = cells(&markdown, column, "there (target)");
        assert!(!cells.is_empty() && cells.iter().all(|cell| cell == "not known"), "{column}: {cells:?}");
    }
    for column in ["requests/s", "p50 µs", "generator load", "peak in flight"] {
        let cells = cells(&markdown, column, "there (target)");
        let is_number = |cell: &String| cell.starts_with(|letter: char| letter.is_ascii_digit());
        assert!(!cells.is_empty() && cells.iter().all(is_number), "{column}: {cells:?}");
    }
    let page = fs::read_to_string(file.with_extension("html")).unwrap();
    for text in [&markdown, &page] {
        assert!(text.contains("there was there already, at tcp:"), "{text}");
        assert!(text.contains("not known: all workers were there already"), "{text}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_fcgi-lab")).args(["report", "--json"]).arg(&file).output();
    let json: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let entry = &json["cells"][0]["entries"][0];
    assert_eq!((&entry["kind"], &entry["verdict"]), (&"target".into(), &"not known".into()));
    assert_eq!((&entry["cpu_us_per_request"], &entry["threads"]), (&"not known".into(), &"not known".into()));
    assert!(entry["requests_per_second"]["center"].as_f64() > Some(0.0), "{entry}");
    // It was not this run's to end.
    assert!(bench_harness::check(pool.address()).is_ok());
    pool.drain().unwrap();
}

#[test]
fn a_target_stands_beside_entries_which_keep_what_is_known_of_them_and_its_run_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let pool = server(Family::Unix);
    let address = pool.address().to_string();
    let sources = discover::sources().unwrap();
    let name = sources.iter().find(|source| !source.is_floor()).unwrap().name();
    let words = ["--launches", "2", "--modes", "close", "--entries", name, "--target", &address];
    let output = compare(&file, &words).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let whole = read(&file);
    assert_eq!((whole.reference.as_str(), whole.trials.len()), (name, 3 * 2));
    for trial in &whole.trials {
        let figures = trial.figures.as_ref().unwrap_or_else(|| panic!("{trial:?}"));
        assert_eq!(figures.worker_cpu.is_some(), trial.entry != address, "{trial:?}");
    }
    let markdown = fs::read_to_string(file.with_extension("md")).unwrap();
    assert!(cells(&markdown, "threads", name).iter().all(|cell| cell != "not known"), "{markdown}");
    assert!(!cells(&markdown, "threads", &address).is_empty(), "{markdown}");

    let mut cut = whole.clone();
    cut.trials.retain(|trial| trial.launch == 1);
    fs::write(&file, serde_json::to_string(&cut).unwrap()).unwrap();
    let mut resume = Command::new(env!("CARGO_BIN_EXE_fcgi-lab"));
    let output = resume.args(["compare", "--resume"]).arg(&file).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(&file).trials.len(), whole.trials.len());
}

#[test]
fn a_target_that_cannot_be_asked_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}", folder.path().join("nobody").display());
    let taken = discover::sources().unwrap()[0].name().to_owned();
    for (targets, words) in [
        (vec![nobody.clone()], "nobody takes part: unix:"),
        (vec!["10.0.0.2:9000".to_owned()], "is no address"),
        (vec![format!("{nobody}={taken}")], "is another entry's name"),
        (vec![format!("{nobody}=a"), format!("{nobody}=a")], "is another entry's name"),
        (vec![format!("{nobody}=a (twin)")], "is another entry's name"),
    ] {
        let mut command = compare(&folder.path().join("run.json"), &["--modes", "close"]);
        command.args(targets.iter().flat_map(|target| ["--target", target]));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{targets:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{targets:?}: {}", said(&output));
    }
}

#[test]
fn an_entry_that_does_not_exist_is_refused_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = compare(&folder.path().join("run.json"), &["--entries", "nobody"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(said.contains("no entry nobody") && said.contains("php-fpm"), "{said}");
    // Forms, too, which take part where they are named.
    let all = discover::all().unwrap();
    let forms: Vec<&str> = all.iter().filter(|source| source.is_form()).map(|source| source.name()).collect();
    assert!(!forms.is_empty() && forms.iter().all(|form| said.contains(form)), "{said}");
}
