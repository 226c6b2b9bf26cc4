//! What the command writes, where, and whether it can.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use crate::command::{fcgi_load, run, stderr, stdout};
use crate::server::{Server, hello};

fn http(mut peer: crate::server::Peer) {
    if peer.record().is_some() {
        peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    }
}

#[test]
fn an_http_server_is_named_as_one() {
    let server = Server::tcp(http);
    let output = run(&server, &["-n", "5"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("an HTTP server"), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1);
    let output = run(&server, &["-n", "5", "--no-get-values"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("an HTTP server"), "{}", stdout(&output));
}

#[test]
fn another_protocol_is_quoted() {
    let server = Server::tcp(|mut peer| peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n"));
    let output = run(&server, &["-n", "5", "--no-get-values"]);
    assert!(stdout(&output).contains("\"SSH-2.0-\""), "{}", stdout(&output));
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_one_line() {
    let server = Server::unix(hello);
    let address = server.address.to_string();
    let run = [&address, "--no-get-values", "-n", "3"];
    for args in [&run[..], &[&run[..], &["--json"]].concat(), &["--help"], &["--version"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = fcgi_load().args(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        let text = stderr(&output);
        assert!(text.starts_with("fcgi-load: cannot write the result: No space left"), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error_and_changes_no_exit_status() {
    let server = Server::unix(hello);
    let address = server.address.to_string();
    // Whose histogram is more than a buffer holds.
    let run = [&address, "--no-get-values", "-n", "2000"];
    for (args, code) in [
        (&run[..], 0),
        (&[&run[..], &["--json"]].concat(), 0),
        (&[&run[..], &["--json", "--expect-status", "404"]].concat(), 1),
        (&["--help"], 0),
    ] {
        let mut command = fcgi_load();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.args(args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(code), ""), "{args:?}");
    }
}

#[test]
fn errors_that_cannot_be_written_keep_their_exit_status() {
    for (args, code) in
        [(&["unix:/nonexistent/socket"][..], 1), (&["nowhere"], 2), (&["unix:/x", "-r", "0"], 2)]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = fcgi_load().args(args).stderr(full).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

/// What the command writes to a terminal.
fn on_a_terminal(server: &Server, term: &str, no_color: Option<&str>) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let name = name.to_str().unwrap().to_owned();
    let open = || File::options().read(true).write(true).open(&name).unwrap();
    let mut command = fcgi_load();
    command.env("TERM", term).env_remove("NO_COLOR");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let mut child = command
        .arg(server.address.to_string())
        .args(["--no-get-values", "-d", "700ms"])
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    drop(command);
    let mut text = Vec::new();
    // Its last writer gone, a terminal is at its end by EIO.
    let _ = File::from(terminal).read_to_end(&mut text);
    child.wait().unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn colours_and_a_moving_line_are_for_terminals_that_can_show_them() {
    let server = Server::unix(hello);
    let text = on_a_terminal(&server, "xterm-256color", None);
    assert!(text.contains("\x1b[2m") && text.contains("good"), "{text:?}");
    let text = on_a_terminal(&server, "xterm-256color", Some("1"));
    assert!(!text.contains("\x1b[2m") && text.contains("coordinated omission"), "{text:?}");
    let text = on_a_terminal(&server, "dumb", None);
    assert!(!text.contains('\x1b') && text.contains("coordinated omission"), "{text:?}");
}
