//! The statistics of an experiment, on plain numbers.
//!
//! A round gives one ratio of each entry to the reference; the logarithms of these ratios are what is looked at here,
//! since 2 and 1/2 are then equally far from 1. The interval of their median comes from bootstrapping rounds; whether
//! there is a difference at all is Wilcoxon's signed-rank test, exact, under Holm's correction for the number of
//! comparisons.

use crate::rng::Rng;

/// The chance of a false finding, over all comparisons together.
pub(crate) const ALPHA: f64 = 0.05;
/// Resamples of an interval.
const RESAMPLES: usize = 4_000;

/// The middle one; between two, their mean. None of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    sort(&mut values);
    median_of_sorted(&values)
}

fn median_of_sorted(values: &[f64]) -> Option<f64> {
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// A median, and where it lies with some confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// From so many values.
    pub(crate) rounds: usize,
}

impl Estimate {
    /// Of the median of these values; `alpha` is the chance that it lies outside. None of nothing.
    pub(crate) fn of(values: &[f64], alpha: f64, seed: u64) -> Option<Self> {
        let mut sorted = values.to_vec();
        sort(&mut sorted);
        let median = median_of_sorted(&sorted)?;
        let mut rng = Rng::new(seed);
        let mut resample = vec![0.0; sorted.len()];
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                resample.fill_with(|| sorted[rng.below(sorted.len())]);
                sort(&mut resample);
                median_of_sorted(&resample)
            })
            .collect();
        sort(&mut medians);
        let at = |share: f64| medians[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
        Some(Self { median, low: at(alpha / 2.0), high: at(1.0 - alpha / 2.0), rounds: sorted.len() })
    }

    /// Of the median ratio, from the logarithms of ratios.
    pub(crate) fn of_ratio(log_ratios: &[f64], alpha: f64, seed: u64) -> Option<Self> {
        let log = Self::of(log_ratios, alpha, seed)?;
        Some(Self { median: log.median.exp(), low: log.low.exp(), high: log.high.exp(), rounds: log.rounds })
    }

    /// Whether the interval holds this value.
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Of a ratio: how far from 1 the interval reaches, as a factor of at least 1.
    pub(crate) fn reach(&self) -> f64 {
        self.high.max(self.low.recip()).max(1.0)
    }
}

/// The chance that values which are as often above 0 as below lie as far to one side as these: Wilcoxon's signed-rank
/// test, two-sided and exact, ties and all. 1 of nothing.
pub(crate) fn signed_rank_test(values: &[f64]) -> f64 {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| *value != 0.0).collect();
    values.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    // Ranks are doubled, so that those shared by ties are whole numbers.
    let mut ranks = vec![0; values.len()];
    let mut from = 0;
    while from < values.len() {
        let ties = values[from..].iter().take_while(|value| value.abs() == values[from].abs()).count();
        ranks[from..from + ties].fill(2 * from + 1 + ties);
        from += ties;
    }
    let all: usize = ranks.iter().sum();
    let positive: usize =
        ranks.iter().zip(&values).filter(|(_, value)| **value > 0.0).map(|(rank, _)| rank).sum();
    let smaller = positive.min(all - positive);

    // How likely each sum of positive ranks is, if every sign is the toss of a coin.
    let mut chances = vec![0.0; all + 1];
    chances[0] = 1.0;
    for rank in ranks {
        for sum in (0..=all).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    (2.0 * chances[..=smaller].iter().sum::<f64>()).min(1.0)
}

