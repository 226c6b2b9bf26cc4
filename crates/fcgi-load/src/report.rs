//! What a run found out.

use std::time::Duration;

use serde::ser::Serializer;

use crate::address::Mode;
use crate::latency::Latency;

/// The result of one [`Generator::run`](crate::Generator::run).
///
/// Every request that was [`due`](Self::due) is in exactly one of [`completed`](Self::completed),
/// [`refused`](Self::refused), one of the [`errors`](Self::errors), [`unsent`](Self::unsent) and
/// [`unfinished`](Self::unfinished), so these add up to it; and it is in [`latency`](Self::latency).
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How connections were used.
    pub mode: Mode,
    /// From the start to the end of the last request; in a run of fixed duration not less than that. Such a run lasts
    /// until the requests then in flight are answered.
    #[serde(rename = "elapsed_s", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Good replies, each of them checked.
    pub completed: u64,
    /// Requests the server declined in an orderly way: by `FCGI_OVERLOADED`, `FCGI_CANT_MPX_CONN`, or a CGI or HTTP status
    /// 503 (where 503 is not what was expected).
    pub refused: u64,
    /// Requests that failed.
    pub errors: Errors,
    /// Nanoseconds from the time a request was sent (closed loop) or was due (open loop) to the end of its reply; those
    /// without a good reply count with at least what they waited.
    #[serde(rename = "latency_ns")]
    pub latency: Latency,
    /// Each request of a mix apart, in the order of [`Options::requests`](crate::Options::requests); empty where there is
    /// only one. They add up to [`completed`](Self::completed) and to [`latency`](Self::latency).
    pub by_request: Vec<RequestReport>,
    /// Open loop: nanoseconds from the time a request was really sent (the last time, if it was sent again). What
    /// `latency` has above it, requests spent waiting for a free connection or stream, which a generator that counts from
    /// sending would have omitted. Requests that were not sent are not in it.
    #[serde(rename = "service_ns")]
    pub service: Option<Latency>,
    /// Requests per second asked for, in an open loop.
    pub offered_rate: Option<f64>,
    /// Open loop: requests that came due. Closed loop: requests sent.
    pub due: u64,
    /// Open loop: requests that came due and were never sent, since no connection or stream was free.
    pub unsent: u64,
    /// Requests in flight when the run was stopped or gave up.
    pub unfinished: u64,
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
    /// Attempts to open a connection that failed. No requests: in close mode one ends by each as [`Errors::connect`],
    /// in the others the requests wait for the next attempt.
    pub connects_failed: u64,
    /// Kept connections that the server closed while nothing was in flight on them. No request was harmed. One that an HTTP
    /// server said it closes (`Connection: close`) is not among them: it ends with its reply.
    pub closed_idle: u64,
    /// Breaches of the protocol outside any reply: what came belongs to no request, or to one of several that cannot be
    /// told. The connection is closed, and what is in flight on it is lost or unanswered.
    pub stray: u64,
    /// How often a request was sent again since its connection had been closed; see
    /// [`Options::retry_closed`](crate::Options::retry_closed).
    pub retried: u64,
    /// How often a connection had to wait since the server's backlog was full.
    pub backlog_full: u64,
    /// How often a connection had to wait since this machine had no local port left (TCP).
    pub no_local_port: u64,
    /// The highest number of requests seen in flight on one connection: begun to be
    /// written, not yet answered.
    pub peak_in_flight: u32,
    /// Good replies that were parsed in full, since they were not byte for byte an earlier one, or did not come in one
    /// piece. Nearly all of them, for a server with a header that always varies: the generator then works harder.
    pub parsed: u64,
    /// User and system CPU time of the generator's thread during the run.
    #[serde(rename = "generator_cpu_s", serialize_with = "seconds")]
    pub cpu: Duration,
    /// A closed loop of so many requests ended early, since no byte came from the server in twice the timeout. Every
    /// other run has an end of its own, and goes on.
    pub gave_up: bool,
    /// The run was ended by [`Progress::stop`](crate::Progress::stop).
    pub stopped: bool,
}

/// What a run found out of one of its requests.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct RequestReport {
    /// Good replies to this request, each of them checked.
    pub completed: u64,
    /// As [`Report::latency`], of this request alone.
    #[serde(rename = "latency_ns")]
    pub latency: Latency,
}

