//! A FastCGI server for an application of your own, with the concurrency model that you choose.
//!
//! ```no_run
//! use fcgi_worker::{AppStatus, Error, Handler, Request, Response, Step};
//!
//! struct Hello;
//!
//! impl Handler for Hello {
//!     type Job = ();
//!     fn start(&self, _: Request<'_>) {}
//!     fn step(&self, _: Request<'_>, _: &mut (), response: &mut Response<'_>) -> Result<Step, Error> {
//!         response.write(b"Content-Type: text/plain\r\n\r\nHello, world\n");
//!         Ok(Step::Done(AppStatus::SUCCESS))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     fcgi_worker::run(strategy_mio::CAPACITY, || Hello, strategy_mio::serve)
//! }
//! ```
//!
//! With `strategy_mio` as a dependency, that is a server: a pool of processes that are replaced when they die, on a socket of
//! its own (`--listen`) or one that systemd, lighttpd or spawn-fcgi passes; drained by SIGTERM, reloaded by SIGHUP; with limits
//! and timeouts for its peers. Another crate of the strategy family in its place, and the same application is served by another
//! model. `--help` says what there is to set.
//!
//! - **A request is served in steps** ([`Handler`]), which do not block: one says whether it wants to wait for a time, for room in
//!   the output, or to be woken from another thread ([`Step::Park`]), as by the driver of a database.
//! - **An error is a 500** and a line in the web server's log; the worker goes on. A panic ends the process, in every model, and
//!   the supervisor starts another.
//! - **State is a process's own**: the handler is made in each, after the fork.
//! - **A body comes whole**, and up to a limit, 8 MiB unless `--max-body` says otherwise: beyond it the answer is 413. A response
//!   is not limited; it goes out as the peer takes it.
//! - **Not goals**: handlers that are `async fn`, and an HTTP framework. A [`Request`] is CGI's parameters and a body, a
//!   [`Response`] is CGI's. Responders only: an authorizer or a filter is answered FCGI_UNKNOWN_ROLE.
//!
//! A program with a version or options of its own is a [`Program`]; one with a `main` of its own takes [`Listener::bind`] or
//! [`Listener::inherited`], [`drain::install`] and [`Config::new`], and calls the strategy's `serve`:
//!
//! ```no_run
//! # use fcgi_worker::{AppStatus, Config, Error, Handler, Listener, Request, Response, SocketOptions, Step, drain};
//! # use std::time::Duration;
//! # struct Hello;
//! # impl Handler for Hello {
//! #     type Job = ();
//! #     fn start(&self, _: Request<'_>) {}
//! #     fn step(&self, _: Request<'_>, _: &mut (), _: &mut Response<'_>) -> Result<Step, Error> {
//! #         Ok(Step::Done(AppStatus::SUCCESS))
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! drain::install(Duration::from_secs(10))?;
//! let listener = Listener::bind(&"unix:/run/hello.sock".parse()?, &SocketOptions::default())?;
//! strategy_mio::serve(listener, Hello, &Config::new(strategy_mio::CAPACITY)?)?;
//! # Ok(())
//! # }
//! ```
//!
//! # For whoever writes a strategy
//!
//! ```text
//!   command line ──► Options ──► Listener (fd 0, passed by systemd, or bound by --listen)
//!                                   │
//!                         supervisor: N processes by fork(2), replaced when they die, and on SIGHUP
//!                                   │
//!                        strategy::serve(listener, handler, &config)      which call waits, who is woken, who accepts,
//!                                   │                                     who reads, who runs a step
//!          ┌────────────────┬───────┴────────┬─────────────┐
//!     Accepting          Session          Timers         drain
//!     when to accept     a connection's   deadlines      SIGTERM, SIGINT
//!                        rules │          by key
//!                              ▼
//!                  Handler: the application, in steps
//! ```
//!
//! A strategy crate is a `CAPACITY` and a `serve`. It owns every descriptor and
//! every call that waits: fcgi-worker accepts nothing, schedules nothing, and polls nothing. A [`Session`] takes bytes
//! and time, and returns bytes and a deadline. The two exceptions read and write: [`blocking`], a connection's whole life in
//! calls that block, its accept among them, for the models whose unit of scheduling is a connection, and [`nonblocking`], the
//! turns of connections that are said to be readable or writable, for the models with a loop.

#[cfg(not(target_os = "linux"))]
compile_error!("fcgi-worker runs on Linux only; fcgi-proto, the protocol without I/O, runs anywhere");

