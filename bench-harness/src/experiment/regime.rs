//! Who runs on which cores. Pinning changes winners, so every figure names its regime.

use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// Who runs on which cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Regime {
    /// The workers on one core, the generator on another: neither takes time from the other.
    Isolated,
    /// Everybody on all cores, as the scheduler likes.
    Shared,
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Isolated => "isolated",
            Self::Shared => "shared",
        })
    }
}

/// Puts the thread that made it where the workers or the generator belong. Processes inherit the place of the thread
/// that starts them. Dropped, it puts the thread back.
#[derive(Debug)]
pub(super) struct Cores {
    all: CpuSet,
    workers: CpuSet,
    generator: CpuSet,
}

impl Cores {
    /// # Errors
    ///
    /// The regime needs more cores than there are.
    pub(super) fn of(regime: Regime) -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        if regime == Regime::Shared {
            return Ok(Self { all, workers: all, generator: all });
        }
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let (Some(first), Some(second)) = (cores.next(), cores.next()) else {
            return Err(io::Error::other(
                "the isolated regime needs two cores, and there is one: use --regime shared",
            ));
        };
        // The first core of a machine has most of the interrupts to serve.
        Ok(Self { all, workers: only(second), generator: only(first) })
    }

    /// Starts something where the workers belong.
    pub(super) fn among_workers<T>(&self, start: impl FnOnce() -> T) -> io::Result<T> {
        sched_setaffinity(None, &self.workers)?;
        let started = start();
        sched_setaffinity(None, &self.generator)?;
        Ok(started)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.all);
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_generator_share_no_core_where_isolated() {
        let before = sched_getaffinity(None).unwrap();
        let Ok(cores) = Cores::of(Regime::Isolated) else {
            // One core: refused, as it should be.
            assert_eq!(before.count(), 1);
            return;
        };
        let workers = cores.among_workers(|| sched_getaffinity(None).unwrap()).unwrap();
        assert_eq!((workers, workers.count()), (cores.workers, 1));
        assert_eq!(sched_getaffinity(None).unwrap(), cores.generator);
        assert_ne!(cores.workers, cores.generator);
        drop(cores);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
