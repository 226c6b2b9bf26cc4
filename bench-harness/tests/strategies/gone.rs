//! Peers that leave: what was being done for them ends with them.

use std::time::Duration;

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::{Needs, Test, capacity_of};

pub(crate) const TESTS: &[Test] = &[
    Test::new("requests_of_peers_that_have_left_hold_up_nobody", peers_left),
    Test::new("one_of_many_waiting_requests_is_aborted_while_the_others_wait", abort_of_many)
        .needs(Needs::Multiplexing),
];

/// Much shorter than the waits.
const PATIENCE: Duration = Duration::from_secs(7);
/// They wait for a time, or to be woken.
const WAITS: [&str; 2] = ["/wait?ms=20000", "/park?ms=20000"];
/// At least as many as there are threads in any model that has a thread for each request.
const REQUESTS: usize = 128;

/// As many requests as the process has places, and nobody wants their answers any more.
fn peers_left(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1", "--connections", "256"])?;
    let capacity = capacity_of(&pool)?;
    let (connections, requests) = match capacity.multiplexes {
        true => (8, capacity.requests.min(REQUESTS) as u16 / 8),
        false => (capacity.connections, 1),
    };
    let mut clients = Vec::new();
    for connection in 0..connections {
        let mut client = Client::connect(pool.address())?;
        client.set_patience(PATIENCE)?;
        for id in 1..=requests {
            let wait = WAITS[(connection + usize::from(id)) % 2];
            client.send(&Request::get(wait).id(id).encode())?;
        }
        clients.push(client);
    }
    // The worker is to have them in its hands.
    std::thread::sleep(Duration::from_millis(300));
    for client in clients {
        client.leave()?;
    }
    let mut client = Client::connect(pool.address())?;
    client.set_patience(PATIENCE)?;
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    Ok(())
}

/// The first one and the last one of as many as there are threads.
fn abort_of_many(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let requests = capacity_of(&pool)?.requests.min(REQUESTS) as u16;
    let mut client = Client::connect(pool.address())?;
    client.set_patience(PATIENCE)?;
    for id in 1..=requests {
        client.send(&Request::get(WAITS[usize::from(id % 2)]).id(id).encode())?;
    }
    std::thread::sleep(Duration::from_millis(300));
    for id in [1, requests] {
        let mut abort = Vec::new();
        push_record(&mut abort, kind::ABORT_REQUEST, id, &[]);
        client.send(&abort)?;
        // A record of any other request would be an error here: they wait.
        let reply = client.reply(id).map_err(|error| format!("the abort of request {id}: {error}"))?;
        ensure!((reply.app_status, reply.protocol_status) == (1, 0), "{reply:?}");
        ensure!(reply.body.is_empty(), "{reply:?}");
    }
    Ok(())
}
