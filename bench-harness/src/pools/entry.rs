//! Whatever can stand in a comparison: a strategy, the floor, somebody else's implementation, a server that is there already.

use std::fmt;
use std::io;
use std::time::Duration;

use fcgi_load::{Address, RequestSpec};
use fcgi_verify::Options;
use serde::{Deserialize, Serialize};

use crate::builds::Strategy;
use crate::launch::{Family, LaunchError, Pool};
use crate::mix::Mix;
use crate::peers::Peer;
use crate::target::Target;

/// What an entry is, which says what may be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One of ours: it answers the whole workload.
    Strategy,
    /// It does no protocol work: it shows how fast anything could be here.
    Floor,
    /// Somebody else's: it answers `/hello`, `/echo` and `/wait`.
    Peer,
    /// A server that the harness did not start, perhaps on another machine. What it answers turns out when it is asked.
    Target,
}

impl Kind {
    /// Whether such an entry can be asked for this.
    pub fn answers(self, workload: &Mix) -> bool {
        match self {
            Self::Strategy | Self::Target => true,
            Self::Floor => *workload == Mix::default(),
            Self::Peer => workload.is_for_peers(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strategy => "strategy",
            Self::Floor => "floor",
            Self::Peer => "peer",
            Self::Target => "target",
        })
    }
}

/// How long a server may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a pool holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Connections kept.
    pub connections: usize,
    /// Whether it takes several requests on one of them.
    pub multiplexes: bool,
}

/// What a web server is told that starts its workers itself, each with a listening socket of its own as its fd 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// What one is started by: words, with spaces between them.
    pub command_line: String,
    /// How many it is to start: one where that one starts the others.
    pub processes: usize,
}

/// An entry that is built, or is there.
#[derive(Clone, Debug)]
pub enum Entry {
    /// One of ours, or the floor.
    Strategy(Strategy),
    /// Somebody else's.
    Peer(Peer),
    /// A server that was not started here.
    Target(Target),
}

