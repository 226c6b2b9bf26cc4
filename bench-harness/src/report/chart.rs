//! The charts: who differs from the reference, what a way of using connections costs, and how many processes help.

use fcgi_load::Mode;

use super::findings::{Cell, Findings, Row};
use super::metric::Metric;
use super::statistics::Estimate;
use super::svg::{Anchor, LogScale, Svg};
use super::tables::{label, sorted};
use super::verdict::{EQUAL, Verdict};
use super::words::{self, NOT_KNOWN};
use crate::entry::Kind;

/// Of a chart of rows. A narrow page shows it up to the end of the plot (page.css).
pub(crate) const WIDTH: f64 = 980.0;
/// Where the names end, and where the plot does.
pub(crate) const LEFT: f64 = 264.0;
pub(crate) const RIGHT: f64 = 618.0;
const ROW: f64 = 26.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 14.0;

/// How a verdict is coloured.
fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Less => "better",
        Verdict::More => "worse",
        Verdict::Equal => "equal",
        _ => "open",
    }
}

/// The ratios to the reference, with their intervals; where they are judged, the band is what counts as equal.
pub(crate) fn ratios(findings: &Findings<'_>, cell: &Cell<'_>, metric: Metric) -> String {
    let is_judged = metric == Metric::Cpu;
    let reference = &findings.record.reference;
    let mut rows: Vec<&Row<'_>> = cell.rows.iter().filter(|row| row.by(metric).ratio.is_some()).collect();
    let ratio = |row: &Row<'_>| row.by(metric).ratio.map_or(1.0, |ratio| ratio.center);
    rows.sort_by(|one, other| {
        let order = ratio(one).total_cmp(&ratio(other));
        if metric.more_is_better() { order.reverse() } else { order }
    });
    let height = TOP + ROW * (rows.len() + 1) as f64 + BOTTOM;
    let title = format!("{} in {}, as a ratio to {reference}", metric.name(), findings.cell_name(cell));
    let mut svg = Svg::new(WIDTH, height, &title);

    let ends = |estimate: Estimate| [estimate.low, estimate.high];
    let all = rows.iter().filter_map(|row| row.by(metric).ratio).chain(cell.twin(metric)).flat_map(ends);
    let scale = LogScale::over(all.chain([0.9, 1.1]), LEFT, RIGHT);
    let floor = height - BOTTOM;
    if is_judged {
        let (from, to) = (scale.at(EQUAL.recip()), scale.at(EQUAL));
        svg.rectangle("band", (from, TOP), (to - from, floor - TOP));
    }
    grid(&mut svg, &scale, floor, words::tick);
    svg.line("one", (scale.at(1.0), TOP - 6.0), (scale.at(1.0), floor));

    for (at, row) in rows.iter().enumerate() {
        let Some(estimate) = row.by(metric).ratio else { continue };
        let y = TOP + ROW * (at as f64 + 0.5);
        let mut name = label(row);
        if cell.has_fewer_in_flight(row) {
            name += &format!(", {} in flight", row.connections * row.streams);
        }
        svg.text("name", Anchor::End, (LEFT - 14.0, y + 4.5), &name);
        let verdict = if is_judged { row.verdict } else { Verdict::None };
        draw(&mut svg, class(verdict), &scale, &estimate, y);
        let remark = match metric {
            Metric::Throughput if row.is_generator_bound() => "generator's limit".to_owned(),
            _ => words::verdict(verdict),
        };
        let words = format!("{}  {remark}", words::interval(&estimate));
        svg.text("value", Anchor::Start, (RIGHT + 12.0, y + 4.5), &words);
    }
    if let Some(twin) = cell.twin(metric) {
        let y = TOP + ROW * (rows.len() as f64 + 0.5);
        svg.text("name quiet", Anchor::End, (LEFT - 14.0, y + 4.5), &format!("{reference}, its twin"));
        draw(&mut svg, if cell.is_unfit(metric) { "worse" } else { "open" }, &scale, &twin, y);
        let words = words::twin(&twin, cell.is_unfit(metric));
        svg.text("value", Anchor::Start, (RIGHT + 12.0, y + 4.5), &words);
    }
    svg.finish()
}

fn draw(svg: &mut Svg, class: &str, scale: &LogScale, estimate: &Estimate, y: f64) {
    svg.line(&format!("bar {class}"), (scale.at(estimate.low), y), (scale.at(estimate.high), y));
    svg.circle(&format!("dot {class}"), (scale.at(estimate.center), y), 4.5);
}

/// The marks of an axis on top, and lines down from them.
fn grid(svg: &mut Svg, scale: &LogScale, floor: f64, words: impl Fn(f64) -> String) {
    for tick in scale.ticks() {
        let x = scale.at(tick);
        svg.line("grid", (x, TOP - 6.0), (x, floor));
        svg.text("tick", Anchor::Middle, (x, TOP - 12.0), &words(tick));
    }
}

