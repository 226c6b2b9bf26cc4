//! The command line, the same for every worker.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use fcgi_proto::Limits;

use crate::listener::{self, Address, BACKLOG, ListenError, Listener, Owner, SocketOptions};
use crate::reload::Predecessor;
use crate::{Capacity, Config, ConnectionLimit, Timeouts, log};

/// A FastCGI responder.
///
/// Without --listen it serves the listening socket that systemd passes (LISTEN_FDS), or that on fd 0, as FastCGI spawners
/// (lighttpd, spawn-fcgi) give it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Listen on unix:PATH, unix:@NAME (an abstract name) or tcp:HOST:PORT; with port 0 the one chosen is said on stderr
    /// [default: the socket passed by systemd, or on fd 0]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Address>,

    /// Permissions of the socket file, in octal: who may connect
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = octal)]
    socket_mode: u32,

    /// Whose the socket file is: USER, USER:GROUP or :GROUP, names or numbers [default: who runs this]
    #[arg(long, value_name = "USER:GROUP")]
    socket_owner: Option<Owner>,

    /// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    backlog: Option<u16>,

    /// Worker processes on the one listener, replaced when they die [default: the cores; 1 on fd 0]
    #[arg(long, value_name = "N")]
    processes: Option<NonZeroUsize>,

    /// Threads of one process that serve requests, where the model has threads
    #[arg(long, value_name = "T")]
    threads: Option<NonZeroUsize>,

    /// Connections that one process holds at a time, where the model holds many
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(16_384).unwrap())]
    connections: NonZeroUsize,

    /// Requests in flight on one connection; beyond: 503
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(Limits::default().requests).unwrap())]
    requests: NonZeroUsize,

    /// Bytes of one request's parameters; beyond: 431
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().params_bytes, value_parser = bytes)]
    max_params: usize,

    /// Bytes of one request's body; beyond: 413
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = bytes)]
    max_body: usize,

    /// Bytes that all requests of one connection hold; beyond: 503
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().connection_bytes, value_parser = bytes)]
    max_held: usize,

    /// Bytes of unsent output at which a connection waits for its peer to read
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10, value_parser = bytes)]
    max_output: usize,

    /// Close a kept connection on which nothing has come for this long, as in 30s [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    idle_timeout: Option<Duration>,

    /// Stop reading a connection whose request has begun to come but not come whole for this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    receive_timeout: Option<Duration>,

    /// End a request that has been waiting to go on, and a connection that takes no output, for this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,

    /// Milliseconds that each process takes to start, like an application that loads itself first
    #[arg(long, value_name = "MS", default_value_t = 0)]
    startup_ms: u64,

    /// Milliseconds that a drain may take before the workers left are killed; at least 1000, which idle ones may need
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    grace_ms: u64,

    /// Say whether this machine has what the worker needs, and exit: 0 if it has, 3 and a line that says what it lacks
    #[arg(long)]
    pub(crate) check: bool,

    /// Let a request for /crash abort the process it reaches
    #[arg(long)]
    pub(crate) allow_crash: bool,
}

/// A worker that has nothing to do needs a moment to end too: half a second, where a peer is slow to close.
const LEAST_GRACE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  NAME --listen unix:/run/app.sock --processes 4
  NAME --listen unix:/run/app.sock --socket-owner www-data:www-data --socket-mode 600
  NAME --listen tcp:127.0.0.1:9000
  systemd-socket-activate --listen /run/app.sock NAME
  spawn-fcgi -n -s /run/app.sock -- NAME

Signals: SIGTERM, SIGINT and SIGQUIT finish the requests in flight, then exit with 0; a second one does not wait. SIGHUP
replaces the workers one by one by those of the program as it is on disk then; nobody is refused meanwhile.
Paths served: /hello /cpu?us=N /wait?ms=N /echo /bytes?n=N /stream?chunks=N&ms=M /params /status?code=N /exit?status=N";

/// Reads the command line. `Err` is the exit code where there is nothing to serve: after --help, or after one line
/// about a word that is off.
pub(crate) fn parse(name: &'static str, capacity: Capacity) -> Result<Options, ExitCode> {
    parse_from(name, capacity, std::env::args_os()).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        // clap's first line says what is wrong; the rest is what --help says better.
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        log::say(format_args!("{line} (see {name} --help)"));
        ExitCode::from(2)
    })
}

