//! From raw data that are known to what is said of them.

use std::time::Duration;

use fcgi_load::Mode;

use super::findings::{Cause, Findings};
use super::metric::Metric;
use super::verdict::Verdict;
use super::{markdown, page, series_page};
use crate::entry::Kind;
use crate::experiment::{
    Ask, FORMAT, Figures, Machine, Participant, Plan, Record, Regime, Skipped, Slices, Switches, SystemCalls,
    Trial, Verified, Versions, Worker, twin_of,
};
use crate::launch::Family;
use crate::series::{GROUPS, Measured};

/// What drifts on a machine from launch to launch: it meets everybody alike.
const DRIFT: [f64; 12] = [1.0, 0.8, 1.3, 0.7, 1.1, 0.9, 1.2, 1.05, 0.95, 0.6, 1.4, 1.0];
/// What a launch differs by on its own, up and down.
const NOISE: [f64; 12] = [1.01, 0.99, 1.005, 0.995, 1.0, 1.012, 0.988, 1.002, 0.998, 1.008, 0.993, 1.0];

/// A run of so many launches in which `twice` always does twice what the reference `base` does, for half the CPU time,
/// and `same` the same.
fn record(launches: usize) -> Record {
    let mut trials = Vec::new();
    for launch in 1..=launches {
        for (at, name) in ["base", &twin_of("base"), "twice", "same"].into_iter().enumerate() {
            for mode in [Mode::Close, Mode::Keep, Mode::Multiplex] {
                let noise = NOISE[(launch * 5 + at * 3) % NOISE.len()];
                let speed = if name == "twice" { 2.0 } else { 1.0 } * noise * DRIFT[launch % DRIFT.len()];
                // Kept connections cost half, multiplexed ones a tenth of that.
                let cost = match mode {
                    Mode::Close => 20.0,
                    Mode::Keep => 10.0,
                    Mode::Multiplex => 1.0,
                };
                trials.push(trial(launch, name, mode, 10_000.0 * speed, cost / speed));
            }
        }
    }
    Record {
        format: FORMAT,
        date: "2007-11-23T12:00:00Z".to_owned(),
        machine: Machine {
            host: "host".to_owned(),
            kernel: "Linux 6".to_owned(),
            cpu: "a model".to_owned(),
            cores: 2,
            memory_kib: 4 << 20,
            load_average: "0.00 0.00 0.00".to_owned(),
        },
        versions: Versions { commit: Some("0".repeat(40)), modified: false, rustc: "rustc".to_owned() },
        plan: Plan {
            seed: 1,
            launches,
            minutes: None,
            slices: 1,
            slice: Duration::from_secs(1),
            lead_in: Duration::ZERO,
            warm_up: Duration::from_millis(300),
            regime: Regime::Isolated,
            worker_cores: None,
            family: Family::Unix,
            processes: vec![1],
            clients: 16,
            streams: 8,
            multiplexed: None,
            asks: [Mode::Close, Mode::Keep, Mode::Multiplex].map(Ask::hello).to_vec(),
            rate: None,
        },
        reference: "base".to_owned(),
        entries: ["base", "same", "twice"].map(participant).to_vec(),
        skipped: vec![Skipped { name: "absent".to_owned(), reason: "no <compiler>".to_owned() }],
        trials,
        system_calls: vec![SystemCalls {
            entry: "base".to_owned(),
            mode: Mode::Keep,
            counted_by: Ok("strace".to_owned()),
            requests: 1000,
            calls: vec![
                ("recvfrom".to_owned(), 1000),
                ("sendto".to_owned(), 1000),
                ("epoll_wait".to_owned(), 62),
            ],
        }],
    }
}

fn participant(name: &str) -> Participant {
    let verified = Verified { passed: 24, ..Verified::default() };
    Participant {
        name: name.to_owned(),
        kind: Kind::Strategy,
        version: None,
        connections: 1000,
        multiplexes: true,
        wakes_all: false,
        has_thread_per_core: false,
        is_form: false,
        address: None,
        idle_share: Some(0.0),
        verified,
    }
}

