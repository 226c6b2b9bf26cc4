//! How long requests took, those without a good reply included.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::ser::{SerializeMap, Serializer};

/// The quantiles that a report names.
pub(crate) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

/// In what time, in nanoseconds and up to an hour, requests had a good reply.
///
/// A request without a good reply counts too, as slower than all those that had one, and with at least the time that it
/// waited: until its failure, or until the end of the run where it was not sent. So a server that stalls, dies or refuses
/// can only make a quantile longer. A quantile that falls among these requests is a lower bound, [`Quantile::AtLeast`].
#[derive(Debug, Clone)]
pub struct Latency {
    good: Histogram<u64>,
    /// Made when the first is recorded: most runs have none.
    without: Option<Histogram<u64>>,
}

/// The time in which a share of the requests had a good reply, in nanoseconds, with an error of at most a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantile {
    /// It took so long.
    Exactly(u64),
    /// Fewer than the share ever had a good reply, and waiting for it took at least so long.
    AtLeast(u64),
}

impl Quantile {
    /// The time, or the least that it can be.
    pub fn nanoseconds(self) -> u64 {
        match self {
            Self::Exactly(value) | Self::AtLeast(value) => value,
        }
    }
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self { good: new_histogram(), without: None }
    }

    /// Counts all that `other` counts.
    pub fn add(&mut self, other: &Self) {
        const EQUAL: &str = "their ranges are equal";

        self.good.add(&other.good).expect(EQUAL);
        if let Some(without) = &other.without {
            self.without.get_or_insert_with(new_histogram).add(without).expect(EQUAL);
        }
    }

    /// The times of the good replies.
    pub fn good(&self) -> &Histogram<u64> {
        &self.good
    }

    /// How long the requests without a good reply waited for one, as far as is known. `None` where there are none.
    pub fn without_good_reply(&self) -> Option<&Histogram<u64>> {
        self.without.as_ref()
    }

    /// How many requests are counted, with a good reply and without.
    pub fn len(&self) -> u64 {
        self.good.len() + self.without.as_ref().map_or(0, Histogram::len)
    }

    /// Whether no request is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time in which this share of the requests, from 0 to 1, had a good reply. `None` where there are too few
    /// requests to tell this quantile from the longest time: 1 / (1 - share) of them are needed, any at all for 1.
    pub fn quantile(&self, share: f64) -> Option<Quantile> {
        let count = self.len() as f64;
        // 1 - 0.99 is a little more than a hundredth.
        let needed = if share < 1.0 { (1.0 / (1.0 - share)).round() } else { 1.0 };
        (count >= needed).then(|| self.bound(share))
    }

    /// The same as a mere number, however few the requests: the lower bound where no more is known, 0 without requests.
    pub fn value_at_quantile(&self, share: f64) -> u64 {
        if self.is_empty() { 0 } else { self.bound(share).nanoseconds() }
    }

    /// The longest time.
    pub fn max(&self) -> u64 {
        self.value_at_quantile(1.0)
    }

    fn bound(&self, share: f64) -> Quantile {
        let rank = (share * self.len() as f64).ceil().max(1.0) as u64;
        if rank <= self.good.len() {
            // Half a rank lower, so that no rounding leads to the next rank.
            return Quantile::Exactly(
                self.good.value_at_quantile((rank as f64 - 0.5) / self.good.len() as f64),
            );
        }
        let mut all = self.good.clone();
        if let Some(without) = &self.without {
            all.add(without).expect("their ranges are equal");
        }
        let waited = all.lowest_equivalent(all.value_at_quantile(share));
        // Fewer than the share had a good reply in the longest time that one took.
        Quantile::AtLeast(waited.max(self.good.max()))
    }

    #[inline]
    pub(crate) fn good_mut(&mut self) -> &mut Histogram<u64> {
        &mut self.good
    }

    #[cold]
    pub(crate) fn record_without(&mut self, waited: u64) {
        self.without.get_or_insert_with(new_histogram).saturating_record(waited);
    }

    /// Records requests without a reply that waited `longest`, `longest - period`, and so on: what an open loop did not
    /// send. Takes a step for each bucket and not for each request, of which there may be any number.
    pub(crate) fn record_unsent(&mut self, longest: u64, period: f64, count: u64) {
        if count == 0 {
            return;
        }
        let without = self.without.get_or_insert_with(new_histogram);
        let waited = |number: u64| longest.saturating_sub((number as f64 * period) as u64);
        let mut next = 0;
        while next < count {
            let value = waited(next);
            let bucket = without.lowest_equivalent(value);
            // Further ones of the same bucket: all that waited at least its lowest value.
            let same = ((longest.saturating_sub(bucket) as f64 / period) as u64).saturating_add(1);
            let end = if bucket == 0 { count } else { same.clamp(next + 1, count) };
            without.saturating_record_n(value, end - next);
            next = end;
        }
    }
}

