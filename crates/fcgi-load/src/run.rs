//! When a run's requests are due, and when it ends.

use std::num::NonZeroU64;
use std::time::Duration;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// So many requests have been answered or have failed.
    Requests(u64),
    /// So much time has passed; requests then in flight are still waited for. In an open loop those that came due in
    /// that time are still sent, for as long as the timeout.
    Duration(Duration),
}

/// Where a run has got to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) start: u64,
    /// No request is sent after this time.
    pub(crate) stop_sending: u64,
    /// Requests to be sent in all, and those still to be sent.
    pub(crate) total: u64,
    pub(crate) to_send: u64,
    pub(crate) sent: u64,
    pub(crate) last_sent: u64,
    /// Nanoseconds between due times, in an open loop.
    pub(crate) period: Option<f64>,
    pub(crate) next_tick: u64,
}

impl Run {
    pub(crate) fn new(until: Until, rate: Option<f64>, timeout: u64, start: u64) -> Self {
        let period = rate.map(|rate| 1e9 / rate);
        let (total, stop_sending) = match (until, period) {
            (Until::Requests(count), None) => (count, u64::MAX),
            (Until::Requests(count), Some(period)) => {
                (count, start.saturating_add((count as f64 * period) as u64).saturating_add(timeout))
            }
            (Until::Duration(duration), None) => (u64::MAX, start.saturating_add(nanoseconds(duration))),
            (Until::Duration(duration), Some(period)) => {
                let duration = nanoseconds(duration);
                let count = (duration as f64 / period) as u64;
                (count, start.saturating_add(duration).saturating_add(timeout))
            }
        };
        Self {
            start,
            stop_sending,
            total,
            to_send: total,
            sent: 0,
            last_sent: start,
            period,
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
        self.start + (self.sent as f64 * self.period.unwrap_or(0.0)) as u64
    }

    /// How many requests had come due by now.
    pub(crate) fn due_by(&self, now: u64) -> u64 {
        match self.period {
            Some(period) => self.total.min(((now - self.start) as f64 / period) as u64 + 1).max(self.sent),
            None => self.sent,
        }
    }
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
