//! What a soak has found, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Counts, Incident, Kind, Ledger, seconds};
use super::{Plan, Usage};

/// How long after a kill its victims' clients may still find out.
const AFTER_A_KILL: Duration = Duration::from_secs(1);
/// A resting worker's memory may differ by this much from one time to the next: an allocator gives back late.
const SLACK_KIB: u64 = 2_048;
const SLACK_HUNDREDTHS: u64 = 15;

/// What came of one strategy's soak.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The strategy.
    pub strategy: String,
    /// The kind of socket.
    pub family: String,
    /// What all random choices were made from.
    pub seed: u64,
    /// How long it was asked to last.
    #[serde(rename = "asked_s", serialize_with = "seconds")]
    pub asked: Duration,
    /// How long it lasted.
    #[serde(rename = "lasted_s", serialize_with = "seconds")]
    pub lasted: Duration,
    /// The pool's command line.
    pub arguments: Vec<String>,
    /// Connections that the pool holds at a time.
    pub connections: usize,
    /// All requests.
    pub counts: Counts,
    /// The same, by who sent them.
    pub by_client: BTreeMap<&'static str, Counts>,
    /// Of the lost: in flight on a worker when it was killed.
    pub lost_on_killed: u64,
    /// Of the unanswered: in flight on a worker when it was killed.
    pub unanswered_on_killed: u64,
    /// Of the unanswered: their connection was closed by a drain.
    pub unanswered_in_drains: u64,
    /// The workers killed.
    pub kills: Vec<Kill>,
    /// The drains, the last of them without a new start.
    pub restarts: Vec<Restart>,
    /// What the workers held while nobody was connected.
    pub samples: Vec<Sample>,
    /// What went wrong and neither a kill nor a drain explains.
    pub unexplained: Vec<Incident>,
    /// Why it has failed; nothing where it has not.
    pub failures: Vec<String>,
}

/// A worker killed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kill {
    /// Since the beginning.
    #[serde(rename = "at_s", serialize_with = "seconds")]
    pub at: Duration,
    /// Which.
    pub pid: u32,
}

/// A drain, and the start after it.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// Since the beginning: SIGTERM was sent.
    #[serde(rename = "from_s", serialize_with = "seconds")]
    pub from: Duration,
    /// Since the beginning: connections were taken again.
    #[serde(rename = "to_s", serialize_with = "seconds")]
    pub to: Duration,
    /// From SIGTERM to the end of the last process.
    #[serde(rename = "took_s", serialize_with = "seconds")]
    pub took: Duration,
    /// How the pool ended.
    pub status: String,
    /// Whether that was with 0, and left nothing.
    pub clean: bool,
    /// Processes and files that should be gone.
    pub left: Vec<String>,
    /// What it said, where it was not clean.
    pub said: String,
}

/// What the workers hold at one time.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// `before`, `between` and `after` the parts of the steady phase.
    pub name: &'static str,
    /// Since the beginning.
    #[serde(rename = "at_s", serialize_with = "seconds")]
    pub at: Duration,
    /// Requests answered by then.
    pub answered: u64,
    /// Each worker.
    pub usage: Vec<Usage>,
}

