//! Descriptors that cannot be had: what is announced is what is held, and what was cut is said once.

use std::process::{Command, Stdio};
use std::time::Duration;

use bench_harness::client::{Client, Request};
use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy, check};

use crate::support::Outcome;
use crate::trial::{Test, capacity_of, takes};

pub(crate) const TESTS: &[Test] = &[
    Test::new("what_few_descriptors_hold_is_announced_and_served_and_the_cut_is_said_once", few),
    Test::new("more_threads_than_descriptors_are_cut_as_connections_are", few_for_threads),
    Test::unix("a_thousand_inherited_descriptors_leave_room_or_are_refused_at_the_start", inherited),
    Test::unix("a_limit_that_leaves_room_for_no_connection_is_refused_at_the_start", none),
];

const UNSUPPORTED: i32 = 3;

fn few(strategy: &Strategy, family: Family) -> Outcome {
    few_with(strategy, family, &[])
}

fn few_for_threads(strategy: &Strategy, family: Family) -> Outcome {
    let threads = ["--threads", "200"];
    if takes(strategy, &threads)? { few_with(strategy, family, &threads) } else { Ok(()) }
}

/// A limit of 64, soft and hard.
fn few_with(strategy: &Strategy, family: Family, args: &[&str]) -> Outcome {
    let usual = capacity_of(&Pool::launch(strategy, family, &[&["--processes", "1"], args].concat())?)?;
    for processes in [1, 3] {
        let count = processes.to_string();
        let args = [&["--processes", &count], args].concat();
        let pool = Pool::launch_by(with_limit(strategy, 64), strategy, family, &args)?;
        let announced = capacity_of(&pool)?;
        let held = announced.connections / processes;
        ensure!(held >= 1 && held <= usual.connections, "{announced:?}, without the limit {usual:?}");
        ensure!(
            announced.multiplexes || announced.requests == announced.connections,
            "a request on each connection: {announced:?}"
        );
        ensure!(announced.requests <= usual.requests * processes, "{announced:?}, {usual:?}");
        let said = pool.stderr();
        if held < usual.connections {
            let cut = format!("{held} connections a process, not {}: ", usual.connections);
            ensure!(said.contains(&cut) && said.contains("limit of open files is 64"), "{cut:?}: {said:?}");
            ensure!(said.lines().count() == 1, "one line expected: {said:?}");
        } else {
            ensure!(said.is_empty(), "nothing was cut: {said:?}");
        }
        if processes == 1 {
            holds(&pool, held)?;
        }
        ensure!(pool.stderr() == said, "more is said: {:?}", pool.stderr());
        pool.drain()?;
    }
    Ok(())
}

/// So many connections are served at the same time, and one more when there is a place.
fn holds(pool: &Pool, count: usize) -> Outcome {
    let hello = Request::get("/hello");
    let mut clients = Vec::new();
    for number in 1..=count {
        let mut client = Client::connect(pool.address())?;
        let reply = client.request(&hello).map_err(|error| format!("{number} of {count}: {error}"))?;
        ensure!(reply.status == 200, "{reply:?}");
        clients.push(client);
    }
    let mut one_more = Client::connect(pool.address())?;
    one_more.send(&hello.encode())?;
    for client in &mut clients {
        ensure!(client.request(&hello)?.status == 200, "another status");
    }
    clients.truncate(count - 1);
    ensure!(one_more.reply(1)?.status == 200, "another status");
    for client in &mut clients {
        ensure!(client.request(&hello)?.status == 200, "another status");
    }
    Ok(())
}

/// A model may be one that cannot use descriptors from 1024 on: it says so before there is a socket.
fn inherited(strategy: &Strategy, family: Family) -> Outcome {
    let mut command = with_inherited(strategy, 1_100);
    command.arg("--check");
    let mut process = Process::spawn(command)?;
    let status = process.wait(Duration::from_secs(10))?;
    if status.success() {
        ensure!(process.stderr().is_empty(), "{}", process.stderr());
        let command = with_inherited(strategy, 1_100);
        let pool = Pool::launch_by(command, strategy, family, &["--processes", "1"])?;
        check(pool.address())?;
        return Ok(pool.drain()?);
    }
    is_unsupported(strategy, family, || with_inherited(strategy, 1_100), "select(2)")
}

fn none(strategy: &Strategy, family: Family) -> Outcome {
    is_unsupported(strategy, family, || with_limit(strategy, 12), "limit of open files is 12")
}

/// Asked and started, alone and in a pool, it ends with one line.
fn is_unsupported(strategy: &Strategy, family: Family, command: impl Fn() -> Command, lack: &str) -> Outcome {
    let place = Place::new(family)?;
    let address = place.address().to_string();
    let on_fd_0: &[&str] = &[];
    for args in [&["--check"], on_fd_0, &["--listen", &address], &["--listen", &address, "--processes", "3"]]
    {
        let mut command = command();
        command.args(args).stdin(Stdio::null());
        if args.is_empty() {
            command.stdin(Place::new(family)?.listen()?);
        }
        let mut process = Process::spawn(command)?;
        let (status, said) = (process.wait(Duration::from_secs(10))?, process.stderr());
        ensure!(status.code() == Some(UNSUPPORTED), "{args:?}: {status} for {}: {said}", strategy.name());
        ensure!(said.lines().count() == 1, "{args:?}: one line expected: {said:?}");
        ensure!(said.contains(": unsupported here: ") && said.contains(lack), "{args:?}: {said:?}");
    }
    // No socket is left behind.
    drop(place.listen()?);
    Ok(())
}

fn with_limit(strategy: &Strategy, descriptors: usize) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")).arg(strategy.binary());
    command
}

/// Without a gap: a shell opens them, since those that this process has would leave some.
fn with_inherited(strategy: &Strategy, descriptors: usize) -> Command {
    let last = 2 + descriptors;
    let open = format!("for number in {{3..{last}}}; do eval \"exec $number>&2\"; done");
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("ulimit -S -n hard; {open}; exec \"$0\" \"$@\"")).arg(strategy.binary());
    command
}
