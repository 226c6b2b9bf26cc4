//! How a connection ends that the worker closes: in order, and after all that was owed.

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::workload::pattern;
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_record_too_many_behind_the_last_request_loses_nothing", record_too_many),
    Test::new("a_record_too_many_that_a_read_of_64_KiB_leaves_behind_loses_nothing", record_left_behind),
    Test::new("a_protocol_error_does_not_cost_the_answer_before_it", protocol_error),
];

/// npm's fastcgi-client sends an empty STDIN record more than there are streams.
fn record_too_many(strategy: &Strategy, family: Family) -> Outcome {
    closes_in_order(
        strategy,
        family,
        &Request::post("/echo", "text/plain", b"twelve bytes".to_vec()).closing(),
    )
}

/// The request alone is as long as what many read at once: the record behind it comes with the next read, or never.
fn record_left_behind(strategy: &Strategy, family: Family) -> Outcome {
    let with_body = |length| Request::post("/echo", "text/plain", pattern(length)).closing();
    let surplus = with_body(65_000).encode().len() - 65_000;
    let request = with_body((64 << 10) - surplus);
    assert_eq!(request.encode().len(), 64 << 10, "another count of records than guessed");
    closes_in_order(strategy, family, &request)
}

/// 200 times: what is at stake is who is faster.
fn closes_in_order(strategy: &Strategy, family: Family, request: &Request) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut bytes = request.encode();
    push_record(&mut bytes, kind::STDIN, request.id, &[]);
    for number in 1..=200 {
        let mut client = Client::connect(pool.address())?;
        client.send(&bytes).map_err(|error| format!("sending, connection {number}: {error}"))?;
        let reply = client.reply(request.id).map_err(|error| format!("connection {number}: {error}"))?;
        ensure!(reply.body == request.body, "connection {number}: {} bytes came", reply.body.len());
        let end = client.record().map_err(|error| format!("the end of connection {number}: {error}"))?;
        ensure!(end.is_none(), "connection {number}: {end:?}");
    }
    Ok(())
}

/// In one write: a whole request, and a record of a version that there is not.
fn protocol_error(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    for number in 1..=20 {
        let mut client = Client::connect(pool.address())?;
        let mut bytes = Request::get("/hello").encode();
        bytes.extend([9, 1, 0, 2, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        client.send(&bytes)?;
        let reply = client.reply(1).map_err(|error| format!("connection {number}: {error}"))?;
        ensure!(reply.body == b"Hello, world\n", "{reply:?}");
        let end = client.record().map_err(|error| format!("the end of connection {number}: {error}"))?;
        ensure!(end.is_none(), "{end:?} after a record of version 9");
    }
    Ok(())
}
