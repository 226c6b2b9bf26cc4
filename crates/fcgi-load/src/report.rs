//! What a run found out.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::ser::{SerializeMap, Serializer};

use crate::address::Mode;

/// The result of one [`Generator::run`](crate::Generator::run).
///
/// Every request sent ends in exactly one of [`completed`](Self::completed), [`refused`](Self::refused) and one of the
/// [`errors`](Self::errors). Latencies are those of completed requests.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How connections were used.
    pub mode: Mode,
    /// From the start to the end of the last request. A run of fixed duration lasts until the requests then in flight
    /// are answered.
    #[serde(rename = "elapsed_s", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Good replies, each of them checked.
    pub completed: u64,
    /// Requests the server declined in an orderly way: by `FCGI_OVERLOADED`, `FCGI_CANT_MPX_CONN`, or a CGI status 503
    /// (where 503 is not what was expected).
    pub refused: u64,
    /// All that went wrong.
    pub errors: Errors,
    /// Nanoseconds from the time a request was sent (closed loop) or was due (open loop) to the end of its reply.
    #[serde(rename = "latency_ns", serialize_with = "histogram")]
    pub latency: Histogram<u64>,
    /// Open loop: nanoseconds from the time a request was really sent. What `latency` has above it, requests spent
    /// waiting for a free connection or stream, which a generator that counts from sending would have omitted.
    #[serde(rename = "service_ns", serialize_with = "optional_histogram")]
    pub service: Option<Histogram<u64>>,
    /// Requests per second asked for, in an open loop.
    pub offered_rate: Option<f64>,
    /// Open loop: requests that came due. Closed loop: requests sent.
    pub due: u64,
    /// Open loop: requests that came due and were never sent, since no connection or stream was free.
    pub unsent: u64,
    /// Open loop: requests sent more than a millisecond after they were due.
    pub late: u64,
    /// See [`achieved_rate`](Self::achieved_rate).
    #[serde(serialize_with = "seconds", rename = "sending_s")]
    pub sending: Duration,
    /// Bytes read from all connections.
    pub bytes_in: u64,
    /// Bytes written to all connections.
    pub bytes_out: u64,
    /// Bytes of `FCGI_STDERR` among the replies.
    pub stderr_bytes: u64,
    /// Connections opened since the run before (for the first: since the generator was made).
    pub connections_opened: u64,
    /// Kept connections that the server closed while nothing was in flight on them. No request was harmed.
    pub closed_idle: u64,
    /// How often a connection had to wait since the server's backlog was full.
    pub backlog_full: u64,
    /// The highest number of requests seen in flight on one connection: begun to be
    /// written, not yet answered.
    pub peak_in_flight: u32,
    /// Good replies that were parsed in full, since they were not byte for byte an earlier one, or did not come in one
    /// piece. Nearly all of them, for a server with a header that always varies: the generator then works harder.
    pub parsed: u64,
    /// User and system CPU time of the generator's thread during the run.
    #[serde(rename = "generator_cpu_s", serialize_with = "seconds")]
    pub cpu: Duration,
    /// The run ended early, since no byte came from the server in twice the timeout.
    pub gave_up: bool,
    /// The run was ended by [`Progress::stop`](crate::Progress::stop); what was in flight then is counted nowhere.
    pub stopped: bool,
}

/// Failed requests by kind, and a few of them in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Errors {
    /// A connection could not be opened. In the modes that keep connections this counts attempts, not requests.
    pub connect: u64,
    /// The connection ended before the first byte of the reply: the server closed or died with the request unread or
    /// unanswered. A web server may safely send such a request again.
    pub unanswered: u64,
    /// The reply began and broke off.
    pub lost: u64,
    /// A request was not answered in time. Where one is overdue its connection is closed, and others in flight on it
    /// count as `lost` or `unanswered`.
    pub timeout: u64,
    /// The server broke the protocol: an unknown record, an id that is not in flight, an `FCGI_END_REQUEST` without the
    /// end of `FCGI_STDOUT`.
    pub protocol: u64,
    /// `FCGI_UNKNOWN_ROLE`, or a protocol status the specification does not know.
    pub wrong_protocol_status: u64,
    /// The CGI status is another.
    pub wrong_status: u64,
    /// The body is another, or the CGI headers make no sense.
    pub wrong_content: u64,
    /// `appStatus` is another.
    pub wrong_app_status: u64,
    /// The first few errors in words.
    pub samples: Vec<String>,
}

/// The kinds of error, as [`Errors`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Connect,
    Unanswered,
    Lost,
    Timeout,
    Protocol,
    ProtocolStatus,
    Status,
    Content,
    AppStatus,
}

const SAMPLES: usize = 8;

