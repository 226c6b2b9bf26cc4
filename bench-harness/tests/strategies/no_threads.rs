//! Threads and processes that cannot be had (RLIMIT_NPROC, the pids of a cgroup): nobody's request is lost for it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bench_harness::client::{Client, Reply, Request};
use bench_harness::process::kill;
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

use crate::kernel::processes;
use crate::pools::{is_replaced, workers};
use crate::support::Outcome;
use crate::trial::{Needs, Test, capacity_of, takes, wait_until};

/// On TCP: the workers are another user's, who may not write where the socket file would be.
pub(crate) const TESTS: &[Test] = &[
    Test::tcp("while_no_thread_can_be_had_each_request_is_answered_or_waits", while_none).program("prlimit"),
    Test::tcp("as_many_threads_as_can_be_had_serve_and_the_lack_is_said", fewer).needs(Needs::Root),
    Test::tcp("a_worker_that_cannot_be_replaced_is_replaced_later", no_replacement).program("prlimit"),
    Test::tcp("where_not_one_thread_can_be_had_that_is_said_or_answered", none_at_all).needs(Needs::Root),
];

const OVERLOADED: u8 = 2;

/// A running worker loses the right to threads and processes, and gets it back.
fn while_none(strategy: &Strategy, family: Family) -> Outcome {
    let user = User::new(strategy)?;
    let pool = Pool::launch_by(user.command(None), strategy, family, &["--processes", "1"])?;
    let capacity = capacity_of(&pool)?;
    let mut clients = Vec::new();
    for _ in 0..capacity.connections.min(3) {
        let mut client = Client::connect(pool.address())?;
        ensure!(client.request(&Request::get("/hello"))?.status == 200, "another status");
        clients.push(client);
    }
    let serves_in_children = processes(&pool).len() > pool.worker_pids().len();
    let pids = pool.worker_pids();
    for pid in &pids {
        user.set_limit(*pid, "0")?;
    }

    // Connections that are had are served, or each of their requests is refused, and they stay of use.
    for _ in 0..2 {
        for client in &mut clients {
            let ids = if capacity.multiplexes { 5 } else { 1 };
            for id in 1..=ids {
                client.send(&Request::get("/wait?ms=5").id(id).encode())?;
            }
            are_in_order(&client.replies(ids.into())?)?;
        }
    }
    // A new one may have to wait for a process.
    clients.pop();
    let mut closing = Client::connect(pool.address())?;
    closing.send(&Request::get("/hello").closing().encode())?;
    closing.set_patience(Duration::from_millis(500))?;
    let early = closing.reply(1);
    if serves_in_children {
        let said = pool.stderr();
        ensure!(early.is_err(), "without a process: {early:?}");
        ensure!(said.contains("(ulimit -u, TasksMax=)"), "what is lacking is not said: {said:?}");
    }
    for pid in pids {
        user.set_limit(pid, "1000")?;
    }
    let reply = match early {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            closing.set_patience(Duration::from_secs(20))?;
            closing.reply(1)
        }
        early => early,
    };
    are_in_order(&[(1, reply?)])?;
    ensure!(closing.record()?.is_none(), "the connection is kept");

    // There are threads again.
    clients.push(Client::connect(pool.address())?);
    for client in &mut clients {
        let reply = client.request(&Request::get("/wait?ms=5"))?;
        ensure!(reply.status == 200, "{reply:?}");
    }
    drop(clients);
    ensure!(pool.stderr().lines().count() <= 3, "{}", pool.stderr());
    pool.drain()?;
    Ok(())
}

/// Each is served, or refused as overloaded (spec 5.5).
fn are_in_order(replies: &[(u16, Reply)]) -> Outcome {
    for (id, reply) in replies {
        let is_known = matches!((reply.status, reply.protocol_status), (200, 0) | (503, OVERLOADED));
        ensure!(is_known, "request {id}: {reply:?}");
    }
    Ok(())
}

