//! The sockets that a worker binds itself: whose a path is, who may connect, how many may wait, what else there is than
//! paths and ports.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy, check};
use fcgi_load::Address;
use libtest_mimic::Failed;
use rustix::process::{Signal, getgid, getuid};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::unix("a_server_that_stops_leaves_another_servers_socket_alone", another_servers),
    Test::unix("two_that_start_at_once_are_one_server_and_one_refusal", race),
    Test::unix("the_socket_file_has_the_owner_asked_for", owner),
    Test::unix("as_many_may_wait_as_the_backlog_says", backlog),
    Test::new("a_drain_serves_all_that_the_backlog_holds", full_backlog),
    Test::unix("an_abstract_name_is_served_and_is_no_file", abstract_name),
    Test::tcp("a_port_that_the_kernel_chooses_is_said", chosen_port),
    Test::tcp("a_name_is_listened_on_and_its_address_is_said", host_name),
    Test::tcp("ipv6_is_served_and_its_web_servers_are_admitted", ipv6),
];

const LIMIT: Duration = Duration::from_secs(10);

/// Starts it on that address.
fn listen(strategy: &Strategy, address: &str, args: &[&str]) -> Result<Process, Failed> {
    let mut command = Command::new(strategy.binary());
    command.args(["--listen", address]).args(args).stdin(Stdio::null());
    Ok(Process::spawn(command)?)
}

/// Waits until somebody answers there, as all the workload is answered.
pub(crate) fn answers(process: &mut Process, address: &Address) -> Outcome {
    let deadline = Instant::now() + LIMIT;
    while Client::connect(address).is_err() {
        if let Some(status) = process.exited()? {
            return Err(format!("it ended with {status}: {}", process.stderr()).into());
        }
        ensure!(Instant::now() < deadline, "nobody answers on {address}: {}", process.stderr());
        thread::sleep(Duration::from_millis(2));
    }
    Ok(check(address)?)
}

/// Asks it to finish, and waits for that.
pub(crate) fn ends_well(mut process: Process) -> Outcome {
    ends(&mut process)
}

/// The same, for one that still has something to tell.
pub(crate) fn ends(process: &mut Process) -> Outcome {
    process.signal(Signal::TERM)?;
    let status = process.wait(LIMIT)?;
    ensure!(status.success(), "it ended with {status}: {}", process.stderr());
    Ok(())
}

fn another_servers(strategy: &Strategy, family: Family) -> Outcome {
    let place = Place::new(family)?;
    let Place::Unix(path) = &place else { return Err("no path".into()) };
    let address = place.address().to_string();
    let mut first = listen(strategy, &address, &["--processes", "1"])?;
    answers(&mut first, &place.address())?;
    fs::remove_file(path)?;
    let mut second = listen(strategy, &address, &["--processes", "1"])?;
    answers(&mut second, &place.address())?;
    ends_well(first)?;
    ensure!(path.exists(), "the first one removed the second one's socket");
    check(&place.address())?;
    ends_well(second)?;
    ensure!(!path.exists(), "the second one left its socket");
    Ok(())
}

/// scripts/socket-race does this some thousand times.
fn race(strategy: &Strategy, family: Family) -> Outcome {
    for _ in 0..10 {
        let place = Place::new(family)?;
        // Each would like to replace it.
        drop(place.listen()?);
        let address = place.address();
        let mut both = [
            listen(strategy, &address.to_string(), &["--processes", "1"])?,
            listen(strategy, &address.to_string(), &["--processes", "1"])?,
        ];
        let deadline = Instant::now() + LIMIT;
        let loser = loop {
            let mut ended = None;
            for (number, process) in both.iter_mut().enumerate() {
                ended = ended.or(process.exited()?.map(|status| (number, status)));
            }
            if let Some(ended) = ended {
                break ended;
            }
            ensure!(Instant::now() < deadline, "both run, so one has lost its socket");
            thread::sleep(Duration::from_millis(1));
        };
        let (number, status) = loser;
        ensure!(status.code() == Some(2), "the loser ended with {status}: {}", both[number].stderr());
        let [first, second] = both;
        let mut winner = if number == 0 { second } else { first };
        answers(&mut winner, &address)?;
        ends_well(winner)?;
    }
    Ok(())
}

fn owner(strategy: &Strategy, family: Family) -> Outcome {
    // Who is not root can give it to nobody but a group of theirs.
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let cases = if uid == 0 {
        vec![
            ("4711:4712".to_owned(), 4711, 4712),
            ("4711".to_owned(), 4711, gid),
            (":4712".to_owned(), uid, 4712),
            ("daemon".to_owned(), 1, gid),
        ]
    } else {
        vec![(format!("{uid}:{gid}"), uid, gid), (format!(":{gid}"), uid, gid)]
    };
    for (text, uid, gid) in cases {
        let pool = Pool::launch(strategy, family, &["--processes", "1", "--socket-owner", &text])?;
        let Address::Unix(path) = pool.address() else { return Err("no path".into()) };
        let file = fs::metadata(path)?;
        let found = (file.uid(), file.gid(), file.mode() & 0o777);
        ensure!(found == (uid, gid, 0o660), "{text}: it is {found:?}");
        check(pool.address())?;
    }
    Ok(())
}

