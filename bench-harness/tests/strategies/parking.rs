//! Requests that another thread of the worker ends the wait of.

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::{Entry, Family, Mix, Pool, Strategy};
use fcgi_load::{Generator, Mode, Options, Until};

use crate::support::Outcome;
use crate::trial::{Needs, Test, capacity};

pub(crate) const TESTS: &[Test] = &[
    Test::new("no_request_that_is_woken_is_forgotten", none_is_forgotten),
    Test::new("a_parked_request_holds_up_no_other_of_its_connection", others_go_on)
        .needs(Needs::Multiplexing),
];

/// They are woken at once, while they park, and later, in every way of using connections.
fn none_is_forgotten(strategy: &Strategy, family: Family) -> Outcome {
    let entry = Entry::Strategy(strategy.clone());
    let requests = "4x/park?ms=0,4x/park?ms=1,1x/hello".parse::<Mix>()?.shares(&entry);
    let places = capacity(strategy, family)?;
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    for mode in [Mode::Close, Mode::Keep, Mode::Multiplex] {
        if mode == Mode::Multiplex && !places.multiplexes {
            continue;
        }
        let options = Options::new(pool.address().clone(), entry.hello());
        let mut generator = Generator::new(Options {
            mode,
            connections: places.connections.min(8),
            streams: 8,
            requests: requests.clone(),
            ..options
        })?;
        let report = generator.run(Until::Requests(900))?;
        ensure!(report.is_clean() && report.completed == 900, "{mode:?}: {:?}", report.errors);
    }
    entry.end(pool)?;
    Ok(())
}

/// All but one, which nobody wakes for long; then that is aborted.
fn others_go_on(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    client.send(&Request::get("/park?ms=20000").id(1).encode())?;
    for round in 0..20 {
        client.send(&Request::get("/park?ms=1").id(2).encode())?;
        let reply = client.reply(2).map_err(|error| format!("round {round}: {error}"))?;
        ensure!(reply.body == b"parked 1 ms\n", "round {round}: {reply:?}");
    }
    let mut abort = Vec::new();
    push_record(&mut abort, kind::ABORT_REQUEST, 1, &[]);
    client.send(&abort)?;
    let reply = client.reply(1)?;
    ensure!((reply.app_status, reply.protocol_status) == (1, 0) && reply.body.is_empty(), "{reply:?}");
    Ok(())
}
