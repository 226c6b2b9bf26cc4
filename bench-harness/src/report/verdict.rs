//! What may be said of a cell's ratios of CPU per request to the reference.

use super::statistics::{ALPHA, Estimate, Sample, holm, launches_needed};

/// Fewer launches have an interval and no verdict.
pub(crate) const LAUNCHES: usize = 10;
/// A ratio between this and its reciprocal is as good as 1.
pub(crate) const EQUAL: f64 = 1.03;
/// More launches than that are not counted out.
pub(crate) const MOST_LAUNCHES: usize = 999;

/// What may be said of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The 90 % interval lies within 3 % of 1: two one-sided tests of 5 % each.
    Equal,
    Less,
    More,
    /// Neither was shown. So many more launches would show one of them, if what is seen stays as it is; none if they
    /// would be more than [`MOST_LAUNCHES`].
    Undecided(Option<usize>),
    /// Fewer than [`LAUNCHES`].
    TooFewLaunches,
    /// The same entry under two names differed.
    Unfit,
    /// There is nothing to compare, or nothing is judged.
    None,
}

/// The verdicts on a cell's ratios, given as their logarithms: a family, over which Holm's correction holds the chance
/// of a false difference under 5 %.
pub(crate) fn of_family(samples: &[Option<Sample>]) -> Vec<Verdict> {
    let judged = |sample: &&Sample| sample.launches() >= LAUNCHES;
    let family: Vec<f64> = samples.iter().flatten().filter(judged).map(Sample::signed_rank_test).collect();
    let corrected = holm(&family);
    let found = corrected.iter().filter(|chance| **chance <= ALPHA).count();
    // What the correction leaves to the next one that is to be found.
    let alpha = ALPHA / (family.len() - found).max(1) as f64;
    let mut chances = corrected.into_iter();
    let mut verdict = |sample: &Option<Sample>| match sample {
        None => Verdict::None,
        Some(sample) if sample.launches() < LAUNCHES => Verdict::TooFewLaunches,
        Some(sample) => one(sample, chances.next().unwrap_or(1.0), alpha),
    };
    samples.iter().map(&mut verdict).collect()
}

fn one(sample: &Sample, chance: f64, alpha: f64) -> Verdict {
    let (wide, narrow) = (sample.ratio(ALPHA), sample.ratio(2.0 * ALPHA));
    if narrow.low >= EQUAL.recip() && narrow.high <= EQUAL {
        Verdict::Equal
    } else if chance > ALPHA || wide.holds(1.0) {
        Verdict::Undecided(further(&sample.estimate(2.0 * ALPHA), &sample.estimate(alpha), alpha))
    } else if wide.center < 1.0 {
        Verdict::Less
    } else {
        Verdict::More
    }
}

/// The further launches that would decide it, if the estimate stays where it is and its intervals shrink with the
/// square root of their number. `equality` and `difference` are intervals of the logarithm.
fn further(equality: &Estimate, difference: &Estimate, alpha: f64) -> Option<usize> {
    let (distance, launches) = (equality.center.abs(), equality.launches as f64);
    let farthest = equality.low.abs().max(equality.high.abs()) - distance;
    let nearest = if equality.center > 0.0 {
        difference.center - difference.low
    } else {
        difference.high - difference.center
    };
    let until = |reach: f64, room: f64| {
        if room > 0.0 { (launches * (reach / room).powi(2)).ceil() } else { f64::INFINITY }
    };
    let to_differ = until(nearest, distance).max(launches_needed(alpha) as f64);
    let all = until(farthest, EQUAL.ln() - distance).min(to_differ).max(launches + 1.0);
    let further = all - launches;
    (further <= MOST_LAUNCHES as f64).then_some(further as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten launches around a ratio, spread evenly over a share of it to both sides.
    fn around(ratio: f64, spread: f64) -> Option<Sample> {
        let at = |launch: i32| (f64::from(launch) - 4.5) / 4.5 * spread;
        Sample::of((0..10).map(|launch| ratio.ln() + at(launch)).collect())
    }

    #[test]
    fn each_verdict_on_known_launches() {
        // The exact interval of evenly spread launches is narrower than they are.
        let family = [
            around(1.0, 0.02),
            around(1.02, 0.01),
            around(1.05, 0.02),
            around(0.9, 0.02),
            around(1.02, 0.05),
            None,
        ];
        let verdicts = of_family(&family);
        assert_eq!(
            verdicts[..4],
            // A ratio of 1.02 whose interval has no 1 in it is equal within 3 % first.
            [Verdict::Equal, Verdict::Equal, Verdict::More, Verdict::Less]
        );
        assert!(matches!(verdicts[4], Verdict::Undecided(Some(_))), "{verdicts:?}");
        assert_eq!(verdicts[5], Verdict::None);
    }

    #[test]
    fn nine_launches_have_no_verdict_however_clear_they_are() {
        let sample = Sample::of(vec![2.0_f64.ln(); 9]);
        assert_eq!(of_family(&[sample]), [Verdict::TooFewLaunches]);
    }

    #[test]
    fn a_family_of_twenty_six_finds_nothing_with_ten_launches_and_says_how_many_more_it_takes() {
        // 2 / 2^10 * 26 is more than 5 %: unanimous launches are eleven, so one more.
        let differs = || Sample::of((0..10).map(|launch| 0.5 + f64::from(launch) / 100.0).collect());
        let family: Vec<Option<Sample>> = (0..26).map(|_| differs()).collect();
        assert!(of_family(&family).iter().all(|verdict| *verdict == Verdict::Undecided(Some(1))));
        assert!(of_family(&family[1..]).iter().all(|verdict| *verdict == Verdict::More));
    }

    #[test]
    fn an_interval_that_must_halve_takes_three_times_as_many_launches_again() {
        // Its 90 % interval is ln 1.03 to each side of 1.0, once it has half its width.
        let at = |center: f64, reach: f64| Estimate {
            center,
            low: center - reach,
            high: center + reach,
            confidence: 0.95,
            launches: 10,
        };
        let log = EQUAL.ln();
        assert_eq!(further(&at(0.0, 1.999 * log), &at(0.0, 3.0 * log), 0.05), Some(30));
        // As far from 1 as that, it is a difference or nothing.
        assert_eq!(further(&at(log, log), &at(log, 1.999 * log), 0.05), Some(30));
        assert_eq!(further(&at(-log, log), &at(-log, 1.999 * log), 0.05), Some(30));
        assert_eq!(further(&at(0.0, 100.0 * log), &at(0.0, 100.0 * log), 0.05), None);
    }
}
