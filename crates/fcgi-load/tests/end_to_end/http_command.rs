//! The command line against HTTP servers.

use std::process::Output;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::command::{fcgi_load, run, stderr, stdout};
use crate::http_server::{answering, hello, reply};
use crate::server::Server;

fn http(server: &Server, args: &[&str]) -> Output {
    run(server, &[&["--http"], args].concat())
}

#[test]
fn a_good_run_names_the_protocol_asks_for_no_values_and_exits_0() {
    for server in [Server::unix(hello), Server::tcp(hello)] {
        for mode in ["keep", "close"] {
            let output = http(&server, &["--uri", "/hello", "-n", "100", "-c", "2", "--mode", mode]);
            let text = stdout(&output);
            assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
            let address = &server.address;
            for words in [&format!("{address}, http, {mode}: 2 connections")[..], "100 of 100 good"] {
                assert!(text.contains(words), "{words} is not in\n{text}");
            }
            assert!(!text.contains("server says"), "{text}");
            assert_eq!(stderr(&output), "");
        }
        assert_eq!(server.accepted(), 2 + 100);
    }
}

#[test]
fn without_the_option_the_protocol_is_fastcgi() {
    let server = Server::unix(crate::server::hello);
    let output = run(&server, &["--no-get-values", "-n", "5"]);
    assert!(stdout(&output).contains(", fastcgi, keep: "), "{}", stdout(&output));
    let output = run(&server, &["--no-get-values", "-n", "5", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["protocol"], &json["request"]["expect"]["app_status"]), (&"fastcgi".into(), &0.into()));
}

#[test]
fn json_names_the_protocol_and_nothing_that_it_does_not_have() {
    let server = Server::tcp(hello);
    let output = http(&server, &["-n", "50", "--json", "--uri", "/a?b=c", "--rate", "1000"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["protocol"], &json["mode"]), (&"http".into(), &"keep".into()), "{json}");
    assert_eq!(json["report"]["completed"], 50);
    let request = &json["request"];
    assert_eq!((&request["method"], &request["uri"]), (&"GET".into(), &"/a?b=c".into()));
    let expect = &request["expect"];
    for absent in [&json["capacity"], &request["params"], &expect["app_status"], &expect["stdout_end"]] {
        assert_eq!(absent, &Value::Null, "{json}");
    }
    assert_eq!(expect["status"], 200);
}

#[test]
fn body_method_uri_and_host_reach_the_server_and_its_reply_is_compared() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&seen);
    let server = Server::tcp(answering(move |request, _| {
        requests.lock().unwrap().push(request.clone());
        reply("", b"good")
    }));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (body, good, bad) = (file("body", "the body"), file("good", "good"), file("bad", "goods"));
    let args = ["-n", "3", "--uri", "/put?x", "--body", &body, "--method", "PUT", "--expect-body"];
    let output = http(&server, &[&args[..], &[&good]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let output = http(&server, &[&args[..], &[&bad]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("error wrong_content 3"), "{}", stdout(&output));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    let address = server.address.to_string();
    for request in seen.iter() {
        assert_eq!((&request.lines[0][..], &request.body[..]), ("PUT /put?x HTTP/1.1", &b"the body"[..]));
        assert_eq!(request.values("Host"), [address.strip_prefix("tcp:").unwrap()]);
    }
}

#[test]
fn a_wrong_status_or_another_protocol_is_named_and_exits_1() {
    let server = Server::tcp(hello);
    let output = http(&server, &["-n", "5", "--expect-status", "404"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("status 200 instead of 404"), "{}", stdout(&output));
    let server = Server::tcp(|mut peer| {
        peer.some();
        peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n");
    });
    let output = http(&server, &["-n", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("error protocol 5") && text.contains("\"SSH-2.0-\" in place of a status line"),
        "{text}"
    );
}

#[test]
fn what_has_no_meaning_in_http_is_refused_with_one_line_and_exits_2() {
    for args in [
        &["--mode", "multiplex"][..],
        &["--streams", "4"],
        &["--param", "A=b"],
        &["--expect-app-status", "0"],
        &["--allow-unterminated"],
        &["--method", "CONNECT"],
        &["--method", "GE T"],
        &["--uri", "/a b"],
        &["--uri", ""],
    ] {
        let output = fcgi_load().args(["--http", "tcp:127.0.0.1:1"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stdout(&output));
        let text = stderr(&output);
        assert!(text.contains(args[0]) && text.lines().count() == 1, "{args:?}: {text}");
        assert_eq!(stdout(&output), "");
    }
    // What is true anyway may be said.
    let output = http(&Server::unix(hello), &["--no-get-values", "--retry-closed", "-n", "5"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn the_help_has_an_example() {
    let output = fcgi_load().arg("--help").output().unwrap();
    assert!(stdout(&output).contains("fcgi-load --http tcp:127.0.0.1:8080 --uri /hello"));
}
