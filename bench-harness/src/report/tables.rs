//! What a report says, in tables and sentences, whatever it is then written in.

use fcgi_load::Mode;

use super::findings::{Cell, Findings, Row, WITHIN};
use super::metric::Metric;
use super::statistics::median;
use super::verdict::LAUNCHES;
use super::words::{interval, number, or_dash, percent, percent_beyond_one, ratio, twin, verdict, whole};
use crate::entry::Kind;
use crate::experiment::{Ask, BUSY_WHEN_IDLE, Plan, Record, Regime};
use crate::launch::Family;
use crate::mix::Mix;

/// A table: the first column names its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }
}

/// What an entry is called in a report: whose it is, and whether fcgi-verify has failed it.
pub(crate) fn label(row: &Row<'_>) -> String {
    let mut label = row.entry.name.clone();
    match row.entry.kind {
        Kind::Strategy => {}
        Kind::Floor => label.push_str(" (floor)"),
        Kind::Peer => {
            label = format!("{label} {}", short_version(row.entry.version.as_deref().unwrap_or_default()))
        }
    }
    if !row.entry.verified.failed.is_empty() && row.entry.kind == Kind::Peer {
        label.push_str(" †");
    }
    label
}

/// Up to what a distribution adds.
fn short_version(version: &str) -> &str {
    version.split([' ', '-', '+']).next().unwrap_or(version)
}

