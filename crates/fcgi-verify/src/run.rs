//! Runs one case against one target.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::case::{Case, Level, Stop, Verdict};
use crate::context::Context;
use crate::process;
use crate::target::Target;

/// How a case came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub enum Outcome {
    /// The server did what is asked.
    Passed,
    /// It did not, and this is what it did.
    Failed(String),
    /// The case needs something that this server does not have.
    NotApplicable(String),
    /// What the server does, where the specification leaves it open.
    Reported(String),
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// How it came out.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// What was sent and what came back, bounded in length.
    pub transcript: String,
    /// Whether the server sent anything in the case, be it a single byte.
    pub heard: bool,
}

/// Runs a case. It ends: every wait in it is bounded by the target's timeout, times the case's patience.
pub fn run_case(target: &Target, case: &Case) -> CaseReport {
    let started = Instant::now();
    let mut report = match case.needs.unmet(target) {
        Some(reason) => CaseReport {
            outcome: Outcome::NotApplicable(reason),
            elapsed: Duration::ZERO,
            transcript: String::new(),
            heard: false,
        },
        None => run(target, case),
    };
    report.elapsed = started.elapsed();
    report
}

fn run(target: &Target, case: &Case) -> CaseReport {
    let mut context = Context::new(target, case.patience);
    let mut outcome = match (case.run)(&mut context) {
        Ok(Verdict::Passed) => Outcome::Passed,
        Ok(Verdict::Reported(what)) => Outcome::Reported(what),
        Err(Stop::NotApplicable(reason)) => Outcome::NotApplicable(reason),
        Err(Stop::Failed(why)) => Outcome::Failed(why),
    };
    let mut transcript = context.transcript();
    let mut heard = context.heard();
    if !matches!(outcome, Outcome::Failed(_) | Outcome::NotApplicable(_))
        && let Err(hurt) = survived(target, case.level)
    {
        outcome = Outcome::Failed(hurt.why);
        transcript.push_str(&hurt.transcript);
        heard |= hurt.heard;
    }
    if case.level == Level::ImplementationDefined
        && let Outcome::Failed(why) = outcome
    {
        // The specification leaves the matter open, so nothing that happens in it is a failure.
        outcome = Outcome::Reported(why);
    }
    CaseReport { outcome, elapsed: Duration::ZERO, transcript, heard }
}

/// How it showed that a case has hurt the server.
struct Hurt {
    why: String,
    transcript: String,
    heard: bool,
}

/// The server's process lives; and after a case that may have hurt it, a fresh connection is served.
fn survived(target: &Target, level: Level) -> Result<(), Hurt> {
    if let Some(pid) = target.pid
        && !process::is_alive(pid)
    {
        let why = format!("the server's process {pid} has ended");
        return Err(Hurt { why, transcript: String::new(), heard: false });
    }
    if !matches!(level, Level::Robustness | Level::ImplementationDefined) {
        return Ok(());
    }
    let mut context = Context::new(target, 1);
    match context.serve_plain() {
        Ok(()) => Ok(()),
        Err(Stop::Failed(why) | Stop::NotApplicable(why)) => Err(Hurt {
            why: format!("afterwards a fresh connection was not served: {why}"),
            transcript: format!("afterwards\n{}", context.transcript()),
            heard: context.heard(),
        }),
    }
}
