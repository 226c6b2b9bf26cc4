//! However a run ends, no process and no socket of a server that it started is left.

use std::process::Stdio;

use rustix::process::Signal;

use crate::program::{Marked, outcome, signal, until};

/// A shell that stays; one that starts in the background, in sessions of their own too; each with its count of sleeps.
const SERVERS: [(&[&str], usize); 3] = [
    (&["sleep", "600"], 1),
    (&["sh", "-c", "sleep 600 & sleep 600; true"], 2),
    (&["sh", "-c", "setsid sleep 600 & (setsid sh -c 'sleep 600; true' &) & sleep 600; true"], 3),
];

#[test]
fn a_signal_that_can_be_caught_leaves_nothing() {
    for (ending, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for (server, sleeps) in SERVERS {
            let run = Marked::new();
            let child = run.command().arg("--exec").args(server).stdout(Stdio::null()).spawn().unwrap();
            until("the server runs", || run.processes(&["sleep"]).len() == sleeps);
            signal(child.id(), ending);
            assert_eq!(outcome(child).0, Some(status), "{ending:?} {server:?}");
            assert_eq!(run.processes(&[]), [0; 0], "{ending:?} {server:?}");
            assert_eq!(run.files(), 0, "{ending:?} {server:?}");
        }
    }
}

#[test]
fn sigkill_leaves_nothing_either() {
    for (server, sleeps) in SERVERS {
        let run = Marked::new();
        let child = run.command().arg("--exec").args(server).stdout(Stdio::null()).spawn().unwrap();
        until("the server runs", || run.processes(&["sleep"]).len() == sleeps);
        signal(child.id(), Signal::KILL);
        assert_eq!(outcome(child).0, None);
        until("the server has ended", || run.processes(&[]).is_empty());
        assert_eq!(run.files(), 0, "{server:?}");
    }
}

#[test]
fn a_server_that_ignores_sigterm_is_killed() {
    let run = Marked::new();
    let server = ["sh", "-c", "trap '' TERM; sleep 600 & sleep 600; true"];
    let child = run.command().arg("--exec").args(server).stdout(Stdio::null()).spawn().unwrap();
    until("the server runs", || run.processes(&["sleep"]).len() == 2);
    signal(child.id(), Signal::INT);
    assert_eq!(outcome(child).0, Some(130));
    assert_eq!(run.processes(&[]), [0; 0]);
}

#[test]
fn a_run_that_comes_to_its_end_leaves_nothing() {
    for (server, _) in SERVERS {
        for exec in ["--exec", "--exec-tcp"] {
            let run = Marked::new();
            let arguments = ["--case", "a-plain-request-is-answered", "--timeout", "0.2", exec];
            let child = run.command().args(arguments).args(server).stdout(Stdio::piped()).spawn().unwrap();
            let (status, shown, _) = outcome(child);
            assert_eq!(status, Some(1), "{shown}");
            assert!(shown.contains("within 200ms"), "{shown}");
            assert_eq!(run.processes(&[]), [0; 0], "{exec} {server:?}");
            assert_eq!(run.files(), 0, "{exec} {server:?}");
        }
    }
}

#[test]
fn a_server_whose_keeper_is_killed_is_killed_too() {
    let run = Marked::new();
    let child = run
        .command()
        .args(["--case", "a-plain-request-is-answered", "--exec", "sleep", "600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("the server runs", || run.processes(&["sleep"]).len() == 1);
    let servers = run.processes(&["sleep"]);
    signal(run.processes(&["fcgi-keeper"])[0], Signal::KILL);
    until("the server has ended", || !run.processes(&["sleep"]).contains(&servers[0]));
    // Another one is started, so that the run can say what it has found.
    assert!(matches!(outcome(child).0, Some(1 | 2)));
    assert_eq!(run.processes(&[]), [0; 0]);
}
