//! What people read: a line for each case, everything about a failing one, the table at the end.

use std::io::{self, Write};

use fcgi_verify::{Outcome, Target};

use super::run::{Ran, Run};
use super::style::Style;
use super::table;

/// What is known about the server.
pub(crate) fn header(out: &mut dyn Write, target: &Target, count: usize) -> io::Result<()> {
    let capacity = &target.capacity;
    let value = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    writeln!(out, "{count} cases against {}", target.address)?;
    writeln!(
        out,
        "  FCGI_MAX_CONNS {}, FCGI_MAX_REQS {}, FCGI_MPXS_CONNS {}",
        value(capacity.max_conns),
        value(capacity.max_reqs),
        value(capacity.mpxs_conns.map(u64::from)),
    )?;
    writeln!(
        out,
        "  workload: {}, multiplexing: {}, connections served at once: {}, process: {}",
        yes_no(target.workload),
        yes_no(target.multiplexing),
        target.connections,
        target.pid.map_or("unknown".to_owned(), |pid| pid.to_string()),
    )
}

/// One case, in a line; a failing one with all that is known.
pub(crate) fn case(out: &mut dyn Write, ran: &Ran, style: Style) -> io::Result<()> {
    let Ran { case, report, .. } = ran;
    let word = match &report.outcome {
        Outcome::Passed => style.green("passed  "),
        Outcome::Failed(_) => style.red("FAILED  "),
        Outcome::NotApplicable(_) => style.yellow("n/a     "),
        Outcome::Reported(_) => style.cyan("reported"),
    };
    let time = format!("{:.0} ms", report.elapsed.as_secs_f64() * 1e3);
    match &report.outcome {
        Outcome::Passed => writeln!(out, "{word} {} ({time})", case.path()),
        Outcome::NotApplicable(reason) => writeln!(out, "{word} {}: not applicable: {reason}", case.path()),
        Outcome::Reported(what) => writeln!(out, "{word} {}: {what}", case.path()),
        Outcome::Failed(why) => {
            writeln!(out, "{word} {} ({}, section {}, {time})", case.path(), case.level, case.section)?;
            writeln!(out, "  asked: {}", case.asks)?;
            writeln!(out, "  found: {why}")?;
            report.transcript.lines().try_for_each(|line| writeln!(out, "  | {line}"))
        }
    }
}

/// The table, and the verdict.
pub(crate) fn summary(out: &mut dyn Write, run: &Run, style: Style) -> io::Result<()> {
    writeln!(out, "\n{}\n", table::render(&run.ran))?;
    let mut failures = 0;
    for (ran, why) in run.ran.iter().filter_map(|ran| Some((ran, ran.failure()?))) {
        let (path, case) = (ran.case.path(), ran.case);
        writeln!(out, "{} {path} ({}, {}): {why}", style.red("FAILED"), case.level, case.section)?;
        failures += 1;
    }
    if failures > 0 {
        writeln!(out)?;
    }
    if let Some(reason) = &run.stopped {
        let rest = match run.not_run().len() {
            0 => String::new(),
            count => format!("; {count} of {} cases were not run to their end", run.cases.len()),
        };
        writeln!(out, "{}", style.red(&format!("stopped: {reason}{rest}")))?;
    }
    let ends = run.ran.iter().filter(|ran| ran.ended_server).count();
    if ends > 0 {
        writeln!(out, "{}", style.red(&format!("the server exited in {ends} cases, which fails the run")))?;
    }
    let binding =
        run.ran.iter().filter(|ran| ran.is_binding_failure() && ran.case.level.is_binding()).count();
    if binding > 0 {
        writeln!(out, "{}", style.red(&format!("{binding} required or robustness cases failed")))?;
    }
    if run.passed() {
        writeln!(out, "{}", style.green("every required and robustness case passed"))?;
    }
    Ok(())
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
