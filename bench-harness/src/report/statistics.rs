//! The statistics of an experiment, on plain numbers.
//!
//! A launch gives one ratio of each entry to the reference; the logarithms of these ratios are what is looked at here,
//! since 2 and 1/2 are then equally far from 1. The estimate is that of Hodges and Lehmann, the median of the means of
//! all pairs of launches, and its interval is the one that belongs to Wilcoxon's signed-rank test: exact, whatever the
//! distribution is, as long as it is symmetric. `coverage` simulates what it does for distributions that are not, and for
//! runs that stop once they know enough.

use serde::Serialize;

#[cfg(test)]
mod coverage;

/// The chance that an interval misses, and that of a false difference among the comparisons of a family.
pub(crate) const ALPHA: f64 = 0.05;
/// A run may stop once its intervals are narrow enough, but not before so many launches: `coverage` shows why.
pub(crate) const LEAST_TO_STOP: usize = 12;
/// The signed-rank distribution is computed exactly for up to so many launches. Beyond, it is taken to be normal: the
/// chance that an interval misses is then off by less than [`NORMAL_ERROR`], for chances of 0.001 and more.
const EXACT: usize = 50;
/// See [`EXACT`].
#[cfg(test)]
const NORMAL_ERROR: f64 = 0.001;

/// The middle one; between two, their mean. None of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
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

/// None of what is no positive number.
pub(crate) fn logarithm(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then(|| value.ln())
}

/// Of ratios of values that lie side by side. What is shorter than a clock can tell gives none.
pub(crate) fn log_ratios(values: Vec<f64>, others: Vec<f64>) -> Vec<f64> {
    values.into_iter().zip(others).filter_map(|(value, other)| logarithm(value / other)).collect()
}

/// What the launches say of a quantity: one value of each of them.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The values in the order given.
    values: Vec<f64>,
    /// The means of all pairs, each value with itself too (Walsh averages), in order.
    means: Vec<f64>,
}

/// An estimate, and where the truth lies with some confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) center: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The chance that the interval holds the truth. It is less than was asked for where the launches are so few that
    /// even the interval from the least to the greatest value holds it less often.
    pub(crate) confidence: f64,
    /// From so many values.
    pub(crate) launches: usize,
}

impl Sample {
    /// None of nothing.
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let pairs = values.iter().enumerate();
        let mut means: Vec<f64> =
            pairs.flat_map(|(at, one)| values[at..].iter().map(move |other| (one + other) / 2.0)).collect();
        means.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self { values, means })
    }

    pub(crate) fn launches(&self) -> usize {
        self.values.len()
    }

    /// `alpha` is the chance that the truth lies outside.
    pub(crate) fn estimate(&self, alpha: f64) -> Estimate {
        let (outside, confidence) = rank_outside(self.launches(), alpha);
        Estimate {
            center: median_of_sorted(&self.means).unwrap_or_default(),
            low: self.means[outside],
            high: self.means[self.means.len() - 1 - outside],
            confidence,
            launches: self.launches(),
        }
    }

    /// Of a ratio, if these are logarithms of ratios.
    pub(crate) fn ratio(&self, alpha: f64) -> Estimate {
        let log = self.estimate(alpha);
        Estimate { center: log.center.exp(), low: log.low.exp(), high: log.high.exp(), ..log }
    }

    /// The chance that values which are as often above 0 as below lie as far to one side as these: Wilcoxon's
    /// signed-rank test, two-sided, ties and all.
    pub(crate) fn signed_rank_test(&self) -> f64 {
        signed_rank_test(&self.values)
    }
}

impl Estimate {
    /// Whether the interval holds this value.
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The same in another unit: so many times as much.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { center: self.center * factor, low: self.low * factor, high: self.high * factor, ..self }
    }

    /// Of a ratio: how far the interval reaches from the estimate, as a factor of at least 1.
    pub(crate) fn reach(&self) -> f64 {
        (self.high / self.center).max(self.center / self.low)
    }
}

/// How many means of pairs to leave out at each end, so that what is left misses with a chance of at most `alpha`; and
/// the confidence that this gives. Leaving out none is the widest interval that there is.
fn rank_outside(launches: usize, alpha: f64) -> (usize, f64) {
    let tails = tails_of_rank_sums(launches);
    let rare = tails.iter().take_while(|tail| 2.0 * **tail <= alpha).count();
    let outside = rare.saturating_sub(1);
    (outside, 1.0 - 2.0 * tails[outside])
}

