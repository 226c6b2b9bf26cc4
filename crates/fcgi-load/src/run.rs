//! When a run's requests are due, and when it ends.

use std::num::NonZeroU64;
use std::time::Duration;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// So many requests have been answered or have failed. An open loop does not send what is still unsent when the
    /// timeout has passed since the last was due.
    Requests(u64),
    /// So much time has passed, whatever became of the server meanwhile. Requests then in flight are still waited for. In
    /// an open loop those that came due in that time are still sent, for a tenth of a second at most.
    Duration(Duration),
}

/// How long an open loop of fixed duration still sends what came due in it: a hiccup at the end leaves nothing unsent,
/// and a rate that was never reached does not prolong the run.
const GRACE: u64 = 100_000_000;

/// Where a run has got to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) start: u64,
    /// The run lasts until then at least.
    pub(crate) least_end: u64,
    /// No request is sent after this time.
    pub(crate) stop_sending: u64,
    /// Requests to be sent in all, and those still to be sent.
    pub(crate) total: u64,
    pub(crate) to_send: u64,
    pub(crate) sent: u64,
    pub(crate) last_sent: u64,
    /// Nanoseconds between due times, in an open loop.
    pub(crate) period: Option<f64>,
    /// Whether it ends where nothing comes any more: it would have no other end.
    pub(crate) may_give_up: bool,
    pub(crate) next_tick: u64,
}

impl Run {
    pub(crate) fn new(until: Until, rate: Option<f64>, timeout: u64, start: u64) -> Self {
        let period = rate.map(|rate| 1e9 / rate);
        let after = |nanoseconds: u64| start.saturating_add(nanoseconds);
        let (total, least_end, stop_sending) = match (until, period) {
            (Until::Requests(count), None) => (count, start, u64::MAX),
            (Until::Requests(count), Some(period)) => {
                (count, start, after((count as f64 * period) as u64).saturating_add(timeout))
            }
            (Until::Duration(duration), None) => {
                let end = after(nanoseconds(duration));
                (u64::MAX, end, end)
            }
            (Until::Duration(duration), Some(period)) => {
                let duration = nanoseconds(duration);
                (due_within(duration, period), after(duration), after(duration).saturating_add(GRACE))
            }
        };
        Self {
            start,
            least_end,
            stop_sending,
            total,
            to_send: total,
            sent: 0,
            last_sent: start,
            period,
            may_give_up: matches!(until, Until::Requests(_)) && period.is_none(),
            next_tick: start,
        }
    }

    #[inline]
    pub(crate) fn sent(&mut self, now: u64) {
        self.sent += 1;
        self.to_send -= 1;
        self.last_sent = now;
    }

    /// When the next request is due, in an open loop: on a fixed grid from the start, whatever came of the ones before.
    #[inline]
    pub(crate) fn next_due(&self) -> u64 {
        self.start.saturating_add((self.sent as f64 * self.period.unwrap_or(0.0)) as u64)
    }

    /// How many requests had come due by now.
    pub(crate) fn due_by(&self, now: u64) -> u64 {
        match self.period {
            Some(period) => self.total.min(((now - self.start) as f64 / period) as u64 + 1).max(self.sent),
            None => self.sent,
        }
    }
}

/// How many requests come due in so many nanoseconds, the first at once.
fn due_within(nanoseconds: u64, period: f64) -> u64 {
    let intervals = nanoseconds as f64 / period;
    // 3 s / (1 / 3) s is not quite 9: rounding makes no further request.
    let whole = intervals.round();
    let count = if (intervals - whole).abs() <= whole * 1e-12 { whole } else { intervals.ceil() };
    (count as u64).max(1)
}

/// The kernel may wake a sleeper late by its thread's timer slack, 50 µs unless told otherwise: as much as many an
/// answer takes. An open loop sleeps until requests are due, so it asks for the least slack, and restores it after.
#[derive(Debug)]
pub(crate) struct TimerSlack(Option<NonZeroU64>);

impl TimerSlack {
    pub(crate) fn least() -> Self {
        let before = rustix::thread::current_timer_slack().ok().and_then(NonZeroU64::new);
        if before.is_some() {
            // Without it requests are a little late; that is measured, so it need not succeed.
            let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        }
        Self(before)
    }
}

impl Drop for TimerSlack {
    fn drop(&mut self) {
        if self.0.is_some() {
            let _ = rustix::thread::set_current_timer_slack(self.0);
        }
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn requests_are_due_from_the_start_on_and_before_the_end() {
        for (seconds, rate, count) in
            [(5.0, 0.5, 3), (4.0, 0.5, 2), (3.0, 2.0, 6), (0.4, 500.0, 200), (1.0, 3.0, 3), (10.0, 0.001, 1)]
        {
            let duration = Until::Duration(Duration::from_secs_f64(seconds));
            assert_eq!(Run::new(duration, Some(rate), SECOND, 0).total, count, "{rate}/s in {seconds} s");
        }
        for rate in 1..10_000_u32 {
            let run = Run::new(Until::Duration(Duration::from_secs(7)), Some(rate.into()), SECOND, 0);
            assert_eq!(run.total, 7 * u64::from(rate));
        }
    }

    #[test]
    fn the_slowest_and_the_fastest_rates_overflow_nothing() {
        for (rate, seconds) in [(1e-300, u64::MAX / SECOND), (1e9, u64::MAX / SECOND), (f64::MIN_POSITIVE, 1)]
        {
            let mut run = Run::new(Until::Duration(Duration::from_secs(seconds)), Some(rate), SECOND, SECOND);
            run.sent(SECOND);
            assert!(run.next_due() > SECOND && run.due_by(u64::MAX) >= 1 && run.stop_sending > SECOND);
        }
    }
}
