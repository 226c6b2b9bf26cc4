//! The program: its exit status, and what it prints where.

use crate::program::{run, text};
use crate::server::{Bug, Server};

#[test]
fn a_correct_server_is_exit_0_and_a_table() {
    let server = Server::start(None);
    let output = run(&[&server.address(), "--chapter", "keep-conn", "--level", "required", "--workload=no"]);
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
    let output = run(&[&server.address(), "--case", "stdout-ends-with-an-empty-record"]);
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
    let output = run(&[&server.address(), "--chapter", "roles", "--json", "--junit", file.to_str().unwrap()]);
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
fn help_has_examples_and_states_every_exit_status() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    for part in
        ["fcgi-verify --exec ./my-application", "Exit status: 0 if", "; 1 if", "; 2 for", "130 after Ctrl-C"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
