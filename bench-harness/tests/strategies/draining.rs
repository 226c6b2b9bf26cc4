//! SIGTERM: no new connections, every request that was sent before it is answered, exit status 0.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Reply, ReplyBuilder, Request};
use bench_harness::{Family, Pool, Strategy};
use fcgi_load::{Address, Mode, Options};
use rustix::process::Signal;

use crate::pools::load_while;
use crate::support::Outcome;
use crate::trial::{Needs, Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("sigterm_under_load_loses_nothing_with_closed_connections", under_load_close),
    Test::new("sigterm_under_load_loses_nothing_with_kept_connections", under_load_keep),
    Test::new("sigterm_under_load_loses_nothing_with_multiplexed_connections", under_load_multiplex)
        .needs(Needs::Multiplexing),
    Test::new("a_signal_under_closed_load_loses_nothing_that_was_accepted", closed_loop),
    Test::new("a_signal_under_open_load_loses_nothing_that_was_accepted", open_loop),
    Test::new("a_signal_under_kept_load_loses_nothing_that_was_accepted", kept_loop),
    Test::new("sigterm_lets_a_waiting_request_finish", waiting_request),
    Test::new("sigterm_does_not_wait_for_idle_connections", idle_connections),
    Test::new("sigint_drains_too", sigint),
    Test::new("sigterm_during_a_slow_start_is_not_lost", slow_start),
];

/// Much more than a drain needs; it is asserted that it ends, not how fast this machine is.
const PROMPTLY: Duration = Duration::from_secs(4);

fn under_load_close(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, Mode::Close, 6)
}

fn under_load_keep(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, Mode::Keep, 2)
}

fn under_load_multiplex(strategy: &Strategy, family: Family) -> Outcome {
    under_load(strategy, family, Mode::Multiplex, 2)
}

fn under_load(strategy: &Strategy, family: Family, mode: Mode, clients: usize) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let address = pool.address().clone();
    let asked_to_end = OnceLock::new();
    let answers = AtomicUsize::new(0);
    let took = thread::scope(|scope| -> Result<_, libtest_mimic::Failed> {
        let load: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| load(&address, mode, &asked_to_end, &answers))).collect();
        thread::sleep(Duration::from_millis(300));
        let loaded = wait_until("the load is there", || answers.load(Ordering::Relaxed) > clients);
        // Noted before the signal is sent: what was sent until now was sent before it.
        let begun = *asked_to_end.get_or_init(Instant::now);
        let drained = pool.drain();
        let took = begun.elapsed();
        for client in load {
            client.join().map_err(|_| "a client panicked")??;
        }
        drained?;
        loaded?;
        Ok(took)
    })?;
    ensure!(took < PROMPTLY, "the drain took {took:?}");
    Ok(())
}

