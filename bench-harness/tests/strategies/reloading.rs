//! SIGHUP: the program on disk takes over, worker by worker, and no request is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench_harness::{Family, Pool, Strategy, check};
use fcgi_load::{Mode, Options};
use rustix::process::Signal;

use crate::pools::{InFlight, have_ended, load_while, workers};
use crate::support::Outcome;
use crate::trial::{Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("sighup_replaces_all_workers_and_loses_nothing_with_closed_connections", under_load_close),
    Test::new("sighup_replaces_all_workers_and_loses_nothing_with_kept_connections", under_load_keep),
    Test::new("sighup_replaces_all_workers_and_loses_nothing_in_an_open_loop", under_load_open),
    Test::new("sighup_lets_a_waiting_request_finish", waiting_request),
    Test::new("sighup_starts_the_program_that_is_there_then", new_program),
    Test::new("sighup_keeps_the_workers_where_the_program_would_not_run", broken_program),
];

fn under_load_close(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, |options| options.mode = Mode::Close)
}

/// A kept connection that was closed while it was idle is opened anew by a front end.
fn under_load_keep(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, |options| {
        options.mode = Mode::Keep;
        options.retry_closed = true;
    })
}

fn under_load_open(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, |options| {
        options.mode = Mode::Close;
        options.rate = Some(200.0);
    })
}

fn under_load(strategy: &Strategy, family: Family, how: fn(&mut Options)) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "4"])?;
    let before = workers(&pool, 4)?;
    let (address, time) = (pool.address().clone(), Duration::from_millis(1_500));
    let report = load_while(&address, time, how, 50, || drop(pool.signal(Signal::HUP)))?;
    ensure!(report.completed > 100, "only {} requests were answered", report.completed);
    ensure!(
        report.errors.total() == 0 && report.refused == 0 && report.connects_failed == 0,
        "{} refused, {} connects failed, {:?}",
        report.refused,
        report.connects_failed,
        report.errors
    );
    wait_until("all workers are new", || have_ended(&before) && pool.worker_pids().len() == 4)?;
    says_that_it_took_over(&pool, 1)?;
    check(pool.address())?;
    pool.drain()?;
    Ok(())
}

fn waiting_request(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let before = workers(&pool, 1)?;
    let request = InFlight::begin(pool.address(), 1_000)?;
    pool.signal(Signal::HUP)?;
    // Another takes over while the first still has its request.
    wait_until("there are two workers", || pool.worker_pids().len() == 2)?;
    request.finish()?;
    wait_until("the first has ended", || have_ended(&before) && pool.worker_pids().len() == 1)?;
    pool.drain()?;
    Ok(())
}

/// And nothing else.
fn says_that_it_took_over(pool: &Pool, times: usize) -> Outcome {
    let said = pool.stderr();
    let is_right = said.lines().all(|line| line.contains("SIGHUP: this program took over, and replaces"));
    ensure!(is_right && said.lines().count() == times, "it says: {said}");
    Ok(())
}

fn new_program(strategy: &Strategy, family: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join(strategy.name());
    copy(strategy.binary(), &program)?;
    let mut pool = launch(strategy, family, &program)?;
    workers(&pool, 2)?;
    // As a package manager does it: another file, with the same name.
    let new = folder.path().join("new");
    copy(strategy.binary(), &new)?;
    fs::rename(&new, &program)?;
    let expected = fs::canonicalize(&program)?;
    for _ in 0..2 {
        let before = workers(&pool, 2)?;
        pool.signal(Signal::HUP)?;
        wait_until("all workers are of the new program", || {
            let runs_new =
                |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == expected);
            have_ended(&before) && workers(&pool, 2).is_ok_and(|after| after.iter().all(runs_new))
        })?;
    }
    says_that_it_took_over(&pool, 2)?;
    check(pool.address())?;
    pool.drain()?;
    Ok(())
}

fn broken_program(strategy: &Strategy, family: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join(strategy.name());
    copy(strategy.binary(), &program)?;
    let mut pool = launch(strategy, family, &program)?;
    let before = workers(&pool, 2)?;
    fs::remove_file(&program)?;
    for (lines, content) in [None, Some("#!/bin/sh\nexit 7\n"), Some("no program")].into_iter().enumerate() {
        if let Some(content) = content {
            let new = folder.path().join("new");
            fs::write(&new, content)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
            copy(&new, &program)?;
        }
        pool.signal(Signal::HUP)?;
        wait_until("it is told", || pool.stderr().lines().count() > lines)?;
    }
    let said = pool.stderr();
    ensure!(
        said.lines().count() == 3 && said.lines().all(|line| line.contains("SIGHUP: nothing is replaced")),
        "it says: {said}"
    );
    ensure!(said.contains("exited with 7"), "the status is not told: {said}");
    ensure!(workers(&pool, 2)? == before, "workers were replaced");
    check(pool.address())?;
    pool.drain()?;
    Ok(())
}

/// By a process of its own: a child that another test starts meanwhile would have this one's descriptor for a moment, and a
/// file that is open for writing cannot be run (ETXTBSY).
fn copy(from: &Path, to: &Path) -> Outcome {
    ensure!(Command::new("cp").arg(from).arg(to).status()?.success(), "cp failed");
    Ok(())
}

fn launch(strategy: &Strategy, family: Family, program: &Path) -> Result<Pool, libtest_mimic::Failed> {
    Ok(Pool::launch_by(Command::new(program), strategy, family, &["--processes", "2"])?)
}
