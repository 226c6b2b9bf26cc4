//! Slices: what a contender did in each of its short turns.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a contender did in the slices of a launch: a column for each figure, and in each a number for each slice. The slices
/// at the same place of two contenders of a launch lay in the same cycle, less than a second apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slices {
    /// Requests answered.
    #[serde(with = "column")]
    pub requests: Vec<u64>,
    /// Nanoseconds from the first request sent to the last reply; beside a slow neighbour those in which requests were sent.
    #[serde(with = "column")]
    pub elapsed_ns: Vec<u64>,
    /// Nanoseconds that the longest answer took, of a mix to its first request. An older record does not have it.
    #[serde(default, with = "column", skip_serializing_if = "Vec::is_empty")]
    pub longest_ns: Vec<u64>,
    /// Nanoseconds of processor time of the workers; nothing where they start processes that end meanwhile and no control
    /// group could be had: no clock tells their time before.
    #[serde(with = "column")]
    pub cpu_ns: Vec<u64>,
    /// Nanoseconds of processor time of the web server; nothing where there is none.
    #[serde(default, with = "column", skip_serializing_if = "Vec::is_empty")]
    pub front_end_cpu_ns: Vec<u64>,
    /// Nanoseconds for which the workers' threads could have run and had to wait for a processor: others took it. Nothing
    /// where the kernel does not count it.
    #[serde(with = "column")]
    pub run_delay_ns: Vec<u64>,
}

impl Slices {
    /// Whether nothing is known of slices: an older record has none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Microseconds of processor time for a request, in each slice.
    pub(crate) fn cpu_us_per_request(&self) -> impl Iterator<Item = f64> {
        self.cpu_ns.iter().zip(&self.requests).map(|(cpu, requests)| *cpu as f64 / 1e3 / *requests as f64)
    }

    /// Requests for each second, in each slice.
    pub(crate) fn throughput(&self) -> impl Iterator<Item = f64> {
        self.requests.iter().zip(&self.elapsed_ns).map(|(requests, ns)| *requests as f64 / (*ns as f64 / 1e9))
    }

    /// Processor time in all of them.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.iter().sum())
    }

    /// The web server's, in all of them.
    pub(crate) fn front_end_cpu(&self) -> Duration {
        Duration::from_nanos(self.front_end_cpu_ns.iter().sum())
    }

    /// How many threads waited for a processor, on the average over the time of all slices.
    pub(crate) fn threads_waiting(&self) -> Option<f64> {
        let elapsed: u64 = self.elapsed_ns.iter().sum();
        let delay: u64 = self.run_delay_ns.iter().sum();
        (!self.run_delay_ns.is_empty() && elapsed > 0).then(|| delay as f64 / elapsed as f64)
    }
}

/// Numbers with spaces between: a file of many slices then has a line for a column, and not for a number.
mod column {
    use super::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(numbers: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
        serializer.serialize_str(&words.join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split_whitespace().map(|word| word.parse().map_err(de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_line_that_is_read_again() {
        let slices = Slices {
            requests: vec![100, 50],
            elapsed_ns: vec![1_000_000, 1_000_000],
            cpu_ns: vec![500_000, 500_000],
            run_delay_ns: vec![0, 200_000],
            ..Slices::default()
        };
        let json = serde_json::to_string(&slices).unwrap();
        assert!(json.contains("\"requests\":\"100 50\""), "{json}");
        assert_eq!(serde_json::from_str::<Slices>(&json).unwrap(), slices);
        assert_eq!(slices.cpu_us_per_request().collect::<Vec<_>>(), [5.0, 10.0]);
        assert_eq!(slices.throughput().collect::<Vec<_>>(), [100_000.0, 50_000.0]);
        assert_eq!((slices.cpu(), slices.threads_waiting()), (Duration::from_millis(1), Some(0.1)));
    }
}
