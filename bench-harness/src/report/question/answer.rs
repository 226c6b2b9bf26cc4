//! The answer in words, and the table of the claims.

use super::Findings;
use super::effects::{Effect, Judged, Outcome, Verdict};
use crate::question::{About, Direction, Metric, SLICE, Test, Use, turns};
use crate::report::sentences;
use crate::report::tables::Table;
use crate::report::words;

impl Findings<'_> {
    /// Two sentences, one for each meaning of the question, and what else has to be said of them.
    pub(crate) fn answer(&self) -> Vec<String> {
        let mut answer = vec![self.first_meaning(), self.second_meaning()];
        if self.record.plan.is_quick {
            answer.push("This is a quick run, of a few entries: a first look.".to_owned());
        }
        if !self.record.is_whole {
            answer.push("This run was interrupted: what is missing counts as not measured.".to_owned());
        }
        answer
    }

    /// Several connections in a process.
    fn first_meaning(&self) -> String {
        let answer = match (self.verdict(1, About::Flup), self.verdict(1, About::Today)) {
            (Verdict::Holds, Verdict::Holds) => "no, then as now",
            (Verdict::Holds, Verdict::Refuted) => {
                "it costs with the library of then; today it depends on the model"
            }
            (Verdict::Holds, _) => "it costs with the library of then; of today not all is decided",
            (Verdict::Refuted, Verdict::Refuted) => "it is not slower as such",
            _ => "this run does not decide it",
        };
        let compared: Vec<String> = self.outcomes(1).into_iter().filter_map(compared).collect();
        format!(
            "If multiplexing means several connections in one process: {answer}. Through lighttpd, {}.",
            join(&compared)
        )
    }

    /// Several requests on a connection.
    fn second_meaning(&self) -> String {
        let told = self.outcomes(7).into_iter().filter(|outcome| outcome.test.decides.is_some());
        let told: Vec<String> = told
            .filter_map(|outcome| {
                let entry = &outcome.test.of.as_ref()?.entry;
                Some(format!("{} with {entry}", words::interval(&outcome.effect?.ratio)))
            })
            .collect();
        let answer = match self.verdict(7, About::Today) {
            Verdict::Holds => "yes",
            Verdict::Refuted => "no",
            _ => "this run does not decide it",
        };
        let lead = format!("If it means several requests on one connection: {answer}.");
        if told.is_empty() {
            return lead;
        }
        format!(
            "{lead} Behind HAProxy a request then costs, as a ratio to kept connections, this much CPU of HAProxy and worker \
             together: {}.",
            join(&told)
        )
    }

    /// Of a claim, by its number.
    fn outcomes(&self, number: usize) -> Vec<&Outcome<'_>> {
        let claim = self.claims.iter().find(|judged| judged.claim.number == number);
        claim.map(|judged| judged.outcomes.iter().collect()).unwrap_or_default()
    }

    fn verdict(&self, number: usize, about: About) -> Verdict {
        let claim = self.claims.iter().find(|judged| judged.claim.number == number);
        claim.and_then(|judged| judged.verdicts.get(&about).copied()).unwrap_or(Verdict::NotMeasured)
    }

    /// The answer, and each claim on a line.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for sentence in self.answer() {
            text += &format!("{sentence}\n\n");
        }
        for judged in &self.claims {
            let claim = judged.claim;
            text += &format!("{:>2}. {}\n    {}\n", claim.number, claim.says, verdicts(judged));
            for outcome in judged.outcomes.iter().filter(|outcome| outcome.test.decides.is_some()) {
                let effect = effect(outcome.effect.as_ref());
                text += &format!("      {effect}: {}\n", outcome.test.says);
            }
        }
        text + "\n"
    }

    /// Each claim, and below it each of its tests.
    pub(crate) fn claims_table(&self) -> Table {
        let mut table =
            Table::new(&["claim", "verdict", "effect, as a ratio", "what is claimed", "launches"]);
        for judged in &self.claims {
            let claim = judged.claim;
            table.rows.push(vec![
                format!("{}. {}", claim.number, claim.says),
                verdicts(judged),
                String::new(),
                String::new(),
                String::new(),
            ]);
            for outcome in &judged.outcomes {
                let mark = if outcome.test.decides.is_some() { "–" } else { "– beside:" };
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
            ("launches", format!("{} launches, {}", record.plan.launches, self.turns())),
        ]);
        setting
    }

    /// How many in a launch, and how long.
    fn turns(&self) -> String {
        let usual = self.record.plan.slices;
        let longer = self
            .design
            .parts_of(self.record.plan.is_quick)
            .into_iter()
            .filter(|part| part.slice_ms.is_some());
        let longer = longer.map(|part| {
            let (count, slice) = turns(&part, usual);
            format!("; of {} {count} of {} ms", part.name, slice.as_millis())
        });
        format!("{usual} turns of {} ms in each{}", SLICE.as_millis(), longer.collect::<String>())
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
            if let Some(why) = &trial.measured.void {
                let (part, of, used) = (&trial.part, &trial.measured, Use::of(&trial.measured.ask));
                let (entry, processes, launch) = (&of.entry, words::processes(of.processes), of.launch);
                remarks.push(format!("{part}, {entry}, {used}, {processes}: launch {launch} is void: {why}"));
            }
        }
        for start in &record.starts {
            if let Some(why) = &start.void {
                let (entry, processes) = (&start.entry, words::processes(start.processes));
                remarks.push(format!(
                    "{entry}, {processes}, which {}: launch {} is void: {why}",
                    start.start, start.launch
                ));
            }
        }
        for counted in &record.connections {
            if let Some(why) = &counted.void {
                remarks.push(format!(
                    "{}, {}: connections were not counted: {why}",
                    counted.entry, counted.used
                ));
            }
        }
        for counted in &record.system_calls {
            if let Err(why) = &counted.counted_by {
                let (entry, mode) = (&counted.entry, counted.mode);
                remarks.push(format!("{entry}, {mode}: system calls were not counted: {why}"));
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

/// Of each thing that a claim is decided of.
pub(crate) fn verdicts(judged: &Judged<'_>) -> String {
    let one = |(about, of): (&About, &Verdict)| match judged.verdicts.len() {
        1 => verdict(*of).to_owned(),
        _ => format!("{}: {}", about.name(), verdict(*of)),
    };
    judged.verdicts.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Of a test that compares two entries' throughput, and decides.
fn compared(outcome: &Outcome<'_>) -> Option<String> {
    let test = outcome.test;
    let (of, to) = (&test.of.as_ref()?.entry, &test.to.as_ref()?.entry);
    let ratio = words::interval(&outcome.effect?.ratio);
    let slower = match outcome.verdict {
        Verdict::Holds => "slower",
        Verdict::Refuted => "not slower",
        _ => "undecided",
    };
    let is_told = test.metric == Some(Metric::Throughput) && test.decides.is_some();
    is_told.then(|| format!("{of} answers {ratio} times the requests of {to} ({slower})"))
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
            format!("{} with {}", words::interval(ratio), words::processes(*processes))
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
