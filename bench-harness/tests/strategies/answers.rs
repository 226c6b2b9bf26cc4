//! The workload's paths.

use bench_harness::client::{Client, Request};
use bench_harness::{Entry, Family, Mix, Pool, Strategy, check};
use fcgi_load::{Generator, Options, Until};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("every_path_of_the_workload_is_answered", every_path),
    Test::new("every_request_of_a_comparison_has_the_answer_that_is_expected", every_mix),
    Test::new("a_failed_request_is_said_on_stderr_and_harms_no_other", failure),
    Test::new("the_path_may_come_in_three_ways", three_ways),
    Test::new("binary_parameters_of_all_lengths_come_through", binary_parameters),
];

fn every_path(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    check(pool.address())?;
    Ok(())
}

/// Those with a name, and one of all that there are.
fn every_mix(strategy: &Strategy, family: Family) -> Outcome {
    let entry = Entry::Strategy(strategy.clone());
    let all = "3x/hello,1x/cpu?us=20,1x/wait?ms=1,1x/park?ms=1,2x/echo+200000,2x/bytes?n=200000,1x/params";
    let pool = entry.launch(family, 2)?;
    for mix in Mix::NAMED.into_iter().map(|(name, _)| name).chain([all]) {
        let requests = mix.parse::<Mix>()?.shares(&entry);
        let weights: Vec<u64> = requests.iter().map(|share| share.weight.into()).collect();
        let hello = Options::new(pool.address().clone(), entry.hello());
        let mut generator = Generator::new(Options { requests, ..hello })?;
        // Twice through the cycle.
        let count = 2 * weights.iter().sum::<u64>();
        let report = generator.run(Until::Requests(count))?;
        ensure!(report.is_clean() && report.completed == count, "{mix}: {:?}", report.errors);
        let completed = report.by_request.iter().map(|request| request.completed);
        ensure!(
            weights.len() == 1 || completed.eq(weights.iter().map(|weight| 2 * weight)),
            "{mix}: {:?}",
            report.by_request
        );
    }
    entry.end(pool)?;
    Ok(())
}

/// Before its response has begun, and in its midst.
fn failure(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let reply = client.request(&Request::get("/fail"))?;
    ensure!((reply.status, reply.app_status, reply.protocol_status) == (500, 1, 0), "{reply:?}");
    ensure!(reply.stderr == b"failed after 0 chunks\n", "{reply:?}");
    let reply = client.request(&Request::get("/fail?after=2"))?;
    ensure!((reply.status, reply.app_status, reply.protocol_status) == (200, 1, 0), "{reply:?}");
    ensure!(
        (&reply.body[..], &reply.stderr[..]) == (b"chunk 0\nchunk 1\n", b"failed after 2 chunks\n"),
        "{reply:?}"
    );
    let reply = client.request(&Request::get("/log"))?;
    ensure!((&reply.body[..], &reply.stderr[..]) == (b"logged\n", b"a line for the log\n"), "{reply:?}");
    let reply = client.request(&Request::get("/hello"))?;
    ensure!(reply.body == b"Hello, world\n" && reply.stderr.is_empty(), "{reply:?}");
    Ok(())
}

/// Front ends cut it in different places.
fn three_ways(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let ways: [&[(&str, &str)]; 4] = [
        &[("SCRIPT_NAME", "/status"), ("QUERY_STRING", "code=202")],
        &[("SCRIPT_NAME", ""), ("PATH_INFO", "/status"), ("QUERY_STRING", "code=202")],
        &[("SCRIPT_NAME", "/sta"), ("PATH_INFO", "tus"), ("QUERY_STRING", "code=202")],
        &[("REQUEST_URI", "/status?code=202")],
    ];
    for params in ways {
        let mut request = Request::get("/");
        request.params = params.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let reply = client.request(&request)?;
        ensure!(reply.status == 202, "status {} for {params:?}", reply.status);
    }
    Ok(())
}

/// Lengths below 128 take one byte and the others four, for names and values alike.
fn binary_parameters(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let mut request = Request::get("/params").param("LONG", &"v".repeat(20_000));
    for name in [1, 127, 128, 300] {
        for value in [0, 1, 127, 128, 300] {
            request = request.param(&"N".repeat(name), &"v".repeat(value));
        }
    }
    let mut expected: Vec<_> = request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expected.sort();
    let reply = client.request(&request)?;
    ensure!(reply.status == 200, "status {}", reply.status);
    let body = String::from_utf8(reply.body)?;
    ensure!(body.lines().eq(expected.iter().map(String::as_str)), "{} bytes of other lines", body.len());
    Ok(())
}
