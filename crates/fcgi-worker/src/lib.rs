//! What every worker process shares, whatever its concurrency model.
//!
//! ```text
//!   command line ──► Options ──► Listener (fd 0, or bound by --listen)
//!                                   │
//!                         supervisor: N processes by fork(2), replaced when they die
//!                                   │
//!                        strategy::serve(listener, handler, &config)
//!                                   │             ▲
//!                     drain (SIGTERM, SIGINT)   Handler: the application, in steps
//! ```
//!
//! A strategy crate is a `CAPACITY`, a `serve`, and a `main` that hands both to [`run`]. It accepts, reads and
//! writes on its own: nothing here touches a connection's descriptor, so what two strategies do with one can be read
//! side by side.

pub mod drain;
mod handler;
mod listener;
mod options;
mod supervisor;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use fcgi_proto::{Connection, Limits};

pub use handler::{Exchange, Handler, Step};
pub use listener::{AcceptError, Listener};
pub use workload::Workload;

/// How many connections one process can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// One at a time.
    One,
    /// One for each of its threads.
    OnePerThread,
    /// As many as `--connections` allows.
    Many,
    /// The same, but no more than the model itself can have.
    AtMost(usize),
}

/// What a strategy can do: stated once, by the strategy, and announced from here by FCGI_GET_VALUES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections that one process holds.
    pub connections: Held,
    /// Threads that serve requests, unless `--threads` says otherwise; `None` where the model has none.
    pub threads: Option<usize>,
    /// Whether several requests of one connection are in the handler's hands at a time (FCGI_MPXS_CONNS).
    pub multiplexes: bool,
    /// Whether FCGI_ABORT_REQUEST is read while the request waits, and ends it then.
    pub sees_aborts: bool,
}

/// What `serve` is told of the process it runs in.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bounds on what a connection's peer can make it hold.
    pub limits: Limits,
    /// What the whole pool answers to FCGI_GET_VALUES.
    pub capacity: fcgi_proto::Capacity,
    /// Connections that this process holds at most.
    pub connections: usize,
    /// Threads that serve requests.
    pub threads: usize,
    /// Bytes of unsent output at which a connection is not read and its requests not resumed.
    pub output_bytes: usize,
}

impl Config {
    /// The state of a connection just accepted.
    #[inline]
    pub fn connection(&self) -> Connection {
        Connection::new(self.limits, self.capacity)
    }
}

/// The whole of a worker's `main`: reads the command line, obtains the listener, becomes the pool and serves.
///
/// Exit status: 0 after a drain, 1 where serving failed, 2 where the command line or the listener is unusable, and 3
/// where this machine lacks what the strategy needs: `serve` says so by an error of [`io::ErrorKind::Unsupported`].
pub fn run(
    name: &'static str,
    capacity: Capacity,
    serve: fn(Listener, Workload, &Config) -> io::Result<()>,
) -> ExitCode {
    let options = match options::parse(name, capacity) {
        Ok(options) => options,
        Err(answer) => return answer,
    };
    if options.check {
        let checked = listener::unnamed().and_then(|listener| {
            drain::install()?;
            drain::request();
            serve(listener, Workload { allow_crash: false }, &options.config(capacity))
        });
        return ExitCode::from(status(name, checked));
    }
    // Before there is a socket: who sees it may send a signal, which must not kill what has to remove it.
    let signals = match options.is_supervised().then(supervisor::Signals::block).transpose() {
        Ok(signals) => signals,
        Err(error) => {
            complain(name, &error);
            return ExitCode::FAILURE;
        }
    };
    let listener = match options.listener() {
        Ok(listener) => listener,
        Err(error) => {
            complain(name, &error);
            return ExitCode::from(2);
        }
    };
    raise_descriptor_limit();
    let handler = Workload { allow_crash: options.allow_crash };
    let config = options.config(capacity);
    let work = |listener: Listener| {
        let drained = drain::install().and_then(|()| {
            thread::sleep(options.startup());
            serve(listener, handler, &config)
        });
        status(name, drained)
    };
    match signals {
        Some(signals) => {
            supervisor::run(name, &signals, listener, options.process_count(), options.grace(), work)
        }
        None => ExitCode::from(work(listener)),
    }
}

/// The exit status where this machine lacks what the strategy needs. To start again would change nothing.
const UNSUPPORTED: u8 = 3;

/// What serving has come to, as an exit status.
fn status(name: &str, served: io::Result<()>) -> u8 {
    match served {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            complain(name, &format_args!("unsupported here: {error}"));
            UNSUPPORTED
        }
        Err(error) => {
            complain(name, &error);
            1
        }
    }
}

/// One line on stderr, which may be closed or broken (spec 2.2): nothing depends on it.
fn complain(name: &str, problem: &dyn std::fmt::Display) {
    // In one write: other processes of the pool may have the same to say.
    let _ = io::stderr().write_all(format!("{name}: {problem}\n").as_bytes());
}

/// Descriptors are what holds a process's connections: take as many as the hard limit gives.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it fails, the soft limit stays; accept then meets EMFILE, which every strategy survives.
    let _ = setrlimit(Resource::Nofile, limit);
}
