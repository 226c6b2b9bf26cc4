//! The small server as a program that fcgi-verify starts: this test binary, asked for one test alone.

use std::env;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use crate::server::{Bug, Server};

/// In the environment of the program: what is wrong with the server.
const FAULT: &str = "FCGI_VERIFY_TEST_FAULT";
/// In the environment too: a file that a server makes when it starts; where it is there, the next one exits with 9.
const ONCE: &str = "FCGI_VERIFY_TEST_ONCE";

/// Lets fcgi-verify start the server with `--exec-tcp`, which is put at the end of the command line. The bug, one of two
/// that end the server, ends it with exit status 7.
pub(crate) fn exec_tcp<'c>(command: &'c mut Command, bug: Bug, once: Option<&str>) -> &'c mut Command {
    command.env(FAULT, format!("{bug:?}")).envs(once.map(|path| (ONCE, path)));
    let test = ["--exact", "spawned::serves_descriptor_0", "--ignored", "--nocapture"];
    command.arg("--exec-tcp").arg(env::current_exe().unwrap()).args(test)
}

#[test]
#[ignore = "it is the server of other tests"]
fn serves_descriptor_0() {
    let Ok(fault) = env::var(FAULT) else { return };
    let bug = [Bug::DiesOfGarbage, Bug::DiesOfGetValues].into_iter().find(|bug| format!("{bug:?}") == fault);
    if let Some(path) = env::var_os(ONCE)
        && File::create_new(path).is_err()
    {
        process::exit(9);
    }
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let server = Server::start_on(listener, Some(bug.unwrap()));
    while !server.is_dead() {
        thread::sleep(Duration::from_millis(1));
    }
    process::exit(7);
}
