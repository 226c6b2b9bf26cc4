//! A web server that runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use fcgi_load::Address;
use tempfile::TempDir;
use thiserror::Error;

use super::config::{self, Workers};
use super::{Server, Site, SiteError, http, site};
use crate::ports::ReservedPort;
use crate::process::{Process, children_of, program_of};

/// How long a web server, and workers that it starts, may take until they answer.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often that is tried.
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no front end.
#[derive(Debug, Error)]
pub enum FrontEndError {
    /// There is no such thing.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Its program is missing.
    #[error("{} not installed, run scripts/setup", .0.program())]
    NotInstalled(Server),
    /// A configuration is not what is written here for.
    #[error("data/front-ends/{file} has no {text:?}")]
    Config {
        /// The configuration.
        file: &'static str,
        /// What is missing there.
        text: String,
    },
    /// It could not even be started.
    #[error("{server} cannot be started: {error}")]
    Start {
        /// The web server.
        server: Server,
        /// What prevents it.
        error: io::Error,
    },
    /// It has ended.
    #[error("{server} ended with {status} before it answered: {stderr}")]
    Ended {
        /// The web server.
        server: Server,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// It runs, and does not answer `/hello` rightly.
    #[error("{server} does not answer within {START_LIMIT:?}: {last}; it said: {stderr}")]
    Silent {
        /// The web server.
        server: Server,
        /// What came of the last try.
        last: String,
        /// What it said.
        stderr: String,
    },
}

/// A web server that runs. It, its folder and the workers that it has started are gone when this is dropped.
#[derive(Debug)]
pub struct FrontEnd {
    site: Site,
    process: Process,
    port: ReservedPort,
    folder: TempDir,
}

impl FrontEnd {
    /// lighttpd, and workers that it starts by a command line, which it splits at spaces: what that names serves the
    /// socket on its fd 0. It is ready when `/hello` is answered: it takes connections before its workers run.
    pub fn spawning(command_line: &str, site: Site) -> Result<Self, FrontEndError> {
        Self::spawning_with(command_line, site, &[])
    }

    /// The same, with parameters that each request gets beside those that the web server sends ([`crate::Entry::params`]).
    pub fn spawning_with(
        command_line: &str,
        site: Site,
        params: &[(String, String)],
    ) -> Result<Self, FrontEndError> {
        site.check_spawning(command_line)?;
        Self::start(site, Workers::By(command_line), params)
    }

    /// A web server before workers that run already, and that its user may connect to. It is ready when `/hello` is
    /// answered.
    pub fn before(address: &Address, site: Site) -> Result<Self, FrontEndError> {
        Self::before_with(address, site, &[])
    }

    /// The same, with parameters that each request gets beside those that the web server sends ([`crate::Entry::params`]).
    pub fn before_with(
        address: &Address,
        site: Site,
        params: &[(String, String)],
    ) -> Result<Self, FrontEndError> {
        site.check_before(address)?;
        Self::start(site, Workers::At(address), params)
    }

    /// nginx or HAProxy before workers on three hosts, each `HOST:PORT`. One that answers is enough for it to be ready.
    pub fn before_hosts(hosts: &[String; 3], site: Site) -> Result<Self, FrontEndError> {
        site.check_before_hosts(hosts)?;
        Self::start(site, Workers::On(hosts), &[])
    }

    fn start(site: Site, workers: Workers<'_>, params: &[(String, String)]) -> Result<Self, FrontEndError> {
        let server = site.server;
        for (name, value) in params {
            site::check_param(name, value)?;
        }
        let program = server.find().ok_or(FrontEndError::NotInstalled(server))?;
        let not_started = |error| FrontEndError::start(server, error);
        let folder = tempfile::Builder::new().prefix("fcgi-lab-").tempdir().map_err(not_started)?;
        // nginx's workers run as another user where this runs as root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).map_err(not_started)?;
        let port = ReservedPort::any().map_err(not_started)?;
        let config = folder.path().join(config::file(server, workers)?);
        let text = config::text(site, workers, params, folder.path(), port.number())?;
        fs::write(&config, text).map_err(not_started)?;
        let command = server.command(&program, &config, folder.path());
        let process = Process::spawn(command).map_err(not_started)?;
        let mut front_end = Self { site, process, port, folder };
        front_end.wait_until_it_answers()?;
        Ok(front_end)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), FrontEndError> {
        let server = self.site.server;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(last) = self.fault_of_hello(left.max(PAUSE)) else { return Ok(()) };
            if let Some(status) =
                self.process.exited().map_err(|error| FrontEndError::start(server, error))?
            {
                return Err(FrontEndError::Ended { server, status, stderr: self.stderr() });
            }
            if Instant::now() >= deadline {
                return Err(FrontEndError::Silent { server, last, stderr: self.stderr() });
            }
            thread::sleep(PAUSE);
        }
    }

    /// What is wrong with the answer to `/hello`.
    fn fault_of_hello(&self, patience: Duration) -> Option<String> {
        match http::request_within(&self.host_and_port(), "GET", "/hello", None, patience) {
            Ok(response) if response.status == 200 && response.body == b"Hello, world\n" => None,
            Ok(response) => Some(format!(
                "/hello is answered by {} and {} bytes of body",
                response.status,
                response.body.len()
            )),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What it is.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Where HTTP clients connect.
    pub fn address(&self) -> Address {
        Address::Tcp(self.host_and_port())
    }

    /// The same as `HOST:PORT`.
    pub fn host_and_port(&self) -> String {
        self.port.host_and_port()
    }

    /// The folder that its configuration names, and is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it, and what it has started, has written to stderr.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// The process that was started.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All processes of the web server: without the workers that it has started.
    pub fn pids(&self) -> Vec<u32> {
        self.all_pids().into_iter().filter(|pid| self.is_own(*pid)).collect()
    }

    /// How many worker processes it has started that still run.
    pub fn spawned(&self) -> usize {
        children_of(self.process.pid()).into_iter().filter(|pid| !self.is_own(*pid)).count()
    }

    /// The worker processes that it has started, and those that these have.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.all_pids().into_iter().filter(|pid| !self.is_own(*pid)).collect()
    }

    fn all_pids(&self) -> Vec<u32> {
        let mut pids = vec![self.process.pid()];
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            pids.extend(children_of(*pid));
            at += 1;
        }
        pids
    }

    fn is_own(&self, pid: u32) -> bool {
        let own = self.process.pid();
        pid == own || program_of(pid) == program_of(own)
    }
}

impl FrontEndError {
    pub(super) fn start(server: Server, error: io::Error) -> Self {
        Self::Start { server, error }
    }
}