/// The chance that the sum of the ranks to one side is this or less, for each sum up to its mean at least.
fn tails_of_rank_sums(launches: usize) -> Vec<f64> {
    if launches > EXACT {
        let (mean, deviation) = normal(&(1..=launches).map(|rank| 2 * rank).collect::<Vec<_>>());
        // With the correction for continuity: a sum of k or less is one below k + 1/2.
        let tail = |sum: usize| normal_tail((sum as f64 + 0.5 - mean) / deviation);
        return (0..launches * launches / 4).map(tail).collect();
    }
    let chances = chances_of_sums(&(1..=launches).collect::<Vec<_>>());
    let add = |below: &mut f64, chance: f64| {
        *below += chance;
        Some(*below)
    };
    chances.into_iter().scan(0.0, add).collect()
}

/// The mean and the standard deviation of the sum of these ranks, given doubled, each taken or not by the toss of a coin.
fn normal(doubled: &[usize]) -> (f64, f64) {
    let of = |power: i32| doubled.iter().map(|rank| (*rank as f64 / 2.0).powi(power)).sum::<f64>();
    (of(1) / 2.0, of(2).sqrt() / 2.0)
}

/// The chance that a standard normal value is below this one, which is below 0: by Abramowitz and Stegun 26.2.17, to
/// 7.5e-8.
fn normal_tail(value: f64) -> f64 {
    let size = value.abs();
    let t = 1.0 / (1.0 + 0.231_641_9 * size);
    let polynomial = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530]
        .into_iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = (-size * size / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if value > 0.0 { 1.0 - tail } else { tail }
}

/// How likely each sum of ranks is, if each is taken or not by the toss of a coin.
fn chances_of_sums(ranks: &[usize]) -> Vec<f64> {
    let all: usize = ranks.iter().sum();
    let mut chances = vec![0.0; all + 1];
    chances[0] = 1.0;
    let mut reached = 0;
    for &rank in ranks {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { chances[sum - rank] } else { 0.0 };
            chances[sum] = (chances[sum] + with) / 2.0;
        }
    }
    chances
}

