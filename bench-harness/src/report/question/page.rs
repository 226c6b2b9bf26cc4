//! The page: the question, the answer, the claims, and below them each part with its charts and numbers.

use super::Findings;
use super::answer;
use super::dots;
use super::effects::{Judged, Outcome, Verdict};
use super::parts::{Contender, Started};
use crate::experiment::Neighbour;
use crate::mix::Mix;
use crate::question::{About, Metric, Part, StartupMetric};
use crate::report::lines;
use crate::report::page::{self, HOLLOW, table};
use crate::report::svg::{self, escape};
use crate::report::words;

pub(crate) const QUESTION: &str = "Do you gain from FastCGI connection multiplexing?";

const STYLE: &str = concat!(include_str!("../lines.css"), include_str!("question.css"));
pub(crate) const CONNECTIONS: &str = "How web servers used their connections";
/// The part whose chart is that of 2007.
const CHART_OF_2007: &str = "processes";
/// What is told of a start, in the order of its marks.
const STARTS: [(StartupMetric, &str); 4] = [
    (StartupMetric::First, "first answer"),
    (StartupMetric::Hundredth, "hundredth answer"),
    (StartupMetric::BurstP99, "latency (p99) in a burst at start"),
    (StartupMetric::LongestWait, "longest wait after a worker was killed"),
];

pub(crate) fn of(findings: &Findings<'_>) -> String {
    let record = findings.record;
    let (day, cores) = (record.date.split('T').next().unwrap_or_default(), record.machine.cores);
    let about = format!(
        "Asked in 2007 of a Python library under lighttpd; asked again on {day}, on {cores} cores of one machine"
    );
    let mut text = page::begun(&format!("fcgi-lab question, {}", record.date), QUESTION, &about, STYLE);
    for sentence in findings.answer() {
        text += &format!("<p class=\"verdict\">{}</p>\n", escape(&sentence));
    }
    claims(&mut text, findings);
    limits(&mut text, findings);
    for part in &findings.design.parts {
        of_part(&mut text, findings, part);
    }
    of_startup(&mut text, findings);
    of_connections(&mut text, findings);
    remarks(&mut text, findings);
    text + "</main>\n</html>\n"
}

fn claims(text: &mut String, findings: &Findings<'_>) {
    *text += "<h2>The claims</h2>\n<p>Claims, margins and rules were written before the run. A claim holds if every deciding test \
              holds, and is refuted if any is refuted: of flup, the library of 2007, and of the models of today. Intervals are \
              of 95 %. Grey rows do not decide.</p>\n<div class=\"table\"><table class=\"claims\">\n<thead><tr><th>claim</th>\
              <th>verdict</th><th>effect, as a ratio</th><th>claimed</th></tr></thead>\n<tbody>\n";
    for judged in &findings.claims {
        claim(text, judged);
        for outcome in &judged.outcomes {
            test(text, outcome);
        }
    }
    *text += "</tbody>\n</table></div>\n";
}

fn claim(text: &mut String, judged: &Judged<'_>) {
    let claim = judged.claim;
    let quote = claim.quote.as_ref().map(|quote| format!("<br><q>{}</q>", escape(quote))).unwrap_or_default();
    let verdict = |(about, verdict): (&About, &Verdict)| {
        let of = if judged.verdicts.len() > 1 { format!("{}: ", about.name()) } else { String::new() };
        format!("<span class=\"{}\">{of}{}</span>", class(*verdict), answer::verdict(*verdict))
    };
    *text += &format!(
        "<tr class=\"claim\"><th><a href=\"#{}\">{}. {}</a>{quote}</th><td>{}</td><td></td><td></td></tr>\n",
        escape(&claim.chart),
        claim.number,
        escape(&claim.says),
        judged.verdicts.iter().map(verdict).collect::<Vec<_>>().join("<br>"),
    );
}

