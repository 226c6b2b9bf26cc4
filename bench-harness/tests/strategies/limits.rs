//! Limits: each answered with a status that every web server passes on, and the connection stays of use.

use bench_harness::client::{Client, Request};
use bench_harness::{Family, Pool, Strategy, workload};

use crate::support::Outcome;
use crate::trial::{Needs, Test};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_body_over_the_limit_is_a_413", body),
    Test::new("parameters_over_the_limit_are_a_431", params),
    Test::new("requests_over_the_limit_are_a_503", requests).needs(Needs::Multiplexing),
    Test::new("crash_needs_leave", crash),
];

const OVERLOADED: u8 = 2;

fn body(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--max-body", "1000"])?;
    let mut client = Client::connect(pool.address())?;
    let mut announced = Request::post("/echo", "text/plain", vec![b'x'; 100_000]);
    let reply = client.request(&announced)?;
    ensure!((reply.status, reply.protocol_status) == (413, 0), "CONTENT_LENGTH: {}", reply.status);
    works(&mut client)?;

    // Without CONTENT_LENGTH it is seen when it comes.
    announced.params.retain(|(name, _)| name != "CONTENT_LENGTH");
    let reply = client.request(&announced)?;
    ensure!((reply.status, reply.protocol_status) == (413, 0), "no CONTENT_LENGTH: {}", reply.status);
    works(&mut client)?;

    let reply = client.request(&Request::post("/echo", "text/plain", vec![b'x'; 1000]))?;
    ensure!(
        reply.status == 200 && reply.body.len() == 1000,
        "the largest one that is allowed: {}",
        reply.status
    );

    drop(client);

    // On a connection that is to be closed the refusal must arrive, whatever is still being sent.
    let large = Request::post("/echo", "application/octet-stream", workload::pattern(1 << 20)).closing();
    let mut client = Client::connect(pool.address())?;
    // The worker may close before all of it is sent.
    let _ = client.send(&large.encode());
    let reply = client.reply(1)?;
    ensure!(reply.status == 413, "FCGI_KEEP_CONN = 0: {}", reply.status);
    Ok(())
}

fn params(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--max-params", "2000"])?;
    let mut client = Client::connect(pool.address())?;
    let reply = client.request(&Request::get("/params").param("HTTP_COOKIE", &"c".repeat(50_000)))?;
    ensure!((reply.status, reply.protocol_status) == (431, 0), "status {}", reply.status);
    works(&mut client)
}

fn requests(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--requests", "2"])?;
    let mut client = Client::connect(pool.address())?;
    for id in 1..=3 {
        client.send(&Request::get("/wait?ms=500").id(id).encode())?;
    }
    let replies = client.replies(3)?;
    for (id, reply) in &replies {
        let expected = if *id == 3 { (503, OVERLOADED) } else { (200, 0) };
        ensure!((reply.status, reply.protocol_status) == expected, "request {id}: {reply:?}");
    }
    works(&mut client)
}

fn crash(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let reply = client.request(&Request::get("/crash"))?;
    ensure!(reply.status == 403, "status {}", reply.status);
    works(&mut client)
}

fn works(client: &mut Client) -> Outcome {
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "the connection is of no use any more: {reply:?}");
    Ok(())
}
