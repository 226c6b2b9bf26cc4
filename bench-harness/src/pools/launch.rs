//! Pools of worker processes, as the harness uses them: started, found answering, drained, gone. Strategies and other
//! implementations alike.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fcgi_load::Address;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::builds::Strategy;
use crate::client::Client;
use crate::peers::Peer;
use crate::ports::ReservedPort;
use crate::process::{Process, temporary_file};
use crate::target::Target;

/// How long a pool may take until somebody can connect to it.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a drain may take: longer than the grace that workers have by default.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How long a pool that need not drain may take to end.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// The kind of socket between web server and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// A unix socket in the file system.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Unix, Self::Tcp];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        })
    }
}

/// Why there is no pool.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// It could not even be started.
    #[error("{name} cannot be started: {error}")]
    Start {
        /// The entry's name.
        name: String,
        /// What prevents it.
        error: io::Error,
    },
    /// It has ended.
    #[error("{name} ended with {status} before it answered: {stderr}")]
    Ended {
        /// The entry's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// It runs, and nobody can connect.
    #[error("{name} does not answer on {address} within {START_LIMIT:?}: {stderr}")]
    Silent {
        /// The entry's name.
        name: String,
        /// Where it should answer.
        address: Address,
        /// What it said.
        stderr: String,
    },
    /// It should be there, and nobody can connect.
    #[error("nobody answers on {address}: {error}")]
    Absent {
        /// Where it should answer.
        address: Address,
        /// What prevents it.
        error: io::Error,
    },
}

/// Worker processes of one strategy or peer on one listener of their own.
#[derive(Debug)]
pub struct Pool {
    /// The entry's.
    name: String,
    /// What was started: one process, but for a peer that leaves it to its spawner to start several, and for a server that was
    /// there already.
    processes: Vec<Process>,
    address: Address,
    /// Whether the process is a supervisor, with workers as its children.
    supervised: bool,
    /// Held as long as the pool: its socket file or port is nobody else's. None of a server that was there already.
    place: Option<Place>,
}

impl Pool {
    /// Starts a pool on a fresh socket, `--listen` and then `args` on its command line, and waits until it takes
    /// connections.
    pub fn launch(strategy: &Strategy, family: Family, args: &[&str]) -> Result<Self, LaunchError> {
        Self::launch_with_env(strategy, family, args, &[])
    }

    /// Starts a pool as [`Self::launch`] does, and waits for nothing: who connects at once finds nobody yet.
    pub fn spawn(strategy: &Strategy, family: Family, args: &[&str]) -> Result<Self, LaunchError> {
        Self::spawn_by(Command::new(strategy.binary()), strategy, family, args)
    }

    /// The same as [`Self::launch`], with variables in the workers' environment.
    pub fn launch_with_env(
        strategy: &Strategy,
        family: Family,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self, LaunchError> {
        let mut command = Command::new(strategy.binary());
        command.envs(env.iter().copied());
        Self::launch_by(command, strategy, family, args)
    }

    /// The same, by a command that becomes the supervisor: a shell that sets a limit first, or another user's.
    pub fn launch_by(
        command: Command,
        strategy: &Strategy,
        family: Family,
        args: &[&str],
    ) -> Result<Self, LaunchError> {
        Self::spawn_by(command, strategy, family, args)?.ready()
    }

    fn spawn_by(
        mut command: Command,
        strategy: &Strategy,
        family: Family,
        args: &[&str],
    ) -> Result<Self, LaunchError> {
        let not_started = |error| LaunchError::start(strategy.name(), error);
        let place = Place::new(family).map_err(not_started)?;
        command.arg("--listen").arg(place.address().to_string()).args(args).stdin(Stdio::null());
        let process = Process::spawn(command).map_err(not_started)?;
        Ok(Self::new(strategy.name(), vec![process], place, true))
    }

    /// Starts one the way FastCGI spawners do: the listening socket is its fd 0.
    pub fn launch_on_fd0(strategy: &Strategy, family: Family, args: &[&str]) -> Result<Self, LaunchError> {
        let not_started = |error| LaunchError::start(strategy.name(), error);
        let place = Place::new(family).map_err(not_started)?;
        let listener = place.listen().map_err(not_started)?;
        let mut command = Command::new(strategy.binary());
        command.args(args).stdin(listener);
        let process = Process::spawn(command).map_err(not_started)?;
        // Only a pool has a supervisor on fd 0.
        Self::new(strategy.name(), vec![process], place, args.contains(&"--processes")).ready()
    }

    /// Starts so many processes of another implementation, all with one listening socket as their fd 0.
    pub fn launch_peer(peer: &Peer, family: Family, processes: usize) -> Result<Self, LaunchError> {
        let not_started = |error| LaunchError::start(peer.name(), error);
        let place = Place::new(family).map_err(not_started)?;
        let listener = place.listen().map_err(not_started)?;
        let spawn = || Process::spawn(peer.command(listener.try_clone()?, processes));
        let count = if peer.forks() { 1 } else { processes };
        let started = (0..count).map(|_| spawn()).collect::<io::Result<_>>().map_err(not_started)?;
        Self::new(peer.name(), started, place, peer.forks()).ready()
    }

    fn new(name: &str, processes: Vec<Process>, place: Place, supervised: bool) -> Self {
        let (name, address) = (name.to_owned(), place.address());
        Self { name, processes, address, supervised, place: Some(place) }
    }

    /// A server that is there already, and stays when this is dropped: nobody here knows its processes.
    pub fn found(target: &Target) -> Result<Self, LaunchError> {
        let address = target.address().clone();
        match Client::connect_within(&address, START_LIMIT) {
            Ok(_) => {
                let name = target.name().to_owned();
                Ok(Self { name, processes: Vec::new(), address, supervised: false, place: None })
            }
            Err(error) => Err(LaunchError::Absent { address, error }),
        }
    }

    /// Waits until somebody can connect.
    ///
    /// # Errors
    ///
    /// It has ended, or takes too long.
    pub fn ready(mut self) -> Result<Self, LaunchError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.check_runs()?;
            if takes_connections(&self.address, deadline) {
                return Ok(self);
            }
            if Instant::now() >= deadline {
                let (name, address) = (self.name.clone(), self.address.clone());
                return Err(LaunchError::Silent { name, address, stderr: self.stderr() });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// `Err` where what was started has ended, before it was asked to.
    pub fn check_runs(&mut self) -> Result<(), LaunchError> {
        let Some(status) = self.exited() else { return Ok(()) };
        Err(LaunchError::Ended { name: self.name.clone(), status, stderr: self.stderr() })
    }

    /// Where it answers.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Lets processes of every user connect, web servers that run as another one among them.
    pub fn let_everybody_in(&self) -> io::Result<()> {
        self.place.as_ref().map_or(Ok(()), Place::let_everybody_in)
    }

    /// The process that was started: the supervisor, or on fd 0 the worker.
    ///
    /// # Panics
    ///
    /// Nothing was started: it was [found](Self::found).
    pub fn pid(&self) -> u32 {
        self.processes[0].pid()
    }

    /// The worker processes.
    pub fn worker_pids(&self) -> Vec<u32> {
        if self.supervised { self.processes[0].children() } else { self.started_pids() }
    }

    /// All processes that were started: those of the workers, or of what starts them.
    pub fn started_pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// What it has written to stderr.
    pub fn stderr(&self) -> String {
        self.processes.iter().map(Process::stderr).collect()
    }

    /// How the first of its processes to end has ended, if one has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.processes.iter_mut().find_map(|process| process.exited().ok().flatten())
    }

    /// Sends a signal to what was started.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        self.processes.iter_mut().try_for_each(|process| process.signal(signal))
    }

