//! Workers that die: replaced, and nobody else notices.

use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::process::kill;
use bench_harness::{Family, Pool, Strategy, check};
use fcgi_load::{Mode, Options};

use crate::pools::{have_ended, load_while, workers};
use crate::support::Outcome;
use crate::trial::{Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_killed_worker_costs_only_its_requests_in_flight_with_kept_connections", killed_keep),
    Test::new("a_killed_worker_costs_only_its_requests_in_flight_with_closed_connections", killed_close),
    Test::new("a_crashed_worker_is_replaced", crashed),
    Test::new("workers_do_not_outlive_a_killed_supervisor", orphaned),
];

fn killed_keep(strategy: &Strategy, family: Family) -> Outcome {
    // As many as two processes with one connection each can hold.
    killed(strategy, family, Mode::Keep, 2)
}

fn killed_close(strategy: &Strategy, family: Family) -> Outcome {
    killed(strategy, family, Mode::Close, 6)
}

fn killed(strategy: &Strategy, family: Family, mode: Mode, connections: usize) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let before = workers(&pool, 2)?;
    let victim = *before.first().ok_or("no worker")?;
    let how = |options: &mut Options| {
        options.mode = mode;
        options.connections = connections;
    };
    // Under load, that is: when it has answered.
    let report = load_while(pool.address(), Duration::from_millis(1_500), how, 50, || kill(victim))?;
    ensure!(report.completed > 100, "only {} requests were answered", report.completed);
    let harmed = report.errors.total();
    ensure!(
        harmed <= connections as u64 && report.refused == 0,
        "{harmed} requests failed where {connections} were in flight, {} were refused: {:?}",
        report.refused,
        report.errors
    );
    let after = workers(&pool, 2)?;
    ensure!(!after.contains(&victim), "{victim} was killed and is among {after:?}");
    ensure!(
        before.intersection(&after).count() == 1,
        "the other one did not stay: {before:?}, then {after:?}"
    );
    check(pool.address())?;
    Ok(())
}

/// A model may serve in a process of its worker's: then that one crashes, and the worker says so and stays.
fn crashed(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2", "--allow-crash"])?;
    let mut before = workers(&pool, 2)?;
    for crashes in 1..=2 {
        if let Ok(reply) = Client::connect(pool.address())?.request(&Request::get("/crash")) {
            return Err(format!("an answer came: {reply:?}").into());
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while pool.stderr().lines().filter(|line| line.contains("was killed by signal 6")).count() < crashes {
            ensure!(
                Instant::now() < deadline,
                "crash {crashes} of {before:?} is not told: {}",
                pool.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        }
        // The worker that has been said to have died, if one has, is there again.
        let after = workers(&pool, 2)?;
        ensure!(before.intersection(&after).count() >= 1, "one crashed: {before:?}, then {after:?}");
        before = after;
    }
    let reply = Client::connect(pool.address())?.request(&Request::get("/hello"))?;
    ensure!(reply.status == 200, "{reply:?}");
    let said = pool.stderr();
    ensure!(said.lines().count() == 2, "a line for each crash expected: {said:?}");
    pool.drain()?;
    Ok(())
}

/// Not even for the sake of a peer that never sends the rest of its record.
fn orphaned(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2", "--grace-ms", "500"])?;
    let workers = workers(&pool, 2)?;
    check(pool.address())?;
    let mut stuck = Client::connect(pool.address())?;
    stuck.send(&Request::get("/hello").encode()[..4])?;
    thread::sleep(Duration::from_millis(100));
    kill(pool.pid());
    wait_until("no worker runs", || have_ended(&workers))?;
    Ok(())
}