fn trial(launch: usize, name: &str, mode: Mode, requests: f64, cpu_us: f64) -> Trial {
    let figures = Figures {
        requests: requests as u64,
        elapsed: Duration::from_secs(1),
        worker_cpu: Some(Duration::from_secs_f64(requests * cpu_us / 1e6)),
        front_end_cpu: None,
        user_share: Some(0.25),
        generator_cpu: Duration::from_millis(500),
        latency_p50_ns: 100_000,
        latency_p99_ns: 200_000,
        achieved_by_offered: None,
        peak_in_flight: if mode == Mode::Multiplex { 8 } else { 1 },
        parsed: 1,
        switches: Some(Switches { voluntary: requests as u64, involuntary: 0, requests: requests as u64 }),
        workers: vec![Worker { rss_kib: 3000, pss_kib: 1000, threads: 1, cpu: Duration::from_secs(1) }],
        slices: Slices::default(),
    };
    let (connections, streams) = if mode == Mode::Multiplex { (2, 8) } else { (16, 1) };
    Trial {
        launch,
        entry: name.to_owned(),
        ask: Ask::hello(mode),
        processes: 1,
        connections,
        streams,
        void: None,
        figures: Some(figures),
    }
}

/// The verdict in keep mode.
fn verdict(findings: &Findings<'_>, name: &str) -> Verdict {
    let cell = findings.cells.iter().find(|cell| cell.ask.mode == Mode::Keep).unwrap();
    let row = cell.rows.iter().find(|row| row.entry.name == name).unwrap();
    row.verdict
}

#[test]
fn a_known_difference_is_found_under_a_drift_that_is_larger_than_it() {
    let record = record(11);
    let findings = Findings::of(&record);
    let cell = &findings.cells[1];
    let twice = cell.rows.iter().find(|row| row.entry.name == "twice").unwrap();
    let ratio = |metric| twice.by(metric).ratio.unwrap();
    let throughput = ratio(Metric::Throughput);
    assert!(
        (throughput.center - 2.0).abs() < 0.05 && throughput.low > 1.95 && throughput.high < 2.05,
        "{throughput:?}"
    );
    assert!((ratio(Metric::Cpu).center - 0.5).abs() < 0.02);
    assert!((ratio(Metric::Tail).center - 1.0).abs() < 1e-9);
    assert_eq!(
        ["twice", "same", "base"].map(|name| verdict(&findings, name)),
        [Verdict::Less, Verdict::Equal, Verdict::None]
    );
    assert!(findings.metrics.iter().all(|metric| findings.unfit(*metric).is_empty()));
    assert!(findings.summary().contains("base, run twice under two names, did not differ from itself"));
}

#[test]
fn a_ratio_that_is_not_known_well_has_a_cause() {
    // How far a launch is off, and its slices in it; none: CPU is told for the launch alone.
    let cause = |of_launch: f64, of_slices: Option<f64>| {
        let mut record = record(12);
        for trial in &mut record.trials {
            let off = of_launch * if trial.launch.is_multiple_of(2) { 1.0 } else { -1.0 };
            let Some(figures) = trial.figures.as_mut().filter(|_| trial.entry == "same") else { continue };
            figures.worker_cpu = figures.worker_cpu.map(|cpu| cpu.mul_f64(off.exp()));
        }
        for trial in &mut record.trials {
            let (Some(figures), Some(spread)) = (&mut trial.figures, of_slices) else { continue };
            let spread = if trial.entry == "same" { spread } else { 0.0 };
            let cpu = figures.worker_cpu.unwrap().as_nanos() as f64 / figures.requests as f64;
            let slice = |at: i32| (1000.0 * cpu * (f64::from(at - 4) / 4.0 * spread).exp()) as u64;
            figures.slices = Slices {
                requests: vec![1000; 9],
                elapsed_ns: vec![1_000_000; 9],
                cpu_ns: (0..9).map(slice).collect(),
                run_delay_ns: Vec::new(),
                ..Slices::default()
            };
        }
        let findings = Findings::of(&record);
        let vague = findings.vague(&findings.cells[0]);
        vague.iter().find(|(row, ..)| row.entry.name == "same").map(|(.., cause)| *cause)
    };
    assert_eq!(cause(0.05, None), Some(Cause::WholeLaunches));
    assert_eq!(cause(0.05, Some(0.01)), Some(Cause::Launches));
    assert_eq!(cause(0.05, Some(0.5)), Some(Cause::Slices));
}

