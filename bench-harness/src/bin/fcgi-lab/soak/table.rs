//! The outcomes as people read them.

use std::fmt;

use bench_harness::soak::{Outcome, Sample};

/// The most failures shown of one strategy; the file has all of them.
const SHOWN: usize = 10;

/// A column for each strategy.
pub(crate) struct Table<'a>(pub(crate) &'a [Outcome]);

/// A row's name, and what stands in it.
type Row = (&'static str, fn(&Outcome) -> String);

const ROWS: [Row; 19] = [
    ("seconds", |outcome| format!("{:.0}", outcome.lasted.as_secs_f64())),
    ("requests sent", |outcome| outcome.counts.sent.to_string()),
    ("  answered rightly", |outcome| outcome.counts.answered.to_string()),
    ("  refused", |outcome| outcome.counts.refused.to_string()),
    ("  unanswered, worker killed", |outcome| outcome.unanswered_on_killed.to_string()),
    ("  unanswered, pool draining", |outcome| outcome.unanswered_in_drains.to_string()),
    ("  unanswered otherwise", |outcome| {
        let explained = outcome.unanswered_on_killed + outcome.unanswered_in_drains;
        (outcome.counts.unanswered - explained).to_string()
    }),
    ("  lost, worker killed", |outcome| outcome.lost_on_killed.to_string()),
    ("  lost otherwise", |outcome| (outcome.counts.lost - outcome.lost_on_killed).to_string()),
    ("  wrong or too late", |outcome| (outcome.counts.wrong + outcome.counts.timed_out).to_string()),
    ("abandoned by the client", |outcome| outcome.counts.abandoned.to_string()),
    ("workers", |outcome| outcome.samples.last().map_or(0, |sample| sample.usage.len()).to_string()),
    ("workers killed", |outcome| outcome.kills.len().to_string()),
    ("drains (all exit 0)", |outcome| {
        let clean = outcome.restarts.iter().filter(|restart| restart.clean).count();
        let all = outcome.restarts.len();
        if clean == all { all.to_string() } else { format!("{clean} of {all}") }
    }),
    ("longest drain, s", |outcome| {
        let longest = outcome.restarts.iter().map(|restart| restart.took).max().unwrap_or_default();
        format!("{:.1}", longest.as_secs_f64())
    }),
    ("RSS KiB, warm -> end", |outcome| grown(outcome, |sample| mean(sample, |usage| usage.rss_kib))),
    ("PSS KiB, warm -> end", |outcome| grown(outcome, |sample| mean(sample, |usage| usage.pss_kib))),
    ("peak RSS KiB", |outcome| {
        let usage = outcome.samples.iter().flat_map(|sample| &sample.usage);
        usage.map(|usage| usage.peak_kib).max().unwrap_or(0).to_string()
    }),
    ("descriptors, warm -> end", |outcome| {
        grown(outcome, |sample| sample.usage.iter().map(|usage| usage.descriptors as u64).max().unwrap_or(0))
    }),
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:28}", "")?;
        for outcome in self.0 {
            write!(f, "{:>16}", outcome.strategy)?;
        }
        writeln!(f)?;
        for (name, cell) in ROWS {
            write!(f, "{name:28}")?;
            for outcome in self.0 {
                write!(f, "{:>16}", cell(outcome))?;
            }
            writeln!(f)?;
        }
        write!(f, "{:28}", "verdict")?;
        for outcome in self.0 {
            write!(f, "{:>16}", if outcome.passed() { "passed" } else { "FAILED" })?;
        }
        writeln!(f)?;
        for outcome in self.0.iter().filter(|outcome| !outcome.passed()) {
            writeln!(f, "\n{}:", outcome.strategy)?;
            for failure in outcome.failures.iter().take(SHOWN) {
                writeln!(f, "  {failure}")?;
            }
            let more = outcome.failures.len().saturating_sub(SHOWN);
            if more > 0 {
                writeln!(f, "  and {more} more")?;
            }
        }
        Ok(())
    }
}

/// The mean over the workers of what each of them holds.
fn mean(sample: &Sample, of: impl Fn(&bench_harness::soak::Usage) -> u64) -> u64 {
    let count = sample.usage.len().max(1) as u64;
    sample.usage.iter().map(of).sum::<u64>() / count
}

fn grown(outcome: &Outcome, of: impl Fn(&Sample) -> u64) -> String {
    match outcome.growth() {
        Some((warm, end)) => format!("{} -> {}", of(warm), of(end)),
        None => "-".to_owned(),
    }
}
