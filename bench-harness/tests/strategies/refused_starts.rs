//! What a worker cannot start with: one line that says so, and exit status 2.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;
use rustix::process::getuid;

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
    Test::unix("a_path_that_is_too_long_is_refused", long_path),
    Test::unix("a_path_that_is_a_folder_is_refused", folder),
    Test::unix("a_folder_that_may_not_be_written_to_is_named", forbidden_folder),
    Test::tcp("a_port_that_needs_a_privilege_is_refused", forbidden_port),
    Test::tcp("an_address_that_is_another_machines_is_refused", foreign_address),
    Test::unix("a_socket_cannot_be_given_to_who_does_not_exist", unknown_owner),
    Test::unix("a_socket_cannot_be_given_away_without_privilege", forbidden_owner),
    Test::new("what_concerns_a_socket_of_ones_own_needs_one", no_own_socket),
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
        "there is no folder /no/such/folder: create it first",
    )
}

fn words(strategy: &Strategy, _: Family) -> Outcome {
    let words: [(&[&str], &str); 9] = [
        (&["--no-such-option"], "--no-such-option"),
        (&["--listen", "/run/app.sock"], "/run/app.sock"),
        (&["--listen", "unix:/tmp/x.sock", "--processes", "0"], "--processes"),
        (&["--listen", "unix:/tmp/x.sock", "--processes", "many"], "many"),
        (&["--listen", "unix:/tmp/x.sock", "--socket-mode", "999"], "999"),
        (&["--listen", "unix:@"], "unix:@NAME"),
        (&["--listen", "tcp:localhost"], "port"),
        (&["--listen", "unix:/tmp/x.sock", "--backlog", "0"], "--backlog"),
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
    for (list, named) in
        [(&b"10.0.0.1,web"[..], "\"web\""), (b"127.0.0.1\xff", "\"127.0.0.1\\xFF\""), (b"", "\"\"")]
    {
        let mut command = Command::new(strategy.binary());
        command.arg("--listen").arg(place.address().to_string());
        command.env("FCGI_WEB_SERVER_ADDRS", OsStr::from_bytes(list));
        refuses(command, named)?;
    }
    Ok(())
}

/// A path in `sun_path` has 107 bytes, and a NUL.
fn long_path(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let missing = 108 - folder.path().as_os_str().len() - 1;
    let path = folder.path().join("x".repeat(missing)).display().to_string();
    is_refused(strategy, &["--listen", &format!("unix:{path}")], Stdio::null(), "107")?;
    let name = "x".repeat(108);
    is_refused(strategy, &["--listen", &format!("unix:@{name}")], Stdio::null(), "107")?;
    is_empty(folder.path())
}

fn folder(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display();
    is_refused(strategy, &["--listen", &format!("unix:{path}")], Stdio::null(), "is a folder")?;
    // A file where a folder should be.
    fs::write(folder.path().join("file"), "precious")?;
    is_refused(strategy, &["--listen", &format!("unix:{path}/file/x")], Stdio::null(), "is no folder")
}

fn forbidden_folder(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("closed");
    fs::create_dir(&place)?;
    fs::set_permissions(&place, Permissions::from_mode(0o555))?;
    let mut command = unprivileged(strategy, folder.path())?;
    command.args(["--listen", &format!("unix:{}/x.sock", place.display())]);
    refuses(command, &format!("no permission to make a file in {}", place.display()))?;
    is_empty(&place)
}

fn forbidden_port(strategy: &Strategy, _: Family) -> Outcome {
    // Some containers allow all of them.
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    if first.trim().parse::<u16>()? <= 1 {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut command = unprivileged(strategy, folder.path())?;
    command.args(["--listen", "tcp:127.0.0.1:1"]);
    refuses(command, "name one from 1024 on")
}

/// RFC 5737: for documentation, so nobody's.
fn foreign_address(strategy: &Strategy, _: Family) -> Outcome {
    is_refused(strategy, &["--listen", "tcp:192.0.2.1:9000"], Stdio::null(), "does not have that address")
}

fn unknown_owner(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let address = format!("unix:{}/x.sock", folder.path().display());
    for (owner, named) in [
        ("no-such-user", "no user \"no-such-user\""),
        (":no-such-group", "no group \"no-such-group\""),
        ("root:", "an owner looks like"),
    ] {
        is_refused(strategy, &["--listen", &address, "--socket-owner", owner], Stdio::null(), named)?;
    }
    is_empty(folder.path())
}

fn forbidden_owner(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("open");
    fs::create_dir(&place)?;
    fs::set_permissions(&place, Permissions::from_mode(0o777))?;
    for owner in ["root", ":root"] {
        let mut command = unprivileged(strategy, folder.path())?;
        command.args(["--listen", &format!("unix:{}/x.sock", place.display()), "--socket-owner", owner]);
        refuses(command, &format!("to {owner}: only root"))?;
        is_empty(&place)?;
    }
    Ok(())
}

fn no_own_socket(strategy: &Strategy, family: Family) -> Outcome {
    for (option, value) in [("--socket-owner", "root"), ("--backlog", "7")] {
        is_refused(strategy, &[option, value], Place::new(family)?.listen()?.into(), option)?;
    }
    for address in ["unix:@fcgi-lab-refused", "tcp:127.0.0.1:0"] {
        let args = ["--listen", address, "--socket-owner", "root"];
        is_refused(strategy, &args, Stdio::null(), "--socket-owner")?;
    }
    Ok(())
}

/// The strategy's program as a user without privileges starts it.
fn unprivileged(strategy: &Strategy, folder: &Path) -> Result<Command, Failed> {
    /// "nobody" on Debian, and the group of that number.
    const NOBODY: u32 = 65_534;

    if !getuid().is_root() {
        return Ok(Command::new(strategy.binary()));
    }
    // Who builds may do so where nobody else may look.
    let binary = folder.join(strategy.name());
    // By a process of its own: one that this one starts at the same time would hold the file open for writing.
    let copied = Command::new("cp").arg(strategy.binary()).arg(&binary).status()?;
    ensure!(copied.success(), "cp ended with {copied}");
    fs::set_permissions(&binary, Permissions::from_mode(0o755))?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let mut command = Command::new(binary);
    command.uid(NOBODY).gid(NOBODY);
    Ok(command)
}

fn is_empty(folder: &Path) -> Outcome {
    let left: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn is_refused(strategy: &Strategy, args: &[&str], stdin: Stdio, named: &str) -> Outcome {
    let mut command = Command::new(strategy.binary());
    command.args(args).stdin(stdin);
    refuses(command, named)
        .map_err(|failed| format!("{args:?}: {}", failed.message().unwrap_or_default()).into())
}

/// Ends with one line that names what is off, and exit status 2.
pub(crate) fn refuses(command: Command, named: &str) -> Outcome {
    let mut process = Process::spawn(command)?;
    let status = process.wait(Duration::from_secs(10))?;
    let said = process.stderr();
    ensure!(status.code() == Some(2), "exit status 2 expected, it is {status}; stderr: {said}");
    ensure!(said.lines().count() == 1 && said.ends_with('\n'), "one line expected on stderr: {said:?}");
    ensure!(said.contains(named), "{named} is not named in {said:?}");
    Ok(())
}
