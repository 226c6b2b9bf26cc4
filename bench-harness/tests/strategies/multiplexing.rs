//! Several requests on one connection.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Record, ReplyBuilder, Request, kind, push_record};
use bench_harness::{Family, Pool, Strategy, workload};

use crate::support::Outcome;
use crate::trial::{Needs, Test};

pub(crate) const TESTS: &[Test] = &[
    Test::new("requests_end_in_the_order_of_their_waits", order_of_waits).needs(Needs::Multiplexing),
    Test::new("interleaved_records_are_sorted_by_request", interleaved_input).needs(Needs::Multiplexing),
    Test::new("a_long_response_does_not_hold_up_its_neighbours", long_response).needs(Needs::Multiplexing),
    Test::new("an_abort_ends_a_waiting_request_once_and_no_other", abort_waiting).needs(Needs::Multiplexing),
    Test::new("a_lost_connection_ends_its_waiting_requests", lost_connection).needs(Needs::Multiplexing),
    Test::new("mixed_keep_flags_close_after_the_last_answer", mixed_flags).needs(Needs::Multiplexing),
    Test::new("a_second_request_at_a_time_is_refused", second_refused).needs(Needs::NoMultiplexing),
    Test::new("an_abort_ends_a_request_whose_body_is_not_complete", abort_receiving),
];

fn order_of_waits(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let requests = [(1, "/wait?ms=800"), (3, "/wait?ms=400"), (5, "/hello"), (32_767, "/wait?ms=1")];
    for (id, uri) in requests {
        client.send(&Request::get(uri).id(id).encode())?;
    }
    let ended: Vec<u16> = client.replies(4)?.into_iter().map(|(id, _)| id).collect();
    ensure!(ended[2..] == [3, 1], "they ended in the order {ended:?}");
    Ok(())
}

fn interleaved_input(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let bodies = [workload::pattern(5_000), workload::pattern(7_001), Vec::new()];
    let mut inputs: Vec<Vec<Vec<u8>>> = bodies
        .iter()
        .zip(1..)
        .map(|(body, id)| records(&Request::post("/echo", "text/plain", body.clone()).id(id).encode(), 700))
        .collect();
    // One record of each in turn.
    while inputs.iter().any(|records| !records.is_empty()) {
        for records in inputs.iter_mut().filter(|records| !records.is_empty()) {
            client.send(&records.remove(0))?;
        }
    }
    for (id, reply) in client.replies(3)? {
        ensure!(reply.body == bodies[usize::from(id) - 1], "{} bytes for id {id}", reply.body.len());
    }
    Ok(())
}

/// The same stream in records with at most `limit` bytes of content.
fn records(mut bytes: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [1, kind, id1, id0, length1, length0, padding, _, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(usize::from(u16::from_be_bytes([*length1, *length0])));
        bytes = &rest[usize::from(*padding)..];
        for part in if content.is_empty() { vec![content] } else { content.chunks(limit).collect() } {
            let mut record = Vec::new();
            push_record(&mut record, *kind, u16::from_be_bytes([*id1, *id0]), part);
            records.push(record);
        }
    }
    records
}

/// All three come in one write, so the worker has the short ones before it begins to answer the long one, which would
/// take seconds.
fn long_response(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let uris = ["/bytes?n=4294967296", "/hello", "/stream?chunks=3&ms=0"];
    let requests: Vec<u8> =
        uris.iter().zip(1..).flat_map(|(uri, id)| Request::get(uri).id(id).encode()).collect();
    client.send(&requests)?;
    let mut short = HashMap::from([(2, ReplyBuilder::default()), (3, ReplyBuilder::default())]);
    while !short.is_empty() {
        let record = client.record()?.ok_or("closed amid the answers")?;
        let id = record.id;
        let Some(reply) = short.get_mut(&id) else {
            ensure!(record.kind == kind::STDOUT, "the long one ended before {:?}", short.keys());
            continue;
        };
        if let Some(reply) = reply.add(record)? {
            let body: &[u8] = if id == 2 { b"Hello, world\n" } else { b"chunk 0\nchunk 1\nchunk 2\n" };
            ensure!(reply.body == body, "{reply:?}");
            short.remove(&id);
        }
    }
    Ok(())
}

