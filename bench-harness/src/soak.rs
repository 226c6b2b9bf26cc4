//! Load and faults together for a while: what a strategy loses, and whether it grows.
//!
//! ```text
//!   warm-up ──► kills ──► steady, in legs ──► restarts ──► the last drain
//!   load and faults all the time; the load rests between the legs, and what the workers hold is counted
//! ```
//!
//! A reply may break off only where a worker was killed that moment, and no more of them than were in flight. A
//! request may go unanswered (its connection is closed before a byte of reply) there, and while the pool drains.
//! Everything else is a failure, as are a worker that ends unasked, memory or descriptors that grow, and a drain that
//! leaves anything behind.

mod exchange;
mod faults;
mod gate;
mod ledger;
mod load;
mod outcome;
mod server;

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use crate::usage::Usage;
pub use ledger::{Counts, Incident, Kind};
pub use outcome::{Kill, Outcome, Restart, Sample};

use crate::builds::Strategy;
use crate::check::{CheckError, check};
use crate::launch::Family;
use crate::process;
use crate::rng::Rng;
use crate::usage;
use faults::Fault;
use gate::Gate;
use ledger::Ledger;
use load::Load;
use server::Server;

/// What to do to a strategy.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long, all phases together; the rests and the last drain come on top.
    pub duration: Duration,
    /// The kind of socket.
    pub family: Family,
    /// What all random choices are made from.
    pub seed: u64,
}

/// A soak as it is seen from another thread.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Mutex<Seen>,
}

/// Where a soak has got to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// What is being done.
    pub phase: &'static str,
    /// The requests so far.
    pub counts: Counts,
    /// The workers killed so far.
    pub kills: usize,
    /// The drains so far.
    pub restarts: usize,
}

/// Why there is no outcome.
#[derive(Debug, Error)]
pub enum SoakError {
    /// The pool could not be started, or not again.
    #[error("the pool does not start: {0}")]
    Start(io::Error),
    /// It answers wrongly without any load, so there is nothing to soak.
    #[error("before any load: {0}")]
    Check(#[from] CheckError),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// How the time is shared out, in hundredths.
const WARM_UP: u32 = 10;
const KILLS: u32 = 30;
const STEADY: u32 = 42;
const RESTARTS: u32 = 18;
/// The steady phase is cut into as many parts by rests.
const LEGS: u32 = 3;

/// The times between two kills, and between two restarts.
const BETWEEN_KILLS: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(2_500)];
const BETWEEN_RESTARTS: Duration = Duration::from_secs(4);
/// How often the workers are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long all clients may take to stop: longer than a reply is waited for.
const QUIET_LIMIT: Duration = Duration::from_secs(40);
/// What a worker needs to let go of the last connections: longer than it lingers on one that it has refused.
const SETTLE: Duration = Duration::from_millis(1_600);

impl Watch {
    /// Where it has got to.
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Soaks one strategy. Call it from a thread that lives until it returns: the pool dies with it.
///
/// # Errors
///
/// There is no pool to soak, or `stop` was set. What is wrong with a pool is in the outcome.
pub fn run(strategy: &Strategy, plan: &Plan, watch: &Watch, stop: &AtomicBool) -> Result<Outcome, SoakError> {
    watch.show(|seen| seen.phase = "starting");
    let server = Server::start(strategy, plan.family).map_err(SoakError::Start)?;
    check(server.address())?;
    let (gate, ledger) = (Gate::default(), Ledger::new());
    thread::scope(|scope| {
        let mut soak = Soak {
            plan,
            watch,
            stop,
            gate: &gate,
            ledger: &ledger,
            rng: Rng::new(plan.seed),
            outcome: Outcome::new(strategy.name(), plan, server.arguments(), server.capacity()),
            known: server.workers().into_iter().collect(),
            killed: BTreeSet::new(),
            server,
        };
        soak.start_clients(scope);
        let done = soak.phases();
        // In any case: the scope waits for the threads.
        gate.end();
        done.map(|()| soak.outcome)
    })
}

struct Soak<'a> {
    plan: &'a Plan,
    watch: &'a Watch,
    stop: &'a AtomicBool,
    gate: &'a Gate,
    ledger: &'a Ledger,
    rng: Rng,
    outcome: Outcome,
    server: Server<'a>,
    /// Workers that were seen, and those of them that were killed here.
    known: BTreeSet<u32>,
    killed: BTreeSet<u32>,
}

impl<'a> Soak<'a> {
    fn start_clients<'scope>(&mut self, scope: &'scope Scope<'scope, 'a>)
    where
        'a: 'scope,
    {
        let (gate, ledger) = (self.gate, self.ledger);
        for load in Load::all(self.server.address()) {
            scope.spawn(move || load.apply(gate, ledger));
        }
        for fault in Fault::ALL {
            let mut client = faults::Client {
                address: self.server.address().clone(),
                gate,
                ledger,
                rng: self.rng.split(),
                connections: self.server.capacity(),
            };
            scope.spawn(move || client.go_on_with(fault));
        }
    }

