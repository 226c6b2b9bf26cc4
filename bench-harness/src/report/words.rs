//! Numbers and verdicts as people read them.

use super::statistics::Estimate;
use super::verdict::{MOST_LAUNCHES, Verdict};

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

/// A ratio: two digits after the point, or more where it is small, or where two would not tell it from 1.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.1}"),
        value if (0.995..1.005).contains(&value) => format!("{value:.3}"),
        value if value >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A round number on an axis.
pub(crate) fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    commas(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A ratio and its interval.
pub(crate) fn interval(estimate: &Estimate) -> String {
    format!("{} ({} to {})", ratio(estimate.center), ratio(estimate.low), ratio(estimate.high))
}

/// A value that is no ratio.
pub(crate) fn value(estimate: &Estimate) -> String {
    format!("{} ({} to {})", number(estimate.center), number(estimate.low), number(estimate.high))
}

/// The twin's: with its own confidence, since it is not that of the column.
pub(crate) fn twin(estimate: &Estimate, is_unfit: bool) -> String {
    let mark = if is_unfit { ", unfit" } else { "" };
    format!("{}, {:.1} %{mark}", interval(estimate), estimate.confidence * 100.0)
}

/// How far a factor is from 1.
pub(crate) fn percent_beyond_one(factor: f64) -> String {
    format!("{:.1} %", (factor - 1.0) * 100.0)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// How many, or from how many to how many.
pub(crate) fn range(range: Option<(u64, u64)>) -> String {
    match range {
        None => "–".to_owned(),
        Some((least, most)) if least == most => least.to_string(),
        Some((least, most)) => format!("{least} to {most}"),
    }
}

/// What nobody here could measure.
pub(crate) const NOT_KNOWN: &str = "not known";

/// How many worker processes.
pub(crate) fn processes(count: usize) -> String {
    let plural = if count == 1 { "process" } else { "processes" };
    format!("{count} {plural}")
}

/// Nothing is a dash.
pub(crate) fn or_dash<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), words)
}

pub(crate) fn verdict(verdict: Verdict) -> String {
    let words = match verdict {
        Verdict::Equal => "equal within 3 %",
        Verdict::Less => "less",
        Verdict::More => "more",
        Verdict::Undecided(further) => {
            return match further {
                Some(1) => "undecided: 1 more launch".to_owned(),
                Some(launches) => format!("undecided: {launches} more launches"),
                None => format!("undecided: over {MOST_LAUNCHES} more"),
            };
        }
        Verdict::TooFewLaunches => "too few launches",
        Verdict::Unfit => "unfit run",
        Verdict::None => "",
    };
    words.to_owned()
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
        assert_eq!(
            [0.0504, 0.994, 0.998, 1.0, 12.34].map(ratio),
            ["0.050", "0.99", "0.998", "1.000", "12.3"]
        );
        assert_eq!(whole(-123_456.0), "-123,456");
        assert_eq!(percent_beyond_one(1.0312), "3.1 %");
        assert_eq!([0.15, 1.0, 100.0, 20_000.0].map(tick), ["0.15", "1", "100", "20,000"]);
    }
}