fn test(text: &mut String, outcome: &Outcome<'_>) {
    let row = if outcome.test.decides.is_some() { "test" } else { "test beside" };
    *text += &format!(
        "<tr class=\"{row}\"><td>{}</td><td class=\"{}\">{}</td><td>{}</td><td>{}</td></tr>\n",
        escape(&outcome.test.says),
        class(outcome.verdict),
        answer::verdict(outcome.verdict),
        escape(&answer::effect(outcome.effect.as_ref())),
        escape(&answer::claimed(outcome.test)),
    );
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "refuted",
        _ => "open",
    }
}

/// How far the same entry under two names differs, and what this machine cannot decide.
fn limits(text: &mut String, findings: &Findings<'_>) {
    for resolution in findings.resolutions() {
        *text += &format!("<p>{}</p>\n", escape(&resolution));
    }
    let cores = findings.record.machine.cores;
    *text += &format!(
        "<p class=\"quiet\">Claims about as many processes as cores are decided for {cores} cores only. To decide them for another \
         machine, run <code>cargo run --release -p bench-harness -- question</code> there. Nothing here is fitted to predict \
         another number.</p>\n"
    );
}

fn of_part(text: &mut String, findings: &Findings<'_>, part: &Part) {
    let tables = findings.part_tables(part);
    if tables.is_empty() {
        return;
    }
    *text += &format!(
        "<h2 id=\"{}\">{}</h2>\n<p>{}</p>\n",
        escape(&part.name),
        escape(&part.title),
        escape(&part.says)
    );
    for workload in &part.workloads {
        match &part.neighbours[..] {
            [] => charts(text, findings, part, workload, None),
            several => several.iter().for_each(|one| charts(text, findings, part, workload, Some(one))),
        }
    }
    *text += "<details><summary>The numbers</summary>\n";
    for (title, numbers) in tables {
        *text += &format!("<h3>{}</h3>\n", escape(&title));
        table(text, &numbers);
    }
    *text += "</details>\n";
    if part.explains {
        *text += "<h3>Context switches and system calls for a request</h3>\n";
        table(text, &findings.switches_table(part));
    }
}

/// Over the number of processes or of clients where there are several; else over the uses of connections.
fn charts(
    text: &mut String,
    findings: &Findings<'_>,
    part: &Part,
    workload: &Mix,
    neighbour: Option<&Neighbour>,
) {
    let sizes = part.sizes(findings.record.machine.cores);
    if sizes.len() > 1 {
        return over(text, findings, part, workload, &sizes, "worker processes", |one| one.processes);
    }
    if part.clients.len() > 1 {
        return over(text, findings, part, workload, &part.clients, "clients", |one| one.clients);
    }
    for metric in &part.charts {
        over_uses(text, findings, part, workload, neighbour, *metric);
    }
}

fn over_uses(
    text: &mut String,
    findings: &Findings<'_>,
    part: &Part,
    workload: &Mix,
    neighbour: Option<&Neighbour>,
    metric: Metric,
) {
    let (unit, factor, reading) = match metric {
        Metric::LatencyP99 => ("ms", 1e-3, "latency (p99), lower is better"),
        Metric::LongestWait => ("ms", 1e-3, "the longest wait in a turn, lower is better"),
        Metric::TotalCpu => ("µs", 1.0, "CPU of web server and worker for a request, lower is better"),
        Metric::WorkerCpu => ("µs", 1.0, "CPU of the worker for a request, lower is better"),
        Metric::Throughput => ("", 1.0, "requests per second, higher is better"),
    };
    let rows = findings.dots(part, workload, neighbour, metric, factor);
    if rows.is_empty() {
        return;
    }
    let beside = neighbour.map(|one| format!(" beside {one}")).unwrap_or_default();
    let name = format!("{}{beside}", workload.name());
    *text += &format!("<h3>{}: {reading}</h3>\n<p class=\"key\">", escape(&name));
    for (way, used) in part.uses.iter().enumerate() {
        let used = used.to_string();
        *text += &format!("<span>{}{}</span> ", dots::key(way, &used), escape(&used));
    }
    if rows.iter().any(|row| !row.hollow.is_empty()) {
        *text += HOLLOW;
    }
    *text += "</p>\n";
    let drawn = dots::chart(&format!("{}, {name}: {reading}", part.title), unit, &rows);
    *text += &format!("<figure class=\"rows\">{drawn}</figure>\n");
}

