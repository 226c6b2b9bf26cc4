//! The answer in words, and the table of the claims.

use super::Findings;
use super::effects::{Effect, Outcome, Verdict};
use crate::question::{Claim, Direction, Metric, Source, Test};
use crate::report::sentences;
use crate::report::tables::Table;
use crate::report::words;

impl Findings<'_> {
    /// Two sentences, one for each meaning of the question, and what else has to be said of them.
    pub(crate) fn answer(&self) -> Vec<String> {
        let mut answer = vec![self.first_meaning(), self.second_meaning()];
        if !self.record.is_whole {
            answer.push("This run is not whole: what is missing is not measured.".to_owned());
        }
        answer
    }

    /// Several connections in a process.
    fn first_meaning(&self) -> String {
        let outcomes = self.outcomes(|claim| claim.source == Source::Then && claim.number == 1);
        let told: Vec<String> =
            outcomes.iter().filter(|outcome| outcome.test.decides).filter_map(told_of_throughput).collect();
        let lead = match self.verdict(1) {
            Verdict::Holds => "If multiplexing means several connections in one process: no, then as now.",
            Verdict::Refuted if outcomes.first().is_some_and(|first| first.verdict == Verdict::Holds) => {
                "If multiplexing means several connections in one process: it was the library, not the idea."
            }
            Verdict::Refuted => {
                "If multiplexing means several connections in one process: it is not slower as such."
            }
            _ => "If multiplexing means several connections in one process: this run does not decide it.",
        };
        format!("{lead} Through lighttpd, {}.", join(&told))
    }

    /// Several requests on a connection.
    fn second_meaning(&self) -> String {
        let outcomes = self.outcomes(|claim| claim.source == Source::Ours && claim.number == 7);
        let told: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.test.decides)
            .filter_map(|outcome| {
                let entry = &outcome.test.of.as_ref()?.entry;
                Some(format!("{} with {entry}", words::interval(&outcome.effect?.ratio)))
            })
            .collect();
        let lead = match self.verdict(7) {
            Verdict::Holds => "If it means several requests on one connection: yes.",
            Verdict::Refuted => "If it means several requests on one connection: no.",
            _ => "If it means several requests on one connection: this run does not decide it.",
        };
        if told.is_empty() {
            return lead.to_owned();
        }
        format!(
            "{lead} Behind HAProxy a request then takes so many times the CPU, of HAProxy and worker together, that it takes \
             on kept connections: {}.",
            join(&told)
        )
    }

    fn outcomes(&self, is_meant: impl Fn(&Claim) -> bool) -> Vec<&Outcome<'_>> {
        let claim = self.claims.iter().find(|judged| is_meant(judged.claim));
        claim.map(|judged| judged.outcomes.iter().collect()).unwrap_or_default()
    }

    pub(crate) fn verdict(&self, number: usize) -> Verdict {
        let claim = self.claims.iter().find(|judged| judged.claim.number == number);
        claim.map_or(Verdict::NotMeasured, |judged| judged.verdict)
    }

    /// The answer, and each claim on a line.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for sentence in self.answer() {
            text += &format!("{sentence}\n\n");
        }
        for judged in &self.claims {
            let claim = judged.claim;
            text += &format!("{:>2}. {:<9}  {}\n", claim.number, verdict(judged.verdict), claim.says);
            for outcome in judged.outcomes.iter().filter(|outcome| outcome.test.decides) {
                let effect = effect(outcome.effect.as_ref());
                text += &format!("               {effect}: {}\n", outcome.test.says);
            }
        }
        text + "\n"
    }

    /// Each claim, and below it each of its tests.
    pub(crate) fn claims_table(&self) -> Table {
        let mut table =
            Table::new(&["claim", "verdict", "effect, as a ratio (95 %)", "what is claimed", "launches"]);
        for judged in &self.claims {
            let claim = judged.claim;
            table.rows.push(vec![
                format!("{}. {}", claim.number, claim.says),
                verdict(judged.verdict).to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ]);
            for outcome in &judged.outcomes {
                let mark = if outcome.test.decides { "–" } else { "– beside:" };
                table.rows.push(vec![
                    format!("{mark} {}", outcome.test.says),
                    verdict(outcome.verdict).to_owned(),
                    effect(outcome.effect.as_ref()),
                    claimed(outcome.test),
                    outcome.effect.map_or_else(String::new, |effect| effect.ratio.launches.to_string()),
                ]);
            }
        }
        table
    }

    /// When, where and how it was measured.
    pub(crate) fn setting(&self) -> Vec<(&'static str, String)> {
        let record = self.record;
        let mut setting = sentences::origin(record.plan.seed, &record.machine, &record.versions);
        let form = if record.plan.is_quick { "quick" } else { "whole" };
        let whole = if record.is_whole { "" } else { ", interrupted" };
        setting.extend([
            ("date", record.date.clone()),
            ("form", format!("{form}{whole}")),
            ("claims", format!("SHA-256 {}", record.claims)),
            (
                "launches",
                format!(
                    "{} of {} turns of 25 ms, or as many as take as long",
                    record.plan.launches, record.plan.slices
                ),
            ),
        ]);
        setting
    }

    /// What stands in no table.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let record = self.record;
        let mut remarks: Vec<String> = record
            .skipped
            .iter()
            .map(|skipped| format!("{} takes no part: {}", skipped.name, skipped.reason))
            .collect();
        for trial in &record.trials {
            if let Some(why) = &trial.trial.void {
                remarks.push(format!(
                    "{}, {}, launch {} counts for nothing: {why}",
                    trial.part, trial.trial.entry, trial.trial.launch
                ));
            }
        }
        remarks.extend(
            record.entries.iter().filter(|entry| !entry.verified.failed.is_empty()).map(|entry| {
                format!("{} fails fcgi-verify's {}", entry.name, entry.verified.failed.join(", "))
            }),
        );
        remarks
    }
}

/// Of a test that compares two entries' throughput.
fn told_of_throughput(outcome: &&Outcome<'_>) -> Option<String> {
    let (of, to) = (outcome.test.of.as_ref()?, outcome.test.to.as_ref()?);
    let is_told = outcome.test.metric == Some(Metric::Throughput);
    let ratio = words::interval(&outcome.effect?.ratio);
    is_told.then(|| format!("{} answers {ratio} times the requests of {}", of.entry, to.entry))
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "refuted",
        Verdict::Undecided => "undecided",
        Verdict::TooFewLaunches => "undecided: too few launches",
        Verdict::NotMeasured => "not measured",
    }
}

pub(crate) fn effect(effect: Option<&Effect>) -> String {
    match effect {
        None => "–".to_owned(),
        Some(Effect { ratio, at: None }) => words::interval(ratio),
        Some(Effect { ratio, at: Some(processes) }) => {
            format!("{} with {processes} processes", words::interval(ratio))
        }
    }
}

/// The rule, as the claims' file has it.
pub(crate) fn claimed(test: &Test) -> String {
    let limit = words::ratio(test.margin);
    match (test.claimed, &test.best) {
        (_, Some(_)) => format!("no other number above {limit}"),
        (Some(Direction::Less), _) => format!("below {}", words::ratio(test.margin.recip())),
        _ => format!("above {limit}"),
    }
}

/// One, two and three.
fn join(parts: &[String]) -> String {
    match parts {
        [] => "nothing was measured".to_owned(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}