fn parse_from(
    name: &'static str,
    capacity: Capacity,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Options, clap::Error> {
    let mut command = Options::command().name(name).after_help(EXAMPLES.replace("NAME", name));
    let options = Options::from_arg_matches(&command.try_get_matches_from_mut(words)?)?;
    if options.threads.is_some() && capacity.threads.is_none() {
        return Err(command.error(ErrorKind::UnknownArgument, format!("{name} has no threads to set")));
    }
    Ok(options)
}

impl Options {
    pub(crate) fn listener(&self, predecessor: Option<&Predecessor>) -> Result<Listener, ListenError> {
        if let Some(predecessor) = predecessor {
            return listener::adopt(predecessor, self.listen.as_ref(), self.backlog.unwrap_or(BACKLOG));
        }
        match &self.listen {
            Some(address) if listener::is_passed() => Err(ListenError::Twice(address.to_string())),
            Some(address) => listener::bind(address, &self.socket_options()),
            None if self.socket_owner.is_some() => Err(ListenError::NoFileToOwn),
            None if self.backlog.is_some() => Err(ListenError::NoBacklogToSet),
            None => listener::inherited(),
        }
    }

    fn socket_options(&self) -> SocketOptions {
        SocketOptions {
            backlog: self.backlog.unwrap_or(BACKLOG),
            mode: self.socket_mode,
            owner: self.socket_owner.clone(),
        }
    }

    /// On fd 0 the spawner looks after the process, unless a pool was asked for.
    pub(crate) fn is_supervised(&self) -> bool {
        self.is_pool() || self.processes.is_some()
    }

    /// Where no FastCGI spawner starts as many processes as it likes.
    fn is_pool(&self) -> bool {
        self.listen.is_some() || listener::is_passed()
    }

    pub(crate) fn process_count(&self) -> usize {
        match self.processes {
            Some(count) => count.get(),
            None if !self.is_pool() => 1,
            None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    pub(crate) fn startup(&self) -> Duration {
        Duration::from_millis(self.startup_ms)
    }

    pub(crate) fn grace(&self) -> Duration {
        LEAST_GRACE.max(Duration::from_millis(self.grace_ms))
    }

    pub(crate) fn config(&self, capacity: Capacity) -> Config {
        let threads = self.threads.map(NonZeroUsize::get).or(capacity.threads).unwrap_or(1);
        let connections = match capacity.connections {
            ConnectionLimit::One => 1,
            ConnectionLimit::OnePerThread => threads,
            ConnectionLimit::Many => self.connections.get(),
            ConnectionLimit::AtMost(most) => self.connections.get().min(most),
        };
        let requests_per_connection = if capacity.multiplexes { self.requests.get() } else { 1 };
        // A multiplexing model with threads has one for each request.
        let requests = match (capacity.multiplexes, capacity.threads) {
            (true, Some(_)) => threads,
            _ => connections.saturating_mul(requests_per_connection),
        };
        let processes = self.process_count();
        Config {
            limits: Limits {
                params_bytes: self.max_params,
                body_bytes: self.max_body,
                connection_bytes: self.max_held,
                requests: requests_per_connection,
            },
            values: fcgi_proto::Values {
                connections: connections.saturating_mul(processes),
                requests: requests.saturating_mul(processes),
                multiplexes: capacity.multiplexes,
            },
            connections,
            threads,
            output_bytes: self.max_output,
            timeouts: Timeouts {
                idle: self.idle_timeout,
                receive: self.receive_timeout,
                request: self.request_timeout,
            },
        }
    }
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "a mode looks like 660".to_owned())
}

/// A number and a unit: `300ms`, `30s`, `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    number
        .filter(|number| *number > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| "a time looks like 300ms, 30s or 5m".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|bytes| (1..=1 << 30).contains(bytes))
        .ok_or_else(|| "a number of bytes from 1 to 1073741824 is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADED: Capacity =
        Capacity { connections: ConnectionLimit::OnePerThread, threads: Some(8), multiplexes: false };
    const LOOP: Capacity = Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

    fn config(capacity: Capacity, words: &str) -> Config {
        let words = std::iter::once("worker").chain(words.split_whitespace()).map(OsString::from);
        parse_from("worker", capacity, words).unwrap().config(capacity)
    }

    #[test]
    fn a_pool_announces_what_all_its_processes_hold() {
        let config = config(THREADED, "--listen unix:/x --processes 3 --threads 5");
        assert_eq!(config.values, fcgi_proto::Values { connections: 15, requests: 15, multiplexes: false });
        assert_eq!(config.limits.requests, 1);
    }

    #[test]
    fn a_multiplexing_model_announces_connections_times_requests() {
        let config = config(LOOP, "--listen unix:/x --processes 2 --connections 10 --requests 7");
        assert_eq!(config.values, fcgi_proto::Values { connections: 20, requests: 140, multiplexes: true });
    }

    #[test]
    fn threads_are_refused_where_the_model_has_none() {
        let words = ["worker", "--threads", "2"].map(OsString::from);
        assert!(parse_from("worker", LOOP, words).is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in
            ["", "s", "30", "0s", "-1s", "1h", "99999999999999999999s", "18446744073709551615m", "1.5s", "é"]
        {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn zero_processes_are_refused() {
        let words = ["worker", "--processes", "0"].map(OsString::from);
        assert!(parse_from("worker", LOOP, words).is_err());
    }
}