impl Findings<'_> {
    /// What stands on top: how near the ratios are known, and whether the run is fit.
    pub(crate) fn summary(&self) -> String {
        let reference = &self.record.reference;
        let launches = self.launches();
        let mut sentences = Vec::new();
        let known: Vec<(f64, String)> = self
            .cells
            .iter()
            .flat_map(|cell| cell.rows.iter().map(move |row| (cell, row)))
            .filter_map(|(cell, row)| {
                let reach = row.by(Metric::Cpu).ratio?.reach();
                Some((reach, format!("{} in {}", row.entry.name, self.cell_name(cell))))
            })
            .collect();
        if launches < LAUNCHES {
            sentences.push(format!(
                "Too few launches for a verdict: {launches}, and {LAUNCHES} are needed. There are intervals only."
            ));
        }
        let widest = known.iter().reduce(|one, other| if other.0 > one.0 { other } else { one });
        if let (Some(half), Some((reach, whose))) = (median(known.iter().map(|(reach, _)| *reach)), widest) {
            sentences.push(format!(
                "Half of the ratios of CPU per request to {reference} are known within {}; the widest, {whose}, \
                 within {}.",
                percent_beyond_one(half),
                percent_beyond_one(*reach)
            ));
        }
        let unfit: Vec<String> = self
            .metrics
            .iter()
            .flat_map(|&metric| {
                let cells = self.unfit(metric).into_iter();
                cells.map(move |cell| format!("{} in {}", metric.name(), self.cell_name(cell)))
            })
            .collect();
        let twin_ran = self.cells.iter().any(|cell| cell.twin(Metric::Cpu).is_some());
        if !unfit.is_empty() {
            sentences.push(format!(
                "The run is unfit for {}: there {reference}, run twice under two names, differed from itself.",
                unfit.join(", ")
            ));
        } else if launches >= LAUNCHES && twin_ran {
            sentences.push(format!(
                "{reference}, run twice under two names, did not differ from itself, as it must not."
            ));
        }
        sentences.join(" ")
    }

    /// How it was made, as names and values.
    pub(crate) fn setting(&self) -> Vec<(&'static str, String)> {
        let plan = &self.record.plan;
        let processes: Vec<String> = plan.processes.iter().map(usize::to_string).collect();
        let load = match plan.rate {
            None => format!("closed loop, {} requests in flight", plan.clients),
            Some(rate) => format!("open loop, {} requests per second", number(rate)),
        };
        let multiplexed = match plan.multiplexed {
            Some(connections) => format!("{} on each of {connections} connections", plan.streams),
            None => format!("up to {} on a connection", plan.streams),
        };
        let mut setting = vec![
            ("date", self.record.date.clone()),
            ("regime", format!("{}: {}", plan.regime, regime_words(plan))),
            (
                "socket",
                match plan.family {
                    Family::Unix => "unix".to_owned(),
                    Family::Tcp => "TCP, loopback".to_owned(),
                },
            ),
            ("worker processes", processes.join(", ")),
            ("load", format!("{load}; multiplexed, {multiplexed}")),
            ("requests", requests(plan)),
            (
                "launches",
                format!(
                    "{} of {}, of {} slices of {} s after {} s of warm-up",
                    self.launches(),
                    plan.launches,
                    plan.slices,
                    plan.slice.as_secs_f64(),
                    plan.warm_up.as_secs_f64()
                ),
            ),
        ];
        setting.extend(origin(self.record));
        setting
    }

    pub(crate) fn cell_name(&self, cell: &Cell<'_>) -> String {
        let mut name = self.ask_name(cell.ask);
        if self.record.plan.processes.len() > 1 {
            let plural = if cell.processes == 1 { "process" } else { "processes" };
            name += &format!(", {} {plural}", cell.processes);
        }
        name
    }

    /// The mode, and what is asked for where the run asks for several things.
    pub(crate) fn ask_name(&self, ask: &Ask) -> String {
        let is_one = self.record.plan.asks.iter().all(|other| other.workload == ask.workload);
        if is_one { ask.mode.to_string() } else { format!("{}, {}", ask.workload.name(), ask.mode) }
    }

    /// CPU per request by the way connections are used: the answer to the question of 2007.
    pub(crate) fn gains_table(&self, processes: usize) -> Table {
        let modes = self.modes();
        let mut head: Vec<String> = vec!["CPU per request, µs".to_owned()];
        head.extend(modes.iter().map(Mode::to_string));
        let steps = self.steps();
        head.extend(steps.iter().map(|(from, to)| format!("{to} : {from}")));
        let mut table = Table { head, rows: Vec::new() };
        let Some(first) = modes.iter().find_map(|mode| self.cell_of(*mode, processes)) else { return table };
        for entry in sorted(first).into_iter().map(|row| row.entry) {
            let of = |mode: &Mode| {
                let cell = self.cell_of(*mode, processes)?;
                cell.rows.iter().find(|row| row.entry.name == entry.name)
            };
            let Some(any) = modes.iter().find_map(of) else { continue };
            let mut row = vec![label(any)];
            row.extend(modes.iter().map(|mode| {
                or_dash(of(mode).and_then(|row| Some(row.by(Metric::Cpu).value?.center)), number)
            }));
            for &(from, to) in &steps {
                let gain = self.gains.iter().find(|gain| {
                    gain.entry.name == entry.name
                        && (gain.processes, gain.from, gain.to) == (processes, from, to)
                });
                row.push(gain.map_or_else(|| "–".to_owned(), |gain| interval(&gain.ratio)));
            }
            table.rows.push(row);
        }
        table
    }

    /// Of the workload that is asked for in all modes.
    pub(crate) fn cell_of(&self, mode: Mode, processes: usize) -> Option<&Cell<'_>> {
        let is_meant = |cell: &&Cell<'_>| {
            Some(&cell.ask.workload) == self.workload()
                && (cell.ask.mode, cell.processes) == (mode, processes)
        };
        self.cells.iter().find(is_meant)
    }

    /// Who differs from the reference.
    pub(crate) fn comparison_table(&self, cell: &Cell<'_>) -> Table {
        let reference = &self.record.reference;
        let to = format!("to {reference} (95 %)");
        let mut head = vec![""];
        for metric in self.metrics {
            head.extend([metric.unit(), &to]);
            if *metric == Metric::Cpu {
                head.push("verdict");
            }
        }
        head.push("in flight");
        let mut table = Table::new(&head);
        for row in sorted(cell) {
            let mut cells = vec![label(row)];
            for &metric in self.metrics {
                let comparison = row.by(metric);
                let value = comparison.value.map(|value| value.center);
                cells.push(or_dash(value, if metric == Metric::Throughput { whole } else { number }));
                let is_reference = row.entry.name == *reference;
                cells.push(match &comparison.ratio {
                    Some(estimate) => interval(estimate),
                    None if is_reference => "reference".to_owned(),
                    None => "–".to_owned(),
                });
                if metric == Metric::Cpu {
                    cells.push(if row.valid == 0 { "void".to_owned() } else { verdict(row.verdict) });
                }
            }
            cells.push(format!("{} × {}", row.connections, row.streams));
            table.rows.push(cells);
        }
        if cell.twin(Metric::Cpu).is_some() {
            let dash = || "–".to_owned();
            let mut cells = vec![crate::experiment::twin_of(reference)];
            for &metric in self.metrics {
                let words = |estimate| twin(&estimate, cell.is_unfit(metric));
                cells.extend([dash(), cell.twin(metric).map_or_else(dash, words)]);
                if metric == Metric::Cpu {
                    cells.push(String::new());
                }
            }
            cells.push(dash());
            table.rows.push(cells);
        }
        table
    }

    /// Why they differ.
    pub(crate) fn why_table(&self, cell: &Cell<'_>) -> Table {
        let mut table = Table::new(&[
            "",
            "user CPU",
            "workers' load",
            "generator load",
            "generator µs",
            "voluntary switches",
            "involuntary",
            "system calls",
            "PSS KiB",
            "threads",
            "requests per process",
            "share of each",
            "peak in flight",
            "threads waiting for a core",
        ]);
        for row in sorted(cell) {
            let why = &row.why;
            let two = |value: Option<f64>| or_dash(value, |value| format!("{value:.2}"));
            let fine = |value: Option<f64>| or_dash(value, |value| format!("{value:.3}"));
            let shares = why.shares.map(|(least, most)| {
                if cell.processes == 1 {
                    "all".to_owned()
                } else {
                    format!("{} to {}", percent(least), percent(most))
                }
            });
            table.rows.push(vec![
                label(row),
                or_dash(why.user_share, percent),
                two(why.worker_load),
                two(why.generator_load),
                or_dash(why.generator_cpu, number),
                fine(why.voluntary),
                fine(why.involuntary),
                two(why.system_calls),
                or_dash(why.pss_kib, whole),
                or_dash(why.threads, whole),
                or_dash(why.requests_per_process, whole),
                shares.unwrap_or_else(|| "–".to_owned()),
                or_dash(why.peak_in_flight, whole),
                two(why.run_delay),
            ]);
        }
        table
    }

    /// The system calls behind the sum, most frequent first.
    pub(crate) fn system_calls_table(&self) -> Table {
        let mut table = Table::new(&["", "mode", "requests", "calls per request"]);
        for counted in &self.record.system_calls {
            let calls = match &counted.counted_by {
                Err(why) => format!("not counted: {why}"),
                Ok(_) => {
                    let of = |count: u64| count as f64 / counted.requests.max(1) as f64;
                    let often = counted.calls.iter().filter(|(_, count)| of(*count) >= 0.01).take(8);
                    often
                        .map(|(name, count)| format!("{name} {}", ratio(of(*count))))
                        .collect::<Vec<_>>()
                        .join(", ")
                }
            };
            table.rows.push(vec![
                counted.entry.clone(),
                counted.mode.to_string(),
                whole(counted.requests as f64),
                calls,
            ]);
        }
        table
    }

    /// At how many processes each does most.
    pub(crate) fn peaks_table(&self) -> Table {
        let mut table =
            Table::new(&["", "mode", "most at", "requests/s there", "launches won, by processes"]);
        for peak in &self.peaks {
            let won: Vec<String> = peak
                .launches_won
                .iter()
                .map(|(processes, launches)| format!("{processes}: {launches}"))
                .collect();
            table.rows.push(vec![
                peak.entry.name.clone(),
                self.ask_name(peak.ask),
                peak.processes.to_string(),
                whole(peak.throughput),
                won.join(", "),
            ]);
        }
        table
    }

    /// What is missing or marked, in sentences.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for skipped in &self.record.skipped {
            remarks.push(format!("{} took no part: {}.", skipped.name, skipped.reason));
        }
        for entry in self.record.entries.iter().filter(|entry| !entry.verified.failed.is_empty()) {
            let verified = &entry.verified;
            remarks.push(format!(
                "† {} fails {} of {} quick cases of fcgi-verify that apply: {}.",
                entry.name,
                verified.failed.len(),
                verified.failed.len() + verified.passed,
                verified.failed.join(", ")
            ));
        }
        for entry in self.record.entries.iter().filter(|entry| entry.idle_share > BUSY_WHEN_IDLE) {
            remarks.push(format!(
                "{} takes {:.1} % of a core when nobody asks it, so its pools were stopped while others had their turn.",
                entry.name,
                entry.idle_share * 100.0
            ));
        }
        for cell in &self.cells {
            for row in cell.rows.iter().filter(|row| !row.void.is_empty()) {
                remarks.push(format!(
                    "{}, {}: {} of {} launches are void; the first: {}.",
                    row.entry.name,
                    self.cell_name(cell),
                    row.void.len(),
                    row.void.len() + row.valid,
                    row.void[0]
                ));
            }
            let vague = self.vague(cell);
            if !vague.is_empty() && self.launches() >= LAUNCHES {
                let each = vague
                    .iter()
                    .map(|(row, reach)| format!("{} ({})", row.entry.name, percent_beyond_one(*reach)));
                remarks.push(format!(
                    "{}: CPU per request, as a ratio to {}, is not known within {}: {}.",
                    self.cell_name(cell),
                    self.record.reference,
                    percent(WITHIN),
                    each.collect::<Vec<_>>().join(", ")
                ));
            }
            let fewer: Vec<String> = cell
                .rows
                .iter()
                .filter(|row| cell.has_fewer_in_flight(row))
                .map(|row| format!("{} ({})", row.entry.name, row.connections * row.streams))
                .collect();
            if !fewer.is_empty() {
                remarks.push(format!(
                    "{}: fewer than {} requests in flight, since no more connections are held: {}.",
                    self.cell_name(cell),
                    cell.in_flight,
                    fewer.join(", ")
                ));
            }
            let bound: Vec<&str> = cell
                .rows
                .iter()
                .filter(|row| self.metrics.contains(&Metric::Throughput) && row.is_generator_bound())
                .map(|row| row.entry.name.as_str())
                .collect();
            if !bound.is_empty() {
                remarks.push(format!(
                    "{}: throughput may be the generator's limit, not their own, in {}.",
                    self.cell_name(cell),
                    bound.join(", ")
                ));
            }
            let absent: Vec<&str> = self
                .record
                .entries
                .iter()
                // What cannot be asked for this has no part in it; who could be, and does not multiplex, is named.
                .filter(|entry| entry.kind == Kind::Strategy)
                .filter(|entry| cell.rows.iter().all(|row| row.entry.name != entry.name))
                .map(|entry| entry.name.as_str())
                .collect();
            if !absent.is_empty() {
                remarks.push(format!("{}: not taken by {}.", self.cell_name(cell), absent.join(", ")));
            }
        }
        remarks
    }

    /// How to read it all.
    pub(crate) fn method(&self) -> String {
        format!(
            "{} What is shown is the Hodges-Lehmann estimate over the launches, on logarithms, \
             with its exact 95 % interval, that of Wilcoxon's signed-rank test (normal beyond 50 launches; fewer than \
             6 cannot give 95 %: their interval reaches from the least to the greatest, and 5 launches give 93.8 %, 3 \
             give 75 %). CPU per request alone is judged, from {LAUNCHES} launches on. First: the 90 % interval lies \
             inside 1/1.03 to 1.03: equal within 3 %. Else: the 95 % interval excludes 1, also after Holm's correction \
             for all ratios of its cell: less or more. Else it is undecided, with the number of further launches that \
             would decide it if estimate and spread stay as they are; an interval without 1 can be undecided, by the \
             correction. Equality is not corrected: of entries that differ by 3 % exactly, each is called equal with a \
             chance of up to 5 %. Throughput, p50 and p99 have intervals and no verdict. The twin of {} is a check of \
             the run: its intervals, whose confidence stands beside them, are so wide that all of them hold 1 in 95 \
             of 100 fit runs; where one does not, the run is unfit. CPU per request is user and system time of all \
             the pool's processes, reaped children included. Context switches are those of a pool's whole life, by \
             its requests; system calls were counted by strace in a pass of their own.",
            self.interleaving(),
            self.record.reference
        )
    }

    /// How ratios were made.
    fn interleaving(&self) -> String {
        let plan = &self.record.plan;
        if plan.slices == 1 {
            return "Each launch ran everything once, one entry after the other, in an order shuffled anew, on fresh pools. \
                    Ratios are formed inside a launch."
                .to_owned();
        }
        format!(
            "In each launch all entries of a cell had a fresh pool, and all pools lived at once. Each was asked for {} \
             slices of {} ms, in cycles of one slice of everybody, in an order shuffled anew. The ratio of a launch is \
             the median over its cycles, of CPU per request and of throughput; of latencies (in a mix those of its first \
             request), of what no clock tells slice \
             by slice (workers that start a process for each connection), and between modes it is that of the whole launch.",
            plan.slices,
            plan.slice.as_millis()
        )
    }
}

