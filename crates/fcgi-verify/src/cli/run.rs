//! A run: what came of its cases so far, and whether that is all.

use fcgi_verify::{Case, CaseReport, Outcome, Target};

/// What is known of a run; all of it, unless it was stopped.
#[derive(Debug)]
pub(crate) struct Run {
    /// The server, once it was asked what it is.
    pub(crate) target: Option<Target>,
    pub(crate) cases: Vec<&'static Case>,
    /// What came of the first of them.
    pub(crate) ran: Vec<Ran>,
    /// Why the others were not run.
    pub(crate) stopped: Option<String>,
}

/// A case and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) case: &'static Case,
    pub(crate) report: CaseReport,
    /// Whether the server's process ended within the case.
    pub(crate) ended_server: bool,
}

impl Run {
    pub(crate) fn new(cases: Vec<&'static Case>) -> Self {
        Run { target: None, cases, ran: Vec::new(), stopped: None }
    }

    /// Whether all that has to pass was run and has passed.
    pub(crate) fn passed(&self) -> bool {
        self.stopped.is_none() && !self.ran.iter().any(Ran::is_binding_failure)
    }

    /// The cases that were not run to their end.
    pub(crate) fn not_run(&self) -> &[&'static Case] {
        &self.cases[self.ran.len()..]
    }
}

impl Ran {
    /// What was found to be wrong, if something was.
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.report.outcome {
            Outcome::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// A failure that makes the whole run fail. The end of the server does whatever the level of the case.
    pub(crate) fn is_binding_failure(&self) -> bool {
        self.failure().is_some() && (self.ended_server || self.case.level.is_binding())
    }
}
