//! An open loop through trouble: it lasts as long as it was told to, goes on with what is due by then, and what waited
//! shows in the percentiles. Each is held against the log that the server keeps.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::command::{fcgi_load, stdout};
use crate::log::{LoggedServer, Trouble};
use crate::server::{Server, reply};

fn run(server: &LoggedServer, args: &str) -> (Output, Value) {
    let output = fcgi_load()
        .arg(&server.address)
        .args(["--no-get-values", "--json"])
        .args(args.split_whitespace())
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (output, json)
}

fn nanoseconds(json: &Value, name: &str) -> u64 {
    json["report"]["latency_ns"][name].as_u64().unwrap()
}

#[test]
fn a_server_that_is_slow_by_turns_shows_its_slowness_in_the_percentiles() {
    let (period, slow) = (Duration::from_millis(1000), Duration::from_millis(400));
    let server = LoggedServer::start(Trouble::SlowByTurns { period, slow });
    let (output, json) = run(&server, "-c 2 -r 500 -d 3s");
    assert_eq!(json["report"]["due"], 1500, "{json}");
    server.assert_agrees(&json, 500.0);
    // In the last slow part requests are due until the end.
    assert!(nanoseconds(&json, "p90") > 200_000_000, "{json}");
    assert!(output.status.code() <= Some(1));
}

#[test]
fn a_server_that_is_silent_for_longer_than_the_timeout_shows_the_whole_silence() {
    // Four times the timeout.
    let (period, slow) = (Duration::from_millis(2000), Duration::from_millis(1200));
    let server = LoggedServer::start(Trouble::SlowByTurns { period, slow });
    let (output, json) = run(&server, "-c 4 -r 500 -d 3s --timeout 300ms");
    server.assert_agrees(&json, 500.0);
    assert_eq!(json["report"]["due"], 1500, "{json}");
    assert!(json["report"]["errors"]["timeout"].as_u64().unwrap() >= 8, "{json}");
    assert!(nanoseconds(&json, "p90") > 700_000_000, "{json}");
    // It went on with what was due by then.
    assert!(server.came_after(period) > 900, "{json}");
    assert!(json["report"]["elapsed_s"].as_f64().unwrap() >= 3.0);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_is_killed_and_started_again_is_found_again_and_its_absence_counts() {
    let (from, to) = (Duration::from_millis(500), Duration::from_millis(1500));
    let server = LoggedServer::start(Trouble::Killed { from, to });
    // It is away for five times the timeout.
    let (output, json) = run(&server, "-c 4 -r 500 -d 2500ms --timeout 200ms");
    assert_eq!(json["report"]["due"], 1250, "{json}");
    server.assert_agrees(&json, 500.0);
    assert_eq!(json["report"]["completed"].as_u64().unwrap() as usize, server.answered());
    assert!(nanoseconds(&json, "p90") > 700_000_000, "{json}");
    assert!(server.came_after(to) > 900, "{json}");
    assert!(json["report"]["connects_failed"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_refuses_connections_for_a_second_is_tried_again_and_the_second_counts() {
    let (from, to) = (Duration::from_millis(500), Duration::from_millis(1500));
    for mode in ["keep", "close"] {
        let server = LoggedServer::start(Trouble::Refuses { from, to });
        let (output, json) = run(&server, &format!("--mode {mode} -c 4 -r 500 -d 2500ms --timeout 200ms"));
        let report = &json["report"];
        assert_eq!(report["due"], 1250, "{json}");
        assert!(nanoseconds(&json, "p90") > 700_000_000, "{json}");
        // Not only the 500 that were due then.
        assert!(server.came_after(to) > 700, "{json}");
        assert!(report["elapsed_s"].as_f64().unwrap() >= 2.5, "{json}");
        assert_eq!(output.status.code(), Some(1));
        if mode == "keep" {
            server.assert_agrees(&json, 500.0);
        }
    }
}

#[test]
fn a_server_that_never_comes_back_leaves_a_run_as_long_as_it_was_to_be() {
    let (from, to) = (Duration::from_millis(300), Duration::MAX);
    let server = LoggedServer::start(Trouble::Killed { from, to });
    let (_, json) = run(&server, "-c 2 -r 500 -d 1500ms --timeout 200ms");
    let report = &json["report"];
    assert_eq!((&report["due"], &report["gave_up"]), (&750.into(), &false.into()), "{json}");
    assert!(report["elapsed_s"].as_f64().unwrap() >= 1.5, "{json}");
    assert!(report["unsent"].as_u64().unwrap() > 500, "{json}");
    // More than half of them were not answered: from the median on they waited at least so long.
    let at_least = &report["latency_ns"]["at_least"];
    assert!(at_least.as_array().unwrap().contains(&"p90".into()), "{json}");
    assert!(nanoseconds(&json, "p90") > 900_000_000, "{json}");
}

#[test]
fn a_run_by_number_goes_through_an_outage_as_one_by_time_does() {
    let (from, to) = (Duration::from_millis(300), Duration::from_millis(1300));
    let server = LoggedServer::start(Trouble::Killed { from, to });
    let (_, json) = run(&server, "-c 2 -r 500 -n 1000 --timeout 200ms");
    assert_eq!((&json["report"]["due"], &json["report"]["unsent"]), (&1000.into(), &0.into()), "{json}");
    assert_eq!(json["report"]["gave_up"], false);
    server.assert_agrees(&json, 500.0);
}

#[test]
fn a_closed_loop_by_time_lasts_as_long_too() {
    let (from, to) = (Duration::from_millis(300), Duration::MAX);
    for mode in ["keep", "close"] {
        let server = LoggedServer::start(Trouble::Killed { from, to });
        let (_, json) = run(&server, &format!("--mode {mode} -d 1200ms --timeout 100ms"));
        let report = &json["report"];
        assert_eq!(report["gave_up"], false, "{json}");
        assert!(report["elapsed_s"].as_f64().unwrap() >= 1.2, "{json}");
        assert_eq!(report["completed"].as_u64().unwrap() as usize, server.answered(), "{json}");
    }
}

#[test]
fn replies_that_came_while_the_generator_itself_was_held_up_are_no_timeouts() {
    // More connections than one look at epoll tells of.
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    let server = Server::unix(move |mut peer| {
        while let Some(request) = peer.request() {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(400));
            peer.send(&reply(request.id, b"Hello"));
        }
    });
    let args = ["--no-get-values", "-c", "600", "-n", "1200", "--timeout", "1s"];
    let child = fcgi_load()
        .arg(server.address.to_string())
        .args(args)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while came.load(Ordering::SeqCst) < 600 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(stdout(&output).contains("1200 of 1200 good"), "{}", stdout(&output));
}