/// Holm's correction: each chance, made larger for being one of many, in the order given.
pub(crate) fn holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|one, other| chances[*one].total_cmp(&chances[*other]));
    let mut corrected = vec![0.0; chances.len()];
    let mut largest: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        largest = largest.max(chances[index] * (chances.len() - place) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

/// The rounds without which not even unanimous ones would show a difference among so many comparisons.
pub(crate) fn rounds_needed(comparisons: usize) -> usize {
    // The smallest chance that n rounds can give is 2 / 2^n.
    (1..)
        .find(|rounds| 2.0 / 2.0_f64.powi(*rounds) * comparisons as f64 <= ALPHA)
        .map_or(0, |rounds| rounds as usize)
}

fn sort(values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_known_numbers() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn the_bootstrap_of_eleven_rounds_is_the_one_that_binomials_give() {
        // A resample's median is at most the k-th value if at least 6 of its 11 draws are, each with chance k/11:
        // 0.72 % for k = 2 and 5.12 % for k = 3, so the 2.5 % quantile is the third value, and by symmetry the
        // 97.5 % quantile the ninth.
        let values: Vec<f64> = [8, 3, 11, 1, 6, 2, 10, 4, 9, 5, 7].map(f64::from).to_vec();
        for seed in 0..20 {
            let estimate = Estimate::of(&values, 0.05, seed).unwrap();
            assert_eq!(estimate, Estimate { median: 6.0, low: 3.0, high: 9.0, rounds: 11 });
        }
    }

    #[test]
    fn a_ratio_and_its_reciprocal_have_mirrored_intervals() {
        let logs: Vec<f64> = [1.10, 1.20, 1.15, 1.05, 1.30].map(f64::ln).to_vec();
        let ratio = Estimate::of_ratio(&logs, 0.05, 1).unwrap();
        let mirrored: Vec<f64> = logs.iter().map(|log| -log).collect();
        let reciprocal = Estimate::of_ratio(&mirrored, 0.05, 1).unwrap();
        assert!((ratio.median - 1.15).abs() < 1e-12 && ratio.low >= 1.05 && ratio.high <= 1.30, "{ratio:?}");
        assert!((ratio.median * reciprocal.median - 1.0).abs() < 1e-12);
        assert!((ratio.low * reciprocal.high - 1.0).abs() < 1e-12, "{ratio:?} {reciprocal:?}");
        assert!((ratio.reach() - reciprocal.reach()).abs() < 1e-12);
    }

    #[test]
    fn an_interval_holds_the_true_median_as_often_as_it_says() {
        // Noise with two humps and a long tail, true median 0. [x3, x9] of 11 holds it in 93.5 % of all experiments.
        let mut rng = Rng::new(1);
        let mut noise = || {
            let value = (rng.below(2_000_001) as f64 - 1_000_000.0) / 1e6;
            if value.abs() > 0.9 { value * 20.0 } else { value }
        };
        let experiments = 300;
        let held = (0..experiments)
            .filter(|seed| {
                let values: Vec<f64> = (0..11).map(|_| noise()).collect();
                Estimate::of(&values, 0.05, *seed).unwrap().holds(0.0)
            })
            .count();
        let share = held as f64 / experiments as f64;
        assert!((0.90..0.97).contains(&share), "{share}");
    }

    #[test]
    fn the_signed_rank_test_gives_the_published_chances() {
        // Wilcoxon 1945's table, as in R: wilcox.test(c(...), exact = TRUE).
        assert_eq!(signed_rank_test(&[]), 1.0);
        assert_eq!(signed_rank_test(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 32.0);
        assert_eq!(signed_rank_test(&[-1.0, 2.0, 3.0, 4.0, 5.0]), 4.0 / 32.0);
        assert_eq!(signed_rank_test(&[1.0, -2.0]), 1.0);
        // Darwin's maize, differences of fifteen pairs: V = 96 of 120, p = 0.04126.
        let maize = [49., -67., 8., 16., 6., 23., 28., 41., 14., 29., 56., 24., 75., 60., -48.];
        assert!((signed_rank_test(&maize) - 0.04126).abs() < 1e-5, "{}", signed_rank_test(&maize));
        // Two ties share a rank: of the 8 patterns of signs, 2 are as extreme.
        assert_eq!(signed_rank_test(&[1.0, 1.0, 2.0]), 0.25);
    }

    #[test]
    fn holms_correction_of_known_chances() {
        // As in R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (one, other) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((one - other).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn more_comparisons_need_more_rounds() {
        // 2/2^6 = 0.031 is the first below 0.05; 2/2^11 * 51 the first below for fifty-one.
        assert_eq!(rounds_needed(1), 6);
        assert_eq!(rounds_needed(51), 11);
        assert_eq!(rounds_needed(52), 12);
    }
}
