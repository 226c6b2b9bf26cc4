//! What a report says in tables, whatever it is then written in.

use fcgi_load::Mode;

use super::findings::{Cell, Findings, Row};
use super::metric::Metric;
use super::words::{NOT_KNOWN, interval, number, or_dash, percent, range, ratio, twin, verdict, whole};
use crate::entry::Kind;
use crate::experiment::Ask;

/// A table: the first column names its rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }
}

/// What an entry is called in a report: whose it is, and whether fcgi-verify has failed it.
pub(crate) fn label(row: &Row<'_>) -> String {
    let mut label = row.entry.name.clone();
    match row.entry.kind {
        Kind::Strategy => {}
        Kind::Floor => label.push_str(" (floor)"),
        Kind::Target => label.push_str(" (target)"),
        Kind::Peer => {
            label = format!("{label} {}", short_version(row.entry.version.as_deref().unwrap_or_default()))
        }
    }
    if !row.entry.verified.failed.is_empty() && matches!(row.entry.kind, Kind::Peer | Kind::Target) {
        label.push_str(" †");
    }
    label
}

/// What stands for a figure of a row's processes that there is not: nobody here can know those of a target.
fn absent(row: &Row<'_>) -> String {
    if row.is_target() { NOT_KNOWN.to_owned() } else { "–".to_owned() }
}

/// How many threads they have.
fn threads(row: &Row<'_>, all: Option<(u64, u64)>) -> String {
    if row.is_target() { NOT_KNOWN.to_owned() } else { range(all) }
}

/// Up to what a distribution adds.
fn short_version(version: &str) -> &str {
    version.split([' ', '-', '+']).next().unwrap_or(version)
}

impl Findings<'_> {
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
        let name =
            if is_one { ask.mode.to_string() } else { format!("{}, {}", ask.workload.name(), ask.mode) };
        if ask.on_all_cores { name + ", on all cores" } else { name }
    }

    /// CPU per request by the way connections are used: the answer to the question of 2007.
    pub(crate) fn gains_table(&self, processes: usize) -> Table {
        let modes = self.modes();
        let mut head: Vec<String> = vec!["CPU per request, µs".to_owned()];
        head.extend(modes.iter().map(Mode::to_string));
        let steps = self.steps();
        head.extend(steps.iter().map(|(from, to)| format!("{to} : {from}")));
        head.push("threads".to_owned());
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
                let Some(row) = of(mode) else { return "–".to_owned() };
                row.by(Metric::Cpu).value.map_or_else(|| absent(row), |value| number(value.center))
            }));
            for &(from, to) in &steps {
                let gain = self.gains.iter().find(|gain| {
                    gain.entry.name == entry.name
                        && (gain.processes, gain.from, gain.to) == (processes, from, to)
                });
                row.push(gain.map_or_else(|| absent(any), |gain| interval(&gain.ratio)));
            }
            let threads = || modes.iter().filter_map(of).filter_map(|row| row.threads);
            let (least, most) =
                (threads().map(|(least, _)| least).min(), threads().map(|(_, most)| most).max());
            row.push(self::threads(any, least.zip(most)));
            table.rows.push(row);
        }
        table
    }

    /// Of the workload that is asked for in all modes.
    pub(crate) fn cell_of(&self, mode: Mode, processes: usize) -> Option<&Cell<'_>> {
        let is_meant = |cell: &&Cell<'_>| {
            Some(&cell.ask.workload) == self.workload()
                && !cell.ask.on_all_cores
                && (cell.ask.mode, cell.processes) == (mode, processes)
        };
        self.cells.iter().find(is_meant)
    }

    /// Who differs from the reference.
    pub(crate) fn comparison_table(&self, cell: &Cell<'_>) -> Table {
        let reference = &self.record.reference;
        let has_target_as_reference = self.has_target_as_reference();
        let to = format!("to {reference} (95 %)");
        let mut head = vec![""];
        for metric in self.metrics {
            head.extend([metric.unit(), &to]);
            if *metric == Metric::Cpu {
                head.push("verdict");
            }
        }
        head.extend(["threads", "in flight"]);
        let mut table = Table::new(&head);
        for row in sorted(cell) {
            let mut cells = vec![label(row)];
            for &metric in self.metrics {
                let comparison = row.by(metric);
                let value = comparison.value.map(|value| value.center);
                let dash = |is_unknown: bool| if is_unknown { NOT_KNOWN } else { "–" }.to_owned();
                let is_cpu = metric == Metric::Cpu;
                let words = if metric == Metric::Throughput { whole } else { number };
                cells.push(value.map_or_else(|| dash(is_cpu && row.is_target()), words));
                let is_unknown = is_cpu && (row.is_target() || has_target_as_reference);
                let is_reference = row.entry.name == *reference;
                cells.push(match &comparison.ratio {
                    Some(estimate) => interval(estimate),
                    None if is_reference => "reference".to_owned(),
                    None => dash(is_unknown),
                });
                if is_cpu {
                    cells.push(match row.valid {
                        0 => "void".to_owned(),
                        _ if is_unknown => NOT_KNOWN.to_owned(),
                        _ => verdict(row.verdict),
                    });
                }
            }
            cells.extend([threads(row, row.threads), format!("{} × {}", row.connections, row.streams)]);
            table.rows.push(cells);
        }
        if cell.has_twin() {
            let dash = || "–".to_owned();
            let mut cells = vec![crate::experiment::twin_of(reference)];
            for &metric in self.metrics {
                let words = |estimate| twin(&estimate, cell.is_unfit(metric));
                let is_unknown = metric == Metric::Cpu && has_target_as_reference;
                let none = || if is_unknown { NOT_KNOWN.to_owned() } else { dash() };
                cells.extend([none(), cell.twin(metric).map_or_else(none, words)]);
                if metric == Metric::Cpu {
                    cells.push(String::new());
                }
            }
            cells.extend([dash(), dash()]);
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
            "requests per process",
            "share of each",
            "peak in flight",
            "threads waiting for a core",
        ]);
        for row in sorted(cell) {
            let why = &row.why;
            let two = |value: f64| format!("{value:.2}");
            let fine = |value: f64| format!("{value:.3}");
            // Of its processes.
            let own =
                |value: Option<f64>, words: &dyn Fn(f64) -> String| value.map_or_else(|| absent(row), words);
            let shares = why.shares.map(|(least, most)| {
                if cell.processes == 1 {
                    "all".to_owned()
                } else {
                    format!("{} to {}", percent(least), percent(most))
                }
            });
            table.rows.push(vec![
                label(row),
                own(why.user_share, &percent),
                own(why.worker_load, &two),
                or_dash(why.generator_load, two),
                or_dash(why.generator_cpu, number),
                own(why.voluntary, &fine),
                own(why.involuntary, &fine),
                own(why.system_calls, &two),
                own(why.pss_kib, &whole),
                own(why.requests_per_process, &whole),
                shares.unwrap_or_else(|| absent(row)),
                or_dash(why.peak_in_flight, whole),
                own(why.run_delay, &two),
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
}

/// The least CPU per request first; what never counted last.
pub(crate) fn sorted<'a, 'b>(cell: &'b Cell<'a>) -> Vec<&'b Row<'a>> {
    let mut rows: Vec<&Row<'_>> = cell.rows.iter().collect();
    let key = |row: &Row<'_>| row.by(Metric::Cpu).value.map_or(f64::INFINITY, |value| value.center);
    rows.sort_by(|one, other| key(one).total_cmp(&key(other)));
    rows
}
