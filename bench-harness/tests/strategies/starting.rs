//! The ways a worker comes to its listening socket, and what becomes of the socket file.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::launch::Place;
use bench_harness::process::{Process, is_running};
use bench_harness::{Family, Pool, Strategy, check};
use fcgi_load::Address;
use rustix::process::Signal;

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::unix("a_worker_says_whether_it_can_run_here_and_serves_nobody", can_run_here),
    Test::new("a_spawner_gives_the_socket_as_fd_0", fd_0),
    Test::new("a_pool_can_be_had_on_fd_0_too", pool_on_fd_0),
    Test::unix("fds_1_and_2_may_be_closed", closed_fds),
    Test::unix("a_stale_socket_file_is_replaced", stale),
    Test::unix("the_socket_file_has_the_mode_asked_for_and_goes_at_the_end", socket_file),
    Test::new("the_number_of_processes_is_the_one_asked_for", processes),
    Test::new("a_slow_start_delays_answers_and_loses_none", slow_start),
    Test::tcp("web_servers_are_admitted_by_their_address", admitted),
    Test::unix("web_server_addresses_exclude_unix_peers", unix_excluded),
];

/// A strategy that cannot is left out of the tests, so this one can.
fn can_run_here(strategy: &Strategy, _: Family) -> Outcome {
    let mut command = Command::new(strategy.binary());
    command.arg("--check").stdin(Stdio::null());
    let mut process = Process::spawn(command)?;
    let status = process.wait(Duration::from_secs(10))?;
    ensure!(status.success(), "it ended with {status} and said: {}", process.stderr());
    ensure!(process.stderr().is_empty(), "it says: {}", process.stderr());
    Ok(())
}

fn fd_0(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch_on_fd0(strategy, family, &[])?;
    check(pool.address())?;
    ensure!(pool.worker_pids() == [pool.pid()], "it has forked: {:?}", pool.worker_pids());
    pool.drain()?;
    Ok(())
}

fn pool_on_fd_0(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch_on_fd0(strategy, family, &["--processes", "2"])?;
    check(pool.address())?;
    ensure!(pool.worker_pids().len() == 2, "two workers expected, there are {:?}", pool.worker_pids());
    pool.signal(Signal::TERM)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(pool.pid()) {
        ensure!(Instant::now() < deadline, "it still runs");
        thread::sleep(Duration::from_millis(2));
    }
    if let Address::Unix(path) = pool.address() {
        ensure!(path.exists(), "it removed a socket file that is its spawner's");
    }
    pool.wait()?;
    Ok(())
}

/// Spec 2.2: only fd 0 can be relied on.
fn closed_fds(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"]).arg(strategy.binary()).args(["--allow-crash"]);
    command.stdin(place.listen()?);
    let mut process = Process::spawn(command)?;
    let reply = Client::connect(&place.address())?.request(&Request::get("/hello"))?;
    ensure!(reply.status == 200, "{reply:?}");
    // A descriptor mistaken for stdout would show in an answer.
    for _ in 0..3 {
        let reply = Client::connect(&place.address())?.request(&Request::get("/bytes?n=100000").closing())?;
        ensure!(reply.body.len() == 100_000, "{} bytes", reply.body.len());
    }
    process.signal(Signal::TERM)?;
    let status = process.wait(Duration::from_secs(10))?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

fn stale(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    // Bound, and nobody listens any more.
    drop(place.listen()?);
    let mut command = Command::new(strategy.binary());
    command.arg("--listen").arg(place.address().to_string()).args(["--processes", "1"]).stdin(Stdio::null());
    let process = Process::spawn(command)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Client::connect(&place.address()).is_err() {
        ensure!(Instant::now() < deadline, "nobody answers: {}", process.stderr());
        thread::sleep(Duration::from_millis(2));
    }
    check(&place.address())?;
    Ok(())
}

fn socket_file(strategy: &Strategy, family: Family) -> Outcome {
    for mode in [0o660, 0o600] {
        let mut pool =
            Pool::launch(strategy, family, &["--processes", "2", "--socket-mode", &format!("{mode:o}")])?;
        let Address::Unix(path) = pool.address().clone() else { return Err("no unix address".into()) };
        let metadata = fs::metadata(&path)?;
        ensure!(metadata.file_type().is_socket(), "{} is no socket", path.display());
        let found = metadata.permissions().mode() & 0o777;
        ensure!(found == mode, "mode {mode:o} expected, it is {found:o}");
        // Seen before the harness removes it.
        pool.signal(Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while path.exists() {
            ensure!(Instant::now() < deadline, "{} is still there", path.display());
            thread::sleep(Duration::from_millis(2));
        }
        pool.wait()?;
        // Nothing is left that the next one could stumble over.
        drop(UnixListener::bind(&path)?);
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn processes(strategy: &Strategy, family: Family) -> Outcome {
    for count in [1, 3] {
        let pool = Pool::launch(strategy, family, &["--processes", &count.to_string()])?;
        let deadline = Instant::now() + Duration::from_secs(10);
        // The socket is there before the last of them is forked.
        while pool.worker_pids().len() != count {
            ensure!(
                Instant::now() < deadline,
                "{count} workers expected, there are {:?}",
                pool.worker_pids()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn slow_start(strategy: &Strategy, family: Family) -> Outcome {
    const START: Duration = Duration::from_millis(400);

    let begun = Instant::now();
    let pool = Pool::launch(strategy, family, &["--processes", "2", "--startup-ms", "400"])?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get("/hello").closing().encode())?;
        clients.push(client);
    }
    for mut client in clients {
        ensure!(client.reply(1)?.status == 200, "another status");
    }
    ensure!(begun.elapsed() >= START, "answered after {:?}, before it had started", begun.elapsed());
    check(pool.address())?;
    Ok(())
}

fn admitted(strategy: &Strategy, family: Family) -> Outcome {
    let launch = |addresses| {
        Pool::launch_with_env(
            strategy,
            family,
            &["--processes", "1"],
            &[("FCGI_WEB_SERVER_ADDRS", addresses)],
        )
    };
    check(launch("10.0.0.1,127.0.0.1")?.address())?;
    // An IPv4 address in the form that it has as an IPv6 one, beside one that is no other.
    check(launch("2001:db8::1, ::ffff:127.0.0.1")?.address())?;
    is_turned_away(&launch("::1")?)?;
    is_turned_away(&launch("10.0.0.1, 10.0.0.2")?)
}

fn unix_excluded(strategy: &Strategy, family: Family) -> Outcome {
    let env = [("FCGI_WEB_SERVER_ADDRS", "127.0.0.1")];
    is_turned_away(&Pool::launch_with_env(strategy, family, &["--processes", "1"], &env)?)
}

/// Again and again: turning one away must not cost the worker anything.
fn is_turned_away(pool: &Pool) -> Outcome {
    for _ in 0..3 {
        let mut client = Client::connect(pool.address())?;
        // Whether this is still taken depends on who is faster.
        let _ = client.send(&Request::get("/hello").encode());
        if let Ok(Some(record)) = client.record() {
            return Err(format!("a stranger is answered with {record:?}").into());
        }
    }
    ensure!(pool.stderr().is_empty(), "the pool says: {}", pool.stderr());
    Ok(())
}
