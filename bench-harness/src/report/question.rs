//! The answer to the question of 2007: the claims and what has become of them, charts and tables, from the raw data and the
//! claims that were written down before.

mod answer;
mod dots;
mod effects;
mod json;
mod page;
mod parts;

use anyhow::Context;

use super::markdown;
use crate::question::{Design, Record};
use effects::Judged;

/// The data with the claims that they decide.
pub(crate) struct Findings<'a> {
    pub(crate) design: &'a Design,
    pub(crate) record: &'a Record,
    pub(crate) claims: Vec<Judged<'a>>,
}

/// All that is made of the data: the same data and claims give the same bytes.
pub struct Texts {
    /// A page that needs no other file.
    pub page: String,
    /// The answer and the verdicts, for a terminal.
    pub summary: String,
    /// The tables as Markdown.
    pub markdown: String,
    /// The verdicts as JSON.
    pub json: String,
    /// The chart of 2007 again, as a picture that needs no other file.
    pub picture: String,
}

/// Of data, and the claims with their hash.
///
/// # Errors
///
/// The data are of other claims.
pub fn of(record: &Record, design: &Design, hash: &str) -> anyhow::Result<Texts> {
    record.is_of(hash).context("the claims")?;
    let findings = Findings { design, record, claims: effects::judge(design, record) };
    Ok(Texts {
        page: page::of(&findings),
        summary: findings.summary(),
        markdown: answer_in_markdown(&findings),
        json: json::of(&findings)?,
        picture: page::picture(&findings),
    })
}

fn answer_in_markdown(findings: &Findings<'_>) -> String {
    let mut text = format!("# {}\n\n", page::QUESTION);
    for sentence in findings.answer() {
        text += &format!("{sentence}\n\n");
    }
    text += "## The claims\n\n";
    text += &markdown::table(&findings.claims_table());
    for resolution in findings.resolutions() {
        text += &format!("\n{resolution}\n");
    }
    for part in &findings.design.parts {
        for (title, table) in findings.part_tables(part) {
            text += &format!("\n## {title}\n\n");
            text += &markdown::table(&table);
        }
    }
    for (title, table) in findings.other_tables() {
        text += &format!("\n## {title}\n\n");
        text += &markdown::table(&table);
    }
    let remarks = findings.remarks();
    if !remarks.is_empty() {
        text += "\n## What is missing or marked\n\n";
    }
    for remark in remarks {
        text += &format!("- {}\n", markdown::escape(&remark));
    }
    text += "\n## How this was made\n\n| | |\n|---|---|\n";
    for (name, value) in findings.setting() {
        text += &format!("| {name} | {} |\n", markdown::escape(&value));
    }
    text
}
