//! Whom a generator asks: a pool, or a web server with workers behind it.

use std::io;

use anyhow::{Context, bail};
use fcgi_load::{Address, Mode, Protocol};

use super::record::{Ask, Plan};
use super::regime::Division;
use super::schedule::Contender;
use crate::entry::{Entry, Spawned};
use crate::front_ends::{FrontEnd, Server, Site};
use crate::launch::{Family, Pool};

/// A contender's processes. A web server has the workers' cores.
pub(super) enum Asked {
    /// The generator speaks FastCGI.
    Pool(Pool),
    /// A web server before a pool.
    Before(FrontEnd, Pool),
    /// A web server that has started the workers itself.
    Spawning(FrontEnd),
}

impl Asked {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// One cannot be started, or does not answer.
    pub(super) fn start(
        division: &Division,
        plan: &Plan,
        entry: &Entry,
        contender: &Contender,
    ) -> anyhow::Result<Self> {
        let Contender { ref ask, processes, connections, .. } = *contender;
        let Some(server) = ask.front_end else {
            return division.launch(entry, plan.family, processes).map(Self::Pool);
        };
        let site = Site { server, family: Family::Unix, mode: ask.mode, connections, processes };
        if server == Server::LighttpdSpawning {
            let spawned = entry.spawned(processes, division.pinned());
            let Spawned { command_line, processes } = spawned.context("it runs already")?;
            let site = Site { processes, ..site };
            let start = || FrontEnd::spawning_with(&command_line, site, entry.params());
            return Ok(Self::Spawning(division.among_workers(start)??));
        }
        let pool = division.launch(entry, Family::Unix, processes)?;
        pool.let_everybody_in()?;
        let start = || FrontEnd::before_with(pool.address(), site, entry.params());
        Ok(Self::Before(division.among_workers(start)??, pool))
    }

    /// Where the generator connects.
    pub(super) fn address(&self) -> Address {
        match self {
            Self::Pool(pool) => pool.address().clone(),
            Self::Before(front_end, _) | Self::Spawning(front_end) => front_end.address(),
        }
    }

    /// What the generator speaks, and how it uses its connections: those to a web server are kept, whatever becomes of
    /// those behind it.
    pub(super) fn speaks(&self, ask: &Ask) -> (Protocol, Mode) {
        match self {
            Self::Pool(_) => (Protocol::FastCgi, ask.mode),
            Self::Before(..) | Self::Spawning(_) => (Protocol::Http, Mode::Keep),
        }
    }

    /// The processes that all workers come from.
    pub(super) fn roots(&self) -> Vec<u32> {
        match self {
            Self::Pool(pool) | Self::Before(_, pool) => pool.started_pids(),
            Self::Spawning(front_end) => front_end.worker_pids(),
        }
    }

    /// The workers.
    pub(super) fn worker_pids(&self) -> Vec<u32> {
        match self {
            Self::Pool(pool) | Self::Before(_, pool) => pool.worker_pids(),
            Self::Spawning(front_end) => front_end.worker_pids(),
        }
    }

    /// A web server that starts workers may start fewer than it is told, or more when it is under load.
    ///
    /// # Errors
    ///
    /// It has started another number of them.
    pub(super) fn check_workers(&self) -> anyhow::Result<()> {
        let Self::Spawning(front_end) = self else { return Ok(()) };
        let (spawned, told) = (front_end.spawned(), front_end.site().processes);
        if spawned != told {
            bail!("the web server runs {spawned} workers where it was told to start {told}");
        }
        Ok(())
    }

    /// The web server's processes.
    pub(super) fn front_end_pids(&self) -> Vec<u32> {
        match self {
            Self::Pool(_) => Vec::new(),
            Self::Before(front_end, _) | Self::Spawning(front_end) => front_end.pids(),
        }
    }

    /// Whether the workers' context switches can be told apart from a web server's: the kernel adds up those of all children.
    pub(super) fn tells_switches(&self) -> bool {
        matches!(self, Self::Pool(_))
    }

    /// Ends them, the web server first: it is not to see its workers go. What it has started ends with it.
    pub(super) fn end(self, entry: &Entry) -> io::Result<()> {
        match self {
            Self::Pool(pool) => entry.end(pool),
            Self::Before(front_end, pool) => {
                drop(front_end);
                entry.end(pool)
            }
            Self::Spawning(_) => Ok(()),
        }
    }
}