impl Outcome {
    pub(super) fn new(strategy: &str, plan: &Plan, arguments: &[String], connections: usize) -> Self {
        Self {
            strategy: strategy.to_owned(),
            family: plan.family.to_string(),
            seed: plan.seed,
            asked: plan.duration,
            lasted: Duration::ZERO,
            arguments: arguments.to_vec(),
            connections,
            counts: Counts::default(),
            by_client: BTreeMap::new(),
            lost_on_killed: 0,
            unanswered_on_killed: 0,
            unanswered_in_drains: 0,
            kills: Vec::new(),
            restarts: Vec::new(),
            samples: Vec::new(),
            unexplained: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Whether nothing was wrong.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// What a worker held when it was warm and at the end of the same load: memory and descriptors that lie between
    /// these two grow.
    pub fn growth(&self) -> Option<(&Sample, &Sample)> {
        let warm = self.samples.iter().find(|sample| sample.name == "between")?;
        Some((warm, self.samples.last()?))
    }

    pub(super) fn fail(&mut self, words: String) {
        self.failures.push(words);
    }

    pub(super) fn restarted(&mut self, restart: Restart) {
        if !restart.clean {
            self.fail(format!(
                "a drain ended with {} after {:.1} s and left [{}]: {}",
                restart.status,
                restart.took.as_secs_f64(),
                restart.left.join(", "),
                restart.said,
            ));
        }
        self.restarts.push(restart);
    }

    /// The same workers must have served all the time, and hold no more than when they were warm.
    pub(super) fn judge_growth(&mut self) {
        let Some((warm, last)) = self.growth() else { return };
        let mut failures = Vec::new();
        for before in &warm.usage {
            let Some(after) = last.usage.iter().find(|usage| usage.pid == before.pid) else {
                failures.push(format!("worker {} did not outlive a phase without kills", before.pid));
                continue;
            };
            let pid = before.pid;
            if after.descriptors > before.descriptors {
                failures.push(format!(
                    "worker {pid}: {} descriptors, then {}",
                    before.descriptors, after.descriptors
                ));
            }
            if after.threads > before.threads {
                failures.push(format!("worker {pid}: {} threads, then {}", before.threads, after.threads));
            }
            if after.rss_kib > before.rss_kib + before.rss_kib * SLACK_HUNDREDTHS / 100 + SLACK_KIB {
                failures
                    .push(format!("worker {pid}: {} KiB resident, then {}", before.rss_kib, after.rss_kib));
            }
        }
        self.failures.extend(failures);
    }

    /// The last entries, and the verdict on what was not answered.
    pub(super) fn close(&mut self, ledger: &Ledger, last_words: &str) {
        self.lasted = ledger.now();
        self.counts = ledger.counts();
        self.by_client = ledger.by_client();
        if self.counts.answered == 0 {
            self.fail(format!("nothing was answered: {last_words}"));
        }
        for incident in ledger.incidents() {
            self.judge(incident);
        }
    }

    fn judge(&mut self, incident: Incident) {
        let kills = self.kills_in(&incident);
        let drained = self.is_draining_in(&incident);
        let of_kills = incident.count.min(incident.in_flight * kills);
        let rest = incident.count - of_kills;
        match incident.kind {
            Kind::Lost => {
                self.lost_on_killed += of_kills;
                if rest == 0 {
                    return;
                }
            }
            Kind::Unanswered => {
                self.unanswered_on_killed += of_kills;
                if drained {
                    self.unanswered_in_drains += rest;
                    return;
                }
                if rest == 0 {
                    return;
                }
            }
            Kind::NotConnected if drained => return,
            Kind::NotConnected | Kind::Wrong | Kind::TimedOut => {}
        }
        self.fail(format!(
            "{} {:?} of {} from {:.2} s to {:.2} s, with {kills} kills then: {}",
            incident.count,
            incident.kind,
            incident.client,
            incident.from.as_secs_f64(),
            incident.to.as_secs_f64(),
            incident.words,
        ));
        self.unexplained.push(incident);
    }

    fn kills_in(&self, incident: &Incident) -> u64 {
        let explains = |kill: &&Kill| kill.at + AFTER_A_KILL >= incident.from && kill.at <= incident.to;
        self.kills.iter().filter(explains).count() as u64
    }

    fn is_draining_in(&self, incident: &Incident) -> bool {
        self.restarts.iter().any(|restart| restart.from <= incident.to && restart.to >= incident.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Family;

    fn outcome() -> Outcome {
        let plan = Plan { duration: Duration::from_secs(60), family: Family::Unix, seed: 1 };
        let mut outcome = Outcome::new("any", &plan, &[], 10);
        outcome.kills.push(Kill { at: Duration::from_secs(10), pid: 1 });
        outcome.restarts.push(Restart {
            from: Duration::from_secs(20),
            to: Duration::from_secs(21),
            took: Duration::from_secs(1),
            status: String::new(),
            clean: true,
            left: Vec::new(),
            said: String::new(),
        });
        outcome
    }

    fn incident(kind: Kind, from: f64, to: f64, count: u64) -> Incident {
        let [from, to] = [from, to].map(Duration::from_secs_f64);
        Incident { from, to, client: "client", kind, count, in_flight: 8, words: String::new() }
    }

    fn judged(kind: Kind, from: f64, to: f64, count: u64) -> Outcome {
        let mut outcome = outcome();
        outcome.judge(incident(kind, from, to, count));
        outcome
    }

    #[test]
    fn a_kill_explains_as_many_losses_as_were_in_flight() {
        let outcome = judged(Kind::Lost, 9.9, 10.1, 8);
        assert!(outcome.passed() && outcome.lost_on_killed == 8);
        let outcome = judged(Kind::Lost, 9.9, 10.1, 9);
        assert!(!outcome.passed() && outcome.lost_on_killed == 8);
    }

    #[test]
    fn nothing_else_explains_a_loss() {
        assert!(!judged(Kind::Lost, 9.0, 9.9, 1).passed(), "before the kill");
        assert!(!judged(Kind::Lost, 11.1, 11.3, 1).passed(), "long after it");
        assert!(!judged(Kind::Lost, 20.2, 20.4, 1).passed(), "in a drain");
    }

    #[test]
    fn a_drain_explains_what_was_not_answered_or_not_even_sent() {
        assert_eq!(judged(Kind::Unanswered, 20.2, 20.4, 20).unanswered_in_drains, 20);
        assert!(judged(Kind::NotConnected, 20.9, 21.1, 1_000).passed());
        assert!(!judged(Kind::Unanswered, 30.0, 30.2, 1).passed());
        assert!(!judged(Kind::NotConnected, 30.0, 30.2, 1).passed());
    }

    #[test]
    fn nothing_explains_a_wrong_or_a_late_reply() {
        assert!(!judged(Kind::Wrong, 9.9, 10.1, 1).passed());
        assert!(!judged(Kind::TimedOut, 20.2, 20.4, 1).passed());
    }

    #[test]
    fn a_worker_that_holds_more_than_when_it_was_warm_fails() {
        let grown = |before: Usage, after: Usage| {
            let mut outcome = outcome();
            for (name, usage) in [("between", before), ("after", after)] {
                let at = Duration::ZERO;
                outcome.samples.push(Sample { name, at, answered: 0, usage: vec![usage] });
            }
            outcome.judge_growth();
            !outcome.passed()
        };
        let warm =
            Usage { pid: 1, rss_kib: 10_000, pss_kib: 5_000, peak_kib: 10_000, descriptors: 9, threads: 1 };
        assert!(!grown(warm, Usage { rss_kib: 13_000, ..warm }));
        assert!(grown(warm, Usage { rss_kib: 14_000, ..warm }));
        assert!(grown(warm, Usage { descriptors: 10, ..warm }));
        assert!(grown(warm, Usage { threads: 2, ..warm }));
        assert!(grown(warm, Usage { pid: 2, ..warm }));
    }
}
