//! What a peer may take its time with, where the command line sets bounds.

use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Record, Request, kind, push_record};
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;

use crate::kernel::{processes, sockets};
use crate::support::Outcome;
use crate::trial::{Test, capacity_of, pool_for_two};

pub(crate) const TESTS: &[Test] = &[
    Test::new("an_idle_connection_is_closed_after_its_timeout", idle),
    Test::new("a_newcomer_gets_the_place_of_an_idle_connection", newcomer),
    Test::new("a_request_that_does_not_come_to_its_end_costs_its_connection", receiving),
    Test::new("a_request_that_is_served_too_long_is_ended", serving),
    Test::new("a_peer_that_takes_nothing_of_its_answer_loses_its_connection", unread_answer),
];

/// Much longer than the timeouts, and shorter than the waits.
const PATIENCE: Duration = Duration::from_secs(7);

fn idle(strategy: &Strategy, family: Family) -> Outcome {
    let pool = pool_for_two(strategy, family, &["--idle-timeout", "300ms"])?;
    let mut idle = connect(&pool)?;
    idle.request(&Request::get("/hello"))?;
    let mut busy = connect(&pool)?;
    busy.request(&Request::get("/hello"))?;
    busy.send(&Request::get("/wait?ms=1200").encode())?;
    ends(&mut idle, "an idle connection")?;
    let reply = busy.reply(1)?;
    ensure!(reply.body == b"waited 1200 ms\n", "{reply:?}");
    ends(&mut busy, "a connection that is idle now")
}

/// All places are taken by connections that idle.
fn newcomer(strategy: &Strategy, family: Family) -> Outcome {
    let args = ["--processes", "1", "--connections", "8", "--idle-timeout", "300ms"];
    let pool = Pool::launch(strategy, family, &args)?;
    let mut clients = Vec::new();
    for _ in 0..capacity_of(&pool)?.connections {
        let mut client = connect(&pool)?;
        client.request(&Request::get("/hello"))?;
        clients.push(client);
    }
    let reply = connect(&pool)?.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    Ok(())
}

fn receiving(strategy: &Strategy, family: Family) -> Outcome {
    let pool = pool_for_two(strategy, family, &["--receive-timeout", "300ms"])?;
    let request = Request::post("/echo", "text/plain", b"0123456789".to_vec());
    let head = request.encode_head();
    let mut half_of_body = head.clone();
    push_record(&mut half_of_body, kind::STDIN, 1, b"01234");
    for (part, what) in [(&head[..head.len() / 2], "half of PARAMS"), (&half_of_body[..], "half of a body")] {
        let mut client = connect(&pool)?;
        let reply = client.request(&request)?;
        ensure!(reply.body == b"0123456789", "{reply:?}");
        client.send(part)?;
        ends(&mut client, what)?;
    }
    // It bounds neither idleness nor serving.
    let mut client = connect(&pool)?;
    client.request(&request)?;
    thread::sleep(Duration::from_millis(600));
    let reply = client.request(&Request::get("/wait?ms=600"))?;
    ensure!(reply.body == b"waited 600 ms\n", "{reply:?}");
    Ok(())
}

/// As by an abort, and the connection stays.
fn serving(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--request-timeout", "300ms"])?;
    let mut client = connect(&pool)?;
    for wait in ["/wait?ms=20000", "/park?ms=20000"] {
        let reply = client.request(&Request::get(wait))?;
        ensure!(
            (reply.app_status, reply.protocol_status) == (1, 0) && reply.body.is_empty(),
            "{wait}: {reply:?}"
        );
    }
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "the connection is of no use any more: {reply:?}");
    // It bounds no idleness.
    thread::sleep(Duration::from_millis(600));
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    Ok(())
}

/// Seen where it is held: what stands in the socket's buffer keeps the end from a peer that does not read.
fn unread_answer(strategy: &Strategy, family: Family) -> Outcome {
    const LENGTH: usize = 100_000_000;

    // On a busy machine, too, the socket's buffers are full by then. Else what is left of them takes the request's abort, and
    // the connection stays.
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--request-timeout", "2s"])?;
    let held = || -> usize { processes(&pool).into_iter().map(sockets).sum() };
    let mut client = connect(&pool)?;
    client.request(&Request::get("/hello"))?;
    // Of whoever tried the pool nothing is left.
    thread::sleep(Duration::from_millis(100));
    let before = held();
    client.send(&Request::get(&format!("/bytes?n={LENGTH}")).encode())?;
    let deadline = Instant::now() + PATIENCE;
    while held() >= before {
        ensure!(Instant::now() < deadline, "its connection is still held");
        thread::sleep(Duration::from_millis(10));
    }
    let mut length = 0;
    // The end, or a reset.
    while let Ok(Some(Record { kind, content, .. })) = client.record() {
        ensure!(kind == kind::STDOUT, "a record of type {kind} after {length} bytes");
        length += content.len();
    }
    ensure!(length < LENGTH, "all of the answer came");
    Ok(())
}

fn connect(pool: &Pool) -> Result<Client, Failed> {
    let mut client = Client::connect(pool.address())?;
    client.set_patience(PATIENCE)?;
    Ok(client)
}

fn ends(client: &mut Client, what: &str) -> Outcome {
    let end = client.record().map_err(|error| format!("the end of {what}: {error}"))?;
    ensure!(end.is_none(), "{what}: {end:?} instead of its end");
    Ok(())
}
