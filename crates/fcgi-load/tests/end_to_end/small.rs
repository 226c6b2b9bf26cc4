//! Runs of few requests, and rates that are not reached: the figures are right, or the report says that there are none.

use std::process::Output;

use serde_json::Value;

use crate::command::{run, stderr, stdout};
use crate::server::{Server, counting, hello, reply};

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

#[test]
fn a_rate_below_one_is_written_out_and_every_request_due_in_the_time_is_sent() {
    let server = Server::unix(hello);
    let output = run(&server, &["--no-get-values", "-r", "0.8", "-d", "2600ms"]);
    let text = stdout(&output);
    // Due after 0, 1.25 and 2.5 seconds.
    assert!(text.contains("checked           3 of 3 good"), "{text}");
    assert!(text.contains("0.800 / 0.800 per s = 1.0000"), "{text}");
    assert!(text.contains("throughput        0.800 good replies/s"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn the_last_interval_counts_so_few_requests_are_no_more_than_were_offered() {
    let server = Server::unix(hello);
    for until in [["-d", "1500ms"], ["-n", "3"]] {
        let output = run(&server, &[&["--no-get-values", "-r", "2", "--json"][..], &until].concat());
        let json = json(&output);
        assert_eq!(json["report"]["completed"], 3, "{json}");
        let throughput = json["throughput"].as_f64().unwrap();
        assert!((1.8..=2.0).contains(&throughput), "{json}");
        if until[0] == "-d" {
            assert!(json["report"]["elapsed_s"].as_f64().unwrap() >= 1.5, "{json}");
        }
    }
}

#[test]
fn one_request_says_that_it_is_too_few_for_most_figures() {
    let server = Server::unix(hello);
    let output = run(&server, &["--no-get-values", "-n", "1"]);
    let text = stdout(&output);
    assert!(text.contains("checked           1 of 1 good"), "{text}");
    assert!(text.contains("generator CPU     too short a run to say"), "{text}");
    assert!(!text.contains("of a core"), "{text}");
    for name in ["p50", "p90", "p99", "p99.9", "p99.99"] {
        assert!(text.contains(&format!("  {name:<8}      too few")), "{name}: {text}");
    }
    let json = json(&run(&server, &["--no-get-values", "-n", "1", "--json"]));
    let latency = &json["report"]["latency_ns"];
    assert_eq!((&latency["p50"], &latency["p99_99"]), (&Value::Null, &Value::Null), "{json}");
    assert!(latency["max"].is_u64() && json["generator_load"].is_null(), "{json}");
}

#[test]
fn a_hundred_requests_have_a_99th_percentile_and_none_beyond() {
    let server = Server::unix(hello);
    let json = json(&run(&server, &["--no-get-values", "-n", "100", "--json"]));
    let latency = &json["report"]["latency_ns"];
    assert!(latency["p99"].is_u64() && latency["p99_9"].is_null(), "{json}");
}

#[test]
fn a_rate_that_is_not_reached_exits_1_unless_the_best_was_all_that_was_asked_for() {
    let server = Server::unix(counting(|request, _| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        reply(request.id, b"Hello")
    }));
    let args = ["--no-get-values", "-r", "1000", "-d", "300ms", "--timeout", "2s"];
    let output = run(&server, &args);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).contains("of the offered rate was achieved"), "{}", stdout(&output));
    let output = run(&server, &[&args[..], &["--best-effort"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("of the offered rate was achieved"), "{}", stdout(&output));
}

#[test]
fn what_cannot_be_sent_in_time_does_not_prolong_the_run_by_its_timeout() {
    // Were the backlog worked off for as long as the timeout, all 300 would be sent.
    let server = Server::unix(counting(|request, _| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        reply(request.id, b"Hello")
    }));
    let args = ["--no-get-values", "-r", "1000", "-d", "300ms", "--timeout", "20s", "--json"];
    let json = json(&run(&server, &args));
    let report = &json["report"];
    assert_eq!(report["due"], 300);
    assert!(report["unsent"].as_u64().unwrap() > 200, "{json}");
    // And those unsent waited at least from their due time to the end.
    assert_eq!(report["latency_ns"]["count"], 300);
    assert_eq!(report["latency_ns"]["at_least"][0], "p50", "{json}");
}

#[test]
fn a_rate_beyond_all_clocks_is_bad_input_and_one_of_ten_million_is_not() {
    let server = Server::unix(hello);
    let output = run(&server, &["-r", "1e300", "-d", "100ms"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("1000000000"), "{}", stderr(&output));
    let output = run(&server, &["--no-get-values", "-r", "1e7", "-d", "200ms", "--timeout", "3s", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json = json(&output);
    assert_eq!(json["report"]["due"], 2_000_000);
    assert_eq!(json["report"]["latency_ns"]["count"], 2_000_000);
}
