//! What is compared.

use crate::experiment::Figures;

/// A figure of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Processor time of the workers for each request. It alone is judged.
    Cpu,
    /// Requests per second, in a closed loop.
    Throughput,
    /// The latency that half of the requests do not exceed.
    Median,
    /// The latency that 99 of 100 requests do not exceed.
    Tail,
}

/// All of them, each at its place.
pub(crate) const METRICS: [Metric; 4] = [Metric::Cpu, Metric::Throughput, Metric::Median, Metric::Tail];

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU per request",
            Self::Throughput => "throughput",
            Self::Median => "latency (p50)",
            Self::Tail => "latency (p99)",
        }
    }

    /// In a table's head.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU µs/request",
            Self::Throughput => "requests/s",
            Self::Median => "p50 µs",
            Self::Tail => "p99 µs",
        }
    }

    /// None where it is not known.
    pub(crate) fn of(self, figures: &Figures) -> Option<f64> {
        Some(match self {
            Self::Cpu => micros_per_request(figures.worker_cpu?.as_secs_f64(), figures),
            Self::Throughput => figures.requests as f64 / figures.elapsed.as_secs_f64(),
            Self::Median => figures.latency_p50_ns as f64 / 1e3,
            Self::Tail => figures.latency_p99_ns as f64 / 1e3,
        })
    }

    /// In each slice, where slices tell of it.
    pub(crate) fn of_slices(self, figures: &Figures) -> Vec<f64> {
        match self {
            Self::Cpu => figures.slices.cpu_us_per_request().collect(),
            Self::Throughput => figures.slices.throughput().collect(),
            Self::Median | Self::Tail => Vec::new(),
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::Throughput
    }
}

pub(crate) fn micros_per_request(seconds: f64, figures: &Figures) -> f64 {
    seconds * 1e6 / figures.requests.max(1) as f64
}
