//! The counts, by chapter and level.

use std::fmt::Write as _;

use fcgi_verify::{Case, CaseReport, Level, Outcome, chapters};

use super::Ran;

/// A row for each chapter that was run; a cell is `passed/ran`, where a report counts as passed.
pub(crate) fn render(ran: &[Ran]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<18}{:>12}{:>14}{:>16}{:>13}{:>9}{:>7}",
        "chapter", "required", "recommended", "impl.-defined", "robustness", "failed", "n/a"
    );
    for chapter in chapters() {
        let rows: Vec<&Ran> = ran.iter().filter(|(case, _)| case.chapter == chapter).collect();
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
    let failed = count(rows, |_, report| matches!(report.outcome, Outcome::Failed(_)));
    let not_applicable = count(rows, |_, report| !applied(report));
    let _ = writeln!(
        text,
        "{name:<18}{:>12}{:>14}{:>16}{:>13}{failed:>9}{not_applicable:>7}",
        cells[0], cells[1], cells[2], cells[3]
    );
}

fn cell(rows: &[&Ran], level: Level) -> String {
    let of_level = count(rows, |case, _| case.level == level);
    let ran = count(rows, |case, report| case.level == level && applied(report));
    let passed = count(rows, |case, report| {
        case.level == level && matches!(report.outcome, Outcome::Passed | Outcome::Reported(_))
    });
    if of_level == 0 { "-".to_owned() } else { format!("{passed}/{ran}") }
}

fn applied(report: &CaseReport) -> bool {
    !matches!(report.outcome, Outcome::NotApplicable(_))
}

fn count(rows: &[&Ran], is: impl Fn(&Case, &CaseReport) -> bool) -> usize {
    rows.iter().filter(|(case, report)| is(case, report)).count()
}
