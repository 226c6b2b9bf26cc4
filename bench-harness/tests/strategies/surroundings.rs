//! What a worker inherits from whoever starts it: signals, descriptors, a terminal that nobody reads. It works whatever
//! that is.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use bench_harness::launch::Place;
use bench_harness::process::{Process, children_of, kill};
use bench_harness::{Family, Pool, Strategy, check};
use rustix::process::{Pid, Signal, kill_process};

use crate::pools::{InFlight, have_ended, is_replaced, workers};
use crate::support::Outcome;
use crate::trial::{Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_parent_that_ignores_sigchld_changes_nothing", ignored_sigchld),
    Test::new("a_parent_that_blocks_and_ignores_all_signals_changes_nothing", blocked_signals),
    Test::new("stdout_and_stderr_may_be_closed", closed_streams),
    Test::new("a_pipe_on_stderr_that_nobody_reads_holds_nobody_up", full_pipe),
    Test::new("process_1_of_a_pid_namespace_is_a_supervisor_like_any_other", process_1)
        .program("unshare")
        .unless(no_pid_namespace),
];

fn ignored_sigchld(strategy: &Strategy, family: Family) -> Outcome {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(strategy.binary());
    replaces_and_ends(Pool::launch_by(command, strategy, family, &["--processes", "2"])?)
}

fn blocked_signals(strategy: &Strategy, family: Family) -> Outcome {
    let mut command = Command::new("env");
    command.args(["--block-signal", "--ignore-signal"]).arg(strategy.binary());
    replaces_and_ends(Pool::launch_by(command, strategy, family, &["--processes", "2"])?)?;

    // A worker by itself, too.
    let place = Place::new(family)?;
    let mut command = Command::new("env");
    command.args(["--block-signal", "--ignore-signal"]).arg(strategy.binary()).stdin(place.listen()?);
    let mut process = Process::spawn(command)?;
    check(&place.address())?;
    process.signal(Signal::TERM)?;
    wait_until("it has ended", || matches!(process.exited(), Ok(Some(status)) if status.success()))
}

fn closed_streams(strategy: &Strategy, family: Family) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"]).arg(strategy.binary());
    replaces_and_ends(Pool::launch_by(command, strategy, family, &["--processes", "2"])?)
}

fn full_pipe(strategy: &Strategy, family: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let pipe = folder.path().join("stderr");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo failed");
    // For reading too, so that there is a reader, who reads nothing.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut full = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&pipe)?;
    while full.write(b"x").is_ok() {}
    let mut command = Command::new("sh");
    command.args(["-c", "exec 2>\"$0\" \"$@\""]).arg(&pipe).arg(strategy.binary());
    replaces_and_ends(Pool::launch_by(command, strategy, family, &["--processes", "2"])?)
}

/// What is told of a supervisor, which has two workers: it replaces them, and it obeys.
fn replaces_and_ends(mut pool: Pool) -> Outcome {
    check(pool.address())?;
    for _ in 0..3 {
        let victim = *workers(&pool, 2)?.first().ok_or("no worker")?;
        kill(victim);
        is_replaced(victim, || pool.worker_pids())?;
    }
    check(pool.address())?;
    let before = workers(&pool, 2)?;
    pool.signal(Signal::HUP)?;
    wait_until("all are replaced", || have_ended(&before) && pool.worker_pids().len() == 2)?;
    check(pool.address())?;
    pool.drain()?;
    Ok(())
}

/// Where the kernel does not allow one.
fn no_pid_namespace() -> Option<String> {
    let output = Command::new("unshare").args(PID_NAMESPACE).arg("true").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (!output.status.success()).then_some(said)
}

const PID_NAMESPACE: [&str; 5] = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

fn process_1(strategy: &Strategy, family: Family) -> Outcome {
    let mut command = Command::new("unshare");
    command.args(PID_NAMESPACE).arg(strategy.binary());
    let mut pool = Pool::launch_by(command, strategy, family, &["--processes", "2"])?;
    let [supervisor] = children_of(pool.pid())[..] else { return Err("no process 1".into()) };
    check(pool.address())?;
    wait_until("there are two workers", || children_of(supervisor).len() == 2)?;
    let victim = *children_of(supervisor).first().ok_or("no worker")?;
    kill(victim);
    is_replaced(victim, || children_of(supervisor))?;
    let request = InFlight::begin(pool.address(), 300)?;
    let supervisor = Pid::from_raw(supervisor.cast_signed()).ok_or("no process 1")?;
    kill_process(supervisor, Signal::TERM)?;
    request.finish()?;
    wait_until("it has ended", || pool.exited().is_some())?;
    ensure!(pool.exited().is_some_and(|status| status.success()), "it said: {}", pool.stderr());
    Ok(())
}