/// Failed requests by kind, and a few of them in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Errors {
    /// Close mode: the request's connection could not be opened.
    pub connect: u64,
    /// A kept connection that had answered before ended before a byte of this reply came. As a rule the server closed it
    /// between requests (php-fpm's `pm.max_requests`, an idle timeout), and a front end sends the request again; a
    /// client cannot tell this from a crash on the request. See [`Options::retry_closed`](crate::Options::retry_closed).
    pub closed: u64,
    /// The connection ended before the first byte of the reply, and had not answered before, or broke off in another
    /// reply: the server closed or died with the request unread or unanswered.
    pub unanswered: u64,
    /// The reply began and broke off.
    pub lost: u64,
    /// A request was not answered in time. Where one is overdue its connection is closed, and others in flight on it
    /// count as `lost` or `unanswered`.
    pub timeout: u64,
    /// The reply broke the protocol: an unknown record, an id that is not in flight, an `FCGI_END_REQUEST` without the
    /// end of `FCGI_STDOUT`; in HTTP a head, a length or a chunk that is none.
    pub protocol: u64,
    /// `FCGI_UNKNOWN_ROLE`, or a protocol status the specification does not know.
    pub wrong_protocol_status: u64,
    /// The CGI status, or the status code of the HTTP response, is another.
    pub wrong_status: u64,
    /// The body is another, or the CGI headers make no sense.
    pub wrong_content: u64,
    /// `appStatus` is another.
    pub wrong_app_status: u64,
    /// The first few errors in words.
    pub samples: Vec<String>,
    /// All kinds together, for the progress that is published after each read.
    #[serde(skip)]
    pub(crate) counted: u64,
}

/// The kinds of error, as [`Errors`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Connect,
    Closed,
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

/// For so long a thread may wait for a processor.
const HELD_UP: Duration = Duration::from_millis(10);
/// A run for which the generator's share of a core can be told.
const LONG_ENOUGH: Duration = Duration::from_millis(100);