#[test]
fn what_a_mode_saves_is_a_ratio_within_the_entry() {
    let record = record(11);
    let findings = Findings::of(&record);
    let gain =
        |from| findings.gains.iter().find(|gain| gain.entry.name == "twice" && gain.from == from).unwrap();
    assert!((gain(Mode::Close).ratio.center - 0.5).abs() < 0.01);
    assert!((gain(Mode::Keep).ratio.center - 0.1).abs() < 0.001);
}

#[test]
fn a_run_of_one_mode_says_nothing_of_what_others_save() {
    let mut record = record(11);
    record.plan.asks = vec![Ask::hello(Mode::Keep)];
    let text = markdown(&record);
    assert!(text.contains("## CPU per request") && !text.contains("keep : close"), "{text}");
}

#[test]
fn nine_launches_have_intervals_and_no_verdict_however_clear_they_look() {
    let record = record(9);
    let findings = Findings::of(&record);
    assert_eq!(verdict(&findings, "twice"), Verdict::TooFewLaunches);
    assert!(findings.summary().starts_with("Too few launches for a verdict: 9, and 10 are needed."));
    let text = markdown(&record);
    assert!(text.contains("too few launches") && text.contains("0.50 (0."), "{text}");
    assert_eq!(verdict(&Findings::of(&self::record(10)), "twice"), Verdict::Less);
}

#[test]
fn a_twin_that_differs_from_itself_makes_the_run_unfit() {
    let mut record = record(11);
    for trial in record
        .trials
        .iter_mut()
        .filter(|trial| trial.entry == twin_of("base") && trial.ask.mode == Mode::Keep)
    {
        trial.figures.as_mut().unwrap().requests *= 2;
    }
    let findings = Findings::of(&record);
    assert_eq!(verdict(&findings, "twice"), Verdict::Unfit);
    assert!(findings.summary().contains("unfit for CPU per request in keep, throughput in keep"));
    // Other modes are as fit as they were.
    assert_eq!(findings.cells[0].rows[2].verdict, Verdict::Less);
    for text in [markdown(&record), page(&record)] {
        assert!(text.contains("unfit run") && text.contains(" %, unfit"), "{text}");
    }
}

#[test]
fn throughput_that_may_be_the_generators_limit_is_named() {
    let mut record = record(11);
    for trial in record.trials.iter_mut().filter(|trial| trial.entry == "twice") {
        trial.figures.as_mut().unwrap().generator_cpu = Duration::from_millis(970);
    }
    // CPU per request is the workers' own.
    assert_eq!(verdict(&Findings::of(&record), "twice"), Verdict::Less);
    assert!(
        markdown(&record)
            .contains("- keep: throughput may be the generator's limit, not their own, in twice.")
    );
}

#[test]
fn an_open_loop_tells_of_latencies_and_not_of_the_rate_that_it_asked_for() {
    let mut record = record(11);
    record.plan.rate = Some(1000.0);
    for text in [markdown(&record), page(&record)] {
        assert!(text.contains("p50 µs") && text.contains("p99 µs") && !text.contains("requests/s"), "{text}");
    }
}