impl Entry {
    /// What tests and charts call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Strategy(strategy) => strategy.name(),
            Self::Peer(peer) => peer.name(),
            Self::Target(target) => target.name(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Strategy(strategy) if strategy.is_floor() => Kind::Floor,
            Self::Strategy(_) => Kind::Strategy,
            Self::Peer(_) => Kind::Peer,
            Self::Target(_) => Kind::Target,
        }
    }

    /// Whether each new connection wakes all of its processes: its line over processes shows that, too.
    pub fn wakes_all(&self) -> bool {
        match self {
            Self::Strategy(strategy) => strategy.wakes_all(),
            Self::Peer(_) | Self::Target(_) => false,
        }
    }

    /// Whether its threads share the work: it then has one for each core.
    pub fn has_thread_per_core(&self) -> bool {
        match self {
            Self::Strategy(strategy) => strategy.has_thread_per_core(),
            Self::Peer(_) | Self::Target(_) => false,
        }
    }

    /// Whether it is a form of a strategy, which takes part where it is named.
    pub fn is_form(&self) -> bool {
        match self {
            Self::Strategy(strategy) => strategy.is_form(),
            Self::Peer(_) | Self::Target(_) => false,
        }
    }

    /// Its version: of an implementation that is not ours.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Strategy(_) | Self::Target(_) => None,
            Self::Peer(peer) => Some(peer.version()),
        }
    }

    /// Where it answers, if that is known before it is launched: of a server that was not started here.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Strategy(_) | Self::Peer(_) => None,
            Self::Target(target) => Some(target.address()),
        }
    }

    /// Starts a pool of so many processes on a fresh listener, with as many threads in each as it has by default. A server that
    /// is there already is found instead, with the processes it has.
    pub fn launch(&self, family: Family, processes: usize) -> Result<Pool, LaunchError> {
        self.launch_on(family, processes, None)
    }

    /// The same, where the workers have been given so many cores: threads that share the work are as many.
    pub(crate) fn launch_on(
        &self,
        family: Family,
        processes: usize,
        cores: Option<usize>,
    ) -> Result<Pool, LaunchError> {
        match self {
            Self::Strategy(strategy) => {
                let mut args = vec!["--processes".to_owned(), processes.to_string()];
                args.extend(self.threads(cores));
                Pool::launch(strategy, family, &args.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Self::Peer(peer) => Pool::launch_peer(peer, family, processes),
            Self::Target(target) => Pool::found(target),
        }
    }

    /// The options that make threads which share the work as many as the cores.
    fn threads(&self, cores: Option<usize>) -> Vec<String> {
        match cores {
            Some(cores) if self.has_thread_per_core() => vec!["--threads".to_owned(), cores.to_string()],
            _ => Vec::new(),
        }
    }

    /// How a web server that starts its workers itself starts so many of them; `cores` as the workers have been given. None of
    /// what runs already.
    pub fn spawned(&self, processes: usize, cores: Option<usize>) -> Option<Spawned> {
        match self {
            Self::Target(_) => None,
            Self::Strategy(strategy) => {
                let mut words = vec![strategy.binary().display().to_string()];
                words.extend(self.threads(cores));
                Some(Spawned { command_line: words.join(" "), processes })
            }
            Self::Peer(peer) => Some(Spawned {
                command_line: peer.command_line(processes),
                // It starts them itself.
                processes: if peer.forks() { 1 } else { processes },
            }),
        }
    }

    /// Parameters that each of its requests has to have beside those of the workload.
    pub fn params(&self) -> &[(String, String)] {
        match self {
            Self::Strategy(_) | Self::Target(_) => &[],
            Self::Peer(peer) => peer.params(),
        }
    }

    /// The request that everybody is measured by, and what must come back. Somebody else's implementation may add headers
    /// of its own to the body.
    pub fn hello(&self) -> RequestSpec {
        self.adapt(RequestSpec::get("/hello").expect_body("Hello, world\n"))
    }

    /// A request as this entry must be sent it: what else somebody else's implementation needs, or leaves out, its folder
    /// says.
    pub(crate) fn adapt(&self, mut request: RequestSpec) -> RequestSpec {
        for (name, value) in self.params() {
            request = request.param(name.as_str(), value.as_str());
        }
        if let Self::Peer(peer) = self {
            request.expect.stdout_end = peer.ends_stdout();
        }
        request
    }

    /// What a pool of it holds: as it says itself by FCGI_GET_VALUES (4.1); of what is not ours, as it turns out. A floor
    /// cannot be asked, and takes what comes.
    pub fn holds(&self, pool: &Pool) -> io::Result<Holds> {
        if self.kind() == Kind::Floor {
            return Ok(Holds { connections: u16::MAX.into(), multiplexes: true });
        }
        let said = fcgi_load::capacity(pool.address(), PATIENCE)?;
        // One that takes one request in all cannot take two on a connection, whatever it says of connections.
        let multiplexes = said.multiplexes == Some(true) && said.requests != Some(1);
        let connections = match (self.kind(), said.connections) {
            (Kind::Strategy, Some(connections)) => connections as usize,
            _ => self.probe(pool)?.connections,
        };
        Ok(Holds { connections, multiplexes })
    }

    /// Ends a pool of it: one of ours has to drain, somebody else's is to end somehow, and what was there stays.
    pub fn end(&self, pool: Pool) -> io::Result<()> {
        match self.kind() {
            Kind::Strategy | Kind::Floor => pool.drain(),
            Kind::Peer => {
                pool.stop();
                Ok(())
            }
            Kind::Target => Ok(()),
        }
    }

    /// A pool of it as fcgi-verify sees it.
    pub(crate) fn probe(&self, pool: &Pool) -> io::Result<fcgi_verify::Target> {
        let options = Options { timeout: PATIENCE, params: self.params().to_vec(), ..Options::default() };
        let address = pool.address().to_string().parse().map_err(io::Error::other)?;
        fcgi_verify::Target::probe(address, options)
    }
}
