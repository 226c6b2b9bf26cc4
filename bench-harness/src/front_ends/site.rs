//! What stands before the workers, and what it is to do.

use std::fmt;

use fcgi_load::{Address, Mode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Server;
use crate::Family;

/// A web server and the way it is connected to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Site {
    /// The web server.
    pub server: Server,
    /// The kind of socket between it and the workers.
    pub family: Family,
    /// How it uses its connections to the workers.
    pub mode: Mode,
    /// How many connections it keeps, with [`Mode::Keep`]. nginx opens more where more requests come at a time, and
    /// closes those again; HAProxy has the requests wait. Without meaning in the other modes.
    pub connections: usize,
    /// How many workers [`Server::LighttpdSpawning`] starts. Without meaning for the others.
    pub processes: usize,
}

/// Why a web server cannot be set up so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SiteError {
    /// It has no such way to use its connections.
    #[error("{server} has no mode {mode}: it has {}", list(.server.modes()))]
    Mode {
        /// The web server.
        server: Server,
        /// What was asked for.
        mode: Mode,
    },
    /// What lighttpd spawns has unix sockets.
    #[error("lighttpd-spawning gives its workers unix sockets, and none of TCP")]
    SpawningOnTcp,
    /// It cannot keep none.
    #[error("{0} is to keep connections, and how many is 0")]
    NoConnections(Server),
    /// Nobody would answer.
    #[error("lighttpd-spawning is to start no worker")]
    NoProcesses,
    /// It starts the workers itself, or it does not.
    #[error("{0} starts its workers itself: it is given a command line, and no address")]
    Spawns(Server),
    /// It does not start workers.
    #[error("{0} starts no workers: it is given their address, and no command line")]
    SpawnsNot(Server),
    /// Nobody has written a configuration of it for that.
    #[error("{0} has no configuration for several hosts: nginx and haproxy have")]
    NoHosts(Server),
    /// Its configuration shares none.
    #[error("haproxy's configuration for several hosts has no mode multiplex: write close or keep")]
    HostsMultiplex,
    /// The workers are elsewhere.
    #[error("the front end is to connect by {family}, and its workers are on {address}")]
    Address {
        /// What the site says.
        family: Family,
        /// Where the workers are.
        address: Address,
    },
    /// A configuration cannot hold it.
    #[error(
        "lighttpd cannot be told the command line {0:?}: it has quotes, backslashes or control characters"
    )]
    CommandLine(String),
    /// A configuration cannot hold it.
    #[error(
        "web servers cannot be told the parameter {0:?}: it has what means something in their configurations"
    )]
    Param(String),
}

impl Site {
    /// Whether there is such a thing.
    pub fn check(&self) -> Result<(), SiteError> {
        if !self.server.modes().contains(&self.mode) {
            return Err(SiteError::Mode { server: self.server, mode: self.mode });
        }
        if self.mode == Mode::Keep && self.connections == 0 {
            return Err(SiteError::NoConnections(self.server));
        }
        match (self.server, self.family) {
            (Server::LighttpdSpawning, Family::Tcp) => Err(SiteError::SpawningOnTcp),
            (Server::LighttpdSpawning, Family::Unix) if self.processes == 0 => Err(SiteError::NoProcesses),
            _ => Ok(()),
        }
    }

    /// Whether it can stand before workers that run there.
    pub(super) fn check_before(&self, address: &Address) -> Result<(), SiteError> {
        self.check()?;
        match (self.server, self.family, address) {
            (Server::LighttpdSpawning, ..) => Err(SiteError::Spawns(self.server)),
            (_, Family::Unix, Address::Unix(_)) | (_, Family::Tcp, Address::Tcp(_)) => Ok(()),
            (_, family, address) => Err(SiteError::Address { family, address: address.clone() }),
        }
    }

    /// Whether it can stand before workers on several hosts.
    pub(super) fn check_before_hosts(&self, hosts: &[String]) -> Result<(), SiteError> {
        hosts.iter().try_for_each(|host| self.check_before(&Address::Tcp(host.clone())))?;
        match (self.server, self.mode) {
            (_, Mode::Multiplex) => Err(SiteError::HostsMultiplex),
            (Server::Nginx | Server::HaProxy, _) => Ok(()),
            (server, _) => Err(SiteError::NoHosts(server)),
        }
    }

    /// Whether it can start these workers.
    pub(super) fn check_spawning(&self, command_line: &str) -> Result<(), SiteError> {
        self.check()?;
        if self.server != Server::LighttpdSpawning {
            return Err(SiteError::SpawnsNot(self.server));
        }
        // lighttpd reads a string in quotes, and then splits it at spaces.
        if command_line.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            return Err(SiteError::CommandLine(command_line.to_owned()));
        }
        Ok(())
    }
}

impl fmt::Display for Site {
    /// Such as `nginx, tcp, keep`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}, {}, {}", self.server, self.family, self.mode))
    }
}

/// Whether every web server takes the parameter as it stands.
pub(super) fn check_param(name: &str, value: &str) -> Result<(), SiteError> {
    let plain_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\'' | '\\' | '$' | '%');
    match plain_name && value.chars().all(plain) {
        true => Ok(()),
        false => Err(SiteError::Param(format!("{name}={value}"))),
    }
}

fn list(modes: &[Mode]) -> String {
    modes.iter().map(Mode::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site =
        Site { server: Server::Nginx, family: Family::Tcp, mode: Mode::Keep, connections: 8, processes: 1 };

    #[test]
    fn what_there_is_not_is_refused_with_one_line() {
        let tcp = Address::Tcp("127.0.0.1:9000".to_owned());
        let spawning = Site {
            server: Server::LighttpdSpawning,
            family: Family::Unix,
            mode: Mode::Close,
            connections: 0,
            processes: 2,
        };
        assert_eq!(SITE.check_before(&tcp), Ok(()));
        assert_eq!(SITE.check_before_hosts(&["127.0.0.1:9000".to_owned()]), Ok(()));
        assert_eq!(spawning.check_spawning("/usr/local/bin/worker --threads 2"), Ok(()));
        let unix = Address::Unix("/run/app.sock".into());
        let refused = [
            (Site { mode: Mode::Multiplex, ..SITE }.check_before(&tcp), "nginx has no mode multiplex"),
            (Site { connections: 0, ..SITE }.check_before(&tcp), "how many is 0"),
            (SITE.check_before(&unix), "connect by tcp, and its workers are on unix:/run/app.sock"),
            (SITE.check_spawning("worker"), "nginx starts no workers"),
            (spawning.check_before(&unix), "given a command line"),
            (Site { family: Family::Tcp, ..spawning }.check(), "unix sockets"),
            (Site { processes: 0, ..spawning }.check(), "no worker"),
            (Site { mode: Mode::Keep, connections: 1, ..spawning }.check(), "it has close"),
            (spawning.check_spawning("worker \"\nserver.port = 1"), "quotes"),
            (
                Site { server: Server::HaProxy, mode: Mode::Multiplex, ..SITE }.check_before_hosts(&[]),
                "close or keep",
            ),
            (
                Site { server: Server::Lighttpd, mode: Mode::Close, ..SITE }.check_before_hosts(&[]),
                "nginx and haproxy",
            ),
            (check_param("NAME", "$uri"), "NAME=$uri"),
            (check_param("NA ME", ""), "NA ME="),
        ];
        for (refused, hint) in refused {
            let message = refused.expect_err(hint).to_string();
            assert!(message.contains(hint) && !message.contains('\n'), "{hint}: {message}");
        }
    }
}
