//! Deadlines by key, for a loop that holds many sessions.

use std::collections::BTreeSet;
use std::time::Instant;

/// An alarm for each key that has a deadline: small numbers, as a slab hands them out.
///
/// An alarm that comes too early is cheaper than moving it each time a deadline moves away: [`Timers::set`] leaves it, and
/// whoever is woken by it looks again.
#[derive(Debug, Default)]
pub struct Timers {
    alarms: BTreeSet<(Instant, usize)>,
    /// The alarm of each key.
    set: Vec<Option<Instant>>,
}

impl Timers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sees to it that `key` is woken at its deadline, or before.
    #[inline]
    pub fn set(&mut self, key: usize, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.set_alarm(key, deadline);
        }
    }

    fn set_alarm(&mut self, key: usize, deadline: Instant) {
        if self.set.len() <= key {
            self.set.resize(key + 1, None);
        }
        if self.set[key].is_some_and(|alarm| alarm <= deadline) {
            return;
        }
        self.remove(key);
        self.set[key] = Some(deadline);
        self.alarms.insert((deadline, key));
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: usize) {
        if let Some(alarm) = self.set.get_mut(key).and_then(Option::take) {
            self.alarms.remove(&(alarm, key));
        }
    }

    /// When the next key is to be woken.
    #[inline]
    pub fn next(&self) -> Option<Instant> {
        self.alarms.first().map(|(alarm, _)| *alarm)
    }

    /// A key whose alarm has come. Call it until it returns `None`, and set each key's next deadline.
    pub fn expired(&mut self, now: Instant) -> Option<usize> {
        let (_, key) = self.alarms.first().copied().filter(|(alarm, _)| *alarm <= now)?;
        self.remove(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_expire_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut timers = Timers::new();
        timers.set(7, Some(at(20)));
        timers.set(0, Some(at(10)));
        timers.set(3, Some(at(30)));
        timers.set(1, None);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(
            [timers.expired(at(20)), timers.expired(at(20)), timers.expired(at(20))],
            [Some(0), Some(7), None]
        );
    }

    #[test]
    fn an_earlier_deadline_moves_the_alarm_and_a_later_one_leaves_it() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut timers = Timers::new();
        timers.set(0, Some(at(20)));
        timers.set(0, Some(at(30)));
        assert_eq!(timers.next(), Some(at(20)));
        timers.set(0, Some(at(10)));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!([timers.expired(at(99)), timers.expired(at(99))], [Some(0), None]);
    }

    #[test]
    fn a_removed_key_does_not_expire() {
        let now = Instant::now();
        let mut timers = Timers::new();
        timers.set(5, Some(now));
        timers.remove(5);
        timers.remove(6);
        assert_eq!((timers.next(), timers.expired(now)), (None, None));
    }
}