fn backlog(strategy: &Strategy, family: Family) -> Outcome {
    // It accepts nothing yet: those that connect wait. The first is the one that looked whether the pool has started.
    let pool = Pool::launch(
        strategy,
        family,
        &["--processes", "1", "--backlog", "3", "--startup-ms", "60000", "--grace-ms", "1"],
    )?;
    let Address::Unix(path) = pool.address() else { return Err("no path".into()) };
    let mut waiting = Vec::new();
    let error = loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => waiting.push(socket),
            Err(error) => break error,
        }
    };
    ensure!(error.kind() == ErrorKind::WouldBlock, "{error}");
    // Linux counts one more than listen(2) is told.
    ensure!(waiting.len() == 3, "{} more may wait", waiting.len());
    Ok(())
}

fn full_backlog(strategy: &Strategy, family: Family) -> Outcome {
    let mut pool =
        Pool::launch(strategy, family, &["--processes", "1", "--backlog", "3", "--startup-ms", "700"])?;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(pool.address())?;
        client.send(&Request::get("/hello").encode())?;
        waiting.push(client);
    }
    pool.signal(Signal::TERM)?;
    for (number, client) in waiting.iter_mut().enumerate() {
        let reply = client.reply(1).map_err(|error| format!("number {number} that waited: {error}"))?;
        ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    }
    pool.wait()?;
    Ok(())
}

fn abstract_name(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let name = format!("fcgi-lab-{}-{}", process::id(), strategy.name());
    let address: Address = format!("unix:@{name}").parse().map_err(|error| format!("{error}"))?;
    let start = || {
        let mut command = Command::new(strategy.binary());
        command.args(["--processes", "2", "--listen", &address.to_string()]);
        command.current_dir(folder.path()).stdin(Stdio::null());
        Process::spawn(command)
    };
    let mut process = start()?;
    answers(&mut process, &address)?;
    ensure!(!folder.path().join(format!("@{name}")).exists(), "it has made a file");
    let mut second = start()?;
    let status = second.wait(LIMIT)?;
    ensure!(status.code() == Some(2), "the second one ended with {status}: {}", second.stderr());
    ensure!(second.stderr().contains("a server answers on unix:@"), "it says: {}", second.stderr());
    check(&address)?;
    ensure!(process.stderr().is_empty(), "it says: {}", process.stderr());
    ends_well(process)?;
    ensure!(Client::connect(&address).is_err(), "the name is still there");
    Ok(())
}

/// The address that a server says it listens on.
fn said(process: &mut Process) -> Result<Address, Failed> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let said = process.stderr();
        if let Some((_, address)) = said.trim_end().split_once("listening on ") {
            ensure!(said.lines().count() == 1, "one line expected: {said:?}");
            return Ok(address.parse().map_err(|error| format!("{address:?}: {error}"))?);
        }
        if let Some(status) = process.exited()? {
            return Err(format!("it ended with {status}: {said}").into());
        }
        ensure!(Instant::now() < deadline, "it says: {said:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn chosen_port(strategy: &Strategy, family: Family) -> Outcome {
    let mut process = listen(strategy, "tcp:127.0.0.1:0", &["--processes", "1"])?;
    let address = said(&mut process)?;
    check(&address)?;
    ends_well(process)?;
    // What was asked for literally need not be said.
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    ensure!(pool.stderr().is_empty(), "it says: {}", pool.stderr());
    Ok(())
}

fn host_name(strategy: &Strategy, _: Family) -> Outcome {
    let mut process = listen(strategy, "tcp:localhost:0", &["--processes", "1"])?;
    let address = said(&mut process)?;
    let text = address.to_string();
    ensure!(text.starts_with("tcp:127.0.0.1:") || text.starts_with("tcp:[::1]:"), "it says {text}");
    check(&address)?;
    ends_well(process)
}

fn ipv6(strategy: &Strategy, _: Family) -> Outcome {
    // Where the kernel has none, there is nothing to listen on.
    if !Path::new("/proc/net/if_inet6").exists() {
        return Ok(());
    }
    let mut command = Command::new(strategy.binary());
    command.args(["--listen", "tcp:[::1]:0", "--processes", "1"]).stdin(Stdio::null());
    command.env("FCGI_WEB_SERVER_ADDRS", "192.0.2.1,0:0:0:0:0:0:0:1");
    let mut process = Process::spawn(command)?;
    let address = said(&mut process)?;
    check(&address)?;
    ends_well(process)
}
