//! What a case is: its name, where it comes from, how binding it is, and what it needs of the server.

use std::fmt;

use serde::Serialize;

use crate::context::Context;
use crate::target::Target;

/// How binding a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The specification says so; a server that differs is wrong.
    Required,
    /// The specification recommends it, or every front end depends on it.
    Recommended,
    /// The specification leaves it open: what the server does is reported, and never failed.
    ImplementationDefined,
    /// The server must survive it: afterwards a fresh connection is served.
    Robustness,
}

impl Level {
    /// All levels, in the order in which they are shown.
    pub const ALL: [Level; 4] =
        [Level::Required, Level::Recommended, Level::ImplementationDefined, Level::Robustness];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Required => "required",
            Level::Recommended => "recommended",
            Level::ImplementationDefined => "implementation-defined",
            Level::Robustness => "robustness",
        }
    }

    /// Whether a failure at this level makes the whole run fail.
    pub fn is_binding(self) -> bool {
        matches!(self, Level::Required | Level::Robustness)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a case needs of the server beyond being a responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The server answers our workload (`/hello`, `/echo`, ...).
    pub workload: bool,
    /// `FCGI_MPXS_CONNS` is 1: concurrent requests over one connection.
    pub multiplexing: bool,
    /// `FCGI_MPXS_CONNS` was answered with 0.
    pub no_multiplexing: bool,
    /// Connections that have to be served at the same time; 0 and 1 are alike.
    pub concurrent_connections: usize,
    /// The server reads the connection while its handler waits.
    pub abort_while_waiting: bool,
    /// The server's process is known, so that its memory and descriptors can be read.
    pub process: bool,
    /// The server listens on TCP.
    pub tcp: bool,
}

impl Needs {
    /// No need but a responder.
    pub const NONE: Needs = Needs {
        workload: false,
        multiplexing: false,
        no_multiplexing: false,
        concurrent_connections: 1,
        abort_while_waiting: false,
        process: false,
        tcp: false,
    };

    /// Why this target does not meet the needs, if so.
    pub fn unmet(&self, target: &Target) -> Option<String> {
        let capacity = &target.capacity;
        if self.workload && !target.workload {
            return Some("the server does not answer the workload (/params, /echo, ...)".to_owned());
        }
        if self.multiplexing && !target.multiplexing {
            return Some(format!("the server does not multiplex (FCGI_MPXS_CONNS {})", capacity.mpxs_text()));
        }
        if self.no_multiplexing && (target.multiplexing || capacity.mpxs_conns != Some(false)) {
            return Some(format!("FCGI_MPXS_CONNS is not 0 ({})", capacity.mpxs_text()));
        }
        if self.abort_while_waiting && !target.abort_while_waiting {
            return Some("the server does not read a connection whose request waits".to_owned());
        }
        if self.concurrent_connections > target.connections {
            return Some(format!(
                "{} connections at once are needed, {} were served",
                self.concurrent_connections, target.connections
            ));
        }
        if self.process && target.pid.is_none() {
            return Some("the server's process is not known (--exec or --pid)".to_owned());
        }
        if self.tcp && !target.address.is_tcp() {
            return Some("the server does not listen on TCP".to_owned());
        }
        None
    }
}

/// What a case that ran to its end says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server did what is asked.
    Passed,
    /// What the server does, where the specification leaves it open.
    Reported(String),
}

/// Why a case ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The server did something else than is asked.
    Failed(String),
    /// The case turned out not to apply.
    NotApplicable(String),
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// A sentence-like slug, unique in the suite.
    pub name: &'static str,
    /// The chapter, for `--chapter`.
    pub chapter: &'static str,
    /// The section of FastCGI 1.0, or `workload` where our workload's contract says so.
    pub section: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What it needs of the server.
    pub needs: Needs,
    /// What is asked, in one line.
    pub asks: &'static str,
    /// Whether it belongs to the quick subset.
    pub quick: bool,
    /// How many times the usual timeout it may take, since it does that much more.
    pub patience: u32,
    /// The check itself.
    pub run: fn(&mut Context<'_>) -> Result<Verdict, Stop>,
}

impl Case {
    /// `chapter/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.chapter, self.name)
    }

    pub(crate) const fn new(
        name: &'static str,
        section: &'static str,
        level: Level,
        asks: &'static str,
        run: fn(&mut Context<'_>) -> Result<Verdict, Stop>,
    ) -> Self {
        Case { name, chapter: "", section, level, needs: Needs::NONE, asks, quick: false, patience: 1, run }
    }

    pub(crate) const fn workload(mut self) -> Self {
        self.needs.workload = true;
        self
    }

    pub(crate) const fn multiplexing(mut self) -> Self {
        self.needs.multiplexing = true;
        self
    }

    pub(crate) const fn no_multiplexing(mut self) -> Self {
        self.needs.no_multiplexing = true;
        self
    }

    pub(crate) const fn aborting(mut self) -> Self {
        self.needs.workload = true;
        self.needs.abort_while_waiting = true;
        self
    }

    pub(crate) const fn connections(mut self, count: usize) -> Self {
        self.needs.concurrent_connections = count;
        self
    }

    pub(crate) const fn process(mut self) -> Self {
        self.needs.process = true;
        self
    }

    pub(crate) const fn tcp(mut self) -> Self {
        self.needs.tcp = true;
        self
    }

    pub(crate) const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    pub(crate) const fn patience(mut self, times: u32) -> Self {
        self.patience = times;
        self
    }
}