impl Errors {
    /// Each kind's name and count.
    pub fn by_kind(&self) -> [(&'static str, u64); 10] {
        [
            ("connect", self.connect),
            ("closed", self.closed),
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
            ErrorKind::Closed => &mut self.closed,
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
        self.counted += 1;
        self.note(words);
    }

    /// Keeps the words where there is room.
    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
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
    /// The share of the offered rate from which on it counts as reached.
    pub const KEPT_UP: f64 = 0.99;

    pub(crate) fn new(mode: Mode, rate: Option<f64>, requests: usize) -> Self {
        let apart = if requests > 1 { requests } else { 0 };
        Self {
            mode,
            elapsed: Duration::ZERO,
            completed: 0,
            refused: 0,
            errors: Errors::default(),
            latency: Latency::new(),
            by_request: (0..apart).map(|_| RequestReport { completed: 0, latency: Latency::new() }).collect(),
            service: rate.map(|_| Latency::new()),
            offered_rate: rate,
            due: 0,
            unsent: 0,
            unfinished: 0,
            late: 0,
            sending: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            stderr_bytes: 0,
            connections_opened: 0,
            connects_failed: 0,
            closed_idle: 0,
            stray: 0,
            retried: 0,
            backlog_full: 0,
            no_local_port: 0,
            peak_in_flight: 0,
            parsed: 0,
            cpu: Duration::ZERO,
            gave_up: false,
            stopped: false,
        }
    }

    /// Counts the waiting of the requests that were not sent: the first of them was due `longest` ago, each further one a
    /// period later. `turns` is one cycle of the requests to come.
    pub(crate) fn record_unsent(
        &mut self,
        longest: u64,
        period: f64,
        turns: impl ExactSizeIterator<Item = u16>,
    ) {
        self.latency.record_unsent(longest, period, self.unsent);
        if self.by_request.is_empty() {
            return;
        }
        // In each turn's place comes one request, and again after every cycle.
        let cycle = turns.len() as u64;
        for (turn, request) in (0..self.unsent).zip(turns) {
            let waited = longest.saturating_sub((turn as f64 * period) as u64);
            let count = (self.unsent - turn).div_ceil(cycle);
            let latency = &mut self.by_request[usize::from(request)].latency;
            latency.record_unsent(waited, period * cycle as f64, count);
        }
    }

    /// Good replies per second of the whole run. In an open loop each request has its interval, the last one too.
    pub fn throughput(&self) -> f64 {
        per_second(self.completed, self.elapsed.max(self.sending))
    }

    /// Good replies per second of sending: of the time from the first request's due time to the last one's, or to the
    /// last sending where that was later. Unlike [`throughput`](Self::throughput) it equals the offered rate for a
    /// server that keeps up, however long each of its answers takes.
    pub fn achieved_rate(&self) -> f64 {
        per_second(self.completed, self.sending)
    }

    /// [`achieved_rate`](Self::achieved_rate) by the offered rate, in an open loop. Under
    /// [`KEPT_UP`](Self::KEPT_UP) the server, or this generator, did not keep up.
    pub fn achieved_by_offered(&self) -> Option<f64> {
        self.offered_rate.map(|offered| self.achieved_rate() / offered)
    }

    /// Whether the offered rate was reached. A closed loop has none to miss. In a run of under a second the hundredth is
    /// less than a thread may wait for a processor: it is enough there that all had good replies, and that the last was
    /// sent a hundredth of a second late at most.
    pub fn kept_up(&self) -> bool {
        let Some(offered) = self.offered_rate else { return true };
        let scheduled = self.due as f64 / offered;
        let is_in_time = self.sending.as_secs_f64() <= scheduled + HELD_UP.as_secs_f64();
        self.achieved_rate() / offered >= Self::KEPT_UP || self.completed == self.due && is_in_time
    }

    /// The generator's CPU time by the elapsed time. Near 1 the generator was the bottleneck. `None` for a run too short
    /// to tell: what is done before the first request and after the last counts for much in it.
    pub fn generator_load(&self) -> Option<f64> {
        (self.elapsed >= LONG_ENOUGH).then(|| self.cpu.as_secs_f64() / self.elapsed.as_secs_f64())
    }

    /// No request failed and none was refused, every attempt to connect succeeded, and the protocol was kept.
    pub fn is_clean(&self) -> bool {
        self.errors.total() == 0 && self.refused == 0 && self.connects_failed == 0 && self.stray == 0
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_up_achieves_what_is_offered_however_slow_its_answers() {
        let mut report = Report::new(Mode::Keep, Some(100.0), 1);
        report.completed = 100;
        report.sending = Duration::from_secs(1);
        report.elapsed = Duration::from_secs(3);
        assert_eq!(report.achieved_by_offered(), Some(1.0));
        assert!(report.kept_up());
        report.completed = 90;
        assert!(report.achieved_by_offered().unwrap() < 0.99 && !report.kept_up());
    }

    #[test]
    fn a_few_late_milliseconds_in_a_run_of_few_are_no_missed_rate() {
        let mut report = Report::new(Mode::Keep, Some(100_000.0), 1);
        (report.due, report.completed, report.sending) = (5, 5, Duration::from_millis(2));
        assert!(report.achieved_by_offered().unwrap() < 0.1 && report.kept_up());
        report.completed = 4;
        assert!(!report.kept_up());
        (report.due, report.completed, report.sending) = (1000, 1000, Duration::from_millis(25));
        assert!(!report.kept_up());
    }

    #[test]
    fn what_was_not_sent_waited_under_the_name_of_the_request_whose_turn_it_was() {
        let mut report = Report::new(Mode::Keep, Some(1000.0), 2);
        report.unsent = 25;
        // Due 100, 99, 98, ... 76 ms before the end.
        report.record_unsent(100_000_000, 1e6, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].into_iter());
        let milliseconds = |request: usize| -> Vec<u64> {
            let histogram = report.by_request[request].latency.without_good_reply().unwrap();
            let waited = |value: u64| (value + 500_000) / 1_000_000;
            histogram.iter_recorded().map(|step| waited(step.value_iterated_to())).collect()
        };
        assert_eq!(milliseconds(1), [77, 87, 97]);
        let other: Vec<u64> = (76..=100).filter(|waited| ![77, 87, 97].contains(waited)).collect();
        assert_eq!(milliseconds(0), other);
        assert_eq!(report.latency.len(), 25);
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