/// What is asked for.
fn requests(plan: &Plan) -> String {
    let mut workloads: Vec<&Mix> = Vec::new();
    for workload in plan.asks.iter().map(|ask| &ask.workload) {
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    let words = |workload: &&Mix| {
        let (name, text) = (workload.name(), workload.to_string());
        if text.ends_with(&name) { text } else { format!("{name}: {text}") }
    };
    let words: Vec<String> = workloads.iter().map(words).collect();
    format!("{}; with 20 parameters, and every reply checked", words.join("; "))
}

/// By what a run can be repeated.
pub(crate) fn origin(record: &Record) -> Vec<(&'static str, String)> {
    let (machine, versions) = (&record.machine, &record.versions);
    let commit = versions.commit.as_deref().map_or("unknown", |commit| &commit[..commit.len().min(12)]);
    vec![
        ("seed", record.plan.seed.to_string()),
        (
            "machine",
            format!(
                "{}, {} cores of {}, {} GiB, load average before: {}",
                machine.host,
                machine.cores,
                machine.cpu,
                machine.memory_kib >> 20,
                machine.load_average
            ),
        ),
        ("kernel", machine.kernel.clone()),
        ("commit", format!("{commit}{}", if versions.modified { ", with changes" } else { "" })),
        ("compiler", versions.rustc.clone()),
    ]
}

pub(crate) fn regime_words(plan: &Plan) -> String {
    match (plan.regime, plan.worker_cores) {
        (Regime::Isolated, None) => "workers on one core, the generator on another".to_owned(),
        (Regime::Isolated, Some(cores)) => {
            format!("workers on {cores} cores, a generator on each of the others")
        }
        (Regime::Shared, _) => "everybody on all cores".to_owned(),
    }
}

/// The least CPU per request first; what never counted last.
pub(crate) fn sorted<'a, 'b>(cell: &'b Cell<'a>) -> Vec<&'b Row<'a>> {
    let mut rows: Vec<&Row<'_>> = cell.rows.iter().collect();
    let key = |row: &Row<'_>| row.by(Metric::Cpu).value.map_or(f64::INFINITY, |value| value.center);
    rows.sort_by(|one, other| key(one).total_cmp(&key(other)));
    rows
}
