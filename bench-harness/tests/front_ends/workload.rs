//! The workload's paths, through a web server.

use std::thread;
use std::time::{Duration, Instant};

use bench_harness::front_ends::{Site, http};
use bench_harness::workload::{self, Case};
use bench_harness::{FrontEnd, Strategy};
use libtest_mimic::Failed;

use crate::front_end::{Served, launch_with};
use crate::support::Outcome;

/// How long a line may take into a log.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn every_path(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    for case in workload::cases() {
        ask(&front_end, &case)?;
    }
    Ok(())
}

pub(crate) fn a_mebibyte(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    ask(&front_end, &workload::large_echo())?;
    ask(&front_end, &workload::large_echo())
}

pub(crate) fn ten_mebibytes(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    ask(&front_end, &workload::large_bytes())
}

pub(crate) fn eight_clients(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    let cases = workload::cases();
    thread::scope(|scope| {
        let client = || cases.iter().cycle().take(40).try_for_each(|case| ask(&front_end, case));
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| Failed::from("a client panicked"))?)
    })
}

/// A line that the application logs, and the error of a request that fails.
pub(crate) fn logged(strategy: &Strategy, site: Site) -> Outcome {
    let front_end = Served::start(strategy, site)?;
    for (uri, status, line) in
        [("/log", 200, "a line for the log"), ("/fail", 500, "failed after 0 chunks"), ("/hello", 200, "")]
    {
        let response = http::request(&front_end.host_and_port(), "GET", uri, None)?;
        ensure!(response.status == status, "{uri}: {}; {}", response.status, front_end.stderr());
        let deadline = Instant::now() + PATIENCE;
        while !front_end.stderr().contains(line) {
            ensure!(Instant::now() < deadline, "no line {line:?} in {}", front_end.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// What the worker refuses is refused with the same status by every web server, and the next request is served.
pub(crate) fn refusal(strategy: &Strategy, site: Site) -> Outcome {
    let pool = launch_with(strategy, site, &["--max-body", "1000", "--max-params", "8000"])?;
    let front_end = Served::before(pool, site)?;
    for _ in 0..3 {
        let body = workload::pattern(200_000);
        let response =
            http::request(&front_end.host_and_port(), "POST", "/echo", Some(("text/plain", &body)))?;
        ensure!(response.status == 413, "a large body: {}; {}", response.status, front_end.stderr());
        // Small enough for every web server's own limits; twice in the parameters, as the URI and as the query.
        let uri = format!("/params?{}", "q".repeat(6_000));
        let response = http::request(&front_end.host_and_port(), "GET", &uri, None)?;
        ensure!(response.status == 431, "many parameters: {}; {}", response.status, front_end.stderr());
        let response = http::request(&front_end.host_and_port(), "GET", "/hello", None)?;
        ensure!(response.status == 200, "after a refusal: {}; {}", response.status, front_end.stderr());
    }
    Ok(())
}

/// Asks, and compares the answer to what is expected.
pub(crate) fn ask(front_end: &FrontEnd, case: &Case) -> Outcome {
    let body = case.body.as_ref().map(|(content_type, body)| (*content_type, &body[..]));
    let fault = match http::request(&front_end.host_and_port(), case.method, case.uri, body) {
        Ok(response) => case.answer.fault(response.status, response.header("Content-Type"), &response.body),
        Err(error) => Some(error.to_string()),
    };
    match fault {
        Some(fault) => Err(format!("{} {}: {fault}\n{}", case.method, case.uri, front_end.stderr()).into()),
        None => Ok(()),
    }
}
