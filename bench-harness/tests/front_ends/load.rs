//! Many clients at a time, as fcgi-load makes them: what is lost under load alone is lost here.

use bench_harness::Strategy;
use bench_harness::front_ends::{Server, Site};
use fcgi_load::{Generator, Options, Protocol, RequestSpec, Share, Until};

use crate::front_end::Served;
use crate::support::Outcome;

/// HTTP connections, with a request at a time on each.
const CLIENTS: usize = 128;
/// Enough that each client asks for everything.
const REQUESTS: u64 = 1_500;
/// A request's parameters are this much longer where they are long, as with many cookies.
const COOKIES: usize = 4 << 10;

/// Requests with the parameters that a browser makes.
pub(crate) fn many_clients(strategy: &Strategy, site: Site) -> Outcome {
    answered_under_load(strategy, site, "")
}

/// Of requests that share a connection, all parameters have to find room before it.
pub(crate) fn long_parameters(strategy: &Strategy, site: Site) -> Outcome {
    answered_under_load(strategy, site, &"c".repeat(COOKIES))
}

fn answered_under_load(strategy: &Strategy, site: Site, cookies: &str) -> Outcome {
    // lighttpd keeps none: its connections wait until a worker takes them.
    let connections = match site.server {
        Server::LighttpdSpawning | Server::Lighttpd => site.connections,
        Server::Nginx | Server::HaProxy => CLIENTS,
    };
    let front_end = Served::start(strategy, Site { connections, ..site })?;
    let mut generator = Generator::new(Options {
        protocol: Protocol::Http,
        connections: CLIENTS,
        requests: requests(cookies),
        ..Options::new(front_end.address(), RequestSpec::get("/hello"))
    })?;
    let report = generator.run(Until::Requests(REQUESTS))?;
    ensure!(
        report.is_clean() && report.completed == REQUESTS,
        "{} good answers of {REQUESTS}, {:?}; it said: {}",
        report.completed,
        report.errors,
        front_end.stderr()
    );
    Ok(())
}

fn requests(cookies: &str) -> Vec<Share> {
    let body: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    let requests = [
        (4, RequestSpec::get("/hello").expect_body("Hello, world\n")),
        (2, RequestSpec::get("/wait?ms=5").expect_body("waited 5 ms\n")),
        (1, RequestSpec::post("/echo", body.clone()).expect_body(body)),
    ];
    let with_cookies = |request: RequestSpec| match cookies {
        "" => request,
        cookies => request.param("HTTP_COOKIE", cookies),
    };
    requests.map(|(weight, request)| Share { request: with_cookies(request), weight }).to_vec()
}
