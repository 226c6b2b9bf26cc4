//! Sockets that systemd passes (sd_listen_fds(3)): LISTEN_FDS says how many there are from fd 3 on, LISTEN_PID for whom.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Strategy, check};

use crate::refused_starts::refuses;
use crate::sockets::{answers, ends_well};
use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_socket_that_systemd_passes_is_served_by_a_pool", passed),
    Test::new("systemd_socket_activate_starts_it_with_the_first_connection", activated)
        .program("systemd-socket-activate"),
    Test::new("a_socket_that_was_passed_to_another_process_is_not_taken", for_another),
    Test::unix("more_or_fewer_sockets_than_one_are_refused", count),
    Test::unix("a_socket_passed_that_does_not_listen_is_refused", no_listener),
    Test::new("a_socket_passed_and_an_address_are_refused_together", twice),
];

/// Starts it as systemd does: the socket is fd 3, stdin is /dev/null.
fn activate(strategy: &Strategy, socket: impl Into<Stdio>, count: &str, args: &[&str]) -> Command {
    const SCRIPT: &str =
        "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=\"$1\"; shift; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]).arg(strategy.binary()).arg(count).args(args).stdin(socket);
    command
}

fn passed(strategy: &Strategy, family: Family) -> Outcome {
    for (args, count) in [(&[][..], thread::available_parallelism()?.get()), (&["--processes", "3"], 3)] {
        let place = Place::new(family)?;
        let mut process = Process::spawn(activate(strategy, place.listen()?, "1", args))?;
        answers(&mut process, &place.address())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.children().len() != count {
            ensure!(Instant::now() < deadline, "{count} workers expected: {:?}", process.children());
            thread::sleep(Duration::from_millis(2));
        }
        for pid in process.children() {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/3"))?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
            let is_cloexec = u32::from_str_radix(flags.trim(), 8)? & libc::O_CLOEXEC.cast_unsigned() != 0;
            ensure!(is_cloexec, "what the application starts inherits fd 3: {info}");
        }
        ensure!(process.stderr().is_empty(), "it says: {}", process.stderr());
        ends_well(process)?;
        if let Place::Unix(path) = &place {
            ensure!(path.exists(), "it removed a socket file that is systemd's");
        }
    }
    Ok(())
}

fn activated(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    let address = place.address().to_string();
    let (_, listen) = address.split_once(':').ok_or("no address")?;
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", listen]).arg(strategy.binary()).stdin(Stdio::null());
    let mut process = Process::spawn(command)?;
    answers(&mut process, &place.address())?;
    ends_well(process)
}

/// The variables are inherited by a service's own children.
fn for_another(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    let mut command = Command::new(strategy.binary());
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").stdin(place.listen()?);
    let mut process = Process::spawn(command)?;
    answers(&mut process, &place.address())?;
    ends_well(process)
}

fn count(strategy: &Strategy, family: Family) -> Outcome {
    for count in ["0", "2", "", "-1", "one"] {
        let place = Place::new(family)?;
        refuses(activate(strategy, place.listen()?, count, &[]), "LISTEN_FDS")
            .map_err(|failed| format!("{count:?}: {}", failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn no_listener(strategy: &Strategy, _: Family) -> Outcome {
    let (connected, _peer) = UnixStream::pair()?;
    refuses(activate(strategy, OwnedFd::from(connected), "1", &[]), "fd 3")?;
    let datagrams = UdpSocket::bind("127.0.0.1:0")?;
    refuses(activate(strategy, OwnedFd::from(datagrams), "1", &[]), "fd 3")?;
    refuses(activate(strategy, Stdio::null(), "1", &[]), "fd 3")?;
    // Promised, and not there.
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" 3<&-"]).arg(strategy.binary());
    refuses(command, "fd 3")
}

fn twice(strategy: &Strategy, family: Family) -> Outcome {
    let (place, other) = (Place::new(family)?, Place::new(family)?);
    let address = other.address().to_string();
    refuses(activate(strategy, place.listen()?, "1", &["--listen", &address]), "leave one")?;
    ensure!(check(&other.address()).is_err(), "somebody answers");
    if let Place::Unix(path) = &other {
        ensure!(!path.exists(), "a file is left behind");
    }
    Ok(())
}
