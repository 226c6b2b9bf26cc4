//! The report as a page: text, tables, and the charts within.

use super::chart;
use super::findings::{Cell, Findings};
use super::metric::Metric;
use super::svg::escape;
use super::tables::Table;
use super::verdict::LAUNCHES;
use crate::experiment::Record;

pub(crate) const STYLE: &str = include_str!("page.css");

pub(crate) fn of(findings: &Findings<'_>) -> String {
    let record = findings.record;
    let (title, heading) =
        (format!("fcgi-lab compare, {}", record.date), "Ways to build a FastCGI server, compared");
    let mut page = begun(&title, heading, &about(record), "");
    let unfit = findings.metrics.iter().any(|metric| !findings.unfit(*metric).is_empty());
    let class = if unfit || findings.launches() < LAUNCHES { "verdict unfit" } else { "verdict" };
    page += &format!("<p class=\"{class}\">{}</p>\n", escape(&findings.summary()));

    question_of_2007(&mut page, findings);
    processes(&mut page, findings);
    comparisons(&mut page, findings);
    explanations(&mut page, findings);
    remarks(&mut page, findings);
    page += "</main>\n</html>\n";
    page
}

/// When it was measured, and where.
pub(crate) fn about(record: &Record) -> String {
    format!(
        "{}, on {} cores, {} regime, {} socket",
        record.date, record.machine.cores, record.plan.regime, record.plan.family
    )
}

/// Up to what it is about.
pub(crate) fn begun(title: &str, heading: &str, about: &str, style: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n<main>\n\
         <h1>{heading}</h1>\n<p class=\"quiet\">{about}</p>\n",
        title = escape(title),
        about = escape(about),
    )
}

/// The key of marks that are hollow.
pub(crate) const HOLLOW: &str =
    "<span class=\"quiet\">hollow: fewer requests in flight, since no more connections are held</span>";

fn question_of_2007(page: &mut String, findings: &Findings<'_>) {
    let title = if findings.steps().is_empty() {
        "CPU per request"
    } else {
        "Do you gain from keeping connections, and from multiplexing them?"
    };
    *page += &format!("<h2>{title}</h2>\n");
    *page += "<p>Processor time of the workers for one request, in microseconds, on a logarithmic scale: the further \
              left, the cheaper.</p>\n<p class=\"key\">";
    for mode in findings.modes() {
        *page += &format!("<span>{}{mode}</span> ", chart::key(mode));
    }
    *page += HOLLOW;
    *page += "</p>\n";
    let several = findings.record.plan.processes.len() > 1;
    for (at, &count) in findings.record.plan.processes.iter().enumerate() {
        // A page of many charts that say the same would say less.
        let (open, close) = match at {
            0 => ("", ""),
            _ => ("<details><summary>", "</details>\n"),
        };
        if several {
            let plural = if count == 1 { "process" } else { "processes" };
            *page += open;
            *page += &if at == 0 {
                format!("<h3>{count} {plural}</h3>\n")
            } else {
                format!("{count} {plural}</summary>\n")
            };
        }
        let chart = chart::cpu(findings, count);
        if !chart.is_empty() {
            *page += &format!("<figure class=\"rows\">{chart}</figure>\n");
        }
        table(page, &findings.gains_table(count));
        *page += close;
    }
}

fn processes(page: &mut String, findings: &Findings<'_>) {
    if findings.peaks.is_empty() {
        return;
    }
    *page += "<h2>How many processes help?</h2>\n<p>Requests per second over the number of worker processes; the mark is \
              where there are most. Each panel has its own scale, from 0.</p>\n<div class=\"panels\">\n";
    for panel in chart::processes(findings) {
        *page += &format!("<figure>{panel}</figure>\n");
    }
    *page += "</div>\n";
    table(page, &findings.peaks_table());
}

fn comparisons(page: &mut String, findings: &Findings<'_>) {
    for cell in &findings.cells {
        // Of a series over the processes one cell in each mode is open.
        let is_open = findings.record.plan.processes.first() == Some(&cell.processes);
        let name = escape(&capitalised(&findings.cell_name(cell)));
        *page += &if is_open {
            format!("<h2>{name}</h2>\n")
        } else {
            format!("<details><summary>{name}</summary>\n")
        };
        comparison(page, findings, cell);
        if !is_open {
            *page += "</details>\n";
        }
    }
}

fn comparison(page: &mut String, findings: &Findings<'_>, cell: &Cell<'_>) {
    // The others are in the table.
    let drawn = |metric: &&Metric| match findings.record.plan.rate {
        None => matches!(metric, Metric::Cpu | Metric::Throughput),
        Some(_) => matches!(metric, Metric::Cpu | Metric::Tail),
    };
    for &metric in findings.metrics.iter().filter(drawn) {
        if cell.rows.iter().all(|row| row.by(metric).ratio.is_none()) {
            continue;
        }
        let reading = match metric {
            Metric::Cpu => "The band is what counts as equal: 3 % to either side.",
            _ => "Intervals of 95 %, and no verdict.",
        };
        let better = if metric.more_is_better() { "right" } else { "left" };
        *page += &format!(
            "<h3>{}, as a ratio to {}</h3>\n<p class=\"quiet\">Better is to the {better}. {reading}</p>\n",
            escape(&capitalised(metric.name())),
            escape(&findings.record.reference),
        );
        *page += &format!("<figure class=\"rows\">{}</figure>\n", chart::ratios(findings, cell, metric));
    }
    table(page, &findings.comparison_table(cell));
}

fn explanations(page: &mut String, findings: &Findings<'_>) {
    *page += "<h2>Why</h2>\n";
    for cell in &findings.cells {
        *page += &format!("<h3>{}</h3>\n", escape(&capitalised(&findings.cell_name(cell))));
        table(page, &findings.why_table(cell));
    }
    if !findings.record.system_calls.is_empty() {
        *page += "<details><summary>System calls by name</summary>\n";
        table(page, &findings.system_calls_table());
        *page += "</details>\n";
    }
}

fn remarks(page: &mut String, findings: &Findings<'_>) {
    let remarks = findings.remarks();
    if !remarks.is_empty() {
        *page += "<h2>What is missing or marked</h2>\n<ul>\n";
        for remark in remarks {
            *page += &format!("<li>{}</li>\n", escape(&remark));
        }
        *page += "</ul>\n";
    }
    *page += &format!("<h2>How this was made</h2>\n<p>{}</p>\n<dl>\n", escape(&findings.method()));
    for (name, value) in findings.setting() {
        *page += &format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value));
    }
    *page += "</dl>\n";
}

pub(crate) fn table(page: &mut String, table: &Table) {
    let cells = |cells: &[String], tag: &str| -> String {
        let cell = |text: &String| format!("<{tag}>{}</{tag}>", escape(text));
        cells.iter().map(cell).collect()
    };
    *page += "<div class=\"table\"><table>\n<thead><tr>";
    *page += &cells(&table.head, "th");
    *page += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        *page += &format!("<tr>{}</tr>\n", cells(row, "td"));
    }
    *page += "</tbody>\n</table></div>\n";
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
