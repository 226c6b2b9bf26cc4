//! Reports: a page and a Markdown text, made from the raw data of an experiment alone. The same data give the same
//! bytes.
//!
//! ```text
//!   Record ──► findings ──► tables ──► markdown
//!        (statistics, verdict) └──────► page ◄── chart
//! ```

mod chart;
mod findings;
mod json;
mod markdown;
mod metric;
mod page;
mod statistics;
mod svg;
mod tables;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

use crate::experiment::Record;
use findings::Findings;

/// Whether every ratio of CPU per request is known within 2 %, from enough launches for a run to stop on it: with fewer than
/// twelve its intervals would miss more often than they say.
pub fn is_known(record: &Record) -> bool {
    let findings = Findings::of(record);
    record.launches() >= statistics::LEAST_TO_STOP
        && findings.cells.iter().all(|cell| findings.vague(cell).is_empty())
}

/// The report as a page that needs no other file.
pub fn page(record: &Record) -> String {
    page::of(&Findings::of(record))
}

/// The report's figures as JSON.
pub fn json(record: &Record) -> String {
    json::of(&Findings::of(record))
}

/// The report as Markdown.
pub fn markdown(record: &Record) -> String {
    markdown::of(&Findings::of(record))
}
