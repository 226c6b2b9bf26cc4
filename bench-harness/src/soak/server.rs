//! A pool that can be drained and started again at the same address.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fcgi_load::{Address, Capacity, capacity};
use rustix::process::Signal;

use super::ledger::Ledger;
use super::outcome::Restart;
use crate::builds::Strategy;
use crate::launch::{Family, Place, takes_connections};
use crate::process::{Process, is_running};

/// Requests in flight on a connection, where the model takes several.
pub(super) const REQUESTS: u16 = 16;
/// Connections that a process holds, where the model holds many.
const CONNECTIONS: usize = 48;
/// Connections that a pool must hold for the clients not to starve each other.
const ENOUGH: usize = 24;
/// The least processes of a pool: one is killed, the others serve.
const PROCESSES: usize = 2;

/// How long a start and an answer may take.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a drain may take: longer than the grace that workers have by default.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);

/// A pool of one strategy.
#[derive(Debug)]
pub(super) struct Server<'a> {
    strategy: &'a Strategy,
    process: Process,
    address: Address,
    arguments: Vec<String>,
    capacity: usize,
    place: Place,
}

impl<'a> Server<'a> {
    /// With as many processes as it takes to hold enough connections.
    pub(super) fn start(strategy: &'a Strategy, family: Family) -> io::Result<Self> {
        let place = Place::new(family)?;
        let address = place.address();
        let arguments = arguments_for(1);
        let process = launch(strategy, &address, &arguments)?;
        let mut server = Self { strategy, process, address, arguments, capacity: 0, place };
        let each = server.ask()?;
        let processes = ENOUGH.div_ceil(each).max(PROCESSES);
        server.arguments = arguments_for(processes);
        server.stop()?;
        server.process = launch(strategy, &server.address, &server.arguments)?;
        server.capacity = server.ask()?;
        Ok(server)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// Connections that it holds at a time.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn workers(&self) -> Vec<u32> {
        self.process.children()
    }

    /// The last lines that it has written to stderr.
    pub(super) fn last_words(&self) -> String {
        let said = self.process.stderr();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("; ")
    }

    /// Drains it, and starts it again.
    pub(super) fn restart(&mut self, ledger: &Ledger) -> io::Result<Restart> {
        let mut restart = self.drain(ledger);
        self.process = launch(self.strategy, &self.address, &self.arguments)?;
        restart.to = ledger.now();
        Ok(restart)
    }

    /// Asks it to finish, and looks at what is left.
    pub(super) fn drain(&mut self, ledger: &Ledger) -> Restart {
        let (from, workers) = (ledger.now(), self.workers());
        let status = self.stop();
        let took = ledger.now() - from;
        let mut left: Vec<String> =
            workers.into_iter().filter(|&pid| is_running(pid)).map(|pid| format!("process {pid}")).collect();
        if let Place::Unix(path) = &self.place
            && path.exists()
        {
            left.push(path.display().to_string());
        }
        let clean = matches!(&status, Ok(status) if status.success()) && left.is_empty();
        let said = if clean { String::new() } else { self.last_words() };
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Restart { from, to: ledger.now(), took, status, clean, left, said }
    }

    fn stop(&mut self) -> io::Result<std::process::ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(DRAIN_LIMIT)
    }

    fn ask(&self) -> io::Result<usize> {
        let Capacity { connections, .. } = capacity(&self.address, START_LIMIT)?;
        let connections =
            connections.and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
        connections.ok_or_else(|| io::Error::other("it does not say how many connections it holds"))
    }
}

fn arguments_for(processes: usize) -> Vec<String> {
    [
        ("--processes", processes.to_string()),
        ("--connections", CONNECTIONS.to_string()),
        ("--requests", REQUESTS.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}

fn launch(strategy: &Strategy, address: &Address, arguments: &[String]) -> io::Result<Process> {
    let mut command = Command::new(strategy.binary());
    command.arg("--listen").arg(address.to_string()).args(arguments).stdin(Stdio::null());
    let mut process = Process::spawn(command)?;
    let deadline = Instant::now() + START_LIMIT;
    while !takes_connections(address, deadline) {
        if let Some(status) = process.exited()? {
            return Err(io::Error::other(format!("it ended with {status}: {}", process.stderr())));
        }
        if Instant::now() >= deadline {
            let words = format!("nobody answers on {address} within {START_LIMIT:?}: {}", process.stderr());
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(process)
}
