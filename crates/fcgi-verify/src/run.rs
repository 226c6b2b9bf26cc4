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
}

/// Runs a case. It ends: every wait in it is bounded by the target's timeout, times the case's patience.
pub fn run_case(target: &Target, case: &Case) -> CaseReport {
    let started = Instant::now();
    let (outcome, transcript) = match case.needs.unmet(target) {
        Some(reason) => (Outcome::NotApplicable(reason), String::new()),
        None => run(target, case),
    };
    CaseReport { outcome, elapsed: started.elapsed(), transcript }
}

fn run(target: &Target, case: &Case) -> (Outcome, String) {
    let mut context = Context::new(target, case.patience);
    let mut outcome = match (case.run)(&mut context) {
        Ok(Verdict::Passed) => Outcome::Passed,
        Ok(Verdict::Reported(what)) => Outcome::Reported(what),
        Err(Stop::NotApplicable(reason)) => Outcome::NotApplicable(reason),
        Err(Stop::Failed(why)) => Outcome::Failed(why),
    };
    let mut transcript = context.transcript();
    if !matches!(outcome, Outcome::Failed(_) | Outcome::NotApplicable(_))
        && let Err((why, exchange)) = survived(target, case.level)
    {
        outcome = Outcome::Failed(why);
        transcript.push_str(&exchange);
    }
    if case.level == Level::ImplementationDefined
        && let Outcome::Failed(why) = outcome
    {
        // The specification leaves the matter open, so nothing that happens in it is a failure.
        outcome = Outcome::Reported(why);
    }
    (outcome, transcript)
}

/// The server's process lives; and after a case that may have hurt it, a fresh connection is served.
fn survived(target: &Target, level: Level) -> Result<(), (String, String)> {
    if let Some(pid) = target.pid
        && !process::is_alive(pid)
    {
        return Err((format!("the server's process {pid} has ended"), String::new()));
    }
    if !matches!(level, Level::Robustness | Level::ImplementationDefined) {
        return Ok(());
    }
    let mut context = Context::new(target, 1);
    match context.serve_plain() {
        Ok(()) => Ok(()),
        Err(Stop::Failed(why) | Stop::NotApplicable(why)) => {
            let transcript = format!("afterwards\n{}", context.transcript());
            Err((format!("afterwards a fresh connection was not served: {why}"), transcript))
        }
    }
}
