//! How samples that were measured before come to a harness that means to measure by itself.

use std::hint;
use std::time::{Duration, Instant};

/// For how long the warm-up lasts at least, by the clock on the wall. Criterion divides the time that it has by what a call
/// of the warm-up took, to know how many iterations to ask for; and it goes on warming up as long as the clock has not moved.
const WARM_UP: Duration = Duration::from_micros(1);

/// Samples to be handed out one by one.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Seconds for a request.
    values: Vec<f64>,
    calls: usize,
}

impl Samples {
    /// Of seconds for a request, at least one.
    pub(super) fn of(values: Vec<f64>) -> Option<Self> {
        (!values.is_empty()).then_some(Self { values, calls: 0 })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// What so many iterations would have taken in the next sample. The first call is the warm-up's: it uses up no sample.
    /// Whoever asks for more than there are gets them again from the beginning.
    pub fn next(&mut self, iterations: u64) -> Duration {
        let at = match self.calls {
            0 => {
                let begun = Instant::now();
                while begun.elapsed() < WARM_UP {
                    hint::spin_loop();
                }
                0
            }
            calls => (calls - 1) % self.values.len(),
        };
        self.calls += 1;
        Duration::from_secs_f64(self.values[at] * iterations as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_uses_up_no_sample_and_each_is_scaled_to_what_is_asked_for() {
        let mut samples = Samples::of(vec![1e-6, 2e-6, 3e-6]).unwrap();
        assert_eq!(samples.next(1), Duration::from_micros(1));
        let asked = [1, 500, 500].map(|iterations| samples.next(iterations).as_micros());
        assert_eq!(asked, [1, 1000, 1500]);
        assert_eq!(samples.next(10), Duration::from_micros(10));
    }

    #[test]
    fn the_warm_up_is_over_after_one_call() {
        let begun = Instant::now();
        Samples::of(vec![1.0]).unwrap().next(1);
        assert!(begun.elapsed() > Duration::from_nanos(1));
    }

    #[test]
    fn of_nothing_there_are_no_samples() {
        assert!(Samples::of(Vec::new()).is_none());
    }
}
