//! Connections: kept, closed, broken, many.

use std::io;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::{Test, capacity};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_kept_connection_serves_any_id_again_and_again", kept),
    Test::new("a_connection_is_closed_after_its_last_request", closed),
    Test::new("requests_sent_together_are_all_answered", pipelined),
    Test::new("a_request_that_comes_byte_by_byte_is_understood", byte_by_byte),
    Test::new("get_values_is_answered_amid_a_request", values),
    Test::new("unknown_management_records_and_roles_are_answered", unknown),
    Test::new("a_broken_connection_harms_no_other", broken),
    Test::new("as_many_connections_as_announced_are_served_at_a_time", as_many_as_announced),
    Test::new("more_connections_than_announced_are_served_in_turn", in_turn),
];

fn kept(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    for id in [1, 1, 2, 32_767, 65_535, 1].into_iter().cycle().take(300) {
        let reply = client.request(&Request::get("/hello").id(id))?;
        ensure!(reply.body == b"Hello, world\n", "{reply:?} for id {id}");
    }
    Ok(())
}

fn closed(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.request(&Request::get("/hello"))?;
    client.request(&Request::get("/hello").closing())?;
    let next = client.record()?;
    ensure!(next.is_none(), "a close expected after FCGI_KEEP_CONN = 0, {next:?} came");
    Ok(())
}

/// None of them waits for the answer to the one before.
fn pipelined(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let requests: Vec<u8> = (1..=50).flat_map(|id| Request::get("/hello").id(id).encode()).collect();
    client.send(&requests)?;
    let replies = client.replies(50)?;
    let mut ids: Vec<_> = replies.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ensure!(ids.iter().copied().eq(1..=50), "answers to {ids:?}");
    for (id, reply) in replies {
        ensure!(reply.body == b"Hello, world\n", "{reply:?} for id {id}");
    }
    Ok(())
}

fn byte_by_byte(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let request = Request::post("/echo", "text/plain", b"body".to_vec());
    for byte in request.encode() {
        client.send(&[byte])?;
    }
    let reply = client.reply(1)?;
    ensure!(reply.body == b"body", "{reply:?}");
    Ok(())
}

fn values(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let request = Request::get("/hello");
    let (head, end) = (request.encode_head(), request.encode());
    client.send(&head)?;
    let values = client.values()?;
    let names: Vec<_> = values.iter().map(|(name, _)| &**name).collect();
    ensure!(names == ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"], "{values:?}");
    client.send(&end[head.len()..])?;
    ensure!(client.reply(1)?.status == 200, "the request did not survive GET_VALUES");
    Ok(())
}

fn unknown(strategy: &Strategy, family: Family) -> Outcome {
    const UNKNOWN_TYPE: u8 = 11;
    const UNKNOWN_ROLE: u8 = 3;

    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let mut bytes = Vec::new();
    push_record(&mut bytes, 99, 0, b"content");
    client.send(&bytes)?;
    let record = client.record()?.ok_or("closed after an unknown management record")?;
    ensure!((record.kind, record.content.first()) == (UNKNOWN_TYPE, Some(&99)), "{record:?}");

    let mut bytes = Vec::new();
    push_record(&mut bytes, kind::BEGIN_REQUEST, 5, &[0, 77, 1, 0, 0, 0, 0, 0]);
    client.send(&bytes)?;
    let record = client.record()?.ok_or("closed after an unknown role")?;
    ensure!(record.kind == kind::END_REQUEST && record.content.get(4) == Some(&UNKNOWN_ROLE), "{record:?}");

    ensure!(client.request(&Request::get("/hello"))?.status == 200, "the connection is of no use any more");
    Ok(())
}

fn broken(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 1, 0], &[1, 1, 0, 1, 0, 2, 0, 0, 0, 1]] {
        let mut client = Client::connect(pool.address())?;
        client.send(bytes)?;
        client.finish_sending()?;
        // Closed, or reset: what it must not do is hang or answer a request.
        match client.record() {
            Ok(Some(record)) => return Err(format!("{record:?} in answer to {bytes:?}").into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(format!("neither closed nor answered: {bytes:?}").into());
            }
            Ok(None) | Err(_) => {}
        }
    }
    ensure!(Client::connect(pool.address())?.request(&Request::get("/hello"))?.status == 200, "no answer");
    ensure!(pool.stderr().is_empty(), "the pool says: {}", pool.stderr());
    Ok(())
}

/// All connections have a request at the same time: one after the other would take long.
fn as_many_as_announced(strategy: &Strategy, family: Family) -> Outcome {
    const WAIT: Duration = Duration::from_millis(500);

    let count = capacity(strategy, family)?.connections.min(200);
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get(&format!("/wait?ms={}", WAIT.as_millis())).encode())?;
        clients.push(client);
    }
    for client in &mut clients {
        ensure!(client.reply(1)?.status == 200, "another status");
    }
    let took = begun.elapsed();
    ensure!(count < 10 || took < WAIT * count as u32 / 2, "{count} requests of {WAIT:?} took {took:?}");
    Ok(())
}

fn in_turn(strategy: &Strategy, family: Family) -> Outcome {
    let announced = capacity(strategy, family)?.connections;
    if announced > 500 {
        // What it holds is set, so that the test need not open thousands.
        let pool = Pool::launch(strategy, family, &["--processes", "1", "--connections", "3"])?;
        return serve_in_turn(&pool, 3);
    }
    serve_in_turn(&Pool::launch(strategy, family, &["--processes", "1"])?, announced)
}

/// Those who hold a connection are served; then they leave, and those who wait are served.
fn serve_in_turn(pool: &Pool, held: usize) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..held * 3 {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get("/hello").encode())?;
        clients.push(client);
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        let reply = client.reply(1).map_err(|error| format!("client {number} of {}: {error}", held * 3))?;
        ensure!(reply.status == 200, "{reply:?}");
    }
    Ok(())
}
