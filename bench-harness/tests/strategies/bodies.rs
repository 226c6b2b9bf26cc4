//! Large bodies, both ways.

use std::fs;
use std::thread;
use std::time::Duration;

use bench_harness::check::{judge, request};
use bench_harness::client::{Client, Record, ReplyBuilder, Request};
use bench_harness::process::children_of;
use bench_harness::{Family, Pool, Strategy, workload};
use libtest_mimic::Failed;

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_mebibyte_is_echoed", a_mebibyte),
    Test::new("ten_mebibytes_go_out_in_bounded_memory", ten_mebibytes),
    Test::new("a_client_that_leaves_amid_a_body_harms_nobody", leaves),
];

fn a_mebibyte(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let case = workload::large_echo();
    let mut kept = Client::connect(pool.address())?;
    for _ in 0..3 {
        judge("a kept connection", &case, &kept.request(&request(&case))?)?;
    }
    drop(kept);
    let reply = Client::connect(pool.address())?.request(&request(&case).closing())?;
    judge("FCGI_KEEP_CONN = 0", &case, &reply)?;
    Ok(())
}

/// The client reads nothing at first: a worker that holds the whole response would grow by it.
fn ten_mebibytes(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.request(&Request::get("/bytes?n=100000"))?;
    let before = peak_memory(&pool)?;

    let case = workload::large_bytes();
    client.send(&request(&case).encode())?;
    thread::sleep(Duration::from_millis(100));
    judge("a client that waits before it reads", &case, &client.reply(1)?)?;

    let grown = peak_memory(&pool)?.saturating_sub(before);
    ensure!(grown < 4 << 10, "the worker grew by {grown} KiB to send 10 MiB");
    Ok(())
}

fn leaves(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let large = request(&workload::large_echo());
    for _ in 0..3 {
        // In the middle of its own body.
        let mut client = Client::connect(pool.address())?;
        client.send(&large.encode()[..300_000])?;
        drop(client);

        // In the middle of the response.
        let mut client = Client::connect(pool.address())?;
        client.send(&request(&workload::large_bytes()).encode())?;
        let mut reply = ReplyBuilder::default();
        while reply.stdout_len() < 300_000 {
            match client.record()? {
                Some(record @ Record { id: 1, .. }) => reply.add(record)?,
                other => return Err(format!("{other:?} amid a response").into()),
            };
        }
        drop(client);
    }
    let mut client = Client::connect(pool.address())?;
    let case = workload::large_echo();
    judge("the next client", &case, &client.request(&request(&case))?)?;
    ensure!(pool.stderr().is_empty(), "the pool says: {}", pool.stderr());
    Ok(())
}

/// The most memory that the pool's one worker has had, and each process that it serves in, in KiB.
fn peak_memory(pool: &Pool) -> Result<u64, Failed> {
    let pids = pool.worker_pids();
    let [pid] = pids[..] else { return Err(format!("one worker expected, there are {pids:?}").into()) };
    let of_children: u64 = children_of(pid).into_iter().filter_map(peak_memory_of).sum();
    let of_worker = peak_memory_of(pid).ok_or("the kernel does not tell VmHWM")?;
    Ok(of_worker + of_children)
}

/// `None` where it has just ended.
fn peak_memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
