//! Thousands of connections: twice as many cost twice as much.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use crate::kernel::{self, cpu_time, processes};
use crate::support::Outcome;
use crate::trial::{Needs, Test};

pub(crate) const TESTS: &[Test] = &[Test::unix(
    "eight_thousand_requests_at_once_cost_no_more_than_thrice_what_four_thousand_cost",
    at_once,
)
.needs(Needs::Connections(8_000))];

fn at_once(strategy: &Strategy, family: Family) -> Outcome {
    /// One strategy at a time: they share the descriptors that this process may have.
    static ALONE: Mutex<()> = Mutex::new(());

    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    kernel::allow_descriptors(9_000)?;
    let half = cost_of(strategy, family, 4_000)?;
    let all = cost_of(strategy, family, 8_000)?;
    ensure!(all <= half * 3, "{half:?} of CPU time for 4,000 requests, {all:?} for 8,000");
    Ok(())
}

/// CPU time for requests of 40 KB that have all come when the worker looks.
fn cost_of(strategy: &Strategy, family: Family, connections: usize) -> Result<Duration, Failed> {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = Client::connect(pool.address())?;
        client.request(&Request::get("/hello"))?;
        clients.push(client);
    }
    let pids = processes(&pool);
    let request = Request::post("/hello", "text/plain", vec![b'x'; 40_000]).encode();

    let stopped = Stopped::new(&pids)?;
    let mut sent = Vec::new();
    for client in &mut clients {
        sent.push(client.send_now(&request)?);
    }
    let before = cpu_time(&pids);
    drop(stopped);
    for (client, sent) in clients.iter_mut().zip(sent) {
        client.send(&request[sent..])?;
        let reply = client.reply(1)?;
        ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    }
    Ok(cpu_time(&pids).saturating_sub(before))
}

/// Processes that stand still until this is dropped.
struct Stopped<'p> {
    pids: &'p [u32],
}

impl<'p> Stopped<'p> {
    fn new(pids: &'p [u32]) -> Result<Self, Failed> {
        let stopped = Self { pids };
        stopped.signal(Signal::STOP);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !pids.iter().all(|pid| is_stopped(*pid)) {
            ensure!(Instant::now() < deadline, "{pids:?} do not stop");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(stopped)
    }

    fn signal(&self, signal: Signal) {
        for pid in self.pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // One that has ended shows in what it does not answer.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// The state follows the name, which is in parentheses.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
