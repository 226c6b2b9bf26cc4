//! The raw data: what was measured of which design, when and where, and every trial.

use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::design::{StartupMetric, Term, Use};
use crate::experiment::{self, Machine, Neighbour, Participant, Skipped, SystemCalls, Versions};
use crate::startup::{StartFigures, StartTrial};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// The experiment, whole or interrupted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// When it began, in UTC.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Of what.
    pub versions: Versions,
    /// The SHA-256 of the claims, as they were written down before.
    pub claims: String,
    /// How.
    pub plan: Plan,
    /// Who took part.
    pub entries: Vec<Participant>,
    /// Who did not, and which web servers are missing, and why.
    pub skipped: Vec<Skipped>,
    /// Every trial, in the order in which they were made.
    pub trials: Vec<Trial>,
    /// Every start.
    pub starts: Vec<StartTrial>,
    /// How web servers used their connections to the workers, counted in a pass of its own.
    pub connections: Vec<Connections>,
    /// System calls, counted in a pass of their own.
    pub system_calls: Vec<SystemCalls>,
    /// Whether everything that was planned was done.
    pub is_whole: bool,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// All shuffles are made from it.
    pub seed: u64,
    /// The quick form.
    pub is_quick: bool,
    /// How often everything is started afresh.
    pub launches: usize,
    /// How often each contender has its turn in a launch, where turns are as long as usual: [`SLICE`].
    pub slices: usize,
}

/// How long a turn is timed, unless a part says otherwise.
pub const SLICE: Duration = Duration::from_millis(25);

/// What a contender of a part did in a launch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// The part's name.
    pub part: String,
    /// All trials of a launch with this number lay side by side.
    pub cell: usize,
    /// Requests in flight that were planned.
    pub clients: usize,
    /// What was asked, and what came of it.
    #[serde(flatten)]
    pub measured: experiment::Trial,
}

/// How a web server used its connections to the workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connections {
    /// The entry.
    pub entry: String,
    /// The web server, and how it was configured: a [`Use`] as text.
    #[serde(rename = "use")]
    pub used: String,
    /// Why they could not be counted, if so.
    pub void: Option<String>,
    /// Requests that the workers received.
    pub requests: usize,
    /// Connections on which they came.
    pub connections: usize,
    /// The most requests in flight on one of them.
    pub peak_in_flight: usize,
}

impl Record {
    /// Of an experiment that begins now, here.
    pub fn begun(claims: String, plan: Plan, skipped: Vec<Skipped>) -> Self {
        Self {
            format: FORMAT,
            date: experiment::date(),
            machine: Machine::here(),
            versions: Versions::here(),
            claims,
            plan,
            entries: Vec::new(),
            skipped,
            trials: Vec::new(),
            starts: Vec::new(),
            connections: Vec::new(),
            system_calls: Vec::new(),
            is_whole: false,
        }
    }

    /// Whether it is of these claims.
    ///
    /// # Errors
    ///
    /// It is of others: a sentence that says so.
    pub fn is_of(&self, claims: &str) -> anyhow::Result<()> {
        if self.claims != claims {
            bail!(
                "these data were taken under other claims (SHA-256 {}); this file has {claims}: claims cannot be changed \
                 after the run",
                self.claims
            );
        }
        Ok(())
    }

    /// Launches that have begun.
    pub fn launches(&self) -> usize {
        self.trials.iter().map(|trial| trial.measured.launch).max().unwrap_or(0)
    }
}

impl Trial {
    /// Whether it is of that, beside that neighbour, on a machine of so many cores. What the term does not say is as it likes.
    pub fn is_of(&self, part: &str, term: &Term, neighbour: Option<&Neighbour>, cores: usize) -> bool {
        let trial = &self.measured;
        self.part == part
            && trial.entry == term.entry
            && trial.ask.neighbour.as_ref() == neighbour
            && term.processes.is_none_or(|count| count.on(cores) == trial.processes)
            && term.used.is_none_or(|used| used == Use::of(&trial.ask))
            && term.workload.as_ref().is_none_or(|workload| *workload == trial.ask.workload)
            && term.clients.is_none_or(|clients| clients == self.clients)
    }
}

impl StartupMetric {
    /// In seconds; none where it had no end, or requests were too few to tell.
    pub fn of(self, figures: &StartFigures) -> Option<f64> {
        match self {
            Self::First => Some(figures.cold.first_s),
            Self::Hundredth => Some(figures.cold.hundredth_s),
            Self::BurstP99 => figures.burst.p99_s,
            // One that was lost was waited for, too.
            Self::LongestWait => Some(figures.kill.longest_s.max(figures.kill.recovered_s?)),
        }
    }
}