#[test]
fn json_has_the_figures_in_full() {
    let record = record(11);
    let json: serde_json::Value = serde_json::from_str(&super::json(&record)).unwrap();
    let keep = &json["cells"][1];
    assert_eq!(
        (&keep["mode"], &keep["workload"], &keep["in_flight"]),
        (&"keep".into(), &"/hello".into(), &16.into())
    );
    let twice = keep["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == "twice").unwrap();
    let ratio = Findings::of(&record).cells[1].rows[2].by(Metric::Cpu).ratio.unwrap();
    assert_eq!(twice["ratio"]["cpu"]["low"].as_f64(), Some(ratio.low));
    assert_eq!(twice["verdict"], "less");
    assert!(keep["twin"]["cpu"]["confidence"].as_f64() > Some(0.95));
}

#[test]
fn both_forms_say_the_same_verdicts() {
    let record = record(11);
    for text in [markdown(&record), page(&record)] {
        assert!(text.contains("equal within 3 %"), "{text}");
        assert!(text.contains("Equality is not corrected"));
        assert!(text.contains("Half of the ratios of CPU per request to base are known within"));
    }
}

#[test]
fn what_ran_on_all_cores_too_stands_in_cells_of_its_own_and_threads_in_every_row() {
    let mut record = record(11);
    record.plan.asks.push(Ask { on_all_cores: true, ..Ask::hello(Mode::Keep) });
    record.entries[2].has_thread_per_core = true;
    let keep = record.trials.iter().filter(|trial| trial.ask.mode == Mode::Keep && trial.entry != "same");
    let mut more: Vec<Trial> = keep.cloned().collect();
    for trial in &mut more {
        trial.ask.on_all_cores = true;
        for worker in trial.figures.iter_mut().flat_map(|figures| &mut figures.workers) {
            worker.threads = if trial.entry == "twice" { 2 + trial.launch as u64 % 2 } else { 1 };
        }
    }
    record.trials.extend(more);
    let text = markdown(&record);
    let (of_keep, on_all_cores) = text.split_once("## keep, on all cores").unwrap();
    assert_eq!(cell(of_keep, "threads", "twice"), "1");
    assert_eq!(cell(on_all_cores, "threads", "twice"), "2 to 3");
    assert_eq!(cell(on_all_cores, "threads", "base"), "1");
    // Nobody is missed there, and what modes save is told of the plan's regime alone.
    assert!(!text.contains("not taken by") && !on_all_cores.contains("| same |"), "{text}");
    assert_eq!(Findings::of(&record).gains.len(), Findings::of(&self::record(11)).gains.len());
    assert!(text.contains("Where threads share the work (twice)"), "{text}");
    assert!(page(&record).contains("<h2>Keep, on all cores</h2>"));
    let json: serde_json::Value = serde_json::from_str(&super::json(&record)).unwrap();
    assert_eq!(json["cells"][3]["on_all_cores"], true);
}

#[test]
fn a_void_launch_takes_no_part_and_is_told() {
    let mut record = record(11);
    let voided = record
        .trials
        .iter_mut()
        .find(|trial| trial.entry == "twice" && trial.ask.mode == Mode::Keep)
        .unwrap();
    (voided.void, voided.figures) = (Some("1 of 9 requests failed: | a wrong body".to_owned()), None);
    let findings = Findings::of(&record);
    let row = findings.cells[1].rows.iter().find(|row| row.entry.name == "twice").unwrap();
    assert_eq!((row.valid, row.by(Metric::Throughput).ratio.unwrap().launches), (10, 10));
    assert!(
        markdown(&record)
            .contains("twice, keep: 1 of 11 launches are void; the first: 1 of 9 requests failed")
    );
}

#[test]
fn the_peak_over_processes_is_found() {
    let mut record = record(11);
    record.plan.processes = vec![1, 2, 4];
    let more: Vec<Trial> = record
        .trials
        .iter()
        .flat_map(|trial| {
            [(2, 3), (4, 2)].map(|(processes, factor)| {
                let mut trial = Trial { processes, ..trial.clone() };
                trial.figures.as_mut().unwrap().requests *= factor;
                trial
            })
        })
        .collect();
    record.trials.extend(more);
    let findings = Findings::of(&record);
    assert_eq!(findings.peaks.len(), 3 * 3);
    assert!(findings.peaks.iter().all(|peak| peak.processes == 2 && peak.launches_won[&2] == 11));
    assert!(page(&record).contains("How many processes help?"));
}

#[test]
fn the_same_data_give_the_same_bytes_also_through_a_file() {
    let record = record(11);
    let json = serde_json::to_string_pretty(&record).unwrap();
    let read: Record = serde_json::from_str(&json).unwrap();
    assert_eq!(read, record);
    assert_eq!(page(&read), page(&record));
    assert_eq!(markdown(&read), markdown(&record));
    assert!(page(&record).contains("no &lt;compiler&gt;"));
}

#[test]
fn a_run_without_a_launch_has_a_report_too() {
    let record = record(0);
    assert!(markdown(&record).contains("Too few launches for a verdict: 0"));
    assert!(page(&record).contains("</html>"));
}

/// The known run, in which `twice` is a server that was there.
fn with_target(launches: usize, address: &str) -> Record {
    let mut record = record(launches);
    let twice = record.entries.iter_mut().find(|entry| entry.name == "twice").unwrap();
    (twice.kind, twice.address, twice.idle_share) = (Kind::Target, Some(address.to_owned()), None);
    for trial in record.trials.iter_mut().filter(|trial| trial.entry == "twice") {
        let figures = trial.figures.as_mut().unwrap();
        (figures.worker_cpu, figures.user_share, figures.switches) = (None, None, None);
        figures.workers.clear();
    }
    record
}

#[test]
fn of_a_target_there_is_throughput_and_no_verdict_and_the_others_are_judged_as_ever() {
    let record = with_target(11, "tcp:192.0.2.1:9000");
    let findings = Findings::of(&record);
    let row = findings.cells[1].rows.iter().find(|row| row.entry.name == "twice").unwrap();
    let throughput = row.by(Metric::Throughput).ratio.unwrap();
    assert!(throughput.low > 1.95 && throughput.high < 2.05, "{throughput:?}");
    assert!(row.by(Metric::Cpu).value.is_none() && row.by(Metric::Cpu).ratio.is_none());
    let verdicts = ["twice", "same"].map(|name| verdict(&findings, name));
    assert_eq!(verdicts, [Verdict::None, Verdict::Equal]);
    assert!(findings.gains.iter().all(|gain| gain.entry.name != "twice"));

    let text = markdown(&record);
    for column in ["keep : close", "CPU µs/request", "verdict", "threads", "PSS KiB", "share of each"] {
        assert_eq!(cell(&text, column, "twice (target)"), "not known", "{column}");
    }
    let elsewhere = "twice was there already, at tcp:192.0.2.1:9000: this run did not start it. Its machine is not the one that is described here";
    for text in [text, page(&record)] {
        assert!(text.contains(elsewhere) && text.contains("equal within 3 %"), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&super::json(&record)).unwrap();
    let entries = json["cells"][1]["entries"].as_array().unwrap();
    let of = |name: &str| entries.iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!(of("twice")["ratio"]["cpu"], "not known");
    assert_eq!(of("twice")["ratio"]["throughput"]["center"].as_f64(), Some(throughput.center));
    assert!(of("same")["ratio"]["cpu"]["center"].is_number());
    assert_eq!(serde_json::from_str::<Record>(&serde_json::to_string(&record).unwrap()).unwrap(), record);
}

/// Or a report of kept data would differ in a last digit from the one that was made with the run.
#[test]
fn a_number_is_read_as_it_was_written() {
    for number in (1..10_000).map(|n| f64::from(n).sqrt()) {
        let written = serde_json::to_string(&number).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&written).unwrap(), number);
    }
}

