//! Output that cannot be written, or that nobody reads, and terminals.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::program::{program, text};
use crate::server::Server;

const ONE_CASE: [&str; 5] = [
    "--case=a-plain-request-is-answered",
    "--case=stdout-ends-with-an-empty-record",
    "--workload=no",
    "--multiplexing=no",
    "--connections=1",
];

/// All ways to print something, with an address where one is needed.
fn ways(address: &str) -> Vec<Vec<&str>> {
    let of_a_run = [&[][..], &["--quiet"], &["--json"]];
    let mut ways: Vec<Vec<&str>> =
        of_a_run.iter().map(|format| [&[address], &ONE_CASE[..], format].concat()).collect();
    ways.extend([vec!["--list"], vec!["--list", "--json"], vec!["--help"], vec!["--version"]]);
    ways
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe's writing end, with nobody at the other.
fn unread() -> OwnedFd {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

fn is_one_line(output: &Output, words: &str) -> bool {
    let said = text(&output.stderr);
    said.lines().count() == 1 && said.contains(words)
}

#[test]
fn a_full_device_is_one_line_and_exit_2() {
    let server = Server::start(None);
    for way in ways(&server.address()) {
        let output = program().args(&way).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{way:?}");
        assert!(is_one_line(&output, "cannot write to standard output"), "{way:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_one_line_and_exit_2() {
    let server = Server::start(None);
    for path in ["/dev/full", "/nonexistent/report.xml"] {
        let arguments = ["--junit", path];
        let output = program().arg(server.address()).args(ONE_CASE).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert!(is_one_line(&output, &format!("cannot write {path}")), "{}", text(&output.stderr));
        // A folder that is not there is known before the first case.
        assert_eq!(output.stdout.is_empty(), path != "/dev/full", "{}", text(&output.stdout));
    }
}

#[test]
fn a_full_device_takes_no_report_away() {
    let server = Server::start(None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let mut command = program();
    command.arg(server.address()).args(ONE_CASE).arg("--json").arg("--junit").arg(&file);
    assert_eq!(command.stdout(full()).output().unwrap().status.code(), Some(2));
    let junit = fs::read_to_string(file).unwrap();
    assert_eq!(junit.matches("<testcase ").count(), 2, "{junit}");
}

#[test]
fn a_report_is_replaced_whole_and_kept_when_there_is_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let old = "<old/>".repeat(10_000);
    fs::write(&file, &old).unwrap();
    let command = |address: &str| {
        let mut command = program();
        command.arg(address).args(ONE_CASE).arg("--junit").arg(&file);
        command.output().unwrap().status.code()
    };
    assert_eq!(command("unix:/nonexistent/socket"), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), old);
    let server = Server::start(None);
    assert_eq!(command(&server.address()), Some(0));
    let junit = fs::read_to_string(&file).unwrap();
    assert!(junit.ends_with("</testsuites>\n") && !junit.contains("<old/>"), "{junit}");
}

#[test]
fn a_pipe_that_nobody_reads_ends_quietly() {
    let server = Server::start(None);
    for way in ways(&server.address()) {
        let output = program().args(&way).stdout(unread()).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{way:?}: {:?}", output.status);
        assert_eq!(text(&output.stderr), "", "{way:?}");
    }
}

#[test]
fn a_run_that_nobody_reads_stops() {
    let server = Server::start(None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let mut command = program();
    command.args([&server.address(), "--chapter", "records", "--junit"]).arg(&file);
    let output = command.stdout(unread()).output().unwrap();
    assert_eq!((output.status.code(), &text(&output.stderr)[..]), (Some(1), ""));
    let junit = fs::read_to_string(file).unwrap();
    assert!(junit.contains("<error message=\"nobody reads the output any more\"/>"), "{junit}");
}

#[test]
fn standard_error_that_cannot_be_written_does_not_change_the_exit_status() {
    for stderr in [Stdio::from(full()), Stdio::from(unread())] {
        let output = program().arg("nonsense").stderr(stderr).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}

/// What is shown on a terminal of this kind.
fn on_terminal(environment: &[(&str, &str)]) -> String {
    let server = Server::start(None);
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = program();
    command.arg(server.address()).args(ONE_CASE).env_remove("NO_COLOR").envs(environment.iter().copied());
    let mut child = command.stdout(theirs.try_clone().unwrap()).stderr(theirs).spawn().unwrap();
    // The command holds the terminal's other end.
    drop(command);
    let mut shown = Vec::new();
    // The end of a terminal that nobody else has open is an error.
    let _ = File::from(ours).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    text(&shown)
}

#[test]
fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
    let coloured = on_terminal(&[("TERM", "xterm")]);
    assert!(coloured.contains("\x1b[32mpassed"), "{coloured:?}");
    let dumb = on_terminal(&[("TERM", "dumb")]);
    assert!(dumb.contains("passed") && !dumb.contains('\x1b'), "{dumb:?}");
    let unwanted = on_terminal(&[("TERM", "xterm"), ("NO_COLOR", "1")]);
    assert!(unwanted.contains("passed") && !unwanted.contains("\x1b[32m"), "{unwanted:?}");
}
