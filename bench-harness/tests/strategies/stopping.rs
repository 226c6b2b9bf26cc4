//! The end of a worker that its peers would keep alive: the grace, and a second signal.

use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::{Family, Pool, Strategy};
use fcgi_load::Address;
use rustix::process::Signal;

use crate::pools::InFlight;
use crate::support::Outcome;
use crate::trial::{Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_stuck_peer_keeps_a_worker_on_fd_0_for_the_grace_only", grace_on_fd_0),
    Test::new("a_second_signal_ends_a_worker_on_fd_0", second_signal_on_fd_0),
    Test::new("a_stuck_peer_keeps_a_pool_for_the_grace_only", grace_of_a_pool),
    Test::new("a_second_signal_ends_a_pool", second_signal_to_a_pool),
    Test::new("a_signal_that_comes_twice_at_once_is_one", doubled_signal),
    Test::new("sigquit_drains_too", sigquit),
    Test::new("an_idle_pool_needs_no_grace", no_grace),
    Test::new("sighup_and_other_signals_do_not_end_a_pool", other_signals),
    Test::new("newcomers_are_refused_while_a_pool_drains", newcomers),
];

/// Longer than any test waits.
const LONG: &str = "60000";

/// Three bytes of a header, and no more.
fn stick(pool: &Pool) -> std::io::Result<Client> {
    let mut client = Client::connect(pool.address())?;
    // Behind a request: when that is answered, the worker runs and has read this, too.
    let bytes = [Request::get("/hello").encode(), vec![1, 1, 0]].concat();
    client.send(&bytes)?;
    client.reply(1)?;
    Ok(client)
}

fn grace_on_fd_0(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch_on_fd0(strategy, family, &["--grace-ms", "1200"])?;
    is_ended_by_the_grace(pool)
}

fn grace_of_a_pool(strategy: &Strategy, family: Family) -> Outcome {
    is_ended_by_the_grace(Pool::launch(strategy, family, &["--processes", "1", "--grace-ms", "1200"])?)
}

fn is_ended_by_the_grace(mut pool: Pool) -> Outcome {
    let _client = stick(&pool)?;
    let begun = Instant::now();
    pool.signal(Signal::TERM)?;
    wait_until("it has ended", || pool.exited().is_some())?;
    ensure!(begun.elapsed() >= Duration::from_millis(1_200), "it ended after {:?}", begun.elapsed());
    is_said(pool, "not drained in 1.2s")
}

fn second_signal_on_fd_0(strategy: &Strategy, family: Family) -> Outcome {
    is_ended_by_a_second_signal(Pool::launch_on_fd0(strategy, family, &["--grace-ms", LONG])?)
}

fn second_signal_to_a_pool(strategy: &Strategy, family: Family) -> Outcome {
    is_ended_by_a_second_signal(Pool::launch(strategy, family, &["--processes", "2", "--grace-ms", LONG])?)
}

fn is_ended_by_a_second_signal(mut pool: Pool) -> Outcome {
    let _client = stick(&pool)?;
    pool.signal(Signal::TERM)?;
    thread::sleep(Duration::from_millis(400));
    ensure!(pool.exited().is_none(), "the first signal ended it: {}", pool.stderr());
    pool.signal(Signal::INT)?;
    wait_until("it has ended", || pool.exited().is_some())?;
    is_said(pool, "a second signal")
}

/// In one line, and by another exit status than a drain's.
fn is_said(mut pool: Pool, reason: &str) -> Outcome {
    let said = pool.stderr();
    let status = pool.exited().ok_or("it runs")?;
    ensure!(status.code() == Some(1), "status 1 expected, it ended with {status}: {said}");
    ensure!(
        said.lines().count() == 1 && said.contains(reason),
        "one line about {reason:?} expected: {said:?}"
    );
    Ok(())
}

/// timeout(1) sends its signal to the process and to its group.
fn doubled_signal(strategy: &Strategy, family: Family) -> Outcome {
    for mut pool in
        [Pool::launch_on_fd0(strategy, family, &[])?, Pool::launch(strategy, family, &["--processes", "1"])?]
    {
        let request = InFlight::begin(pool.address(), 300)?;
        pool.signal(Signal::TERM)?;
        thread::sleep(Duration::from_millis(10));
        pool.signal(Signal::TERM)?;
        request.finish()?;
        pool.wait()?;
    }
    Ok(())
}

fn sigquit(strategy: &Strategy, family: Family) -> Outcome {
    for mut pool in
        [Pool::launch_on_fd0(strategy, family, &[])?, Pool::launch(strategy, family, &["--processes", "2"])?]
    {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get("/wait?ms=300").closing().encode())?;
        thread::sleep(Duration::from_millis(100));
        pool.signal(Signal::QUIT)?;
        let reply = client.reply(1)?;
        ensure!(reply.status == 200, "{reply:?}");
        pool.wait()?;
    }
    Ok(())
}

fn no_grace(strategy: &Strategy, family: Family) -> Outcome {
    for pool in [
        Pool::launch_on_fd0(strategy, family, &["--grace-ms", "0"])?,
        Pool::launch(strategy, family, &["--processes", "2", "--grace-ms", "0"])?,
    ] {
        Client::connect(pool.address())?.request(&Request::get("/hello"))?;
        pool.drain()?;
    }
    Ok(())
}

fn other_signals(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let signals = [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PIPE, Signal::WINCH];
    for signal in signals {
        pool.signal(signal)?;
    }
    // Each is told, but for the one that means nothing at all.
    wait_until("each is told", || pool.stderr().lines().count() >= 4)?;
    let said = pool.stderr();
    for signal in ["SIGUSR1", "SIGUSR2", "SIGALRM"] {
        ensure!(said.contains(signal), "{signal} is not told: {said}");
    }
    bench_harness::check(pool.address())?;
    if let Address::Unix(path) = pool.address() {
        ensure!(path.exists(), "the socket file is gone");
    }
    pool.drain()?;
    Ok(())
}

/// From the signal on, at once: what the kernel would still accept, nobody would serve. Who asks for a TCP connection in that very
/// moment is refused when it asks again, after a second.
fn newcomers(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let mut request = InFlight::begin(pool.address(), 4_000)?;
    pool.signal(Signal::TERM)?;
    wait_until("newcomers are refused", || Client::connect(pool.address()).is_err())?;
    for _ in 0..20 {
        ensure!(Client::connect(pool.address()).is_err(), "one was accepted");
    }
    // Not because the pool has ended: somebody is still being served.
    request.client.set_patience(Duration::from_millis(100))?;
    let early = request.client.record();
    ensure!(early.is_err(), "they were accepted until the pool had finished: {early:?}");
    request.client.set_patience(Duration::from_secs(10))?;
    request.finish()?;
    pool.wait()?;
    Ok(())
}