    /// Asks it to finish, and waits until it has. `Err` where it ends otherwise than with exit status 0, or not at all:
    /// then it is killed.
    pub fn drain(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    /// Waits for its end, as [`Self::drain`] does.
    pub fn wait(mut self) -> io::Result<()> {
        for at in 0..self.processes.len() {
            match self.processes[at].wait(DRAIN_LIMIT) {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    let words = format!("the pool ended with {status} and said: {}", self.stderr());
                    return Err(io::Error::other(words));
                }
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{error}; it said: {}", self.stderr())));
                }
            }
        }
        Ok(())
    }

    /// Asks it to finish, gives it a moment, and kills what then still runs. For what need not drain as workers do.
    pub fn stop(mut self) {
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        for process in &mut self.processes {
            let _ = process.wait(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

impl LaunchError {
    fn start(name: &str, error: io::Error) -> Self {
        Self::Start { name: name.to_owned(), error }
    }
}

/// Tries whether pools can have what they need of this machine, so that it is known before anything is built for them.
///
/// # Errors
///
/// The folder for temporary files (`TMPDIR`) cannot be used, or is too long a path for a socket; or no port is free.
pub fn try_here(family: Family) -> io::Result<()> {
    temporary_file()?;
    Place::new(family).map(drop)
}

/// Whether somebody accepts connections there. Asking ends by the deadline, too.
pub(crate) fn takes_connections(address: &Address, deadline: Instant) -> bool {
    Client::connect_within(address, deadline.saturating_duration_since(Instant::now())).is_ok()
}

/// An address that is no other pool's.
#[derive(Debug)]
pub enum Place {
    /// A path for a socket file. It is directly in the folder for temporary files, so that nothing is left even where
    /// the harness is killed: the worker removes the socket file.
    Unix(PathBuf),
    /// A port on the loopback interface.
    Tcp(ReservedPort),
}

impl Place {
    /// A fresh one.
    pub fn new(family: Family) -> io::Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);

        match family {
            Family::Unix => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let path = env::temp_dir().join(format!("fcgi-lab-{}-{number}.sock", process::id()));
                if SocketAddr::from_pathname(&path).is_err() {
                    let path = path.display();
                    let words = format!("{path} is too long for a unix socket: set TMPDIR to a shorter path");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
                }
                Ok(Self::Unix(path))
            }
            Family::Tcp => ReservedPort::any().map(Self::Tcp),
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> Address {
        match self {
            Self::Unix(path) => Address::Unix(path.clone()),
            Self::Tcp(port) => Address::Tcp(port.host_and_port()),
        }
    }

    /// Lets processes of every user connect to what listens there. On TCP they can anyway.
    pub fn let_everybody_in(&self) -> io::Result<()> {
        match self {
            Self::Unix(path) => fs::set_permissions(path, fs::Permissions::from_mode(0o666)),
            Self::Tcp(_) => Ok(()),
        }
    }

    /// A listening socket there.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => UnixListener::bind(path).map(OwnedFd::from),
            Self::Tcp(port) => TcpListener::bind(port.host_and_port()).map(OwnedFd::from),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Unix(path) = self {
            // A pool that drained has removed it.
            let _ = fs::remove_file(path);
        }
    }
}