#[test]
fn where_a_target_is_the_reference_no_ratio_of_cpu_is_known_and_its_twin_still_checks_the_run() {
    let mut record = with_target(11, "unix:/run/app.sock");
    for trial in record.trials.iter_mut().filter(|trial| trial.entry == twin_of("base")) {
        trial.entry = twin_of("twice");
    }
    record.reference = "twice".to_owned();
    let findings = Findings::of(&record);
    // That twin did what base did.
    assert!(!findings.unfit(Metric::Throughput).is_empty() && findings.unfit(Metric::Cpu).is_empty());
    assert!(
        findings.summary().contains("The run is unfit for throughput in close"),
        "{}",
        findings.summary()
    );
    let text = markdown(&record);
    assert_eq!([cell(&text, "verdict", "same"), cell(&text, "threads", "same")], ["not known", "1"]);
    assert!(text.contains("It ran on this machine"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&super::json(&record)).unwrap();
    assert_eq!(json["cells"][0]["twin"]["cpu"], "not known");
}

/// Column `column` of the row of `entry` in the first table that has such a column.
fn cell(markdown: &str, column: &str, entry: &str) -> String {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = markdown.lines().skip_while(|line| !cells(line).iter().any(|name| name == column));
    let at = cells(lines.next().unwrap()).iter().position(|name| name == column).unwrap();
    cells(lines.find(|line| cells(line)[1].starts_with(entry)).unwrap())[at].clone()
}

#[test]
fn percentiles_of_known_times_stand_in_their_columns() {
    // 1, 2, ... 1000 us, in another order: half of them take 500 us at most, 99 of 100 take 990.
    let times = (1..=1000_u64).map(|number| Duration::from_micros(number * 3 % 1001));
    let (p50, p99) = crate::experiment::quantiles(&times.collect());
    let mut record = record(11);
    record.trials.retain(|trial| trial.ask.mode == Mode::Keep);
    for figures in record.trials.iter_mut().filter_map(|trial| trial.figures.as_mut()) {
        (figures.latency_p50_ns, figures.latency_p99_ns) = (p50, p99);
    }
    let markdown = markdown(&record);
    assert_eq!(cell(&markdown, "p50 µs", "twice"), "500", "{markdown}");
    assert_eq!(cell(&markdown, "p99 µs", "twice"), "990", "{markdown}");
}

/// What three launches of the known run say of the first group, with 1 and with 8 clients.
fn measured(record: &Record) -> Measured {
    let of_mode = record.trials.iter().filter(|trial| trial.ask.mode == GROUPS[0].mode);
    let trials = of_mode.flat_map(|trial| [1, 8].map(|size| (size, trial.clone()))).collect();
    Measured { group: &GROUPS[0], turns: GROUPS[0].turns, trials }
}

#[test]
fn a_series_has_a_line_for_each_entry_and_the_same_data_give_the_same_bytes() {
    let record = record(3);
    let page = series_page(&record, &[measured(&record)]);
    assert_eq!(page, series_page(&record, &[measured(&record)]));
    for entry in ["base", "same", "twice"] {
        // At the ends of two lines, one of CPU and one of throughput.
        assert_eq!(page.matches(&format!(">{entry}</text>")).count(), 2, "{entry}");
    }
    // In each table.
    assert_eq!(page.matches("<th>threads</th>").count(), 2);
    assert!(page.contains("75 of 100") && page.contains("no &lt;compiler&gt;"));
    assert!(!page.contains("class=\"hollow "), "16 connections are no fewer than 8 clients");
}

#[test]
fn a_point_of_a_series_is_missing_where_one_launch_is_void_and_the_page_says_why_once() {
    let record = record(3);
    let whole = series_page(&record, &[measured(&record)]).matches("<circle").count();
    let mut torn = measured(&record);
    let failing = torn.trials.iter_mut().filter(|(size, trial)| *size == 8 && trial.entry == "same");
    for (_, trial) in failing.take(2) {
        (trial.void, trial.figures) = (Some("silent".to_owned()), None);
    }
    let torn = [torn];
    let page = series_page(&record, &torn);
    assert_eq!(
        page.matches("same fails in close with 8 clients, so that point is missing: silent").count(),
        1
    );
    // A mark of CPU and one of throughput.
    assert_eq!(page.matches("<circle").count(), whole - 2);
}
