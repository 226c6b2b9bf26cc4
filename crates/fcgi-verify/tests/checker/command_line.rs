//! The program: its exit status, and what it prints where.

use std::process::{Command, Output};

use crate::server::{Bug, Server};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fcgi-verify")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn address(server: &Server) -> String {
    format!("tcp:127.0.0.1:{}", server.port)
}

#[test]
fn a_correct_server_is_exit_0_and_a_table() {
    let server = Server::start(None);
    let output = run(&[&address(&server), "--chapter", "keep-conn", "--level", "required", "--workload=no"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("passed   keep-conn/with-keep-conn-the-connection-stays-open"), "{shown}");
    assert!(shown.contains("not applicable: the server does not answer the workload"), "{shown}");
    assert!(shown.contains("every required and robustness case passed"), "{shown}");
    assert!(!shown.contains('\x1b'), "colours in a pipe: {shown}");
}

#[test]
fn a_required_failure_is_exit_1_and_says_what_was_asked() {
    let server = Server::start(Some(Bug::StdoutNotEnded));
    let output = run(&[&address(&server), "--case", "stdout-ends-with-an-empty-record"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for part in ["FAILED", "asked: A stream is", "found: END_REQUEST came", "<- END_REQUEST id 1"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn json_and_junit_tell_the_same() {
    let server = Server::start(Some(Bug::EveryRole));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let output = run(&[&address(&server), "--chapter", "roles", "--json", "--junit", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed = document["counts"]["failed"].as_u64().unwrap();
    assert!(failed >= 3 && document["passed"] == false, "{document}");
    let cases = document["cases"].as_array().unwrap();
    let refused = cases.iter().find(|case| case["name"] == "an-unknown-role-is-refused").unwrap();
    assert_eq!((&refused["outcome"], &refused["level"]), (&"failed".into(), &"required".into()));
    assert!(refused["transcript"].as_str().unwrap().contains("BEGIN_REQUEST"));
    let junit = std::fs::read_to_string(file).unwrap();
    let binding =
        cases.iter().filter(|case| case["outcome"] == "failed" && case["level"] == "required").count();
    assert_eq!(junit.matches("<failure ").count(), binding, "{junit}");
}

#[test]
fn bad_input_is_exit_2_and_one_line() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["unix:/nonexistent/socket"],
        &["tcp:127.0.0.1:1"],
        &["unix:/x", "--case", "no-such-case"],
        &["unix:/x", "--chapter", "no-such-chapter"],
        &["unix:/x", "--level", "no-such-level"],
        &["unix:/x", "--timeout", "soon"],
        &["unix:/x", "--param", "NOVALUE"],
        &["--exec", "/nonexistent/command"],
    ] {
        let output = run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_list_names_every_case() {
    let output = run(&["--list", "--chapter", "abort"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        shown.contains("abort/an-abort-before-params-ends-the-request (required, section 5.4)"),
        "{shown}"
    );
    assert!(shown.contains("needs: the workload, reading while a request waits"), "{shown}");
    assert!(!shown.contains("records/"), "{shown}");
}

#[test]
fn help_has_examples() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("fcgi-verify --exec ./my-application"));
}

#[test]
fn a_server_that_never_answers_does_not_hang_the_checker() {
    for exec in ["--exec", "--exec-tcp"] {
        let output = run(&["--case", "a-plain-request-is-answered", "--timeout", "0.2", exec, "sleep", "60"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains("within 200ms"), "{}", text(&output.stdout));
    }
}

#[test]
fn a_server_that_is_gone_is_said_once() {
    let server = Server::start(Some(Bug::DiesOfGarbage));
    let output = run(&[
        &address(&server),
        "--chapter",
        "garbage",
        "--timeout",
        "1",
        "--connections",
        "1",
        "--workload=no",
    ]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("not applicable: the server is gone since garbage/random-bytes-are-survived"),
        "{shown}"
    );
    assert!(shown.contains("1 required or robustness cases failed"), "{shown}");
}
