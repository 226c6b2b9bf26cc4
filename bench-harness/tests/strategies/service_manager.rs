//! What a worker tells a service manager that asks (sd_notify(3)), and the units in data/front-ends.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench_harness::launch::Place;
use bench_harness::process::Process;
use bench_harness::{Family, Strategy, check};
use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::sockets::ends;
use crate::support::Outcome;
use crate::trial::{Test, wait_until};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_pool_tells_when_it_is_ready_reloads_and_stops", pool),
    Test::new("a_worker_on_fd_0_tells_when_it_is_ready", on_fd_0),
    Test::unix("a_service_manager_that_is_gone_is_not_missed", gone),
    Test::unix("the_units_for_systemd_work", units).program("systemd-socket-activate"),
    Test::unix("the_units_for_systemd_are_well_formed", verified).program("systemd-analyze"),
];

/// What listens for notifications, under a name of its own in no file system.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new() -> Result<Self, Failed> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);

        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fcgi-lab-{}-manager-{number}", process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { socket, name: format!("@{name}") })
    }

    fn hears(&self, expected: &str) -> Outcome {
        let mut state = [0; 256];
        let length = self.socket.recv(&mut state).map_err(|error| format!("no {expected}: {error}"))?;
        let state = String::from_utf8_lossy(&state[..length]);
        ensure!(state.starts_with(expected), "{expected} expected, {state:?} came");
        Ok(())
    }
}

fn pool(strategy: &Strategy, family: Family) -> Outcome {
    let (manager, place) = (Manager::new()?, Place::new(family)?);
    let mut command = Command::new(strategy.binary());
    command.args(["--processes", "2", "--startup-ms", "200", "--listen"]).arg(place.address().to_string());
    command.env("NOTIFY_SOCKET", &manager.name).stdin(Stdio::null());
    let mut process = Process::spawn(command)?;
    manager.hears("READY=1")?;
    ensure!(process.children().len() == 2, "it was ready before its workers were");
    check(&place.address())?;
    process.signal(Signal::HUP)?;
    manager.hears("RELOADING=1\nMONOTONIC_USEC=")?;
    manager.hears("READY=1")?;
    ends_quietly(&mut process)?;
    manager.hears("STOPPING=1")
}

fn on_fd_0(strategy: &Strategy, family: Family) -> Outcome {
    let (manager, place) = (Manager::new()?, Place::new(family)?);
    let mut command = Command::new(strategy.binary());
    command.env("NOTIFY_SOCKET", &manager.name).stdin(place.listen()?);
    let mut process = Process::spawn(command)?;
    manager.hears("READY=1")?;
    ends_quietly(&mut process)
}

fn gone(strategy: &Strategy, family: Family) -> Outcome {
    for nowhere in ["@fcgi-lab-nobody", "/no/such/socket", "no address", "@", ""] {
        let place = Place::new(family)?;
        let mut command = Command::new(strategy.binary());
        command.args(["--processes", "1", "--listen"]).arg(place.address().to_string());
        command.env("NOTIFY_SOCKET", nowhere).stdin(Stdio::null());
        let mut process = Process::spawn(command)?;
        wait_until("it answers", || check(&place.address()).is_ok())?;
        ends_quietly(&mut process)?;
    }
    Ok(())
}

/// With systemd's own starter, since systemd itself may be no process here: what ExecStart says, for this strategy.
fn units(strategy: &Strategy, family: Family) -> Outcome {
    let service = fs::read_to_string(unit("fcgi-workers.service"))?;
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).ok_or("no ExecStart")?;
    let arguments: Vec<_> = start.split(' ').skip(1).collect();
    let (manager, place) = (Manager::new()?, Place::new(family)?);
    let address = place.address().to_string();
    let (_, path) = address.split_once(':').ok_or("no path")?;
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", path, "--setenv", &format!("NOTIFY_SOCKET={}", manager.name)]);
    command.arg(strategy.binary()).args(arguments).stdin(Stdio::null());
    let mut process = Process::spawn(command)?;
    wait_until("it answers", || check(&place.address()).is_ok())?;
    manager.hears("READY=1")?;
    // What ExecReload does.
    process.signal(Signal::HUP)?;
    manager.hears("RELOADING=1")?;
    manager.hears("READY=1")?;
    // While the former workers drain, they close connections.
    wait_until("it answers again", || check(&place.address()).is_ok())?;
    ends_quietly(&mut process)?;
    manager.hears("STOPPING=1")
}

fn verified(strategy: &Strategy, _: Family) -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut files = Vec::new();
    for name in ["fcgi-workers.service", "fcgi-workers.socket"] {
        let installed = strategy.binary().display().to_string();
        let text = fs::read_to_string(unit(name))?.replace("/usr/local/bin/strategy-mio", &installed);
        files.push(folder.path().join(name));
        fs::write(folder.path().join(name), text)?;
    }
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").args(&files).output()?;
    let said = String::from_utf8_lossy(&verified.stderr);
    // It looks at the machine's own units too.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("fcgi-workers")).collect();
    ensure!(ours.is_empty(), "{ours:?}");
    Ok(())
}

fn unit(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/front-ends").join(name)
}

/// And has nothing to complain of; what started it may have said something too.
fn ends_quietly(process: &mut Process) -> Outcome {
    ends(process)?;
    let said = process.stderr();
    let complaint = said
        .lines()
        .find(|line| line.starts_with("strategy-") && !line.contains("SIGHUP: this program took over"));
    ensure!(complaint.is_none(), "it says: {said}");
    Ok(())
}
