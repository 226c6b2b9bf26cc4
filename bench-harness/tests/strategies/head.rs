//! HEAD: the head of what GET answers, and no body (RFC 3875 4.3.3).

use bench_harness::client::{Client, Reply, Request};
use bench_harness::workload::{self, Body};
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] =
    &[Test::new("head_is_answered_by_the_head_that_get_has_and_no_body", every_path)];

fn every_path(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut client = Client::connect(pool.address())?;
    let mut cases = workload::cases();
    cases.push(workload::large_bytes());
    for case in cases {
        let get = client.request(&Request::new("GET", case.uri))?;
        let head = client.request(&Request::new("HEAD", case.uri))?;
        ensure!(head.body.is_empty(), "{}: a body of {} bytes", case.uri, head.body.len());
        let statuses = |reply: &Reply| (reply.status, reply.app_status, reply.protocol_status);
        ensure!(
            statuses(&head) == statuses(&get),
            "{}: {:?}, and to GET {:?}",
            case.uri,
            statuses(&head),
            statuses(&get)
        );
        // A list of the request's parameters is longer by the one letter that HEAD is longer than GET.
        let lists_the_request = matches!(case.answer.body, Body::Lines(_));
        let headers = |reply: &Reply| -> Vec<(String, String)> {
            let differs = |name: &str| lists_the_request && name.eq_ignore_ascii_case("content-length");
            reply.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect()
        };
        ensure!(
            headers(&head) == headers(&get),
            "{}: {:?}, and to GET {:?}",
            case.uri,
            head.headers,
            get.headers
        );
    }
    Ok(())
}
