//! What a test of a strategy is, and which strategies it is for.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::Client;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::getuid;

use crate::support::{Outcome, programs};

/// One test, run for every strategy on the families named.
pub(crate) struct Test {
    pub(crate) sentence: &'static str,
    pub(crate) families: &'static [Family],
    pub(crate) needs: Needs,
    /// A program that is not ours and must be installed.
    pub(crate) program: Option<&'static str>,
    /// What else a machine may lack: a sentence, where it does.
    pub(crate) lacking: fn() -> Option<String>,
    pub(crate) run: fn(&Strategy, Family) -> Outcome,
}

/// Which strategies a test is for, by what they announce of themselves.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    Nothing,
    Multiplexing,
    NoMultiplexing,
    /// One process holds at least so many connections.
    Connections(usize),
    /// One process holds at least so many connections, and not each of them wakes all processes.
    FairAccept(usize),
    /// Who runs the tests is root, and can be another user.
    Root,
}

impl Test {
    /// A test for all of them, on both families.
    pub(crate) const fn new(sentence: &'static str, run: fn(&Strategy, Family) -> Outcome) -> Self {
        Self { sentence, families: &Family::ALL, needs: Needs::Nothing, program: None, lacking: || None, run }
    }

    /// A test of socket files.
    pub(crate) const fn unix(sentence: &'static str, run: fn(&Strategy, Family) -> Outcome) -> Self {
        Self { families: &[Family::Unix], ..Self::new(sentence, run) }
    }

    /// A test of ports.
    pub(crate) const fn tcp(sentence: &'static str, run: fn(&Strategy, Family) -> Outcome) -> Self {
        Self { families: &[Family::Tcp], ..Self::new(sentence, run) }
    }

    /// The same test, for some strategies only.
    pub(crate) const fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// The same test, which runs that program.
    pub(crate) const fn program(self, program: &'static str) -> Self {
        Self { program: Some(program), ..self }
    }

    /// The same test, ignored where this machine lacks something.
    pub(crate) const fn unless(self, lacking: fn() -> Option<String>) -> Self {
        Self { lacking, ..self }
    }
}

/// The trials of a strategy: those of all tests that are for it, on both families.
pub(crate) fn of(strategy: &Strategy, groups: &[&'static [Test]]) -> Vec<Trial> {
    let capacity = match capacity(strategy, Family::Unix) {
        Ok(capacity) => capacity,
        Err(failed) => {
            let name = format!("{}::it_announces_its_capacity", strategy.name());
            return vec![Trial::test(name, move || Err(failed))];
        }
    };
    let mut trials = Vec::new();
    for family in Family::ALL {
        for test in groups.iter().copied().flatten() {
            let is_for_it = match test.needs {
                Needs::Nothing | Needs::Root => true,
                Needs::Multiplexing => capacity.multiplexes,
                Needs::NoMultiplexing => !capacity.multiplexes,
                Needs::Connections(count) => capacity.connections >= count,
                Needs::FairAccept(count) => capacity.connections >= count && !strategy.wakes_all(),
            };
            if is_for_it && test.families.contains(&family) {
                trials.push(trial(strategy, family, test));
            }
        }
    }
    trials
}

fn trial(strategy: &Strategy, family: Family, test: &'static Test) -> Trial {
    let name = format!("{}::{family}::{}", strategy.name(), test.sentence);
    let strategy = strategy.clone();
    if matches!(test.needs, Needs::Root) && !getuid().is_root() {
        return Trial::ignorable_test(name, || Ok(Completion::ignored_with("not run by root")));
    }
    Trial::ignorable_test(name, move || match test.program.and_then(programs::missing) {
        Some(missing) => missing,
        None => match (test.lacking)() {
            Some(lacking) => Ok(Completion::ignored_with(lacking)),
            None => (test.run)(&strategy, family).map(|()| Completion::Completed),
        },
    })
}

/// What a pool announces by FCGI_GET_VALUES.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    pub(crate) multiplexes: bool,
}

/// Asks a pool of one process.
pub(crate) fn capacity(strategy: &Strategy, family: Family) -> Result<Capacity, Failed> {
    capacity_of(&Pool::launch(strategy, family, &["--processes", "1"])?)
}

/// Asks this pool.
pub(crate) fn capacity_of(pool: &Pool) -> Result<Capacity, Failed> {
    let values = Client::connect(pool.address())?.values()?;
    let number = |name: &str| -> Result<usize, Failed> {
        let Some((_, value)) = values.iter().find(|(known, _)| known == name) else {
            return Err(format!("{name} is missing in the answer to GET_VALUES: {values:?}").into());
        };
        value.parse().map_err(|_| format!("{name} is {value:?}").into())
    };
    Ok(Capacity {
        connections: number("FCGI_MAX_CONNS")?,
        requests: number("FCGI_MAX_REQS")?,
        multiplexes: number("FCGI_MPXS_CONNS")? == 1,
    })
}

/// Whether these words are among those that its command line takes.
pub(crate) fn takes(strategy: &Strategy, args: &[&str]) -> Result<bool, Failed> {
    let mut command = Command::new(strategy.binary());
    command.args(args).arg("--check").stdin(Stdio::null());
    Ok(Process::spawn(command)?.wait(Duration::from_secs(10))?.success())
}

/// A pool that holds at least two connections at a time, with no more processes than that takes.
pub(crate) fn pool_for_two(strategy: &Strategy, family: Family, args: &[&str]) -> Result<Pool, Failed> {
    let processes = if capacity(strategy, family)?.connections > 1 { "1" } else { "2" };
    Ok(Pool::launch(strategy, family, &[&["--processes", processes], args].concat())?)
}

/// Waits for what is to happen soon; that it happens is asserted, not when.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
