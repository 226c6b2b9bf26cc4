//! What a worker cannot start with: one line that says so, and exit status 2.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::unix("a_path_that_is_no_socket_is_left_alone", no_socket),
    Test::unix("a_folder_that_is_missing_is_named", missing_folder),
    Test::unix("a_word_that_is_off_is_named", words),
    Test::new("an_address_that_a_server_answers_on_is_left_to_it", answered),
    Test::new("a_connection_on_fd_0_is_plain_cgi", plain_cgi),
    Test::unix("fd_0_without_a_listening_socket_is_refused", no_listener),
    Test::tcp("web_server_addresses_that_are_none_are_refused", peers),
];

fn no_socket(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notes.txt");
    fs::write(&path, "precious")?;
    let path = path.display().to_string();
    is_refused(strategy, &["--listen", &format!("unix:{path}")], Stdio::null(), &path)?;
    ensure!(fs::read(&path)? == b"precious", "the file was touched");
    Ok(())
}

fn missing_folder(strategy: &Strategy, _: Family) -> Outcome {
    is_refused(
        strategy,
        &["--listen", "unix:/no/such/folder/x.sock"],
        Stdio::null(),
        "/no/such/folder/x.sock",
    )
}

fn words(strategy: &Strategy, _: Family) -> Outcome {
    let words: [(&[&str], &str); 6] = [
        (&["--no-such-option"], "--no-such-option"),
        (&["--listen", "/run/app.sock"], "/run/app.sock"),
        (&["--listen", "unix:/tmp/x.sock", "--processes", "0"], "--processes"),
        (&["--listen", "unix:/tmp/x.sock", "--processes", "many"], "many"),
        (&["--listen", "unix:/tmp/x.sock", "--socket-mode", "999"], "999"),
        (&["stray"], "stray"),
    ];
    for (args, named) in words {
        is_refused(strategy, args, Stdio::null(), named)?;
    }
    Ok(())
}

fn answered(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let address = pool.address().to_string();
    is_refused(
        strategy,
        &["--listen", &address],
        Stdio::null(),
        address.split_once(':').map_or("", |(_, it)| it),
    )?;
    bench_harness::check(pool.address())?;
    Ok(())
}

/// Spec 2.2: getpeername says whether this is FastCGI.
fn plain_cgi(strategy: &Strategy, family: Family) -> Outcome {
    // A connection whose peer has gone may count as none: both ends are kept.
    let (connected, _peer): (OwnedFd, OwnedFd) = match family {
        Family::Unix => {
            let (one, other) = UnixStream::pair()?;
            (one.into(), other.into())
        }
        Family::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let connected = TcpStream::connect(listener.local_addr()?)?;
            (connected.into(), listener.accept()?.0.into())
        }
    };
    is_refused(strategy, &[], connected.into(), "fd 0")
}

fn no_listener(strategy: &Strategy, _: Family) -> Outcome {
    is_refused(strategy, &[], Stdio::null(), "fd 0")?;
    is_refused(strategy, &[], fs::File::open("/proc/self/status")?.into(), "fd 0")
}

fn peers(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    let mut command = Command::new(strategy.binary());
    command.arg("--listen").arg(place.address().to_string()).env("FCGI_WEB_SERVER_ADDRS", "10.0.0.1,web");
    refuses(command, "\"web\"")
}

fn is_refused(strategy: &Strategy, args: &[&str], stdin: Stdio, named: &str) -> Outcome {
    let mut command = Command::new(strategy.binary());
    command.args(args).stdin(stdin);
    refuses(command, named)
        .map_err(|failed| format!("{args:?}: {}", failed.message().unwrap_or_default()).into())
}

fn refuses(command: Command, named: &str) -> Outcome {
    let mut process = Process::spawn(command)?;
    let status = process.wait(Duration::from_secs(10))?;
    let said = process.stderr();
    ensure!(status.code() == Some(2), "exit status 2 expected, it is {status}; stderr: {said}");
    ensure!(said.lines().count() == 1 && said.ends_with('\n'), "one line expected on stderr: {said:?}");
    ensure!(said.contains(named), "{named} is not named in {said:?}");
    Ok(())
}
