//! A peer that has sent all it has to send and says so: what was complete is answered to its end.

use std::time::Duration;

use bench_harness::client::{Client, Reply, ReplyBuilder, Request};
use bench_harness::workload::pattern;
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_large_answer_is_sent_whole_to_a_peer_that_is_half_closed", large_answer),
    Test::new("a_large_body_is_echoed_whole_to_a_peer_that_is_half_closed", large_body),
    Test::new("a_wait_is_sat_out_for_a_peer_that_is_half_closed", wait),
    Test::new("a_stream_is_sent_whole_to_a_peer_that_is_half_closed", stream),
];

fn large_answer(strategy: &Strategy, family: Family) -> Outcome {
    is_answered(strategy, family, &Request::get("/bytes?n=3000000"), &pattern(3_000_000))
}

fn large_body(strategy: &Strategy, family: Family) -> Outcome {
    let body = pattern(2 << 20);
    is_answered(strategy, family, &Request::post("/echo", "application/octet-stream", body.clone()), &body)
}

fn wait(strategy: &Strategy, family: Family) -> Outcome {
    is_answered(strategy, family, &Request::get("/wait?ms=300"), b"waited 300 ms\n")
}

fn stream(strategy: &Strategy, family: Family) -> Outcome {
    is_answered(strategy, family, &Request::get("/stream?chunks=3&ms=100"), b"chunk 0\nchunk 1\nchunk 2\n")
}

/// With and without FCGI_KEEP_CONN, alone and before a request of which only the half has come.
fn is_answered(strategy: &Strategy, family: Family, request: &Request, body: &[u8]) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    for (request, keep) in [(request.clone(), "kept"), (request.clone().closing(), "not kept")] {
        for incomplete in [false, true] {
            let mut bytes = request.encode();
            if incomplete {
                let next = Request::get("/hello").id(2).encode_head();
                bytes.extend_from_slice(&next[..next.len() / 2]);
            }
            let what =
                format!("{keep}, {} behind it", if incomplete { "a half of a request" } else { "nothing" });
            let reply = reply_to(&pool, &bytes)
                .map_err(|failed| format!("{what}: {}", failed.message().unwrap_or_default()))?;
            ensure!(
                reply.body == body && (reply.app_status, reply.protocol_status) == (0, 0),
                "{what}: {} of {} bytes came, and application status {} and protocol status {}",
                reply.body.len(),
                body.len(),
                reply.app_status,
                reply.protocol_status
            );
        }
    }
    Ok(())
}

/// The reply to request 1 of a peer that then shuts its side. Behind it comes nothing but the end of the connection, and
/// an END_REQUEST for request 2 where that was begun.
fn reply_to(pool: &Pool, bytes: &[u8]) -> Result<Reply, Failed> {
    let mut client = Client::connect(pool.address())?;
    client.set_patience(Duration::from_secs(5))?;
    client.send(bytes)?;
    client.finish_sending()?;
    let mut builder = ReplyBuilder::default();
    let mut reply = None;
    while let Some(record) = client.record()? {
        match record.id {
            1 if reply.is_none() => reply = builder.add(record)?,
            2 => {}
            id => return Err(format!("a record of type {} for request {id}", record.kind).into()),
        }
    }
    reply.ok_or_else(|| format!("closed after {} bytes of the answer", builder.stdout_len()).into())
}