// README.md's examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod accepting;
mod alarm;
pub mod blocking;
mod closing;
mod descriptor_sets;
mod descriptors;
pub mod drain;
mod handler;
mod listener;
pub mod log;
pub mod nonblocking;
mod notify;
mod options;
mod parking;
mod pauses;
mod program;
mod reload;
mod session;
mod shared;
mod signals;
mod supervisor;
pub mod threads;
mod timers;
mod wakeups;

use std::io;
use std::time::Duration;

pub use accepting::{Accepted, Accepting, BACK_OFF};
pub use alarm::Alarm;
pub use clap;
pub use descriptor_sets::DescriptorSets;
pub use fcgi_proto::{AppStatus, Limits, Params, Request, Values};
pub use handler::{Error, Exchange, Handler, Progress, Response, Step, run_step};
pub use listener::{Address, ListenError, Listener, Owner, SocketOptions};
pub use pauses::Pauses;
pub use program::{Program, run};
pub use session::Session;
pub use shared::Shared;
pub use timers::Timers;
pub use wakeups::Wakeups;

/// Bytes that one read takes at most, where a loop or a thread reads into a buffer of its own.
pub const READ_BYTES: usize = 64 << 10;

/// How many connections one process can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// One at a time.
    One,
    /// One for each of its threads.
    OnePerThread,
    /// As many as `--connections` allows.
    Many,
    /// The same, but no more than so many, whatever is asked for.
    AtMost(usize),
    /// The same, as far as select(2) can watch their descriptors: 1,000, unless more are asked for and to be had. From its
    /// start on, the process is given no other descriptors.
    Selectable,
    /// One for each of its child processes, of which there are so many at most.
    OnePerChild(usize),
}

/// What one thread of a process serves, and how many there are unless `--threads` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerThread {
    /// A request to its end, its waits included: there are no more requests at a time than threads.
    Request(usize),
    /// A part of the connections, in a loop of its own: there are no more threads than connections.
    Loop(usize),
    /// A step of any request: what waits has no thread.
    Step(usize),
}

impl PerThread {
    /// How many there are, unless `--threads` says otherwise.
    pub(crate) fn usual(self) -> usize {
        let (Self::Request(threads) | Self::Loop(threads) | Self::Step(threads)) = self;
        threads
    }
}

/// What a strategy can do: stated once, by the strategy, and announced from here by FCGI_GET_VALUES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections that one process holds.
    pub connections: ConnectionLimit,
    /// Threads that serve requests; `None` where the model has none.
    pub threads: Option<PerThread>,
    /// Whether several requests of one connection are served at a time (FCGI_MPXS_CONNS).
    pub multiplexes: bool,
}

/// What `serve` is told of the process it runs in.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bounds on what a connection's peer can make it hold.
    pub limits: Limits,
    /// What the whole pool answers to FCGI_GET_VALUES.
    pub values: Values,
    /// Connections that this process holds at most: it has descriptors for them.
    pub connections: usize,
    /// Threads that serve requests. Where each has a connection, or a part of them, no more than there are connections.
    pub threads: usize,
    /// Bytes of unsent output at which a connection is not read and its requests not resumed.
    pub output_bytes: usize,
    /// How long a peer may keep a connection waiting.
    pub timeouts: Timeouts,
}

impl Config {
    /// As it is without a command line, for one process of a `main` that does not call [`run`]. As there, the process gets as
    /// many descriptors as its hard limit allows.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`]: there is no descriptor for even one connection.
    pub fn new(capacity: Capacity) -> io::Result<Self> {
        options::default_config(capacity)
    }

    /// The same, for a process with one connection for each thread that has only so many of its threads.
    #[must_use]
    pub fn with_threads(&self, threads: usize) -> Self {
        let mut config = *self;
        // The other processes of the pool lack as many, for all that is known here.
        config.values.connections = self.values.connections / self.threads * threads;
        config.values.requests = self.values.requests / self.threads * threads;
        Self { connections: threads, threads, ..config }
    }
}

/// How long a connection waits for its peer, and a request for its end; `None` waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For the next request, where none is being received or served: then the connection is closed.
    pub idle: Option<Duration>,
    /// For the rest of a request whose first record has come: then nothing more is read, what is complete is served, and
    /// the connection is closed.
    pub receive: Option<Duration>,
    /// For the end of a request that has to wait: then it is ended as FCGI_ABORT_REQUEST would end it (spec 5.4). And for
    /// the peer to take anything of the output that it was sent: then the connection is closed.
    pub request: Option<Duration>,
}

impl Timeouts {
    /// Waits for ever.
    pub const NONE: Self = Self { idle: None, receive: None, request: None };
}
