//! Every strategy against every case of fcgi-verify, on both kinds of socket.
//!
//! A test is named `STRATEGY::FAMILY::CHAPTER::case`. A case that a model cannot meet is shown as ignored, with what
//! it lacks.

#[allow(dead_code, reason = "of what test programs share, this one needs how trials are made and run")]
#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bench_harness::{Family, Pool, Strategy, discover};
use fcgi_verify::{Address, Case, Options, Outcome, Target, cases, run_case};
use libtest_mimic::{Completion, Failed, Trial};

/// Processes of the pool that most cases run against: a model of one connection per process then holds several.
const PROCESSES: usize = 4;

fn main() -> ExitCode {
    support::run(discover::all(), 4, |strategy| {
        Family::ALL.iter().flat_map(|family| trials(strategy, *family)).collect()
    })
}

fn trials(strategy: &Strategy, family: Family) -> Vec<Trial> {
    let servers = Server::launch(strategy, family, PROCESSES)
        .and_then(|pool| Ok((pool, Server::launch(strategy, family, 1)?)));
    let (pool, process) = match servers {
        Ok(servers) => servers,
        Err(failed) => {
            let name = format!("{}::{family}::it_answers", strategy.name());
            return vec![Trial::test(name, move || Err(failed))];
        }
    };
    let trial = |case: &'static Case| {
        // What looks at a process's memory must know which one serves it.
        let server = Arc::clone(if case.needs.process { &process } else { &pool });
        let name = format!("{}::{family}::{}", strategy.name(), case.path());
        Trial::ignorable_test(name, move || server.run(case))
    };
    cases().iter().map(trial).collect()
}

struct Server {
    target: Target,
    /// One case at a time: some use up all connections.
    pool: Mutex<Pool>,
}

impl Server {
    fn launch(strategy: &Strategy, family: Family, processes: usize) -> Result<Arc<Self>, Failed> {
        let pool = Pool::launch(strategy, family, &["--processes", &processes.to_string()])?;
        let address: Address = pool.address().to_string().parse()?;
        let options = Options { timeout: Duration::from_secs(10), ..Options::default() };
        let mut target = Target::probe(address, options)?;
        // Asked when it has answered: the socket is there before the workers are forked.
        target.pid = pool.worker_pids().first().copied().filter(|_| processes == 1);
        Ok(Arc::new(Self { target, pool: Mutex::new(pool) }))
    }

    fn run(&self, case: &Case) -> Result<Completion, Failed> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let report = run_case(&self.target, case);
        match report.outcome {
            Outcome::Passed | Outcome::Reported(_) => Ok(Completion::Completed),
            Outcome::NotApplicable(reason) => Ok(Completion::ignored_with(reason)),
            Outcome::Failed(why) => {
                let (section, asks, transcript) = (case.section, case.asks, report.transcript);
                let stderr = pool.stderr();
                Err(format!("{why}\nasked by {section}: {asks}\n{transcript}\nthe worker said: {stderr}")
                    .into())
            }
        }
    }
}
