//! The command line, as its users meet it.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::server::{Server, counting, hello, record, reply};

pub(crate) fn fcgi_load() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fcgi-load"));
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(server: &Server, args: &[&str]) -> Output {
    fcgi_load().arg(server.address.to_string()).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Answers `FCGI_GET_VALUES` with this record, requests with "Hello".
fn saying(pairs: &'static [u8]) -> Server {
    Server::unix(move |mut peer| {
        while let Some((kind, id, content)) = peer.record() {
            match kind {
                9 => peer.send(&record(10, 0, pairs, 0)),
                5 if content.is_empty() => peer.send(&reply(id, b"Hello")),
                _ => {}
            }
        }
    })
}

#[test]
fn a_good_run_prints_a_table_without_colours_and_exits_0() {
    let server = Server::unix(hello_or_close);
    let output = run(&server, &["--uri", "/hello", "--requests", "100", "--connections", "2"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for words in
        ["100 of 100 good", "p99.99", "coordinated omission", "1 per connection", "nothing of its capacity"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'));
    assert_eq!(stderr(&output), "");
}

/// Closes on anything but a request, as servers without management records do.
fn hello_or_close(mut peer: crate::server::Peer) {
    while let Some((kind, id, content)) = peer.record() {
        match kind {
            9 => return,
            5 if content.is_empty() => peer.send(&reply(id, b"Hello")),
            _ => {}
        }
    }
}

#[test]
fn json_is_one_object_with_the_histogram_in_it() {
    let server = Server::unix(hello_or_close);
    let args = ["--requests", "50", "--json", "--mode", "multiplex", "--streams", "4", "--rate", "1000"];
    let output = run(&server, &args);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["report"]["completed"], 50);
    assert_eq!(json["report"]["mode"], "multiplex");
    assert_eq!(json["report"]["errors"]["lost"], 0);
    assert_eq!(json["streams"], 4);
    assert!(json["achieved_by_offered"].is_f64());
    for histogram in ["latency_ns", "service_ns"] {
        let buckets = json["report"][histogram]["buckets"].as_array().unwrap();
        assert_eq!(buckets.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>(), 50);
    }
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
}

#[test]
fn bad_replies_are_named_and_exit_1() {
    let server = Server::unix(counting(|request, _| reply(request.id, b"Hello")));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Goodbye").unwrap();
    let path = file.path().to_str().unwrap();
    let output = run(&server, &["--no-get-values", "--requests", "5", "--expect-body", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("error wrong_content 5"), "{}", stdout(&output));
    assert!(stdout(&output).contains("a body of 5 bytes that is not the 7 expected ones"));
    let output = run(&server, &["--no-get-values", "--requests", "5", "--expect-status", "404"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("status 200 instead of 404"));
}

#[test]
fn bad_input_is_one_line_that_says_what_to_do_and_exits_2() {
    for (args, hint) in [
        (&["nowhere"][..], "unix:PATH"),
        (&["unix:/x", "--mode", "both"], "close, keep or multiplex"),
        (&["unix:/x", "--duration", "5"], "500ms"),
        (&["unix:/x", "--param", "name"], "NAME=VALUE"),
        (&["unix:/x", "--connections", "0"], "at least 1"),
        (&["unix:/x", "--requests", "0"], "at least 1"),
        (&["unix:/x", "--rate", "-1"], "rate"),
        (&["unix:/x", "--rate", "0"], "positive"),
        (&["unix:/x", "--streams", "4"], "--mode multiplex"),
        (&["unix:/x", "--mode", "multiplex", "--streams", "65536"], "65535"),
        (&["unix:/x", "--body", "/nonexistent"], "/nonexistent"),
        (&[], "<ADDRESS>"),
    ] {
        let output = fcgi_load().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(hint), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_server_that_is_not_there_is_one_line_and_exits_1() {
    let output = fcgi_load().arg("unix:/nonexistent/socket").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 1);
    assert!(
        stderr(&output).starts_with("fcgi-load: cannot connect to unix:/nonexistent/socket: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn no_more_connections_are_kept_than_the_server_says_it_holds() {
    let server = saying(b"\x0e\x01FCGI_MAX_CONNS3");
    let output = run(&server, &["--connections", "10", "--requests", "100"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("3 are opened instead of 10") && text.contains("3 opened"), "{text}");
    assert_eq!(server.accepted(), 1 + 3);
    let output = run(&server, &["--connections", "10", "--requests", "100", "--no-get-values"]);
    assert!(stdout(&output).contains("10 opened"));
}

#[test]
fn it_warns_before_it_multiplexes_where_the_server_says_it_does_not() {
    let server = saying(b"\x0f\x01FCGI_MPXS_CONNS0");
    let output = run(&server, &["--mode", "multiplex", "--requests", "10"]);
    assert!(stdout(&output).contains("FCGI_MPXS_CONNS is 0"), "{}", stdout(&output));
}

#[test]
fn an_interrupt_prints_what_there_is_and_exits_130() {
    let server = Server::unix(hello);
    let child = fcgi_load()
        .arg(server.address.to_string())
        .args(["--no-get-values", "--duration", "600s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while server.accepted() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(100));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(
        stdout(&output).contains("p50") && stdout(&output).contains("interrupted"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn the_help_has_examples() {
    let output = fcgi_load().arg("--help").output().unwrap();
    assert!(stdout(&output).contains("fcgi-load unix:/run/app.sock --mode multiplex -c 8 --streams 64"));
}

#[test]
fn body_method_and_parameters_reach_the_server() {
    let server = Server::unix(counting(|request, _| {
        let has = |pair: &[u8]| request.params.windows(pair.len()).any(|bytes| bytes == pair);
        let good = request.body == b"the body"
            && has(b"\x0e\x03REQUEST_METHODPUT")
            && has(b"\x0e\x01CONTENT_LENGTH8")
            && has(b"\x01\x03Xa=b");
        reply(request.id, if good { b"good" } else { b"bad" })
    }));
    let folder = tempfile::tempdir().unwrap();
    let (body, expected) = (folder.path().join("body"), folder.path().join("expected"));
    std::fs::write(&body, "the body").unwrap();
    std::fs::write(&expected, "good").unwrap();
    let (body, expected) = (body.to_str().unwrap(), expected.to_str().unwrap());
    let args = ["--no-get-values", "-n", "3", "--body", body, "--method", "PUT", "--param", "X=a=b"];
    let output = run(&server, &[&args[..], &["--expect-body", expected]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}
