//! A worker's whole `main`.

use std::env;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use rustix::process::{Pid, getpid};

use crate::options::{self, Options};
use crate::reload::Predecessor;
use crate::signals::Signals;
use crate::{Capacity, Config, Handler, Listener, drain, listener, log, notify, supervisor};

/// The whole of a worker's `main`: reads the command line, obtains the listener, becomes the pool and serves what `make` makes.
/// It is called in each worker process, after the fork, so that threads, connections and state are that process's own. A
/// strategy that forks itself, as strategy-fork does, forks what was made, too.
///
/// The program is called what its file is called, and has the options that every worker has. One with a version, options or a
/// description of its own is a [`Program`].
///
/// ```no_run
/// # use fcgi_worker::{AppStatus, Capacity, Config, Error, Handler, Listener, Request, Response, Step};
/// # struct Hello;
/// # impl Handler for Hello {
/// #     type Job = ();
/// #     fn start(&self, _: Request<'_>) {}
/// #     fn step(&self, _: Request<'_>, _: &mut (), _: &mut Response<'_>) -> Result<Step, Error> {
/// #         Ok(Step::Done(AppStatus::SUCCESS))
/// #     }
/// # }
/// fn main() -> std::process::ExitCode {
///     fcgi_worker::run(strategy_mio::CAPACITY, || Hello, strategy_mio::serve)
/// }
/// ```
///
/// Exit status: 0 after a drain, 1 where serving failed, 2 where the command line or the listener is unusable, and 3
/// where this machine lacks what the strategy needs: `serve` says so by an error of [`io::ErrorKind::Unsupported`].
pub fn run<H: Handler>(
    capacity: Capacity,
    make: impl Fn() -> H,
    serve: impl Fn(Listener, H, &Config) -> io::Result<()>,
) -> ExitCode {
    Program::new(&own_name()).run(capacity, |_: &NoOptions| Ok(make()), serve)
}

/// A worker that has more to say of itself than [`run`] lets it.
///
/// ```no_run
/// use fcgi_worker::clap;
/// # use fcgi_worker::{AppStatus, Error, Handler, Request, Response, Step};
/// # struct Hello(String);
/// # impl Handler for Hello {
/// #     type Job = ();
/// #     fn start(&self, _: Request<'_>) {}
/// #     fn step(&self, _: Request<'_>, _: &mut (), _: &mut Response<'_>) -> Result<Step, Error> {
/// #         Ok(Step::Done(AppStatus::SUCCESS))
/// #     }
/// # }
///
/// #[derive(clap::Args)]
/// struct Options {
///     /// Whom to greet
///     #[arg(long, default_value = "world")]
///     name: String,
/// }
///
/// fn main() -> std::process::ExitCode {
///     fcgi_worker::Program::new(env!("CARGO_PKG_NAME"))
///         .version(env!("CARGO_PKG_VERSION"))
///         .about("Greets whoever asks.")
///         .run(strategy_mio::CAPACITY, |options: &Options| Ok(Hello(options.name.clone())), strategy_mio::serve)
/// }
/// ```
#[derive(Debug)]
pub struct Program {
    /// What a process says of itself lives as long as it does.
    pub(crate) name: &'static str,
    pub(crate) version: Option<&'static str>,
    pub(crate) about: Option<&'static str>,
    pub(crate) after_help: &'static str,
}

/// No options but those that every worker has.
#[derive(Args)]
struct NoOptions {}

impl Program {
    /// With this name in `--help` and on every line on stderr.
    pub fn new(name: &str) -> Self {
        Self { name: leak(name), version: None, about: None, after_help: "" }
    }

    /// What `--version` says. Without one there is no such option.
    #[must_use]
    pub fn version(self, version: &str) -> Self {
        Self { version: Some(leak(version)), ..self }
    }

    /// What it is, in a sentence, at the top of `--help`.
    #[must_use]
    pub fn about(self, about: &str) -> Self {
        Self { about: Some(leak(about)), ..self }
    }

    /// What else there is to say, at the end of `--help`.
    #[must_use]
    pub fn after_help(self, text: &str) -> Self {
        Self { after_help: leak(text), ..self }
    }

    /// As [`run`] does, with options `O` of its own beside those of every worker: two of one name are a panic at the start.
    /// Where `make` fails, the process ends with 1 and a line that says why, or with 3 where the error's kind is
    /// [`io::ErrorKind::Unsupported`]; a supervisor starts it again, after a pause.
    pub fn run<O: Args, H: Handler>(
        self,
        capacity: Capacity,
        make: impl Fn(&O) -> io::Result<H>,
        serve: impl Fn(Listener, H, &Config) -> io::Result<()>,
    ) -> ExitCode {
        log::install(self.name);
        // Before there is a socket: who sees it may send a signal, which must not kill what has to remove it.
        let signals = match Signals::hold() {
            Ok(signals) => signals,
            Err(error) => return refuse(1, error),
        };
        let (options, own) = match options::parse::<O>(&self, capacity) {
            Ok(options) => options,
            Err(answer) => return answer,
        };
        let (config, cut) = match options.config(capacity) {
            Ok(config) => config,
            Err(error) => return ExitCode::from(status(Err(error))),
        };
        if options.check {
            let checked = listener::unnamed().and_then(|listener| {
                drain::install_for(options.grace(), None)?;
                drain::request();
                serve(listener, make(&own)?, &config)
            });
            return ExitCode::from(status(checked));
        }
        let work = |listener: Listener, supervisor: Option<Pid>, ready: &dyn Fn()| {
            let drained = drain::install_for(options.grace(), supervisor).and_then(|()| {
                let handler = make(&own)?;
                ready();
                serve(listener, handler, &config)
            });
            status(drained)
        };
        start(&signals, &options, cut, work)
    }
}

/// Obtains the listener and becomes the pool, or the one worker.
fn start(
    signals: &Signals,
    options: &Options,
    cut: Option<String>,
    work: impl Fn(Listener, Option<Pid>, &dyn Fn()) -> u8,
) -> ExitCode {
    let predecessor = Predecessor::find();
    let listener = match options.listener(predecessor.as_ref()) {
        Ok(listener) => listener,
        Err(error) => return refuse(2, error),
    };
    if let Some(cut) = cut {
        log::say(cut);
    }
    if !options.is_supervised() {
        return ExitCode::from(work(listener, None, &|| notify::notify("READY=1")));
    }
    let former = predecessor.map(|predecessor| predecessor.workers).unwrap_or_default();
    if !former.is_empty() {
        log::say(format_args!("SIGHUP: this program took over, and replaces {} workers", former.len()));
    }
    let supervisor = getpid();
    let work = |listener: Listener, ready: &dyn Fn()| work(listener, Some(supervisor), ready);
    supervisor::run(signals, listener, options.process_count(), options.grace(), former, &work)
}

/// What the program's file is called.
fn own_name() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

/// A few words, once in a process's life.
fn leak(text: &str) -> &'static str {
    Box::leak(text.into())
}

/// What prevents the start, in one line.
fn refuse(status: u8, error: impl Display) -> ExitCode {
    log::say(error);
    ExitCode::from(status)
}

/// The exit status where this machine lacks what the strategy needs. To start again would change nothing.
pub(crate) const UNSUPPORTED: u8 = 3;

/// What serving has come to, as an exit status.
fn status(served: io::Result<()>) -> u8 {
    match served {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            log::say(format_args!("unsupported here: {error}"));
            UNSUPPORTED
        }
        Err(error) => {
            log::say(error);
            1
        }
    }
}
