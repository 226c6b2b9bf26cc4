//! What people read: a line for each case, everything about a failing one, the table at the end.

use fcgi_verify::{Case, CaseReport, Outcome, Target};

use super::style::Style;
use super::{Ran, is_binding_failure, table};

/// What is known about the server.
pub(crate) fn header(target: &Target, count: usize) {
    let capacity = &target.capacity;
    let value = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    println!("{count} cases against {}", target.address);
    println!(
        "  FCGI_MAX_CONNS {}, FCGI_MAX_REQS {}, FCGI_MPXS_CONNS {}",
        value(capacity.max_conns),
        value(capacity.max_reqs),
        value(capacity.mpxs_conns.map(u64::from)),
    );
    println!(
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
        Outcome::Passed => println!("{word} {} ({time})", case.path()),
        Outcome::NotApplicable(reason) => println!("{word} {}: not applicable: {reason}", case.path()),
        Outcome::Reported(what) => println!("{word} {}: {what}", case.path()),
        Outcome::Failed(why) => {
            println!("{word} {} ({}, section {}, {time})", case.path(), case.level, case.section);
            println!("  asked: {}", case.asks);
            println!("  found: {why}");
            for line in report.transcript.lines() {
                println!("  | {line}");
            }
        }
    }
}

/// The table, and the verdict.
pub(crate) fn summary(ran: &[Ran], style: Style) {
    println!();
    print!("{}", table::render(ran));
    let failures: Vec<&Ran> =
        ran.iter().filter(|(_, report)| matches!(report.outcome, Outcome::Failed(_))).collect();
    if !failures.is_empty() {
        println!();
        for (case, report) in &failures {
            if let Outcome::Failed(why) = &report.outcome {
                println!("{} {} ({}, {}): {why}", style.red("FAILED"), case.path(), case.level, case.section);
            }
        }
    }
    let binding = failures.iter().filter(|(case, report)| is_binding_failure(case, report)).count();
    println!();
    if binding == 0 {
        println!("{}", style.green("every required and robustness case passed"));
    } else {
        println!("{}", style.red(&format!("{binding} required or robustness cases failed")));
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
