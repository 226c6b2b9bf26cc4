//! The counts, by chapter and level.

use std::fmt::Write as _;

use fcgi_verify::{CaseReport, Level, Outcome, chapters};

use super::run::Ran;

/// A row for each chapter that was run; a cell is `passed/ran`, where a report counts as passed.
pub(crate) fn render(ran: &[Ran]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<18}{:>12}{:>14}{:>16}{:>13}{:>9}{:>7}",
        "chapter", "required", "recommended", "impl.-defined", "robustness", "failed", "n/a"
    );
    for chapter in chapters() {
        let rows: Vec<&Ran> = ran.iter().filter(|ran| ran.case.chapter == chapter).collect();
        if !rows.is_empty() {
            line(&mut text, chapter, &rows);
        }
    }
    line(&mut text, "all", &ran.iter().collect::<Vec<_>>());
    text.truncate(text.trim_end().len());
    text
}

fn line(text: &mut String, name: &str, rows: &[&Ran]) {
    let cells: Vec<String> = Level::ALL.into_iter().map(|level| cell(rows, level)).collect();
    let failed = count(rows, |ran| ran.failure().is_some());
    let not_applicable = count(rows, |ran| !applied(&ran.report));
    let _ = writeln!(
        text,
        "{name:<18}{:>12}{:>14}{:>16}{:>13}{failed:>9}{not_applicable:>7}",
        cells[0], cells[1], cells[2], cells[3]
    );
}

fn cell(rows: &[&Ran], level: Level) -> String {
    let of_level = count(rows, |ran| ran.case.level == level);
    let ran = count(rows, |ran| ran.case.level == level && applied(&ran.report));
    let passed = count(rows, |ran| {
        ran.case.level == level && matches!(ran.report.outcome, Outcome::Passed | Outcome::Reported(_))
    });
    if of_level == 0 { "-".to_owned() } else { format!("{passed}/{ran}") }
}

fn applied(report: &CaseReport) -> bool {
    !matches!(report.outcome, Outcome::NotApplicable(_))
}

fn count(rows: &[&Ran], is: impl Fn(&Ran) -> bool) -> usize {
    rows.iter().filter(|ran| is(ran)).count()
}
