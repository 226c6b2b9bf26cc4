//! What people read: a line for each case, everything about a failing one, the table at the end.

use fcgi_verify::{Case, CaseReport, Outcome, Target};

use super::style::Style;
use super::{Ran, is_binding_failure, table};

/// What is known about the server.
pub(crate) fn header(target: &Target, count: usize) {
    let capacity = &target.capacity;
    let value = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    say!("{count} cases against {}", target.address);
    say!(
        "  FCGI_MAX_CONNS {}, FCGI_MAX_REQS {}, FCGI_MPXS_CONNS {}",
        value(capacity.max_conns),
        value(capacity.max_reqs),
        value(capacity.mpxs_conns.map(u64::from)),
    );
    say!(
        "  workload: {}, multiplexing: {}, connections served at once: {}, process: {}",
        yes_no(target.workload),
        yes_no(target.multiplexing),
        target.connections,
        target.pid.map_or("unknown".to_owned(), |pid| pid.to_string()),
    );
}

/// One case, in a line; a failing one with all that is known.
pub(crate) fn case(case: &Case, report: &CaseReport, style: Style) {
    let word = match &report.outcome {
        Outcome::Passed => style.green("passed  "),
        Outcome::Failed(_) => style.red("FAILED  "),
        Outcome::NotApplicable(_) => style.yellow("n/a     "),
        Outcome::Reported(_) => style.cyan("reported"),
    };
    let time = format!("{:.0} ms", report.elapsed.as_secs_f64() * 1e3);
    match &report.outcome {
        Outcome::Passed => say!("{word} {} ({time})", case.path()),
        Outcome::NotApplicable(reason) => say!("{word} {}: not applicable: {reason}", case.path()),
        Outcome::Reported(what) => say!("{word} {}: {what}", case.path()),
        Outcome::Failed(why) => {
            say!("{word} {} ({}, section {}, {time})", case.path(), case.level, case.section);
            say!("  asked: {}", case.asks);
            say!("  found: {why}");
            for line in report.transcript.lines() {
                say!("  | {line}");
            }
        }
    }
}

/// The table, and the verdict.
pub(crate) fn summary(ran: &[Ran], gone: bool, style: Style) {
    say!("");
    say!("{}", table::render(ran));
    let failures: Vec<&Ran> =
        ran.iter().filter(|(_, report)| matches!(report.outcome, Outcome::Failed(_))).collect();
    if !failures.is_empty() {
        say!("");
        for (case, report) in &failures {
            if let Outcome::Failed(why) = &report.outcome {
                say!("{} {} ({}, {}): {why}", style.red("FAILED"), case.path(), case.level, case.section);
            }
        }
    }
    let binding = failures.iter().filter(|(case, report)| is_binding_failure(case, report)).count();
    say!("");
    if gone {
        say!("{}", style.red("the server is gone, and the cases after that were not run"));
    }
    if binding == 0 && !gone {
        say!("{}", style.green("every required and robustness case passed"));
    } else if binding > 0 {
        say!("{}", style.red(&format!("{binding} required or robustness cases failed")));
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