fn over(
    text: &mut String,
    findings: &Findings<'_>,
    part: &Part,
    workload: &Mix,
    sizes: &[usize],
    axis: &str,
    size: impl Fn(&Contender) -> usize,
) {
    let lines = findings.lines(part, workload, size);
    if lines.is_empty() {
        return;
    }
    let title = format!("{}, {}", part.title, workload.name());
    *text += &format!(
        "<div class=\"lines\"><figure><figcaption>Requests per second, {} <span>higher is better; both axes are logarithmic; \
         dotted: other implementations</span></figcaption>{}</figure></div>\n",
        escape(&workload.name()),
        lines::chart(&title, sizes, axis, &lines)
    );
}

fn of_startup(text: &mut String, findings: &Findings<'_>) {
    let design = &findings.design.startup;
    let pools = findings.started();
    if pools.is_empty() {
        return;
    }
    let (title, says) = (escape(&design.title), escape(&design.says));
    *text += &format!("<h2 id=\"startup\">{title}</h2>\n<p>{says}</p>\n<p class=\"key\">");
    for (way, (_, name)) in STARTS.iter().enumerate() {
        *text += &format!("<span>{}{name}</span> ", dots::key(way, name));
    }
    *text += "</p>\n";
    for &start in &design.starts {
        let row = |started: &Started| {
            let mark = |(way, (metric, _)): (usize, &(StartupMetric, &str))| {
                Some((way, findings.start_value(started, *metric)?.times(1e3)))
            };
            let name = format!("{}, {}", started.entry, words::processes(started.processes));
            dots::Row {
                name,
                marks: STARTS.iter().enumerate().filter_map(mark).collect(),
                hollow: Vec::new(),
            }
        };
        let rows: Vec<dots::Row> = pools.iter().filter(|started| started.start == start).map(row).collect();
        let title = format!("Each worker {start} before it serves");
        let drawn = dots::chart(&title, "ms", &rows);
        *text += &format!("<h3>{}</h3>\n<figure class=\"rows\">{drawn}</figure>\n", escape(&title));
    }
    *text += "<details><summary>The numbers</summary>\n";
    table(text, &findings.starts_table());
    *text += "</details>\n";
}

fn of_connections(text: &mut String, findings: &Findings<'_>) {
    if findings.record.connections.is_empty() {
        return;
    }
    *text += &format!(
        "<h2>{CONNECTIONS}</h2>\n<p>Counted on the line between web server and workers, in a pass of its own: that several \
         requests were on one connection is seen, and not assumed.</p>\n"
    );
    table(text, &findings.connections_table());
}

fn remarks(text: &mut String, findings: &Findings<'_>) {
    let remarks = findings.remarks();
    if !remarks.is_empty() {
        *text += "<h2>What is missing or marked</h2>\n<ul>\n";
        for remark in remarks {
            *text += &format!("<li>{}</li>\n", escape(&remark));
        }
        *text += "</ul>\n";
    }
    *text += "<h2>How this was made</h2>\n<p>All that is compared lives at the same time and has turns of some milliseconds, in \
              an order shuffled anew; every reply is checked; each launch starts everything afresh, and intervals come of \
              launches alone. METHODOLOGY.md says more, and BIAS.md what speaks against it.</p>\n<dl>\n";
    for (name, value) in findings.setting() {
        *text += &format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value));
    }
    *text += "</dl>\n";
}

/// The chart of 2007 again, by itself.
pub(crate) fn picture(findings: &Findings<'_>) -> String {
    let Some(part) = findings.design.part(CHART_OF_2007) else { return String::new() };
    let sizes = part.sizes(findings.record.machine.cores);
    let lines = findings.lines(part, &Mix::default(), |one| one.processes);
    let drawn = lines::chart(&part.title, &sizes, "worker processes", &lines);
    svg::standalone(&drawn, &format!("{}{STYLE}", page::STYLE))
}
