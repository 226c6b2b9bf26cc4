//! Servers in trouble: the run says what has happened, goes on where that makes sense, and stops where it does not.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Marked, outcome, program, run, text};
use crate::server::{Bug, Server};
use crate::spawned::exec_tcp;

/// The cases of one chapter, as fast as they can fail.
const GARBAGE: [&str; 6] =
    ["--chapter", "garbage", "--timeout=1", "--connections=1", "--workload=no", "--multiplexing=no"];

fn json(shown: &str) -> Value {
    serde_json::from_str(shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

/// Names of the cases that came out so.
fn of_outcome<'d>(document: &'d Value, outcome: &str) -> Vec<&'d str> {
    let cases = document["cases"].as_array().unwrap().iter();
    cases.filter(|case| case["outcome"] == outcome).map(|case| case["name"].as_str().unwrap()).collect()
}

#[test]
fn a_command_that_ends_at_once_is_said_once_and_stops_the_run() {
    for (command, end) in [
        (&["false"][..], "status 1"),
        (&["true"], "status 0"),
        (&["sh", "-c", "exit 3"], "status 3"),
        (&["sh", "-c", "kill -9 $$"], "signal 9 (SIGKILL)"),
        // When the probe is at it already.
        (&["sh", "-c", "sleep 0.5; exit 4"], "status 4"),
    ] {
        for format in [&[][..], &["--json"], &["--quiet"]] {
            let run = Marked::new();
            let arguments = ["--timeout", "0.5", "--exec"];
            let output = run.command().args(format).args(arguments).args(command).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
            assert!(
                said.contains(&format!("cannot start the server: it exited by itself with {end}")),
                "{said}"
            );
            assert!(output.stdout.is_empty(), "{command:?}: {}", text(&output.stdout));
            assert_eq!(run.files(), 0);
        }
    }
}

#[test]
fn a_server_that_dies_within_a_case_is_started_again_and_the_case_named() {
    let mut command = program();
    let output = exec_tcp(command.args(GARBAGE).arg("--json"), Bug::DiesOfGarbage, None).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let document = json(&text(&output.stdout));
    assert_eq!((&document["passed"], &document["stopped"]), (&false.into(), &Value::Null), "{document}");
    let cases = document["cases"].as_array().unwrap();
    let died: Vec<&Value> = cases.iter().filter(|case| case["ended_server"] == true).collect();
    assert!(!died.is_empty());
    for case in &died {
        assert_eq!(case["outcome"], "failed");
        assert!(case["detail"].as_str().unwrap().starts_with("the server exited with status 7"), "{case}");
    }
    // The cases after the first death were run, on a server that lives.
    let first = cases.iter().position(|case| case["ended_server"] == true).unwrap();
    assert!(cases[first + 1..].iter().any(|case| case["outcome"] == "passed"), "{document}");
    assert_eq!(document["counts"]["not_run"], 0);
}

#[test]
fn a_server_that_dies_in_a_case_of_any_level_fails_the_run() {
    let arguments = ["--level", "implementation-defined", "--timeout=1", "--connections=1", "--workload=no"];
    let mut command = program();
    let output = exec_tcp(command.args(arguments), Bug::DiesOfGarbage, None).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("found: the server exited with status 7"), "{shown}");
    assert!(shown.contains("the server exited in "), "{shown}");
    assert!(!shown.contains("every required and robustness case passed"), "{shown}");
}

#[test]
fn a_server_that_dies_when_it_is_asked_what_it_is_is_checked_all_the_same() {
    let cases =
        ["--case=a-plain-request-is-answered", "--case=get-values-is-answered", "--json", "--timeout=1"];
    let mut command = program();
    let output = exec_tcp(command.args(cases), Bug::DiesOfGetValues, None).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said.matches("fcgi-verify: the server exited with status 7 when it was asked").count(),
        1,
        "{said}"
    );
    let document = json(&text(&output.stdout));
    assert!(of_outcome(&document, "passed").contains(&"a-plain-request-is-answered"), "{document}");
    assert_eq!(document["stopped"], Value::Null, "{document}");
}

