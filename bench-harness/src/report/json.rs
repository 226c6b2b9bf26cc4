//! The tables as JSON: each ratio with its interval, in full.

use serde::Serialize;

use super::findings::{Cell, Findings, Row};
use super::metric::Metric;
use super::statistics::Estimate;
use super::words::{self, NOT_KNOWN};
use crate::entry::Kind;

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
    kind: Kind,
    /// Of a target.
    address: Option<&'a str>,
    connections: usize,
    streams: usize,
    /// The least and the most that a worker process had.
    threads: Told<(u64, u64)>,
    cpu_us_per_request: Told<Estimate>,
    requests_per_second: Option<Estimate>,
    latency_p50_us: Option<Estimate>,
    latency_p99_us: Option<Estimate>,
    /// To the reference; none of the reference itself.
    ratio: Option<Ratios>,
    /// On CPU per request.
    verdict: String,
}

/// What there is of a figure, or "not known": of a target, whose processes nobody here knows.
#[derive(Serialize)]
#[serde(untagged)]
enum Told<T> {
    Figure(Option<T>),
    Not(&'static str),
}

#[derive(Serialize)]
struct Ratios {
    cpu: Told<Estimate>,
    throughput: Option<Estimate>,
    latency_p50: Option<Estimate>,
    latency_p99: Option<Estimate>,
}

pub(crate) fn of(findings: &Findings<'_>) -> String {
    let (record, has_target_as_reference) = (findings.record, findings.has_target_as_reference());
    let report = Report {
        date: &record.date,
        reference: &record.reference,
        launches: record.launches(),
        summary: findings.summary(),
        cells: findings.cells.iter().map(|cell| of_cell(cell, has_target_as_reference)).collect(),
    };
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn of_cell<'a>(cell: &'a Cell<'a>, has_target_as_reference: bool) -> OfCell<'a> {
    let twin = cell.has_twin().then(|| ratios(has_target_as_reference, |metric| cell.twin(metric)));
    OfCell {
        workload: cell.ask.workload.to_string(),
        mode: cell.ask.mode.to_string(),
        on_all_cores: cell.ask.on_all_cores,
        processes: cell.processes,
        in_flight: cell.in_flight,
        twin,
        entries: cell.rows.iter().map(|row| of_entry(row, has_target_as_reference)).collect(),
    }
}

fn of_entry<'a>(row: &'a Row<'a>, has_target_as_reference: bool) -> OfEntry<'a> {
    let value = |metric| row.by(metric).value;
    let is_target = row.is_target();
    let has_no_ratio = is_target || has_target_as_reference;
    let verdict = if has_no_ratio { NOT_KNOWN.to_owned() } else { words::verdict(row.verdict) };
    OfEntry {
        name: &row.entry.name,
        kind: row.entry.kind,
        address: row.entry.address.as_deref(),
        connections: row.connections,
        streams: row.streams,
        threads: told(is_target, row.threads),
        cpu_us_per_request: told(is_target, value(Metric::Cpu)),
        requests_per_second: value(Metric::Throughput),
        latency_p50_us: value(Metric::Median),
        latency_p99_us: value(Metric::Tail),
        ratio: row.has_ratio().then(|| ratios(has_no_ratio, |metric| row.by(metric).ratio)),
        verdict,
    }
}

fn told<T>(is_unknown: bool, figure: Option<T>) -> Told<T> {
    if is_unknown { Told::Not(NOT_KNOWN) } else { Told::Figure(figure) }
}

fn ratios(is_unknown: bool, of: impl Fn(Metric) -> Option<Estimate>) -> Ratios {
    Ratios {
        cpu: told(is_unknown, of(Metric::Cpu)),
        throughput: of(Metric::Throughput),
        latency_p50: of(Metric::Median),
        latency_p99: of(Metric::Tail),
    }
}
