//! What a peer can make a worker say: a few lines, however often, and in them the number of times.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] =
    &[Test::new("two_hundred_crashes_are_a_handful_of_lines_that_count_them_all", crashes)];

/// Lines at most, of each process that says any: the first, and one a second.
const HANDFUL: usize = 6;

fn crashes(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "16", "--allow-crash"])?;
    let until = Instant::now() + Duration::from_secs(2);
    let mut crashes = 0;
    // One after the other, so that each is a process.
    while crashes < 200 && Instant::now() < until {
        let reply = Client::connect(pool.address())?.request(&Request::get("/crash"));
        ensure!(reply.is_err(), "an answer came: {reply:?}");
        crashes += 1;
    }
    // Nothing more happens: the last ones are told all the same.
    let deadline = Instant::now() + Duration::from_secs(10);
    while told(&pool.stderr()) != crashes {
        ensure!(Instant::now() < deadline, "{crashes} crashes, and it says: {}", pool.stderr());
        thread::sleep(Duration::from_millis(10));
    }
    let said = pool.stderr();
    let speakers: BTreeSet<&str> = said.lines().filter_map(|line| line.split("]: ").next()).collect();
    let lines = said.lines().count();
    ensure!(lines <= HANDFUL * speakers.len(), "{lines} lines for {crashes} crashes: {said}");
    Ok(())
}

/// How many crashes these lines tell of: one each, or a number of more.
fn told(said: &str) -> usize {
    let crashes = said.lines().filter(|line| line.contains("was killed by signal 6"));
    crashes
        .map(|line| {
            let event = line.split_once("]: ").map_or(line, |(_, event)| event);
            let count = event.split_once(" more ").and_then(|(count, _)| count.parse().ok());
            count.unwrap_or(1)
        })
        .sum()
}
