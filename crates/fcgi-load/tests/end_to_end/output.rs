//! What the command writes, where, and whether it can: one line that names the trouble, and JSON in any case.

use std::fs::File;
use std::io::Read;
use std::process::{Output, Stdio};

use serde_json::Value;

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

/// The command with so few descriptors.
fn with_descriptors(count: usize, server: &Server, args: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_fcgi-load");
    let line = format!("ulimit -n {count}; exec {program} {} {args}", server.address);
    std::process::Command::new("sh").args(["-c", &line]).output().unwrap()
}

#[test]
fn out_of_descriptors_is_one_line_that_names_ulimit() {
    for server in [Server::unix(hello), Server::tcp(hello)] {
        for args in ["-c 100 -n 1000", "-c 100 -n 1000 --mode close", "-c 100 -r 100000 -d 1s --mode close"] {
            let output = with_descriptors(40, &server, args);
            assert_eq!(output.status.code(), Some(1), "{args}: {}", stdout(&output));
            let text = stderr(&output);
            assert!(text.contains("ulimit -n") && text.contains("40"), "{args}: {text}{}", stdout(&output));
            assert_eq!((text.lines().count(), stdout(&output)), (1, ""), "{args}: {text}");
            let json = with_descriptors(40, &server, &format!("{args} --json"));
            let json: Value = serde_json::from_slice(&json.stdout).unwrap();
            assert!(json["error"].as_str().unwrap().contains("ulimit -n"), "{json}");
        }
    }
    // Not even enough to begin.
    let output = with_descriptors(4, &Server::unix(hello), "-n 1");
    assert!(stderr(&output).contains("ulimit -n"), "{}", stderr(&output));
}

#[test]
fn json_says_what_was_asked_of_whom_by_what_and_when() {
    let server = Server::unix(hello);
    let args =
        ["--no-get-values", "-n", "5", "--json", "--uri", "/a?b=c", "-p", "X=y", "--expect-status", "200"];
    let output = run(&server, &args);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["address"], server.address.to_string());
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let request = &json["request"];
    assert_eq!((&request["method"], &request["uri"]), (&"GET".into(), &"/a?b=c".into()), "{json}");
    assert_eq!(request["params"]["X"], "y");
    assert_eq!((&request["body_bytes"], &request["expect"]["status"]), (&0.into(), &200.into()));
    assert_eq!(
        (&json["requests"], &json["duration_s"], &json["timeout_s"]),
        (&5.into(), &Value::Null, &5.0.into())
    );
    assert_eq!((&json["error"], &json["exit_status"]), (&Value::Null, &0.into()), "{json}");
    assert_times(&json);
}

/// Both are such as 2026-01-31T23:59:59.123Z, and the end is not before the start.
#[track_caller]
fn assert_times(json: &Value) {
    let (start, end) = (json["start"].as_str().unwrap(), json["end"].as_str().unwrap());
    for time in [start, end] {
        let pattern: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(pattern, "0000-00-00T00:00:00.000Z", "{time}");
        assert!(time > "2025", "{time}");
    }
    assert!(start <= end, "{start} {end}");
}

#[test]
fn json_is_written_too_where_no_connection_could_be_made() {
    for args in [&["--json"][..], &["--json", "--no-get-values"]] {
        let output = fcgi_load().arg("unix:/nonexistent/socket").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["address"], "unix:/nonexistent/socket");
        assert!(json["error"].as_str().unwrap().contains("cannot connect"), "{json}");
        assert_eq!((&json["report"], &json["exit_status"]), (&Value::Null, &1.into()));
        assert_times(&json);
    }
    // In close mode the run itself finds that out.
    let args = ["--json", "--no-get-values", "--mode", "close", "-n", "3", "--timeout", "100ms"];
    let output = fcgi_load().arg("unix:/nonexistent/socket").args(args).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["report"]["errors"]["connect"], 3, "{json}");
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