/// A limit of twelve: the supervisor, the worker, and what is left.
fn fewer(strategy: &Strategy, family: Family) -> Outcome {
    let args = ["--processes", "1", "--threads", "16"];
    if !takes(strategy, &args)? {
        return Ok(());
    }
    let user = User::new(strategy)?;
    let pool = Pool::launch_by(user.command(Some(12)), strategy, family, &args)?;
    let held = capacity_of(&pool)?;
    let usual = capacity_of(&Pool::launch(strategy, family, &args)?)?;
    let said = pool.stderr();
    let says_lack = |threads| {
        let lack = "threads: Resource temporarily unavailable (ulimit -u, TasksMax=)\n";
        said.lines().count() == 1 && said.ends_with(&format!(" {threads} of 16 {lack}"))
    };
    if held.connections < usual.connections {
        // One may be there for all connections, as one that accepts.
        let threads = held.connections;
        ensure!((9..=10).contains(&threads) && held.requests == threads, "{held:?}");
        ensure!(says_lack(threads), "{threads} threads: {said:?}");
    } else {
        // A thread is there for many connections, or it comes with a request.
        ensure!(said.is_empty() || (9..=10).any(says_lack), "{said:?}");
    }
    let mut clients = Vec::new();
    for _ in 0..held.connections.min(16) {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get("/wait?ms=50").encode())?;
        clients.push(client);
    }
    for client in &mut clients {
        are_in_order(&[(1, client.reply(1)?)])?;
    }
    drop(clients);
    pool.drain()?;
    Ok(())
}

fn none_at_all(strategy: &Strategy, family: Family) -> Outcome {
    let args = ["--processes", "1", "--threads", "16"];
    if !takes(strategy, &args)? {
        return Ok(());
    }
    let user = User::new(strategy)?;
    let pool = Pool::launch_by(user.command(Some(2)), strategy, family, &args)?;
    let mut client = Client::connect(pool.address())?;
    client.set_patience(Duration::from_millis(300))?;
    if let Ok(reply) = client.request(&Request::get("/hello")) {
        ensure!((reply.status, reply.protocol_status) == (503, OVERLOADED), "{reply:?}");
        return Ok(());
    }
    let lack = |line: &str| line.contains(" thread") && line.ends_with("unavailable (ulimit -u, TasksMax=)");
    wait_until("what is lacking is said", || pool.stderr().lines().any(lack))
}

/// fork(2) fails in the supervisor: the others serve meanwhile, and so does the replacement in the end.
fn no_replacement(strategy: &Strategy, family: Family) -> Outcome {
    let user = User::new(strategy)?;
    let pool = Pool::launch_by(user.command(None), strategy, family, &["--processes", "2"])?;
    let victim = *workers(&pool, 2)?.first().ok_or("no worker")?;
    user.set_limit(pool.pid(), "0")?;
    kill(victim);
    let lack = "no worker can be started, the next try is in 100ms: Resource temporarily unavailable (ulimit -u, TasksMax=)\n";
    wait_until("the lack is said", || pool.stderr().contains(lack))?;
    for _ in 0..3 {
        let reply = Client::connect(pool.address())?.request(&Request::get("/hello").closing())?;
        ensure!(reply.status == 200, "{reply:?}");
    }
    user.set_limit(pool.pid(), "1000")?;
    is_replaced(victim, || pool.worker_pids())?;
    pool.drain()?;
    Ok(())
}

/// Somebody who is nobody else, so that a limit counts this test's processes alone, and who is not root, whom the limit
/// does not bind. Where root does not run the tests: who does.
struct User {
    id: u32,
    /// The worker, which need not lie where this user may go.
    binary: File,
    name: String,
}

impl User {
    fn new(strategy: &Strategy) -> Result<Self, Failed> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unused = 50_000 + std::process::id() % 10_000 * 1_000 + number % 1_000;
        let id = if getuid().is_root() { unused } else { getuid().as_raw() };
        Ok(Self { id, binary: File::open(strategy.binary())?, name: strategy.name().to_owned() })
    }

    /// Starts the worker as this user, with that limit on processes and threads.
    fn command(&self, limit: Option<u64>) -> Command {
        let mut command = self.is_asked(&format!("/proc/self/fd/{}", self.binary.as_raw_fd()));
        command.arg0(&self.name);
        // SAFETY: between fork and exec the closure makes system calls only: it allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(move || {
                if limit.is_some() {
                    let maximum = getrlimit(Resource::Nproc).maximum;
                    setrlimit(Resource::Nproc, Rlimit { current: limit, maximum })?;
                }
                Ok(())
            });
        }
        command
    }

    /// Sets the soft limit of a running process, as this user, who may.
    fn set_limit(&self, pid: u32, limit: &str) -> Outcome {
        let mut command = self.is_asked("prlimit");
        let status = command.arg(format!("--pid={pid}")).arg(format!("--nproc={limit}:")).status()?;
        ensure!(status.success(), "prlimit ended with {status}");
        Ok(())
    }

    fn is_asked(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if getuid().is_root() {
            command.uid(self.id).gid(self.id);
        }
        command
    }
}