#[test]
fn a_server_that_cannot_be_started_again_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let reason = "the server cannot be started again after garbage/";
    for format in ["--json", "text"] {
        let once = folder.path().join(format);
        let junit = folder.path().join("report.xml");
        let mut command = program();
        command.args(GARBAGE).arg("--junit").arg(&junit);
        if format == "--json" {
            command.arg(format);
        }
        let output = exec_tcp(&mut command, Bug::DiesOfGarbage, once.to_str()).output().unwrap();
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{shown}{}", text(&output.stderr));
        let junit = fs::read_to_string(junit).unwrap();
        assert!(junit.contains(&format!("<error message=\"{reason}")), "{junit}");
        assert!(junit.ends_with("</testsuites>\n"), "{junit}");
        if format == "--json" {
            let document = json(&shown);
            let stopped = document["stopped"].as_str().unwrap();
            assert!(stopped.starts_with(reason), "{stopped}");
            assert!(stopped.ends_with("it exited by itself with status 9"), "{stopped}");
            assert!(document["counts"]["not_run"].as_u64().unwrap() > 0);
            assert_eq!(of_outcome(&document, "failed").len(), 1, "{document}");
        } else {
            assert_eq!(shown.matches(&format!("stopped: {reason}")).count(), 1, "{shown}");
        }
    }
}

#[test]
fn a_server_that_never_answers_stops_the_run_after_a_few_cases() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Server::start(Some(Bug::SilentFrom(0)));
    let address = silent.address();
    let servers = [&[&address[..]][..], &["--exec", "sleep", "600"], &["--exec-tcp", "sleep", "600"]];
    for server in servers {
        let file = folder.path().join("report.xml");
        let of_format = |format: &[&str]| {
            let run = Marked::new();
            let mut command = run.command();
            command.args(["--chapter", "records", "--timeout", "0.2"]).args(format).args(server);
            let (status, shown, _) = outcome(command.stdout(Stdio::piped()).spawn().unwrap());
            assert_eq!(status, Some(1), "{server:?}: {shown}");
            shown
        };
        let document = json(&of_format(&["--json", "--junit", file.to_str().unwrap()]));
        assert_eq!(of_outcome(&document, "failed").len(), 3, "{document}");
        assert!(document["stopped"].as_str().unwrap().starts_with("the server never answers"), "{document}");
        assert!(document["counts"]["not_run"].as_u64().unwrap() > 3, "{document}");
        let junit = fs::read_to_string(&file).unwrap();
        assert!(junit.contains("<error message=\"the server never answers"), "{junit}");
        let shown = of_format(&[]);
        assert_eq!(shown.matches("the server never answers").count(), 1, "{shown}");
        // Those three, and again in the summary.
        assert_eq!(shown.matches("FAILED").count(), 6, "{shown}");
    }
}

#[test]
fn a_server_that_is_silent_where_it_should_not_be_and_answers_otherwise_is_checked_to_the_end() {
    let server = Server::start(Some(Bug::AbortIgnored));
    let output = run(&[&server.address(), "--chapter", "abort", "--timeout", "0.3", "--json"]);
    let document = json(&text(&output.stdout));
    assert_eq!(document["stopped"], Value::Null, "{document}");
    assert!(of_outcome(&document, "failed").len() > 3, "{document}");
}

#[test]
fn a_server_that_is_gone_after_the_last_case_fails_the_run_whatever_its_level() {
    let server = Server::start(Some(Bug::DiesOfGarbage));
    let arguments = ["--case=a-record-of-another-version", "--timeout=1", "--connections=1", "--workload=no"];
    let output = program().arg(server.address()).args(arguments).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("reported records/a-record-of-another-version"), "{shown}");
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("stopped: the server is gone since records/a-record-of-another-version\n"),
        "{shown}"
    );
}

#[test]
fn a_server_that_is_gone_is_said_once() {
    let server = Server::start(Some(Bug::DiesOfGarbage));
    let output = program().arg(server.address()).args(GARBAGE).output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let said = "stopped: the server is gone since garbage/random-bytes-are-survived; ";
    assert_eq!(shown.matches(said).count(), 1, "{shown}");
    assert!(shown.contains("1 required or robustness cases failed"), "{shown}");
}
