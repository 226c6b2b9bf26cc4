//! Pauses between attempts, each twice as long as the one before.

use std::mem;
use std::time::Duration;

/// How long to wait before something is tried again: longer each time, up to a bound.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The next one.
    pub fn next_pause(&mut self) -> Duration {
        let longer = self.longest.min(self.next * 2);
        mem::replace(&mut self.next, longer)
    }
}

#[cfg(test)]
mod tests {
    use crate::drain;

    #[test]
    fn each_pause_is_twice_as_long_as_the_one_before_up_to_the_longest() {
        let mut pauses = drain::pauses();
        let taken = [(); 8].map(|()| pauses.next_pause().as_millis());
        assert_eq!(taken, [5, 10, 20, 40, 80, 160, 160, 160]);
    }
}
