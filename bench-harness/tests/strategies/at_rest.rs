//! What connections cost that nothing happens on: no time, and next to no memory.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::workload::pattern;
use bench_harness::{Family, Pool, Strategy, check};
use libtest_mimic::Failed;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::ioctl_fionbio;
use rustix::process::Signal;

use crate::kernel::{self, context_switches, cpu_time, private_dirty, processes};
use crate::support::Outcome;
use crate::trial::{Needs, Test, capacity_of};

pub(crate) const TESTS: &[Test] = &[
    Test::unix("connections_at_rest_hold_no_buffers", memory).needs(Needs::Multiplexing),
    Test::new("a_process_full_of_idle_connections_sleeps", full_and_idle),
    Test::new("a_listener_that_its_spawner_left_nonblocking_wakes_nobody", nonblocking_fd_0),
    Test::new("a_process_full_of_waiting_requests_sleeps_while_it_drains", full_and_draining),
];

/// Each of them once had an answer that was read late, and a large body.
fn memory(strategy: &Strategy, family: Family) -> Outcome {
    const WARM_UP: usize = 200;
    const BATCH: usize = 300;
    const BATCHES: usize = 2;
    const EACH_KIB: u64 = 16;

    kernel::allow_descriptors((WARM_UP + BATCHES * BATCH) as u64 + 600)?;
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let upload = upload();

    // What the process keeps for all connections together, it mostly has after the first ones.
    let mut held = used_connections(&pool, WARM_UP, &upload)?;
    thread::sleep(Duration::from_secs(1));
    let pids = pool.worker_pids();
    let [pid] = pids[..] else { return Err(format!("one worker expected, there are {pids:?}").into()) };
    let mut before = private_dirty(pid)?;
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        held.extend(used_connections(&pool, BATCH, &upload)?);
        thread::sleep(Duration::from_secs(1));
        let after = private_dirty(pid)?;
        let grown = after.saturating_sub(before);
        if grown < BATCH as u64 * EACH_KIB {
            return Ok(());
        }
        // An allocator may keep a body for a second thread, once. What connections hold, the next ones hold again.
        batches.push(format!("{} KiB", grown / BATCH as u64));
        before = after;
    }
    Err(format!("connections at rest hold {} each, in batches of {BATCH}", batches.join(" and ")).into())
}

/// In records of 50 KiB: a buffer that doubles as it grows is then hardly larger than the body, and worth keeping.
fn upload() -> Vec<u8> {
    let request = Request::post("/echo", "application/octet-stream", pattern(3 << 20));
    let mut bytes = request.encode_head();
    for chunk in request.body.chunks(50 << 10) {
        push_record(&mut bytes, kind::STDIN, request.id, chunk);
    }
    push_record(&mut bytes, kind::STDIN, request.id, &[]);
    bytes
}

/// Connections that have each sent a large body, and then got an answer that they read late, as some others did.
fn used_connections(pool: &Pool, count: usize, upload: &[u8]) -> Result<Vec<Client>, Failed> {
    const AT_A_TIME: usize = 4;

    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(pool.address())?;
        client.send(upload)?;
        let reply = client.reply(1)?;
        ensure!(reply.body.len() == 3 << 20, "{} bytes", reply.body.len());
        clients.push(client);
    }
    for some in clients.chunks_mut(AT_A_TIME) {
        for client in &mut *some {
            client.send(&Request::get("/bytes?n=3000000").encode())?;
        }
        // The answers have filled what there is room for.
        thread::sleep(Duration::from_millis(10));
        for client in some {
            let reply = client.reply(1)?;
            ensure!(reply.body.len() == 3_000_000, "{} bytes", reply.body.len());
        }
    }
    Ok(clients)
}

/// All places are taken, somebody waits for one, and nothing happens.
fn full_and_idle(strategy: &Strategy, family: Family) -> Outcome {
    const IDLE: Duration = Duration::from_secs(5);
    const SWITCHES: u64 = 20;

    let pool = Pool::launch(strategy, family, &["--processes", "1", "--connections", "32"])?;
    let mut idle = Vec::new();
    for _ in 0..capacity_of(&pool)?.connections {
        let mut client = Client::connect(pool.address())?;
        client.request(&Request::get("/hello"))?;
        idle.push(client);
    }
    let mut waiting = Client::connect(pool.address())?;
    waiting.send(&Request::get("/hello").encode())?;
    thread::sleep(Duration::from_millis(500));

    let pids = processes(&pool);
    let before = context_switches(&pids);
    thread::sleep(IDLE);
    let switches = context_switches(&pids).saturating_sub(before);
    ensure!(switches <= SWITCHES, "{switches} context switches in {IDLE:?} of idleness");

    idle.pop();
    let reply = waiting.reply(1)?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    Ok(())
}

/// O_NONBLOCK is the open file description's, and so whatever the spawner has left there.
fn nonblocking_fd_0(strategy: &Strategy, family: Family) -> Outcome {
    const IDLE: Duration = Duration::from_secs(2);
    const SWITCHES: u64 = 10;

    let place = Place::new(family)?;
    let listener = place.listen()?;
    ioctl_fionbio(&listener, true)?;
    let mut command = Command::new(strategy.binary());
    command.stdin(listener.try_clone()?);
    let mut process = Process::spawn(command)?;
    check(&place.address())?;
    // Whoever has it too may not be prepared to block.
    ensure!(fcntl_getfl(&listener)?.contains(OFlags::NONBLOCK), "it has made the listener block");
    thread::sleep(Duration::from_millis(500));

    let pids = [vec![process.pid()], process.children()].concat();
    let before = context_switches(&pids);
    thread::sleep(IDLE);
    let switches = context_switches(&pids).saturating_sub(before);
    ensure!(switches <= SWITCHES, "{switches} context switches in {IDLE:?} of idleness");

    check(&place.address())?;
    process.signal(Signal::TERM)?;
    let status = process.wait(Duration::from_secs(10))?;
    ensure!(status.success(), "it ended with {status}: {}", process.stderr());
    Ok(())
}

/// The drain waits for requests that wait, and somebody waits for a place.
fn full_and_draining(strategy: &Strategy, family: Family) -> Outcome {
    const WATCHED: Duration = Duration::from_millis(1_500);
    /// Hundredths.
    const SHARE: u32 = 2;

    let mut pool = Pool::launch(strategy, family, &["--processes", "1", "--connections", "8"])?;
    let mut busy = Vec::new();
    for _ in 0..capacity_of(&pool)?.connections {
        busy.push(Client::connect(pool.address())?);
    }
    for client in &mut busy {
        client.send(&Request::get("/wait?ms=3000").encode())?;
    }
    let mut waiting = Client::connect(pool.address())?;
    waiting.send(&Request::get("/hello").encode())?;
    thread::sleep(Duration::from_millis(300));

    let pids = processes(&pool);
    pool.signal(Signal::TERM)?;
    thread::sleep(Duration::from_millis(200));
    let (begun, before) = (Instant::now(), cpu_time(&pids));
    thread::sleep(WATCHED);
    let used = cpu_time(&pids).saturating_sub(before);
    let elapsed = begun.elapsed();
    ensure!(used * 100 <= elapsed * SHARE, "{used:?} of CPU time in {elapsed:?} of waiting");

    for client in &mut busy {
        let reply = client.reply(1)?;
        ensure!(reply.body == b"waited 3000 ms\n", "{reply:?}");
    }
    // The one that waits may hold the last place.
    drop(busy);
    let reply = waiting.reply(1)?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    pool.wait()?;
    Ok(())
}
