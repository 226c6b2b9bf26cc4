//! Until when requests are late or lost, seen from how many have ended by when.

use std::time::Duration;

use super::LATE;

/// Watches an open loop. An open loop sends in the order in which requests come due, so they end nearly in that order: as long
/// as fewer have ended than came due [`LATE`] ago, one of these is late. A generator that tells the time of every request would
/// have more to do for each.
#[derive(Debug)]
pub(super) struct Recovery {
    rate: f64,
    /// How long requests come due.
    lasts: Duration,
    killed: Duration,
    without_answer: u64,
    is_overdue: bool,
    took: Duration,
}

impl Recovery {
    /// All times count from the begin of the load. So many requests had no good answer before the kill.
    pub(super) fn new(rate: f64, lasts: Duration, killed: Duration, without_answer: u64) -> Self {
        Self { rate, lasts, killed, without_answer, is_overdue: false, took: Duration::ZERO }
    }

    /// Notes how many requests have ended, with a good answer and without.
    pub(super) fn see(&mut self, now: Duration, answered: u64, without_answer: u64) {
        let is_overdue = answered + without_answer < self.due_by(now.saturating_sub(LATE));
        // Where the last that was overdue has ended, it was a moment ago.
        if is_overdue || self.is_overdue || without_answer > self.without_answer {
            self.took = now.saturating_sub(self.killed);
        }
        (self.is_overdue, self.without_answer) = (is_overdue, without_answer);
    }

    /// From the kill to the end of the last late or lost request, as it was seen.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// How many requests have come due, at least.
    fn due_by(&self, now: Duration) -> u64 {
        (now.min(self.lasts).as_secs_f64() * self.rate) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A load of a thousand requests per second for a second, with a kill after 100 ms.
    fn recovery() -> Recovery {
        Recovery::new(1000.0, milliseconds(1000), milliseconds(100), 0)
    }

    #[test]
    fn a_pool_that_answers_in_time_has_nothing_to_recover_from() {
        let mut recovery = recovery();
        for now in 100..2000 {
            // Each after 99 ms.
            recovery.see(milliseconds(now), (now - 99).min(1000), 0);
        }
        assert_eq!(recovery.took(), Duration::ZERO);
    }

    #[test]
    fn a_lost_request_is_trouble_until_it_has_ended() {
        let mut recovery = recovery();
        for (now, lost) in [(101, 0), (102, 3), (103, 3), (150, 4), (151, 4)] {
            recovery.see(milliseconds(now), now - lost, lost);
        }
        assert_eq!(recovery.took(), milliseconds(50));
    }

    #[test]
    fn what_was_lost_before_the_kill_is_no_trouble_of_it() {
        let mut recovery = Recovery::new(1000.0, milliseconds(1000), milliseconds(100), 3);
        recovery.see(milliseconds(101), 98, 3);
        assert_eq!(recovery.took(), Duration::ZERO);
    }

    #[test]
    fn an_outage_lasts_until_all_that_is_overdue_has_ended() {
        let mut recovery = recovery();
        // Nothing is answered for 300 ms, and then three requests for each that comes due.
        for now in 100..1000 {
            let answered = if now < 400 { 100 } else { (100 + 3 * (now - 400)).min(now) };
            recovery.see(milliseconds(now), answered, 0);
        }
        // 100 + 3 t = 300 + t after the 400th millisecond: t = 100.
        assert_eq!(recovery.took(), milliseconds(400));
    }

    #[test]
    fn an_outage_that_is_shorter_than_what_counts_as_late_is_none() {
        let mut recovery = recovery();
        for now in 100..200 {
            recovery.see(milliseconds(now), 100, 0);
        }
        recovery.see(milliseconds(200), 200, 0);
        assert_eq!(recovery.took(), Duration::ZERO);
    }
}
