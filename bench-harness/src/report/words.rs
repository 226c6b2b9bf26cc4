//! Numbers and verdicts as people read them.

use super::findings::{Metric, Verdict};
use super::statistics::Estimate;

/// Three digits that count, and commas between thousands.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    commas(&format!("{value:.digits$}"))
}

pub(crate) fn whole(value: f64) -> String {
    commas(&format!("{value:.0}"))
}

fn commas(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// A ratio: two digits after the point, or more where it is small.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A round number on an axis.
pub(crate) fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A median ratio and its interval.
pub(crate) fn interval(estimate: &Estimate) -> String {
    format!("{} ({} to {})", ratio(estimate.median), ratio(estimate.low), ratio(estimate.high))
}

/// How far a factor is from 1.
pub(crate) fn percent_beyond_one(factor: f64) -> String {
    format!("{:.1} %", (factor - 1.0) * 100.0)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Nothing is a dash.
pub(crate) fn or_dash(value: Option<f64>, words: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), words)
}

pub(crate) fn verdict(verdict: Verdict, metric: Metric) -> &'static str {
    match verdict {
        Verdict::Better => match metric {
            Metric::Throughput => "faster",
            Metric::Latency => "shorter",
            Metric::Cpu => "less",
        },
        Verdict::Worse => match metric {
            Metric::Throughput => "slower",
            Metric::Latency => "longer",
            Metric::Cpu => "more",
        },
        Verdict::NotToldApart => "not told apart",
        Verdict::TooFewRounds => "too few rounds",
        Verdict::GeneratorBound => "generator's limit",
        Verdict::Unfit => "unfit run",
        Verdict::None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_counts() {
        for (value, text) in
            [(0.0, "0.00"), (2.34567, "2.35"), (9.996, "10.0"), (23.4567, "23.5"), (1_234_567.8, "1,234,568")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(whole(-123_456.0), "-123,456");
        assert_eq!(percent_beyond_one(1.0312), "3.1 %");
        assert_eq!([0.15, 1.0, 10.0, 100.0].map(tick), ["0.15", "1", "10", "100"]);
    }
}
