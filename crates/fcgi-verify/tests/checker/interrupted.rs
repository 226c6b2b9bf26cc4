//! A run that a signal ends tells what is known so far.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{outcome, program, signal, until};
use crate::server::{Bug, Server};

/// The first two are answered, over a connection each. The third waits for ever.
const CASES: [&str; 6] = [
    "--case=a-plain-request-is-answered",
    "--case=a-request-with-a-body-is-answered",
    "--case=stdout-ends-with-an-empty-record",
    "--workload=no",
    "--multiplexing=no",
    "--connections=1",
];

/// Interrupts a run within its third case.
fn interrupted(format: &[&str], ending: Signal) -> (Option<i32>, String, String) {
    // The probe asks over two connections.
    let server = Server::start(Some(Bug::SilentFrom(4)));
    let child = program()
        .arg(server.address())
        .args(CASES)
        .args(["--timeout", "3600"])
        .args(format)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the third case has begun", || server.accepted() == 5);
    signal(child.id(), ending);
    outcome(child)
}

#[test]
fn the_summary_shows_what_is_known() {
    for (ending, name, expected) in
        [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143), (Signal::HUP, "SIGHUP", 129)]
    {
        let (status, shown, said) = interrupted(&[], ending);
        assert_eq!(status, Some(expected), "{shown}{said}");
        assert_eq!(shown.matches("passed  ").count(), 2, "{shown}");
        assert!(shown.contains("\nall "), "{shown}");
        assert!(shown.contains(&format!("stopped: interrupted by {name} in ")), "{shown}");
        assert!(shown.contains("; 1 of 3 cases were not run to their end"), "{shown}");
        assert!(!shown.contains("every required and robustness case passed"), "{shown}");
        assert_eq!(said, "");
    }
}

#[test]
fn json_and_junit_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let (status, shown, said) = interrupted(&["--json", "--junit", file.to_str().unwrap()], Signal::INT);
    assert_eq!(status, Some(130), "{said}");
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(document["counts"]["passed"], 2, "{document}");
    assert_eq!(document["counts"]["not_run"], 1, "{document}");
    assert_eq!(document["passed"], false);
    assert!(document["stopped"].as_str().unwrap().starts_with("interrupted by SIGINT"), "{document}");
    let junit = fs::read_to_string(file).unwrap();
    let counts =
        ["<testcase ", "<skipped ", "<error ", "</testsuites>\n"].map(|part| junit.matches(part).count());
    assert_eq!(counts, [4, 1, 1, 1], "{junit}");
}

#[test]
fn before_the_first_case_it_says_that_there_is_nothing_yet() {
    let server = Server::start(Some(Bug::SilentFrom(0)));
    let arguments = ["--json", "--timeout", "3600"];
    let child = program().arg(server.address()).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    until("it is asked what it is", || server.accepted() > 0);
    signal(child.id(), Signal::INT);
    let (status, shown, _) = outcome(child);
    assert_eq!(status, Some(130));
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&document["target"], &document["counts"]["passed"]), (&Value::Null, &0.into()), "{document}");
}