fn abort_waiting(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.send(&Request::get("/wait?ms=30000").id(1).encode())?;
    client.send(&Request::get("/wait?ms=700").id(2).encode())?;
    client.send(&Request::get("/stream?chunks=3&ms=300").id(3).encode())?;
    // The worker is to have them in its hands.
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    let mut bytes = Vec::new();
    // Said twice, as if the web server were impatient, and once for a request that is not there.
    for id in [1, 1, 9] {
        push_record(&mut bytes, kind::ABORT_REQUEST, id, &[]);
    }
    client.send(&bytes)?;
    let replies = client.replies(3)?;
    let ended: Vec<u16> = replies.iter().map(|(id, _)| *id).collect();
    ensure!(ended.contains(&2) && ended.contains(&3) && ended.contains(&1), "ended: {ended:?}");
    ensure!(begun.elapsed() < Duration::from_secs(15), "the abort took {:?}", begun.elapsed());
    for (id, reply) in &replies {
        match id {
            1 => ensure!(reply.body.is_empty() && reply.protocol_status == 0, "the aborted one: {reply:?}"),
            2 => ensure!(reply.body == b"waited 700 ms\n", "{reply:?}"),
            _ => ensure!(reply.body == b"chunk 0\nchunk 1\nchunk 2\n", "{reply:?}"),
        }
    }
    // A second END_REQUEST for id 1 would come before this answer, and be taken for it.
    let reply = client.request(&Request::get("/hello").id(1))?;
    ensure!(reply.body == b"Hello, world\n", "the id's next request: {reply:?}");
    Ok(())
}

/// Seen by the drain: it waits for requests in flight, and there are none any more.
fn lost_connection(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    for id in 1..10 {
        client.send(&Request::get("/wait?ms=60000").id(id).encode())?;
    }
    std::thread::sleep(Duration::from_millis(100));
    // Over TCP only a reset tells that from a peer that has finished sending.
    client.leave()?;
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    pool.drain()?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "the drain took {:?}", begun.elapsed());
    Ok(())
}

fn mixed_flags(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.send(&Request::get("/wait?ms=300").id(1).encode())?;
    client.send(&Request::get("/hello").id(2).closing().encode())?;
    let mut ended: Vec<u16> = client.replies(2)?.into_iter().map(|(id, _)| id).collect();
    ended.sort_unstable();
    ensure!(ended == [1, 2], "ended: {ended:?}");
    let next = client.record()?;
    ensure!(next.is_none(), "a close expected, {next:?} came");
    Ok(())
}

/// Portably: a 503 that every web server understands, and the protocol's own word for it.
fn second_refused(strategy: &Strategy, family: Family) -> Outcome {
    const CANT_MPX_CONN: u8 = 1;

    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let first = Request::post("/echo", "text/plain", b"first".to_vec()).id(1);
    let (head, whole) = (first.encode_head(), first.encode());
    client.send(&head)?;
    let refused = client.request(&Request::get("/hello").id(2))?;
    ensure!((refused.status, refused.protocol_status) == (503, CANT_MPX_CONN), "{refused:?}");
    client.send(&whole[head.len()..])?;
    ensure!(client.reply(1)?.body == b"first", "the first request was harmed");
    ensure!(
        client.request(&Request::get("/hello").id(2))?.status == 200,
        "the connection is of no use any more"
    );
    Ok(())
}

fn abort_receiving(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let request = Request::post("/echo", "text/plain", vec![b'x'; 1_000]);
    let mut bytes = request.encode_head();
    push_record(&mut bytes, kind::STDIN, 1, &[b'x'; 400]);
    push_record(&mut bytes, kind::ABORT_REQUEST, 1, &[]);
    push_record(&mut bytes, kind::ABORT_REQUEST, 1, &[]);
    client.send(&bytes)?;
    let Record { kind, id, .. } = loop {
        let record = client.record()?.ok_or("closed by an abort")?;
        if record.kind != kind::STDOUT {
            break record;
        }
    };
    ensure!((kind, id) == (kind::END_REQUEST, 1), "a record of type {kind} for {id} came");
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "the id's next request: {reply:?}");
    Ok(())
}
