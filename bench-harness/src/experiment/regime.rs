//! Who runs on which cores. Pinning changes winners, so every figure names its regime.

use std::fmt;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::record::{Ask, Plan};
use crate::entry::Entry;
use crate::launch::{Family, Pool};

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

/// Who runs where in an experiment. It puts the thread that made it where the workers or the generator belong; dropped, it puts
/// it back.
#[derive(Debug)]
pub(super) struct Cores {
    planned: Division,
    /// For what is asked on all cores.
    shared: Division,
}

/// Which cores are whose. Processes inherit the place of the thread that starts them.
#[derive(Clone, Debug)]
pub(super) struct Division {
    workers: CpuSet,
    generator: CpuSet,
    /// How many generators ask at once: one for each core that they have to themselves.
    generators: usize,
    /// How many cores the workers are pinned to, if they are.
    pinned: Option<usize>,
}

impl Cores {
    /// # Errors
    ///
    /// The regime needs more cores than there are.
    pub(super) fn of(plan: &Plan) -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        let shared = Division { workers: all, generator: all, generators: 1, pinned: None };
        let planned = match plan.regime {
            Regime::Shared => shared.clone(),
            Regime::Isolated => Division::isolated(&all, plan.worker_cores)?,
        };
        Ok(Self { planned, shared })
    }

    /// While this is asked.
    pub(super) fn during(&self, ask: &Ask) -> &Division {
        if ask.on_all_cores { &self.shared } else { &self.planned }
    }
}

impl Division {
    fn isolated(all: &CpuSet, worker_cores: Option<usize>) -> io::Result<Self> {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
        let generators = match worker_cores {
            // One and one, however many there are: what was measured so on another machine is then measured so here.
            None => 1,
            Some(workers) => cores.len().saturating_sub(workers),
        };
        let workers = worker_cores.unwrap_or(1);
        if generators == 0 || cores.len() < generators + workers {
            let (count, needed) = (cores.len(), workers + 1);
            let words = format!(
                "the isolated regime needs {needed} cores, {workers} for the workers and another for the generator; here are \
                 {count}: use --regime shared"
            );
            return Err(io::Error::other(words));
        }
        // The first core of a machine has most of the interrupts to serve.
        let (first, others) = cores.split_at(generators);
        let pinned = Some(workers);
        Ok(Self { workers: set(&others[..workers]), generator: set(first), generators, pinned })
    }

    /// How many generators ask at once.
    pub(super) fn generators(&self) -> usize {
        self.generators
    }

    /// Starts a pool where the workers belong. Threads that share the work are as many as there are cores for them.
    pub(super) fn launch(&self, entry: &Entry, family: Family, processes: usize) -> anyhow::Result<Pool> {
        Ok(self.among_workers(|| entry.launch_on(family, processes, self.pinned))??)
    }

    /// How many cores the workers are pinned to, if they are.
    pub(super) fn pinned(&self) -> Option<usize> {
        self.pinned
    }

    /// Does something where the workers belong.
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
        let _ = sched_setaffinity(None, &self.shared.workers);
    }
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

#[cfg(test)]
mod tests {
    use fcgi_load::Mode;

    use super::*;

    fn plan(regime: Regime, worker_cores: Option<usize>) -> Plan {
        let data = crate::discover::data_folder().join("results/2026-11-23/modes.json");
        let record: super::super::Record =
            serde_json::from_str(&std::fs::read_to_string(data).unwrap()).unwrap();
        Plan { regime, worker_cores, ..record.plan }
    }

    #[test]
    fn workers_and_generator_share_no_core_where_isolated() {
        let before = sched_getaffinity(None).unwrap();
        let Ok(cores) = Cores::of(&plan(Regime::Isolated, None)) else {
            // One core: refused, as it should be.
            assert_eq!(before.count(), 1);
            return;
        };
        let now = || sched_getaffinity(None).unwrap();
        let isolated = cores.during(&Ask::hello(Mode::Keep));
        let workers = isolated.among_workers(now).unwrap();
        assert_eq!((workers, workers.count()), (isolated.workers, 1));
        assert_eq!(now(), isolated.generator);
        assert_ne!(isolated.workers, isolated.generator);
        assert_eq!(isolated.generators(), 1);
        // What is asked on all cores, between others.
        let shared = cores.during(&Ask { on_all_cores: true, ..Ask::hello(Mode::Keep) });
        assert_eq!((shared.among_workers(now).unwrap(), now()), (before, before));
        assert_eq!(isolated.among_workers(now).unwrap(), workers);
        drop(cores);
        assert_eq!(now(), before);
    }

    #[test]
    fn a_generator_runs_on_each_core_that_the_workers_leave() {
        let all = sched_getaffinity(None).unwrap().count() as usize;
        for workers in 1..all {
            let cores = Cores::of(&plan(Regime::Isolated, Some(workers))).unwrap();
            let division = cores.during(&Ask::hello(Mode::Keep));
            assert_eq!((division.generators(), division.pinned), (all - workers, Some(workers)));
            assert_eq!(
                (division.workers.count(), division.generator.count()),
                (workers as u32, (all - workers) as u32)
            );
        }
        let error = Cores::of(&plan(Regime::Isolated, Some(all))).unwrap_err().to_string();
        assert!(error.contains("use --regime shared"), "{error}");
    }
}