/// CPU per request of every entry, by the way connections are used.
pub(crate) fn cpu(findings: &Findings<'_>, processes: usize) -> String {
    let cells: Vec<&Cell<'_>> =
        findings.modes().into_iter().filter_map(|mode| findings.cell_of(mode, processes)).collect();
    // In each way that an entry takes part in: what it costs, and how that is marked. Whoever holds fewer connections than
    // are offered is asked for less at a time.
    let values = |name: &str| -> Vec<(Mode, Estimate, &str)> {
        let value = |cell: &&Cell<'_>| {
            let row = cell.rows.iter().find(|row| row.entry.name == name)?;
            let class = if cell.has_fewer_in_flight(row) { "fewer" } else { "mark" };
            Some((cell.ask.mode, row.by(Metric::Cpu).value?, class))
        };
        cells.iter().filter_map(value).collect()
    };
    let Some(first) = cells.first() else { return String::new() };
    // Everybody can close.
    let rows = sorted(first);
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let mut svg = Svg::new(WIDTH, height, "CPU per request, by the way connections are used");
    let all = rows.iter().flat_map(|row| values(&row.entry.name));
    let ends: Vec<f64> = all.flat_map(|(_, value, _)| [value.low, value.high]).collect();
    if ends.is_empty() {
        return String::new();
    }
    let scale = LogScale::over(ends, LEFT, RIGHT);
    grid(&mut svg, &scale, height - BOTTOM, |tick| format!("{} µs", words::tick(tick)));

    for (at, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (at as f64 + 0.5);
        svg.text("name", Anchor::End, (LEFT - 14.0, y + 4.5), &label(row));
        let values = values(&row.entry.name);
        let places = || values.iter().map(|(_, value, _)| scale.at(value.center));
        let (from, to) = (places().fold(f64::INFINITY, f64::min), places().fold(0.0, f64::max));
        if from < to {
            svg.line("span", (from, y), (to, y));
        }
        for (mode, value, class) in &values {
            svg.line(&format!("bar {mode}"), (scale.at(value.low), y), (scale.at(value.high), y));
            mark(&mut svg, class, *mode, (scale.at(value.center), y));
        }
        let words: Vec<String> = values.iter().map(|(_, value, _)| words::number(value.center)).collect();
        let words = if row.is_target() { NOT_KNOWN.to_owned() } else { words.join("  →  ") };
        svg.text("value", Anchor::Start, (RIGHT + 12.0, y + 4.5), &words);
    }
    svg.finish()
}

/// Each mode has a colour and a shape.
fn mark(svg: &mut Svg, class: &str, mode: Mode, (x, y): (f64, f64)) {
    let class = format!("{class} {mode}");
    match mode {
        Mode::Close => svg.circle(&class, (x, y), 5.0),
        Mode::Keep => svg.rectangle(&class, (x - 4.5, y - 4.5), (9.0, 9.0)),
        Mode::Multiplex => {
            let points = [(x, y - 6.5), (x + 6.5, y), (x, y + 6.5), (x - 6.5, y)];
            svg.path(&class, &points, true);
        }
    }
}

/// A mark alone, for a legend.
pub(crate) fn key(mode: Mode) -> String {
    let mut svg = Svg::new(16.0, 16.0, &mode.to_string());
    mark(&mut svg, "mark", mode, (8.0, 8.0));
    svg.finish()
}

const PANEL_WIDTH: f64 = 225.0;
const PANEL_HEIGHT: f64 = 150.0;

/// Throughput over the number of processes: a panel for each entry, all on one scale of their own from 0.
pub(crate) fn processes(findings: &Findings<'_>) -> Vec<String> {
    let counts = &findings.record.plan.processes;
    let panel = |name: &str, wakes_all: bool| {
        let series: Vec<(Mode, Vec<(usize, f64)>)> = findings
            .record
            .plan
            .asks
            .iter()
            .filter(|ask| Some(&ask.workload) == findings.workload() && !ask.on_all_cores)
            .map(|ask| (ask.mode, throughputs(findings, name, ask.mode)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let most = series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(0.0, f64::max);
        let title = format!("{name}: throughput over the number of processes");
        let mut svg = Svg::new(PANEL_WIDTH, PANEL_HEIGHT, &title);
        svg.text("name", Anchor::Start, (8.0, 16.0), name);
        if wakes_all {
            svg.text("tick", Anchor::End, (PANEL_WIDTH - 8.0, 16.0), "wakes all processes");
        }
        let (left, right, top, floor) = (12.0, PANEL_WIDTH - 14.0, 42.0, PANEL_HEIGHT - 22.0);
        svg.line("grid", (left - 6.0, floor), (right + 6.0, floor));
        let x = |at: usize| left + (right - left) * at as f64 / (counts.len() - 1).max(1) as f64;
        let y = |value: f64| floor - (floor - top) * value / most.max(1.0);
        for (at, count) in counts.iter().enumerate() {
            svg.text("tick", Anchor::Middle, (x(at), floor + 15.0), &count.to_string());
        }
        for (mode, points) in &series {
            let places: Vec<(f64, f64)> = points.iter().map(|(at, value)| (x(*at), y(*value))).collect();
            svg.path(&format!("curve {mode}"), &places, false);
            let peak = points.iter().copied().reduce(|one, other| if other.1 > one.1 { other } else { one });
            if let Some((at, value)) = peak {
                mark(&mut svg, "mark", *mode, (x(at), y(value)));
                let anchor = match at {
                    0 => Anchor::Start,
                    at if at + 1 == counts.len() => Anchor::End,
                    _ => Anchor::Middle,
                };
                svg.text("tick", anchor, (x(at), y(value) - 9.0), &words::whole(value));
            }
        }
        svg.finish()
    };
    let started = findings.record.entries.iter().filter(|entry| entry.kind != Kind::Target);
    started.map(|entry| panel(&entry.name, entry.wakes_all)).collect()
}

/// The place of each number of processes, and the throughput there.
fn throughputs(findings: &Findings<'_>, name: &str, mode: Mode) -> Vec<(usize, f64)> {
    let counts = &findings.record.plan.processes;
    let throughput = |at: usize| {
        let cell = findings.cell_of(mode, counts[at])?;
        let row = cell.rows.iter().find(|row| row.entry.name == name)?;
        Some((at, row.by(Metric::Throughput).value?.center))
    };
    if !findings.metrics.contains(&Metric::Throughput) {
        return Vec::new();
    }
    (0..counts.len()).filter_map(throughput).collect()
}
