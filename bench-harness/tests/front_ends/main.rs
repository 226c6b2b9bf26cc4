//! Every strategy behind real web servers: lighttpd, nginx and HAProxy, with the configurations in data/front-ends.
//!
//! A test is named `STRATEGY::FRONT-END::FAMILY::sentence`, so `cargo test --test front_ends mio::nginx` runs some.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod connections;
mod front_end;
mod hosts;
mod load;
mod spawning;
mod workload;

use std::process::ExitCode;

use bench_harness::front_ends::{Server, Site};
use bench_harness::{Strategy, discover};
use front_end::{ALL, POOLS, unix};
use libtest_mimic::{Completion, Trial};
use support::{Outcome, programs};

/// One test and the front ends that it is for.
struct Test {
    sentence: &'static str,
    sites: &'static [Site],
    run: fn(&Strategy, Site) -> Outcome,
}

const TESTS: &[Test] = &[
    Test { sentence: "every_path_of_the_workload_is_answered", sites: ALL, run: workload::every_path },
    Test { sentence: "a_mebibyte_is_echoed", sites: ALL, run: workload::a_mebibyte },
    Test { sentence: "ten_mebibytes_go_out", sites: ALL, run: workload::ten_mebibytes },
    Test { sentence: "eight_clients_at_a_time_are_served", sites: ALL, run: workload::eight_clients },
    Test { sentence: "a_hundred_clients_at_a_time_lose_nothing", sites: ALL, run: load::many_clients },
    Test {
        sentence: "a_hundred_clients_with_long_parameters_lose_nothing",
        sites: ALL,
        run: load::long_parameters,
    },
    Test { sentence: "a_refusal_reaches_the_client", sites: POOLS, run: workload::refusal },
    Test { sentence: "what_a_request_says_on_stderr_is_logged", sites: ALL, run: workload::logged },
    Test {
        sentence: "connections_are_kept",
        sites: &[unix(Server::Nginx), unix(Server::HaProxy)],
        run: connections::kept,
    },
    Test {
        sentence: "a_request_has_a_connection_of_its_own",
        sites: &[unix(Server::Lighttpd), unix(Server::Nginx), unix(Server::HaProxy)],
        run: connections::closed,
    },
    Test {
        sentence: "requests_share_a_connection_where_the_pool_multiplexes",
        sites: &[unix(Server::HaProxy)],
        run: connections::shared,
    },
    Test {
        sentence: "the_workers_end_with_their_spawner",
        sites: &[unix(Server::LighttpdSpawning)],
        run: spawning::workers_end,
    },
    Test {
        sentence: "nothing_is_left_of_what_is_dropped",
        sites: &[unix(Server::LighttpdSpawning)],
        run: spawning::nothing_is_left,
    },
    Test {
        sentence: "a_worker_that_dies_is_spawned_again",
        sites: &[unix(Server::LighttpdSpawning)],
        run: spawning::worker_dies,
    },
];

fn main() -> ExitCode {
    support::run(discover::sources(), 2, |strategy| {
        let each = TESTS.iter().flat_map(|test| test.sites.iter().map(|site| trial(strategy, *site, test)));
        each.chain(hosts::trials(strategy)).collect()
    })
}

fn trial(strategy: &Strategy, site: Site, test: &'static Test) -> Trial {
    let name = format!("{}::{}::{}::{}", strategy.name(), site.server, site.family, test.sentence);
    let strategy = strategy.clone();
    Trial::ignorable_test(name, move || match programs::missing(site.server.program()) {
        Some(missing) => missing,
        None => (test.run)(&strategy, site).map(|()| Completion::Completed),
    })
}
