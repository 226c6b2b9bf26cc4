//! Every request is in exactly one row of the report, and the rows add up, whatever goes wrong.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::command::{fcgi_load, stdout};
use crate::log::{LoggedServer, Trouble};
use crate::server::{Server, counting, end, hello, reply, reply_with};

/// The rows of the table that a request can be in, and what they should add up to.
fn rows(text: &str) -> (u64, u64) {
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok()).expect(text);
    let (mut sum, mut requests) = (0, None);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["checked", good, "of", all, "good"] => {
                sum += number(Some(good));
                requests = Some(number(Some(all)));
            }
            ["refused" | "unsent" | "unfinished", count, ..] | ["error", _, count] => {
                sum += number(Some(count));
            }
            _ => {}
        }
    }
    (sum, requests.expect(text))
}

fn assert_adds_up(json: &Value) {
    let report = &json["report"];
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name}: {json}"));
    let errors: u64 = report["errors"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let sum = count("completed") + count("refused") + errors + count("unsent") + count("unfinished");
    assert_eq!(sum, count("due"), "{json}");
    let latency = &report["latency_ns"];
    assert_eq!(latency["count"], count("due"), "each is in the latencies too: {json}");
    let buckets = |name: &str| -> u64 {
        latency[name].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum()
    };
    assert_eq!(buckets("buckets"), count("completed"), "{json}");
    assert_eq!(buckets("without_good_reply"), count("due") - count("completed"), "{json}");
}

fn command(address: &str, args: &str) -> Output {
    fcgi_load().arg(address).arg("--no-get-values").args(args.split_whitespace()).output().unwrap()
}

fn assert_both(start: impl Fn() -> (String, Box<dyn std::any::Any>), args: &str) {
    let (address, server) = start();
    let output = command(&address, &format!("{args} --json"));
    assert_adds_up(&serde_json::from_slice(&output.stdout).unwrap());
    drop(server);
    let (address, server) = start();
    let output = command(&address, args);
    let (sum, requests) = rows(stdout(&output));
    assert_eq!(sum, requests, "{args}: {}", stdout(&output));
    drop(server);
}

#[test]
fn the_rows_add_up_when_everything_goes_wrong_in_turn() {
    let start = || {
        let server = Server::unix(counting(|request, number| match number % 7 {
            0 => reply(request.id, b"Hello"),
            1 => end(request.id, 0, 2),
            2 => reply_with(request.id, "Status: 500 Oops", b""),
            3 => end(request.id, 0, 3),
            4 => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            5 => reply(request.id, b"Hello")[..20].to_vec(),
            _ => Vec::new(),
        }));
        (server.address.to_string(), Box::new(server) as Box<dyn std::any::Any>)
    };
    for args in [
        "-n 60 -c 4 --timeout 50ms",
        "-n 60 -c 4 --mode close --timeout 50ms",
        "-n 60 -c 2 --mode multiplex --streams 3 --timeout 50ms",
        "-d 500ms -c 4 -r 300 --timeout 50ms",
        "-d 500ms -c 4 -r 300 --timeout 50ms --mode close",
        "-d 500ms -c 2 -r 300 --timeout 50ms --mode multiplex --streams 3",
    ] {
        assert_both(start, args);
    }
}

#[test]
fn the_rows_add_up_through_an_outage_and_failed_connections_are_in_none() {
    let start = || {
        let (from, to) = (Duration::from_millis(100), Duration::from_millis(500));
        let server = LoggedServer::start(Trouble::Refuses { from, to });
        (server.address.clone(), Box::new(server) as Box<dyn std::any::Any>)
    };
    for args in [
        "-d 800ms -c 4 --timeout 100ms",
        "-d 800ms -c 4 -r 300 --timeout 100ms",
        "-d 800ms -c 4 -r 300 --timeout 100ms --mode close",
        "-d 600ms -c 2 -r 300 --timeout 100ms --mode multiplex --streams 3",
        "-d 300ms -c 4 -r 300 --timeout 100ms",
        "-d 300ms -c 4 -r 300 --timeout 100ms --mode close",
    ] {
        assert_both(start, args);
    }
    let (address, _server) = start();
    let output = command(&address, "-d 800ms -c 4 -r 300 --timeout 100ms");
    let text = stdout(&output);
    assert!(text.contains("attempts failed"), "{text}");
    assert!(text.contains("checked") && text.contains(" of 240 good"), "{text}");
}

#[test]
fn the_rows_add_up_after_an_interrupt() {
    for args in ["-d 600s -c 2 --json", "-d 600s -c 2 -r 100 --json"] {
        let server = Server::unix(counting(|request, number| {
            if number > 20 {
                std::thread::sleep(Duration::from_secs(2));
            }
            reply(request.id, b"Hello")
        }));
        let child = fcgi_load()
            .arg(server.address.to_string())
            .arg("--no-get-values")
            .args(args.split_whitespace())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_adds_up(&json);
        assert!(json["report"]["unfinished"].as_u64().unwrap() > 0, "{json}");
    }
}

#[test]
fn a_good_run_has_one_row() {
    let server = Server::unix(hello);
    let output = command(&server.address.to_string(), "-n 40 -c 4");
    assert_eq!(rows(stdout(&output)), (40, 40));
}
