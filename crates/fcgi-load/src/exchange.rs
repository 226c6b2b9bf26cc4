//! The requests of a run, ready to be sent, and whose turn it is.

use crate::address::Protocol;
use crate::check::Check;
use crate::options::{OptionsError, Share};
use crate::template::Template;

/// Copies under all ids, of requests and of replies, are kept if those of a kind together are no longer than this: half
/// of a second-level cache.
const COPIES_LIMIT: usize = 512 << 10;

/// A request as it goes over the wire, and what its replies are held against.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) template: Template,
    pub(crate) check: Check,
    /// Whether it is a HEAD, whose reply has no content in HTTP.
    pub(crate) is_head: bool,
}

impl Exchange {
    /// Those of a run, in the order of its requests.
    pub(crate) fn all(
        shares: Vec<Share>,
        protocol: Protocol,
        keep_conn: bool,
        streams: u16,
    ) -> Result<Vec<Self>, OptionsError> {
        // All of them are in use at the same time, so they share the cache.
        let limit = COPIES_LIMIT / shares.len().max(1);
        let exchange = |Share { request, .. }: Share| {
            let template = match protocol {
                Protocol::FastCgi => Template::new(&request, keep_conn, streams, limit),
                Protocol::Http => Template::http(&request, keep_conn)?,
            };
            let is_head = request.value(b"REQUEST_METHOD") == Some(b"HEAD");
            Ok(Self { template, check: Check::new(request.expect, streams, limit), is_head })
        };
        shares.into_iter().map(exchange).collect()
    }
}

/// Whose turn it is: a cycle of as many turns as the weights add up to, in which each request has as many as its weight,
/// spread evenly. It is the same for the same weights, so every run sends the same mix in the same order.
#[derive(Debug)]
pub(crate) struct Rotation {
    cycle: Vec<u16>,
    next: usize,
}

impl Rotation {
    /// Smooth weighted round robin, as nginx deals requests to its upstream servers: at each turn every request gains its
    /// weight, and the one that has most pays the sum of the weights for its turn.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let sum: i64 = weights.iter().copied().map(i64::from).sum();
        let mut credits = vec![0; weights.len()];
        let cycle = (0..sum).map(|_| {
            let mut most = 0;
            for at in 0..weights.len() {
                credits[at] += i64::from(weights[at]);
                if credits[at] > credits[most] {
                    most = at;
                }
            }
            credits[most] -= sum;
            most as u16
        });
        Self { cycle: cycle.collect(), next: 0 }
    }

    /// The next request's number.
    #[inline]
    pub(crate) fn deal(&mut self) -> u16 {
        let request = self.cycle[self.next];
        self.next += 1;
        if self.next == self.cycle.len() {
            self.next = 0;
        }
        request
    }

    /// Begins the cycle anew.
    pub(crate) fn restart(&mut self) {
        self.next = 0;
    }

    /// One cycle of the requests to come.
    pub(crate) fn upcoming(&self) -> impl ExactSizeIterator<Item = u16> {
        (self.next..self.next + self.cycle.len()).map(|at| self.cycle[at % self.cycle.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(weights: &[u32]) -> Vec<u16> {
        Rotation::new(weights).cycle
    }

    #[test]
    fn each_request_has_its_weight_of_turns_spread_evenly() {
        assert_eq!(cycle(&[1]), [0]);
        assert_eq!(cycle(&[1, 1]), [0, 1]);
        assert_eq!(cycle(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(cycle(&[9, 1]), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(cycle(&[2, 2]), [0, 1, 0, 1]);
        for weights in [&[999, 1][..], &[1, 998, 1], &[300, 300, 400], &[7, 11, 13, 17]] {
            let cycle = cycle(weights);
            let sum: u32 = weights.iter().sum();
            for (request, &weight) in weights.iter().enumerate() {
                let mut turns = 0;
                for (at, &dealt) in cycle.iter().enumerate() {
                    turns += u32::from(usize::from(dealt) == request);
                    // Never as much as two turns from the even share, which is weight / sum for each turn.
                    let even = f64::from(weight) * (at + 1) as f64 / f64::from(sum);
                    assert!((f64::from(turns) - even).abs() < 2.0, "{weights:?}: {turns}, {even} at {at}");
                }
                assert_eq!(turns, weight);
            }
        }
    }

    #[test]
    fn turns_repeat_and_what_comes_next_can_be_seen() {
        let mut rotation = Rotation::new(&[2, 1]);
        assert!(rotation.upcoming().eq([0, 1, 0]));
        let dealt: Vec<u16> = (0..7).map(|_| rotation.deal()).collect();
        assert_eq!(dealt, [0, 1, 0, 0, 1, 0, 0]);
        assert!(rotation.upcoming().eq([1, 0, 0]));
        rotation.restart();
        assert_eq!(rotation.deal(), 0);
    }
}