fn signed_rank_test(values: &[f64]) -> f64 {
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
    let tail = if values.len() > EXACT {
        let (mean, deviation) = normal(&ranks);
        normal_tail(((smaller as f64 + 1.0) / 2.0 - mean) / deviation)
    } else {
        chances_of_sums(&ranks)[..=smaller].iter().sum()
    };
    (2.0 * tail).min(1.0)
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

/// The launches without which not even unanimous ones would show a difference, at this chance of a false one.
pub(crate) fn launches_needed(alpha: f64) -> usize {
    // The smallest chance that n launches can give is 2 / 2^n.
    (1..1000)
        .find(|launches| 2.0 / 2.0_f64.powi(*launches) <= alpha)
        .map_or(1000, |launches| launches as usize)
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
    fn ten_launches_worked_by_hand() {
        // Of 1, 2, 4, ..., 512 the 55 means of pairs are (2^i + 2^j) / 2, no two alike, so their order is that of
        // (j, i): the k-th with the greater index j stands after the j (j + 1) / 2 with smaller ones.
        // The 28th, in the middle, is the last of j = 6: 64 with itself.
        // Of the 1024 patterns of signs 25 have a sum of ranks of 8 or less (1, 1, 1, 2, 2, 3, 4, 5, 6 have 0 to 8) and
        // 33 have 9 or less: 2 * 25 / 1024 = 4.88 % is the most under 5 %, so eight means are left out at each end.
        // The ninth is that of 4 and 8 (j = 3, i = 2), the 47th that of 2 and 512 (j = 9, i = 1).
        let values: Vec<f64> = [16, 512, 1, 64, 2, 128, 8, 256, 4, 32].map(f64::from).to_vec();
        let estimate = Sample::of(values).unwrap().estimate(0.05);
        let confidence = 1.0 - 50.0 / 1024.0;
        assert_eq!(estimate, Estimate { center: 64.0, low: 6.0, high: 257.0, confidence, launches: 10 });
    }

    #[test]
    fn the_interval_is_where_the_signed_rank_test_finds_nothing() {
        let values: Vec<f64> = [3.1, 0.2, 1.7, -0.6, 2.4, 1.1, 0.9, 5.2, 1.3, 2.0, -1.4].to_vec();
        let estimate = Sample::of(values.clone()).unwrap().estimate(ALPHA);
        let chance = |center: f64| {
            Sample::of(values.iter().map(|value| value - center).collect()).unwrap().signed_rank_test()
        };
        for (inside, outside) in [(1e-6, -1e-6), (-1e-6, 1e-6)]
            .into_iter()
            .zip([estimate.low, estimate.high])
            .map(|((inside, outside), end)| (chance(end + inside), chance(end + outside)))
        {
            assert!(inside > ALPHA && outside <= ALPHA, "{inside} {outside}");
        }
    }

    #[test]
    fn the_published_critical_values() {
        // The sums of ranks that are significant at 5 %, two-sided, in every table: 6: 0, 7: 2, 8: 3, 10: 8, 12: 13,
        // 15: 25, 20: 52, 25: 89, 50: 434.
        for (launches, sum) in
            [(6, 0), (7, 2), (8, 3), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89), (50, 434)]
        {
            let (outside, confidence) = rank_outside(launches, 0.05);
            // As many means are left out at each end as the sum says.
            assert_eq!(outside, sum, "{launches}");
            assert!((0.95..0.97).contains(&confidence), "{launches}: {confidence}");
        }
    }

    #[test]
    fn fewer_than_six_launches_have_less_confidence_and_say_so() {
        let sample = Sample::of(vec![5.0, 1.0, 2.0, 4.0, 3.0]).unwrap();
        let estimate = sample.estimate(0.05);
        assert_eq!((estimate.low, estimate.high, estimate.confidence), (1.0, 5.0, 1.0 - 2.0 / 32.0));
        assert_eq!(Sample::of(vec![7.0]).unwrap().estimate(0.05).confidence, 0.0);
        assert!(Sample::of(Vec::new()).is_none());
    }

    #[test]
    fn beyond_fifty_launches_the_normal_distribution_is_as_near_as_is_said() {
        for launches in [51, 60, 75, 100] {
            let chances = chances_of_sums(&(1..=launches).collect::<Vec<_>>());
            for alpha in [0.1, 0.05, 0.01, 0.001] {
                let (outside, confidence) = rank_outside(launches, alpha);
                let exact = 1.0 - 2.0 * chances[..=outside].iter().sum::<f64>();
                assert!(
                    (exact - confidence).abs() < NORMAL_ERROR,
                    "{launches}, {alpha}: {exact} {confidence}"
                );
                assert!((1.0 - alpha - NORMAL_ERROR..1.0).contains(&exact), "{launches}, {alpha}: {exact}");
            }
        }
        let values: Vec<f64> = (1..=60).map(|value| f64::from(value) - 25.2).collect();
        let ranks: Vec<usize> = (1..=60).collect();
        let negative = signed_rank_of_negatives(&values);
        let exact = 2.0 * chances_of_sums(&ranks)[..=negative].iter().sum::<f64>();
        assert!((signed_rank_test(&values) - exact).abs() < NORMAL_ERROR, "{exact}");
    }

    /// The sum of the ranks of what is below 0, where no two are equally far from it.
    fn signed_rank_of_negatives(values: &[f64]) -> usize {
        let rank = |value: &f64| values.iter().filter(|other| other.abs() <= value.abs()).count();
        values.iter().filter(|value| **value < 0.0).map(rank).sum()
    }

    #[test]
    fn a_ratio_and_its_reciprocal_have_mirrored_intervals() {
        let logs: Vec<f64> = [1.10, 1.20, 1.15, 1.05, 1.30].map(f64::ln).to_vec();
        let ratio = Sample::of(logs.clone()).unwrap().ratio(0.05);
        let reciprocal = Sample::of(logs.iter().map(|log| -log).collect()).unwrap().ratio(0.05);
        assert!((ratio.low - 1.05).abs() < 1e-12 && (ratio.high - 1.30).abs() < 1e-12, "{ratio:?}");
        assert!((ratio.center * reciprocal.center - 1.0).abs() < 1e-12);
        assert!((ratio.low * reciprocal.high - 1.0).abs() < 1e-12, "{ratio:?} {reciprocal:?}");
        assert!((ratio.reach() - reciprocal.reach()).abs() < 1e-12);
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
    fn more_comparisons_need_more_launches() {
        // 2/2^6 = 0.031 is the first below 0.05; 2/2^10 * 25 the last below for twenty-five.
        assert_eq!([1, 25, 26, 51].map(|family| launches_needed(ALPHA / f64::from(family))), [6, 10, 11, 11]);
    }
}