/// Of good replies that took so long, each.
/// Of no request yet.
impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Duration> for Latency {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut latency = Self::new();
        for time in times {
            latency.good.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        latency
    }
}

/// From a nanosecond to an hour, with an error of at most a thousandth.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are valid")
}

/// The usual numbers, `null` for those of which there are too few requests; the names of those that are lower bounds
/// only; and every bucket as `[nanoseconds, count]`, so that a file keeps the raw data.
impl serde::Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.len())?;
        let quantiles = QUANTILES.into_iter().chain([("max", 1.0)]);
        let mut at_least = Vec::new();
        for (name, share) in quantiles {
            let quantile = self.quantile(share);
            map.serialize_entry(name, &quantile.map(Quantile::nanoseconds))?;
            if let Some(Quantile::AtLeast(_)) = quantile {
                at_least.push(name);
            }
        }
        map.serialize_entry("at_least", &at_least)?;
        // A mean would need to know what the others would have taken.
        let (some, all) = (!self.good.is_empty(), self.without.is_none());
        map.serialize_entry("min", &some.then(|| self.good.min()))?;
        map.serialize_entry("mean", &(some && all).then(|| self.good.mean()))?;
        map.serialize_entry("buckets", &buckets(&self.good))?;
        map.serialize_entry("without_good_reply", &self.without.as_ref().map_or_else(Vec::new, buckets))?;
        map.end()
    }
}

fn buckets(histogram: &Histogram<u64>) -> Vec<[u64; 2]> {
    histogram.iter_recorded().map(|step| [step.value_iterated_to(), step.count_at_value()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(good: impl IntoIterator<Item = u64>, without: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::new();
        good.into_iter().for_each(|value| latency.good.record(value).unwrap());
        without.into_iter().for_each(|value| latency.record_without(value));
        latency
    }

    #[test]
    fn requests_without_a_good_reply_are_slower_than_all_that_had_one_however_soon_they_failed() {
        // Sixty good ones, and forty that failed at once.
        let latency = latency(1..=60, [1; 40]);
        assert_eq!(latency.len(), 100);
        assert_eq!(latency.quantile(0.5), Some(Quantile::Exactly(50)));
        assert_eq!(latency.quantile(0.6), Some(Quantile::Exactly(60)));
        assert_eq!(latency.quantile(0.61), Some(Quantile::AtLeast(60)));
        assert_eq!(latency.quantile(1.0), Some(Quantile::AtLeast(60)));
    }

    #[test]
    fn what_a_request_without_a_good_reply_waited_is_the_least_it_counts_with() {
        let latency = latency(1..=90, (1..=10).map(|number| number * 100));
        assert_eq!(latency.quantile(0.9), Some(Quantile::Exactly(90)));
        assert_eq!(latency.quantile(0.91), Some(Quantile::AtLeast(100)));
        assert_eq!(latency.quantile(0.99), Some(Quantile::AtLeast(900)));
        assert_eq!(latency.max(), 1000);
    }

    #[test]
    fn a_quantile_needs_enough_requests_to_differ_from_the_longest_time() {
        for (share, needed) in [(0.5, 2), (0.9, 10), (0.99, 100), (0.999, 1000), (0.9999, 10_000), (1.0, 1)] {
            assert!(latency(std::iter::repeat_n(5, needed), []).quantile(share).is_some(), "{share}");
            assert!(latency(std::iter::repeat_n(5, needed - 1), []).quantile(share).is_none(), "{share}");
        }
        assert_eq!(latency([], []).value_at_quantile(0.5), 0);
        assert_eq!(latency([7], []).value_at_quantile(0.5), 7);
    }

    #[test]
    fn unsent_requests_recorded_by_bucket_are_those_recorded_one_by_one() {
        for (longest, period, count) in [
            (5_000_000, 333.3, 15_000),
            (1_000_000, 100_000.0, 11),
            (3_000, 0.5, 6_001),
            (10, 100.0, 1),
            (0, 1.0, 0),
        ] {
            let mut by_bucket = latency([], []);
            by_bucket.record_unsent(longest, period, count);
            let one_by_one =
                latency([], (0..count).map(|number| longest.saturating_sub((number as f64 * period) as u64)));
            assert_eq!(by_bucket.len(), count);
            for share in [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0] {
                let (a, b) = (by_bucket.value_at_quantile(share), one_by_one.value_at_quantile(share));
                // Truncation to whole nanoseconds may put one on either side of a border.
                assert!(a.abs_diff(b) <= a / 500 + period as u64 + 1, "{share} of {count}: {a}, {b}");
            }
        }
        // Any number of them takes no time worth mentioning.
        let mut many = latency([], []);
        many.record_unsent(60_000_000_000, 1e-3, 60_000_000_000_000);
        assert_eq!(many.len(), 60_000_000_000_000);
    }
}