    fn phases(&mut self) -> Result<(), SoakError> {
        self.phase("warm-up");
        self.gate.open();
        self.pass(self.share(WARM_UP))?;

        self.phase("kills");
        self.kill_for(self.share(KILLS))?;

        self.rest("before")?;
        for leg in 1..=LEGS {
            self.phase("steady");
            self.gate.open();
            self.pass(self.share(STEADY) / LEGS)?;
            self.rest(if leg == LEGS { "after" } else { "between" })?;
        }
        self.outcome.judge_growth();

        self.phase("restarts");
        self.gate.open();
        self.restart_for(self.share(RESTARTS))?;

        self.phase("the end");
        self.quiet();
        if let Err(error) = check(self.server.address()) {
            self.outcome.fail(format!("after the soak: {error}"));
        }
        let drained = self.server.drain(self.ledger);
        self.outcome.restarted(drained);
        self.outcome.close(self.ledger, &self.server.last_words());
        Ok(())
    }

    fn phase(&self, name: &'static str) {
        self.watch.show(|seen| seen.phase = name);
    }

    fn share(&self, hundredths: u32) -> Duration {
        self.plan.duration * hundredths / 100
    }

    /// Lets time pass, and looks after the workers.
    fn pass(&mut self, duration: Duration) -> Result<(), SoakError> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            thread::sleep(TICK);
            self.look()?;
        }
        Ok(())
    }

    /// Notices workers that ended unasked, and whether to stop.
    fn look(&mut self) -> Result<(), SoakError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(SoakError::Interrupted);
        }
        let workers: BTreeSet<u32> = self.server.workers().into_iter().collect();
        for &gone in self.known.difference(&workers) {
            if !self.killed.contains(&gone) {
                let said = self.server.last_words();
                self.outcome.fail(format!("worker {gone} ended, and nobody had killed it: {said}"));
            }
        }
        self.known = workers;
        let (counts, kills, restarts) =
            (self.ledger.counts(), self.outcome.kills.len(), self.outcome.restarts.len());
        self.watch.show(|seen| (seen.counts, seen.kills, seen.restarts) = (counts, kills, restarts));
        Ok(())
    }

    fn kill_for(&mut self, duration: Duration) -> Result<(), SoakError> {
        let end = Instant::now() + duration;
        loop {
            let pause = self.rng.between(BETWEEN_KILLS);
            if Instant::now() + pause >= end {
                return self.pass(end.saturating_duration_since(Instant::now()));
            }
            self.pass(pause)?;
            let workers = self.server.workers();
            if let Some(&pid) = self.rng.pick(&workers) {
                self.killed.insert(pid);
                self.outcome.kills.push(Kill { at: self.ledger.now(), pid });
                process::kill(pid);
            }
        }
    }

    fn restart_for(&mut self, duration: Duration) -> Result<(), SoakError> {
        let end = Instant::now() + duration;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.pass(left.min(BETWEEN_RESTARTS))?;
            let drained = self.server.restart(self.ledger).map_err(SoakError::Start)?;
            self.outcome.restarted(drained);
            self.known = self.server.workers().into_iter().collect();
            if left <= BETWEEN_RESTARTS {
                return self.pass(left.min(Duration::from_secs(1)));
            }
        }
    }

    /// Stops all clients, and counts what the workers hold without them.
    fn rest(&mut self, name: &'static str) -> Result<(), SoakError> {
        self.phase("resting");
        self.quiet();
        self.pass(SETTLE)?;
        let workers = self.server.workers();
        let usage = workers.into_iter().filter_map(|pid| usage::of(pid).ok()).collect();
        let sample = Sample { name, at: self.ledger.now(), answered: self.ledger.counts().answered, usage };
        self.outcome.samples.push(sample);
        Ok(())
    }

    fn quiet(&mut self) {
        if !self.gate.shut(QUIET_LIMIT) {
            self.outcome.fail(format!("clients still wait for their replies after {QUIET_LIMIT:?}"));
        }
    }
}