impl Errors {
    /// Each kind's name and count.
    pub fn by_kind(&self) -> [(&'static str, u64); 9] {
        [
            ("connect", self.connect),
            ("unanswered", self.unanswered),
            ("lost", self.lost),
            ("timeout", self.timeout),
            ("protocol", self.protocol),
            ("wrong_protocol_status", self.wrong_protocol_status),
            ("wrong_status", self.wrong_status),
            ("wrong_content", self.wrong_content),
            ("wrong_app_status", self.wrong_app_status),
        ]
    }

    /// All errors.
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }

    pub(crate) fn count(&mut self, kind: ErrorKind, words: impl FnOnce() -> String) {
        let count = match kind {
            ErrorKind::Connect => &mut self.connect,
            ErrorKind::Unanswered => &mut self.unanswered,
            ErrorKind::Lost => &mut self.lost,
            ErrorKind::Timeout => &mut self.timeout,
            ErrorKind::Protocol => &mut self.protocol,
            ErrorKind::ProtocolStatus => &mut self.wrong_protocol_status,
            ErrorKind::Status => &mut self.wrong_status,
            ErrorKind::Content => &mut self.wrong_content,
            ErrorKind::AppStatus => &mut self.wrong_app_status,
        };
        *count += 1;
        // One sample of each kind before a second of any would be fairer, and is not worth the memory.
        if self.samples.len() < SAMPLES {
            let words = words();
            if !self.samples.contains(&words) {
                self.samples.push(words);
            }
        }
    }
}

impl Report {
    pub(crate) fn new(mode: Mode, rate: Option<f64>) -> Self {
        Self {
            mode,
            elapsed: Duration::ZERO,
            completed: 0,
            refused: 0,
            errors: Errors::default(),
            latency: new_histogram(),
            service: rate.map(|_| new_histogram()),
            offered_rate: rate,
            due: 0,
            unsent: 0,
            late: 0,
            sending: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            stderr_bytes: 0,
            connections_opened: 0,
            closed_idle: 0,
            backlog_full: 0,
            peak_in_flight: 0,
            parsed: 0,
            cpu: Duration::ZERO,
            gave_up: false,
            stopped: false,
        }
    }

    /// Good replies per second of the whole run.
    pub fn throughput(&self) -> f64 {
        per_second(self.completed, self.elapsed)
    }

    /// Good replies per second of sending: of the time from the first request's due time to the last one's, or to the
    /// last sending where that was later. Unlike [`throughput`](Self::throughput) it equals the offered rate for a
    /// server that keeps up, however long each of its answers takes.
    pub fn achieved_rate(&self) -> f64 {
        per_second(self.completed, self.sending)
    }

    /// [`achieved_rate`](Self::achieved_rate) by the offered rate, in an open loop. Under 0.99 the server, or this
    /// generator, did not keep up, and the latencies tell of a queue that grows.
    pub fn achieved_by_offered(&self) -> Option<f64> {
        self.offered_rate.map(|offered| self.achieved_rate() / offered)
    }

    /// The generator's CPU time by the elapsed time. Near 1 the generator was the bottleneck.
    pub fn generator_load(&self) -> f64 {
        self.cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Nothing failed and nothing was refused.
    pub fn is_clean(&self) -> bool {
        self.errors.total() == 0 && self.refused == 0
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// From a nanosecond to an hour, with an error of at most a thousandth.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are valid")
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_histogram<S: Serializer>(
    value: &Option<Histogram<u64>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => histogram(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// The usual numbers, and every bucket as `[nanoseconds, count]`, so that a file keeps the raw data.
fn histogram<S: Serializer>(histogram: &Histogram<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("count", &histogram.len())?;
    map.serialize_entry("min", &histogram.min())?;
    map.serialize_entry("mean", &histogram.mean())?;
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)]
    {
        map.serialize_entry(name, &histogram.value_at_quantile(quantile))?;
    }
    map.serialize_entry("max", &histogram.max())?;
    let buckets: Vec<[u64; 2]> =
        histogram.iter_recorded().map(|step| [step.value_iterated_to(), step.count_at_value()]).collect();
    map.serialize_entry("buckets", &buckets)?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_up_achieves_what_is_offered_however_slow_its_answers() {
        let mut report = Report::new(Mode::Keep, Some(100.0));
        report.completed = 100;
        report.sending = Duration::from_secs(1);
        report.elapsed = Duration::from_secs(3);
        assert_eq!(report.achieved_by_offered(), Some(1.0));
        report.completed = 90;
        assert!(report.achieved_by_offered().unwrap() < 0.99);
    }

    #[test]
    fn samples_are_few_and_differ() {
        let mut errors = Errors::default();
        for at in 0..100 {
            errors.count(ErrorKind::Lost, || format!("reply {} broke off", at / 2));
        }
        assert_eq!((errors.lost, errors.total(), errors.samples.len()), (100, 100, SAMPLES));
        assert_eq!(errors.samples[1], "reply 1 broke off");
    }
}
