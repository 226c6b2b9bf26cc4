//! Deadlines: of requests that wait, and of a peer that keeps a connection waiting ([`Timeouts`]).

use std::time::{Duration, Instant};

use super::{PROBE, Phase, Session};
use crate::Timeouts;
use crate::handler::Handler;
use crate::shared::Shared;

/// What stands for "never": a wait that no clock can hold ends then.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the timeouts count from.
pub(super) struct Clocks {
    /// The last time that something was received or sent.
    pub(super) active: Instant,
    /// The last time that the transport took output, or that there was none.
    pub(super) written: Instant,
    /// The request that comes for longest, and since when.
    pub(super) incomplete: Option<(u64, Instant)>,
}

impl<H: Handler> Session<H> {
    /// When to be called next, if nothing happens before.
    pub(super) fn first_deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        match self.phase {
            Phase::Open => {}
            // Until the linger ends.
            Phase::Closing | Phase::Lingering => return self.deadline,
            Phase::Over => return None,
        }
        let after = |since: Option<Instant>, timeout: Option<Duration>| Some(later(since?, timeout?));
        let has_unsent = self.unsent_len() > 0;
        [
            self.exchanges.due(),
            self.probe_at,
            self.first_request_by.filter(|_| self.is_new),
            after(self.is_idle().then_some(self.clocks.active), timeouts.idle),
            after(self.clocks.incomplete.map(|(_, since)| since), timeouts.receive),
            after(self.exchanges.oldest(), timeouts.request),
            after(has_unsent.then_some(self.clocks.written), timeouts.request),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Notes since when the peer owes the rest of a request. Time in which nothing was read is not the peer's.
    #[cold]
    pub(super) fn watch_incomplete(&mut self, now: Instant) {
        let known = self.clocks.incomplete.filter(|_| self.wants_read());
        self.clocks.incomplete = self.connection.incomplete().map(|number| match known {
            Some((same, since)) if same == number => (number, since),
            _ => (number, now),
        });
    }

    /// Does what is due. Also when input comes: a peer that never pauses is not exempt.
    #[cold]
    pub(super) fn keep_time(&mut self, now: Instant, shared: &mut Shared<H>) {
        if let Some(at) = self.probe_at.filter(|at| *at <= now) {
            self.probing = true;
            self.probe_at = Some(later(at, PROBE));
        }
        if self.first_request_by.is_some_and(|by| by <= now) {
            // As any other idle connection from now on: read once more.
            self.is_new = false;
        }
        if shared.config().timeouts != Timeouts::NONE && self.deadline.is_some_and(|deadline| deadline <= now)
        {
            self.enforce_timeouts(now, shared);
        }
    }

    /// Ends what has taken too long.
    fn enforce_timeouts(&mut self, now: Instant, shared: &mut Shared<H>) {
        let timeouts = shared.config().timeouts;
        let has_passed = |since: Instant, timeout: Option<Duration>| {
            timeout.is_some_and(|timeout| later(since, timeout) <= now)
        };
        if self.unsent_len() > 0 && has_passed(self.clocks.written, timeouts.request) {
            return self.abandon();
        }
        self.lend_output(now, shared);
        while let Some(id) = self.exchanges.find_since(|since| has_passed(since, timeouts.request)) {
            self.abort(id, shared);
        }
        if self.clocks.incomplete.is_some_and(|(_, since)| has_passed(since, timeouts.receive)) {
            self.refuse_input();
        }
        if self.is_idle() && has_passed(self.clocks.active, timeouts.idle) {
            self.phase = Phase::Closing;
        }
    }
}

/// Saturates: `Duration::MAX` is a legal wait.
pub(super) fn later(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).unwrap_or_else(|| now + NEVER)
}
