//! lighttpd as the spawner of the workers.

use std::thread;
use std::time::{Duration, Instant};

use bench_harness::front_ends::Site;
use bench_harness::process::{is_running, kill};
use bench_harness::{Strategy, workload};
use rustix::process::Signal;

use crate::front_end::Served;
use crate::support::Outcome;
use crate::workload::ask;

const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn workers_end(strategy: &Strategy, site: Site) -> Outcome {
    let mut front_end = Served::start(strategy, site)?;
    ask(&front_end, &workload::cases()[0])?;
    let workers = front_end.worker_pids();
    ensure!(workers.len() == 2, "min-procs and max-procs are 2, there are {workers:?}");
    front_end.process().signal(Signal::TERM)?;
    front_end.process().wait(LIMIT)?;
    all_end(&workers)
}

/// The harness drops a front end, and asks nobody.
pub(crate) fn nothing_is_left(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    let (own, workers) = (front_end.pids(), front_end.worker_pids());
    // A worker may have a child for a connection.
    ensure!(own.len() == 1 && workers.len() >= 2, "of lighttpd itself {own:?}, of its workers {workers:?}");
    drop(front_end);
    all_end(&[own, workers].concat())
}

fn all_end(pids: &[u32]) -> Outcome {
    let deadline = Instant::now() + LIMIT;
    while let Some(left) = pids.iter().find(|pid| is_running(**pid)) {
        ensure!(Instant::now() < deadline, "process {left} still runs");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// lighttpd looks after its children about once a second, and may answer 500 or 503 until then.
pub(crate) fn worker_dies(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    // It takes connections before it has started its workers.
    ask(&front_end, &workload::cases()[0])?;
    let before = front_end.worker_pids();
    let victim = *before.first().ok_or("lighttpd has no children")?;
    kill(victim);
    let deadline = Instant::now() + LIMIT;
    loop {
        let answered = ask(&front_end, &workload::cases()[0]);
        let now = front_end.worker_pids();
        let running = now.iter().filter(|worker| is_running(**worker)).count();
        if answered.is_ok() && running == 2 && !now.contains(&victim) {
            break;
        }
        ensure!(Instant::now() < deadline, "not replaced: {before:?}, then {now:?}: {answered:?}");
        thread::sleep(Duration::from_millis(50));
    }
    for case in workload::cases() {
        ask(&front_end, &case)?;
    }
    Ok(())
}
