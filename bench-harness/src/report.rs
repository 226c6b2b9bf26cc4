//! Reports: a page and a Markdown text, made from the raw data of an experiment alone. The same data give the same
//! bytes.
//!
//! ```text
//!   Record ──► findings ──► tables, sentences ──► markdown, json
//!        (statistics, verdict) └──────► page ◄── chart
//!   Record, Measured ──► series ◄── lines
//! ```

mod chart;
mod findings;
mod json;
mod lines;
mod markdown;
mod metric;
mod page;
pub mod question;
mod sentences;
mod series;
mod statistics;
mod svg;
mod tables;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

use crate::experiment::Record;
use crate::series::Measured;
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

/// The page of a series of measurements, which needs no other file. Of the `record` it takes where and how they were made, and
/// who took part.
pub fn series_page(record: &Record, measured: &[Measured]) -> String {
    series::of(record, measured)
}
