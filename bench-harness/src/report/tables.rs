//! What a report says, in tables and sentences, whatever it is then written in.

use fcgi_load::Mode;

use super::findings::{Cell, Findings, Metric, Row};
use super::words::{interval, number, or_dash, percent, percent_beyond_one, ratio, verdict, whole};
use crate::entry::Kind;
use crate::launch::Family;

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
    /// The sentence that stands on top: how small a difference this run could have seen.
    pub(crate) fn resolution_sentence(&self) -> String {
        let unfit: Vec<String> = (0..self.metrics.len())
            .flat_map(|metric| {
                self.unfit(metric)
                    .into_iter()
                    .map(move |cell| format!("{} in {}", self.metrics[metric].name(), self.cell_name(cell)))
            })
            .collect();
        let reference = &self.record.reference;
        let resolved: Vec<String> = (0..self.metrics.len())
            .filter_map(|metric| {
                let reach = self.resolution(metric)?;
                Some(format!("{} of {}", percent_beyond_one(reach), self.metrics[metric].name()))
            })
            .collect();
        let (rounds, needed) = (self.rounds(), self.rounds_needed);
        if resolved.is_empty() {
            return format!("Too few rounds: {rounds}, and {needed} are needed to say anything.");
        }
        let mut sentence = format!(
            "This run resolves {}: by so much may {reference}, run twice under two names, differ from itself.",
            resolved.join(" and ")
        );
        if rounds < needed {
            sentence += &format!(" Too few rounds: {rounds}, and so many comparisons need {needed}.");
        }
        if !unfit.is_empty() {
            sentence += &format!(" It is unfit for {}: there it did differ.", unfit.join(", "));
        }
        sentence
    }

    /// How it was made, as names and values.
    pub(crate) fn setting(&self) -> Vec<(&'static str, String)> {
        let (plan, machine, versions) = (&self.record.plan, &self.record.machine, &self.record.versions);
        let processes: Vec<String> = plan.processes.iter().map(usize::to_string).collect();
        let commit = versions.commit.as_deref().map_or("unknown", |commit| &commit[..commit.len().min(12)]);
        let load = match plan.rate {
            None => format!("closed loop, {} requests in flight", plan.clients),
            Some(rate) => format!("open loop, {} requests per second", number(rate)),
        };
        let multiplexed = match plan.multiplexed {
            Some(connections) => format!("{} on each of {connections} connections", plan.streams),
            None => format!("up to {} on a connection", plan.streams),
        };
        vec![
            ("date", self.record.date.clone()),
            ("regime", format!("{}: {}", plan.regime, regime_words(plan.regime))),
            (
                "socket",
                match plan.family {
                    Family::Unix => "unix".to_owned(),
                    Family::Tcp => "TCP, loopback".to_owned(),
                },
            ),
            ("worker processes", processes.join(", ")),
            ("load", format!("{load}; multiplexed, {multiplexed}")),
            ("request", "GET /hello with 20 parameters; 13 bytes back, every reply checked".to_owned()),
            (
                "rounds",
                format!(
                    "{} of {}, trials of {} s after {} s of warm-up, each on a fresh pool",
                    self.rounds(),
                    plan.rounds,
                    plan.trial.as_secs_f64(),
                    plan.warm_up.as_secs_f64()
                ),
            ),
            ("seed", plan.seed.to_string()),
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

    pub(crate) fn cell_name(&self, cell: &Cell<'_>) -> String {
        if self.record.plan.processes.len() > 1 {
            let plural = if cell.processes == 1 { "process" } else { "processes" };
            format!("{}, {} {plural}", cell.mode, cell.processes)
        } else {
            cell.mode.to_string()
        }
    }

    /// CPU per request by the way connections are used: the answer to the question of 2007.
    pub(crate) fn gains_table(&self, processes: usize) -> Table {
        let modes = &self.record.plan.modes;
        let mut head: Vec<String> = vec!["CPU per request, µs".to_owned()];
        head.extend(modes.iter().map(Mode::to_string));
        let steps = self.steps();
        head.extend(steps.iter().map(|(from, to)| format!("{to} : {from}")));
        let mut table = Table { head, rows: Vec::new() };
        let Some(first) = self.cells.iter().find(|cell| cell.processes == processes) else { return table };
        for entry in sorted(first).into_iter().map(|row| row.entry) {
            let of = |mode: &Mode| {
                let cell =
                    self.cells.iter().find(|cell| cell.mode == *mode && cell.processes == processes)?;
                cell.rows.iter().find(|row| row.entry.name == entry.name)
            };
            let Some(any) = modes.iter().find_map(of) else { continue };
            let mut row = vec![label(any)];
            row.extend(
                modes
                    .iter()
                    .map(|mode| or_dash(of(mode).and_then(|row| Some(row.metrics[1].value?.median)), number)),
            );
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

    /// Who differs from the reference.
    pub(crate) fn comparison_table(&self, cell: &Cell<'_>) -> Table {
        let reference = &self.record.reference;
        let to = format!("to {reference} (95 %)");
        let first = match self.metrics[0] {
            Metric::Latency => "latency p99, µs",
            _ => "requests/s",
        };
        let mut table =
            Table::new(&["", first, &to, "verdict", "CPU µs/request", &to, "verdict", "in flight"]);
        for row in sorted(cell) {
            let mut cells = vec![label(row)];
            for (metric, comparison) in self.metrics.iter().zip(&row.metrics) {
                let value = comparison.value.map(|value| value.median);
                cells.push(or_dash(value, if *metric == Metric::Cpu { number } else { whole }));
                let is_reference = row.entry.name == *reference;
                cells.push(match &comparison.ratio {
                    Some(estimate) => interval(estimate),
                    None if is_reference => "reference".to_owned(),
                    None => "–".to_owned(),
                });
                let words = verdict(comparison.verdict, *metric);
                cells.push(if row.valid == 0 { "void" } else { words }.to_owned());
            }
            cells.push(format!("{} × {}", row.connections, row.streams));
            table.rows.push(cells);
        }
        if let [Some(one), Some(other)] = &cell.twin {
            let unfit = |metric| if cell.is_unfit(metric) { "unfit" } else { "" }.to_owned();
            let name = crate::experiment::twin_of(reference);
            let dash = || "–".to_owned();
            table.rows.push(vec![
                name,
                dash(),
                interval(one),
                unfit(0),
                dash(),
                interval(other),
                unfit(1),
                dash(),
            ]);
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
            "p50 µs",
            "p99 µs",
            "PSS KiB",
            "threads",
            "requests per process",
            "share of each",
            "peak in flight",
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
                or_dash(why.latency_p50_us, whole),
                or_dash(why.latency_p99_us, whole),
                or_dash(why.pss_kib, whole),
                or_dash(why.threads, whole),
                or_dash(why.requests_per_process, whole),
                shares.unwrap_or_else(|| "–".to_owned()),
                or_dash(why.peak_in_flight, whole),
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
        let mut table = Table::new(&["", "mode", "most at", "requests/s there", "rounds won, by processes"]);
        for peak in &self.peaks {
            let won: Vec<String> =
                peak.rounds_won.iter().map(|(processes, rounds)| format!("{processes}: {rounds}")).collect();
            table.rows.push(vec![
                peak.entry.name.clone(),
                peak.mode.to_string(),
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
        for cell in &self.cells {
            for row in cell.rows.iter().filter(|row| !row.void.is_empty()) {
                remarks.push(format!(
                    "{}, {}: {} of {} trials are void; the first: {}.",
                    row.entry.name,
                    self.cell_name(cell),
                    row.void.len(),
                    row.void.len() + row.valid,
                    row.void[0]
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
            let absent: Vec<&str> = self
                .record
                .entries
                .iter()
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
            "Each round ran everything once, in an order shuffled anew. Ratios are formed inside a round; what is \
             shown is their median over the rounds, with a 95 % interval from bootstrapping rounds on their \
             logarithms. A verdict needs an interval without 1, a ratio beyond what the twin of {} leaves possible, \
             and a chance under 5 % by Wilcoxon's signed-rank test after Holm's correction for {} comparisons by each \
             metric. \"Not told apart\" is no proof of equality. CPU per request is user and system time of all the \
             pool's processes, reaped children included. Context switches are those of a pool's whole life, by its \
             requests; system calls were counted by strace in a pass of their own.",
            self.record.reference, self.comparisons
        )
    }
}

fn regime_words(regime: crate::experiment::Regime) -> &'static str {
    match regime {
        crate::experiment::Regime::Isolated => "workers on one core, the generator on another",
        crate::experiment::Regime::Shared => "everybody on all cores",
    }
}

/// The least CPU per request first; what never counted last.
pub(crate) fn sorted<'a, 'b>(cell: &'b Cell<'a>) -> Vec<&'b Row<'a>> {
    let mut rows: Vec<&Row<'_>> = cell.rows.iter().collect();
    let key = |row: &Row<'_>| row.metrics[1].value.map_or(f64::INFINITY, |value| value.median);
    rows.sort_by(|one, other| key(one).total_cmp(&key(other)));
    rows
}
