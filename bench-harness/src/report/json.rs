//! The tables as JSON: each ratio with its interval, in full.

use serde::Serialize;

use super::findings::{Cell, Findings, Row};
use super::metric::Metric;
use super::statistics::Estimate;
use super::words;

#[derive(Serialize)]
struct Report<'a> {
    date: &'a str,
    reference: &'a str,
    launches: usize,
    summary: String,
    cells: Vec<OfCell<'a>>,
}

#[derive(Serialize)]
struct OfCell<'a> {
    workload: String,
    mode: String,
    /// Whether everybody was on all cores, in a run that isolates else.
    on_all_cores: bool,
    processes: usize,
    /// Requests in flight.
    in_flight: usize,
    /// The twin of the reference, with wider intervals.
    twin: Option<Ratios>,
    entries: Vec<OfEntry<'a>>,
}

#[derive(Serialize)]
struct OfEntry<'a> {
    name: &'a str,
    connections: usize,
    streams: usize,
    /// The least and the most that a worker process had.
    threads: Option<(u64, u64)>,
    cpu_us_per_request: Option<Estimate>,
    requests_per_second: Option<Estimate>,
    latency_p50_us: Option<Estimate>,
    latency_p99_us: Option<Estimate>,
    /// To the reference; none of the reference itself.
    ratio: Option<Ratios>,
    /// On CPU per request.
    verdict: String,
}

#[derive(Serialize)]
struct Ratios {
    cpu: Option<Estimate>,
    throughput: Option<Estimate>,
    latency_p50: Option<Estimate>,
    latency_p99: Option<Estimate>,
}

pub(crate) fn of(findings: &Findings<'_>) -> String {
    let record = findings.record;
    let report = Report {
        date: &record.date,
        reference: &record.reference,
        launches: record.launches(),
        summary: findings.summary(),
        cells: findings.cells.iter().map(of_cell).collect(),
    };
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn of_cell<'a>(cell: &'a Cell<'a>) -> OfCell<'a> {
    let twin = cell.twin(Metric::Cpu).is_some().then(|| ratios(|metric| cell.twin(metric)));
    OfCell {
        workload: cell.ask.workload.to_string(),
        mode: cell.ask.mode.to_string(),
        on_all_cores: cell.ask.on_all_cores,
        processes: cell.processes,
        in_flight: cell.in_flight,
        twin,
        entries: cell.rows.iter().map(of_entry).collect(),
    }
}

fn of_entry<'a>(row: &'a Row<'a>) -> OfEntry<'a> {
    let value = |metric| row.by(metric).value;
    OfEntry {
        name: &row.entry.name,
        connections: row.connections,
        streams: row.streams,
        threads: row.threads,
        cpu_us_per_request: value(Metric::Cpu),
        requests_per_second: value(Metric::Throughput),
        latency_p50_us: value(Metric::Median),
        latency_p99_us: value(Metric::Tail),
        ratio: row.by(Metric::Cpu).ratio.map(|_| ratios(|metric| row.by(metric).ratio)),
        verdict: words::verdict(row.verdict),
    }
}

fn ratios(of: impl Fn(Metric) -> Option<Estimate>) -> Ratios {
    Ratios {
        cpu: of(Metric::Cpu),
        throughput: of(Metric::Throughput),
        latency_p50: of(Metric::Median),
        latency_p99: of(Metric::Tail),
    }
}
