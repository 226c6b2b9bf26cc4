//! The page: the question, the answer, the claims, and below them each part with its charts and numbers.

use super::Findings;
use super::answer;
use super::dots;
use super::effects::{Judged, Outcome, Verdict};
use crate::mix::Mix;
use crate::question::{Metric, Part, StartupMetric};
use crate::report::lines;
use crate::report::page::{self, table};
use crate::report::svg::{self, escape};

pub(crate) const QUESTION: &str = "Do you gain from FastCGI connection multiplexing?";

const STYLE: &str = concat!(include_str!("../lines.css"), include_str!("question.css"));
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
    let about = format!(
        "Asked in 2007 of a Python library under lighttpd; asked again on {}, on {} cores",
        record.date, record.machine.cores
    );
    let mut text = page::begun(&format!("fcgi-lab question, {}", record.date), QUESTION, &about, STYLE);
    for sentence in findings.answer() {
        text += &format!("<p class=\"verdict\">{}</p>\n", escape(&sentence));
    }
    claims(&mut text, findings);
    cores(&mut text, findings);
    for part in &findings.design.parts {
        of_part(&mut text, findings, part);
    }
    of_startup(&mut text, findings);
    of_connections(&mut text, findings);
    remarks(&mut text, findings);
    text + "</main>\n</html>\n"
}

fn claims(text: &mut String, findings: &Findings<'_>) {
    *text += "<h2>The claims</h2>\n<p>Written down before the run, with their margins and rules. A claim holds where every test \
              that decides it does, and is refuted where one is. Intervals are of 95 %, each by itself. What is beside a claim \
              does not decide it.</p>\n<div class=\"table\"><table class=\"claims\">\n<thead><tr><th>claim</th><th>verdict</th>\
              <th>effect, as a ratio</th><th>claimed</th></tr></thead>\n<tbody>\n";
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
    *text += &format!(
        "<tr class=\"claim\"><th><a href=\"#{}\">{}. {}</a>{quote}</th>{}<td></td><td></td></tr>\n",
        escape(&claim.chart),
        claim.number,
        escape(&claim.says),
        verdict(judged.verdict),
    );
}

fn test(text: &mut String, outcome: &Outcome<'_>) {
    let class = if outcome.test.decides { "test" } else { "test beside" };
    *text += &format!(
        "<tr class=\"{class}\"><td>{}</td>{}<td>{}</td><td>{}</td></tr>\n",
        escape(&outcome.test.says),
        verdict(outcome.verdict),
        escape(&answer::effect(outcome.effect.as_ref())),
        escape(&answer::claimed(outcome.test)),
    );
}

fn verdict(verdict: Verdict) -> String {
    let class = match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "refuted",
        _ => "open",
    };
    format!("<td class=\"{class}\">{}</td>", answer::verdict(verdict))
}

/// What this machine cannot decide.
fn cores(text: &mut String, findings: &Findings<'_>) {
    let cores = findings.record.machine.cores;
    *text += &format!(
        "<p class=\"quiet\">This machine has {cores} cores, so claims about as many processes as cores are decided for {cores} \
         alone. Nothing here is fitted to predict another number. On a machine with more, \
         <code>cargo run --release --bin fcgi-lab -- question</code> decides them for that machine.</p>\n"
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
        charts(text, findings, part, workload);
    }
    *text += "<details><summary>The numbers</summary>\n";
    for (title, numbers) in tables {
        *text += &format!("<h3>{}</h3>\n", escape(&title));
        table(text, &numbers);
    }
    *text += "</details>\n";
    if part.explains {
        for (title, numbers) in
            findings.other_tables().iter().filter(|(title, _)| title.starts_with(&part.title))
        {
            *text += &format!("<h3>{}</h3>\n", escape(title));
            table(text, numbers);
        }
    }
}

/// Over the number of processes or of clients where there are several; else over the uses of connections.
fn charts(text: &mut String, findings: &Findings<'_>, part: &Part, workload: &Mix) {
    let sizes = part.sizes(findings.record.machine.cores);
    if sizes.len() > 1 {
        return over(text, findings, part, workload, &sizes, "worker processes", |one| one.processes);
    }
    if part.clients.len() > 1 {
        return over(text, findings, part, workload, &part.clients, "clients", |one| one.clients);
    }
    let metric = part.told();
    let (unit, factor, reading) = match metric {
        Metric::LatencyP99 => ("ms", 1e-3, "latency (p99) of /hello"),
        Metric::TotalCpu => ("µs", 1.0, "CPU of web server and worker for a request"),
        _ => ("µs", 1.0, "CPU of the worker for a request"),
    };
    let rows = findings.dots(part, workload, metric, factor);
    if rows.is_empty() {
        return;
    }
    let title = format!("{}, {}", part.title, workload.name());
    *text += &format!("<h3>{}: {reading}, lower is better</h3>\n<p class=\"key\">", escape(&workload.name()));
    for (way, used) in part.uses.iter().enumerate() {
        *text += &format!("<span>{}{}</span> ", dots::key(way, &used.to_string()), escape(&used.to_string()));
    }
    *text += &format!("</p>\n<figure>{}</figure>\n", dots::chart(&title, unit, &rows));
}

fn over(
    text: &mut String,
    findings: &Findings<'_>,
    part: &Part,
    workload: &Mix,
    sizes: &[usize],
    axis: &str,
    size: impl Fn(&super::parts::Contender) -> usize,
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
    let starts = findings.starts();
    if starts.is_empty() {
        return;
    }
    *text += &format!(
        "<h2 id=\"startup\">{}</h2>\n<p>{}</p>\n<p class=\"key\">",
        escape(&design.title),
        escape(&design.says)
    );
    for (way, (_, name)) in STARTS.iter().enumerate() {
        *text += &format!("<span>{}{name}</span> ", dots::key(way, name));
    }
    *text += "</p>\n";
    for &startup_ms in &design.startup_ms {
        let rows: Vec<dots::Row> = starts
            .iter()
            .filter(|(_, _, of)| *of == startup_ms)
            .map(|of| {
                let mark = |(way, (metric, _)): (usize, &(StartupMetric, &str))| {
                    Some((way, findings.start_value(of, *metric)?.times(1e3)))
                };
                let plural = if of.1 == 1 { "process" } else { "processes" };
                dots::Row {
                    name: format!("{}, {} {plural}", of.0, of.1),
                    marks: STARTS.iter().enumerate().filter_map(mark).collect(),
                }
            })
            .collect();
        let title = format!("a worker takes {startup_ms} ms before it serves");
        *text +=
            &format!("<h3>{}</h3>\n<figure>{}</figure>\n", escape(&title), dots::chart(&title, "ms", &rows));
    }
    for (title, numbers) in findings.other_tables().iter().filter(|(title, _)| *title == design.title) {
        *text += &format!("<details><summary>{}: the numbers</summary>\n", escape(title));
        table(text, numbers);
        *text += "</details>\n";
    }
}

fn of_connections(text: &mut String, findings: &Findings<'_>) {
    if findings.record.connections.is_empty() {
        return;
    }
    let tables = findings.other_tables();
    let told =
        tables.iter().find(|(_, numbers)| numbers.head.iter().any(|head| head == "most in flight on one"));
    if let Some((title, numbers)) = told {
        *text += &format!(
            "<h2>{}</h2>\n<p>Counted on the line between web server and workers, in a pass of its own: that several requests \
             were on one connection is seen, and not assumed.</p>\n",
            escape(title)
        );
        table(text, numbers);
    }
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