/// Requests, one after the other or several at a time, until the worker closes; how many were answered is counted. `Err` is a
/// request that was lost.
fn load(
    address: &Address,
    mode: Mode,
    asked_to_end: &OnceLock<Instant>,
    answers: &AtomicUsize,
) -> Result<(), String> {
    let streams = if mode == Mode::Multiplex { 8 } else { 1 };
    loop {
        let mut client = match Client::connect(address) {
            Ok(client) => client,
            Err(_) if asked_to_end.get().is_some() => return Ok(()),
            Err(error) => return Err(format!("cannot connect before SIGTERM: {error}")),
        };
        let mut in_flight = HashMap::new();
        for id in 1..=streams {
            in_flight.extend(send(&mut client, id, mode, asked_to_end)?);
        }
        while !in_flight.is_empty() {
            match next_reply(&mut client, &mut in_flight) {
                Ok((id, reply)) => {
                    if reply.status != 200 || reply.body.len() != 20_000 {
                        return Err(format!("{} with {} bytes", reply.status, reply.body.len()));
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                    if mode != Mode::Close {
                        in_flight.extend(send(&mut client, id, mode, asked_to_end)?);
                    }
                }
                Err(error) => {
                    lost(&in_flight, asked_to_end.get(), &error)?;
                    in_flight.clear();
                }
            }
        }
    }
}

/// A request that was sent whole, and as much of its reply as has come.
struct InFlight {
    sent: Instant,
    reply: ReplyBuilder,
}

/// `None`: the worker has closed, as it may when asked to end.
fn send(
    client: &mut Client,
    id: u16,
    mode: Mode,
    asked_to_end: &OnceLock<Instant>,
) -> Result<Option<(u16, InFlight)>, String> {
    let mut request = Request::get("/bytes?n=20000").id(id);
    request.keep = mode != Mode::Close;
    match client.send(&request.encode()) {
        Ok(()) => Ok(Some((id, InFlight { sent: Instant::now(), reply: ReplyBuilder::default() }))),
        Err(_) if asked_to_end.get().is_some() => Ok(None),
        Err(error) => Err(format!("closed before SIGTERM: {error}")),
    }
}

fn next_reply(client: &mut Client, in_flight: &mut HashMap<u16, InFlight>) -> io::Result<(u16, Reply)> {
    loop {
        let record = client.record()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let id = record.id;
        let Some(request) = in_flight.get_mut(&id) else {
            return Err(io::Error::other(format!("a record for request {id}, which was not sent")));
        };
        if let Some(reply) = request.reply.add(record)? {
            in_flight.remove(&id);
            return Ok((id, reply));
        }
    }
}

/// Whether the end of a connection lost a request: one that was sent before the signal, or one whose answer has begun.
fn lost(
    in_flight: &HashMap<u16, InFlight>,
    asked_to_end: Option<&Instant>,
    error: &io::Error,
) -> Result<(), String> {
    for request in in_flight.values() {
        let Some(asked_to_end) = asked_to_end else {
            return Err(format!("closed before SIGTERM: {error}"));
        };
        if request.sent < *asked_to_end {
            let before = *asked_to_end - request.sent;
            return Err(format!("a request sent {before:?} before SIGTERM is not answered: {error}"));
        }
        if request.reply.stdout_len() > 0 {
            return Err(format!("an answer breaks off after {} bytes: {error}", request.reply.stdout_len()));
        }
    }
    Ok(())
}

fn closed_loop(strategy: &Strategy, family: Family) -> Outcome {
    under_load_of_fcgi_load(strategy, family, |options| options.mode = Mode::Close)
}

fn open_loop(strategy: &Strategy, family: Family) -> Outcome {
    under_load_of_fcgi_load(strategy, family, |options| {
        options.mode = Mode::Close;
        options.rate = Some(300.0);
    })
}

/// A kept connection that was closed while it was idle is opened anew by a front end.
fn kept_loop(strategy: &Strategy, family: Family) -> Outcome {
    under_load_of_fcgi_load(strategy, family, |options| options.retry_closed = true)
}

/// Answers by which there is a load: some on each of its connections.
const LOADED: u64 = 20;

/// Whoever is connected gets an answer, and the others are refused.
fn under_load_of_fcgi_load(strategy: &Strategy, family: Family, how: fn(&mut Options)) -> Outcome {
    for signal in [Signal::TERM, Signal::QUIT] {
        let mut pool = Pool::launch(strategy, family, &["--processes", "4"])?;
        let (address, time) = (pool.address().clone(), Duration::from_millis(700));
        let report = load_while(&address, time, how, LOADED, || drop(pool.signal(signal)))?;
        // What was sent on a connection that was idle, and closed, is nobody's loss: it is sent again elsewhere.
        let lost = report.errors.total() - report.errors.connect - report.errors.closed;
        ensure!(report.completed >= LOADED, "only {} requests were answered", report.completed);
        ensure!(lost == 0 && report.refused == 0, "{} refused, {:?}", report.refused, report.errors);
        pool.wait()?;
    }
    Ok(())
}

fn waiting_request(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.send(&Request::get("/stream?chunks=3&ms=300").encode())?;
    let mut reply = ReplyBuilder::default();
    let first = client.record()?.ok_or("closed before the first chunk")?;
    reply.add(first)?;
    pool.signal(Signal::TERM)?;
    let reply = loop {
        let record = client.record()?.ok_or("closed amid an answer")?;
        if let Some(reply) = reply.add(record)? {
            break reply;
        }
    };
    ensure!(reply.body == b"chunk 0\nchunk 1\nchunk 2\n", "{reply:?}");
    // It has kept its connection, and has nothing more to do.
    let next = client.record()?;
    ensure!(next.is_none(), "a close expected, {next:?} came");
    pool.wait()?;
    Ok(())
}

fn idle_connections(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let mut clients = vec![Client::connect(pool.address())?, Client::connect(pool.address())?];
    for client in &mut clients {
        client.request(&Request::get("/hello"))?;
    }
    // One that has never said anything, too.
    clients.push(Client::connect(pool.address())?);
    let begun = Instant::now();
    pool.drain()?;
    ensure!(begun.elapsed() < PROMPTLY, "the drain took {:?}", begun.elapsed());
    Ok(())
}

fn sigint(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let mut client = Client::connect(pool.address())?;
    client.request(&Request::get("/hello"))?;
    pool.signal(Signal::INT)?;
    pool.wait()?;
    Ok(())
}

fn slow_start(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2", "--startup-ms", "300"])?;
    let mut client = Client::connect(pool.address())?;
    client.send(&Request::get("/hello").closing().encode())?;
    let begun = Instant::now();
    pool.drain()?;
    ensure!(begun.elapsed() < PROMPTLY, "the drain took {:?}", begun.elapsed());
    let reply = client.reply(1)?;
    ensure!(reply.status == 200, "{reply:?}");
    Ok(())
}
