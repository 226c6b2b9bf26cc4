//! The command line, the same for every worker.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use fcgi_proto::Limits;

use crate::listener::{self, Address, BACKLOG, ListenError, Listener, Owner, SocketOptions};
use crate::program::Program;
use crate::reload::Predecessor;
use crate::{Capacity, Config, ConnectionLimit, PerThread, Timeouts, descriptors, log};

/// A FastCGI responder, on an address of its own or on the socket that systemd or a spawner gives it.
#[derive(Debug, Parser)]
// A program's own options may be called so, too.
#[group(skip)]
pub(crate) struct Options {
    /// Listen on unix:PATH, unix:@NAME (an abstract name) or tcp:HOST:PORT; with port 0 the one chosen is said on stderr
    /// [default: the socket that systemd passes, or that on fd 0, as lighttpd and spawn-fcgi give it]
    #[arg(long, help_heading = LISTENING, value_name = "ADDRESS")]
    listen: Option<Address>,

    /// Permissions of the socket file, in octal: who may connect
    #[arg(long, help_heading = LISTENING, value_name = "MODE", default_value = "660", value_parser = octal)]
    socket_mode: u32,

    /// Whose the socket file is: USER, USER:GROUP or :GROUP, names or numbers [default: who runs this]
    #[arg(long, help_heading = LISTENING, value_name = "USER:GROUP")]
    socket_owner: Option<Owner>,

    /// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn [default: 1024]
    #[arg(long, help_heading = LISTENING, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    backlog: Option<u16>,

    /// Worker processes on the one listener, replaced when they die [default: the cores; 1 on fd 0]
    #[arg(long, help_heading = PROCESSES, value_name = "N", value_parser = up_to(MOST_PROCESSES))]
    processes: Option<NonZeroUsize>,

    /// Threads of one process that serve requests
    #[arg(long, help_heading = PROCESSES, value_name = "T", value_parser = up_to(MOST_THREADS))]
    threads: Option<NonZeroUsize>,

    /// Connections that one process holds at a time, where the model holds many [default: 16384, or what the model has]
    #[arg(long, help_heading = PROCESSES, value_name = "N", value_parser = up_to(MOST_CONNECTIONS))]
    connections: Option<NonZeroUsize>,

    /// Requests in flight on one connection; beyond: 503
    #[arg(long, help_heading = PEER, value_name = "N", default_value_t = NonZeroUsize::new(Limits::default().requests).unwrap(), value_parser = up_to(MOST_REQUESTS))]
    requests: NonZeroUsize,

    /// Bytes of one request's parameters; beyond: 431
    #[arg(long, help_heading = PEER, value_name = "BYTES", default_value_t = Limits::default().params_bytes, value_parser = bytes)]
    max_params: usize,

    /// Bytes of one request's body; beyond: 413
    #[arg(long, help_heading = PEER, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = bytes)]
    max_body: usize,

    /// Bytes that all requests of one connection hold; beyond: 503
    #[arg(long, help_heading = PEER, value_name = "BYTES", default_value_t = Limits::default().connection_bytes, value_parser = bytes)]
    max_held: usize,

    /// Bytes of unsent output at which a connection waits for its peer to read
    #[arg(long, help_heading = PEER, value_name = "BYTES", default_value_t = 256 << 10, value_parser = bytes)]
    max_output: usize,

    /// Close a kept connection on which nothing has come for this long, as in 30s [default: never]
    #[arg(long, help_heading = TIMEOUTS, value_name = "TIME", value_parser = duration)]
    idle_timeout: Option<Duration>,

    /// Stop reading a connection whose request has begun to come but not come whole for this long [default: never]
    #[arg(long, help_heading = TIMEOUTS, value_name = "TIME", value_parser = duration)]
    receive_timeout: Option<Duration>,

    /// End a request that has been waiting to go on, and a connection that takes no output, for this long [default: never]
    #[arg(long, help_heading = TIMEOUTS, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,

    /// Milliseconds that a drain may take before the workers left are killed; at least 1000, which idle ones may need
    #[arg(long, help_heading = STOPPING, value_name = "MS", default_value_t = 10_000)]
    grace_ms: u64,

    /// Say whether this machine has what the worker needs, and exit: 0 if it has, 3 and a line that says what it lacks
    #[arg(long, help_heading = TESTING)]
    pub(crate) check: bool,
}

/// A worker that has nothing to do needs a moment to end too: half a second, where a peer is slow to close.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// The groups of --help.
const LISTENING: &str = "Listening";
const PROCESSES: &str = "Processes and threads";
const PEER: &str = "Limits of a peer";
const TIMEOUTS: &str = "Timeouts";
const STOPPING: &str = "Stopping";
const TESTING: &str = "Testing";

/// Processes of a pool, and threads of one: beyond what any machine gains by, and few enough to leave others theirs of the
/// 32,768 ids that a machine may have by default (kernel.pid_max).
const MOST_PROCESSES: usize = 4_096;
const MOST_THREADS: usize = 10_000;
/// What the kernel allows one process by default (fs.nr_open).
const MOST_CONNECTIONS: usize = 1 << 20;
/// A request's id has 16 bits, and 0 is none (spec 3.3).
const MOST_REQUESTS: usize = 65_535;

/// Connections of one process, unless the command line says otherwise.
const USUAL_CONNECTIONS: usize = 16_384;
/// The same, where select(2) has to watch their descriptors: the rest is the process's own.
const USUAL_SELECTABLE: usize = 1_000;

const EXAMPLES: &str = "\
Examples:
  NAME --listen unix:/run/app.sock --processes 4
  NAME --listen unix:/run/app.sock --socket-mode 666
  NAME --listen tcp:127.0.0.1:9000 --idle-timeout 60s
  systemd-socket-activate --listen /run/app.sock NAME
  spawn-fcgi -n -s /run/app.sock -- NAME

SIGTERM, SIGINT and SIGQUIT finish the requests in flight, then exit with 0.
A second one does not wait. SIGHUP replaces the workers one by one by those of
the program as it is on disk then; requests in flight are served to their end.";

/// Reads the command line, and the program's own options. `Err` is the exit code where there is nothing to serve: after --help,
/// or after one line about a word that is off.
pub(crate) fn parse<O: Args>(program: &Program, capacity: Capacity) -> Result<(Options, O), ExitCode> {
    parse_from(program, capacity, std::env::args_os()).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        // clap's first line says what is wrong; the rest is what --help says better.
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        log::say(format_args!("{line} (see {} --help)", program.name));
        ExitCode::from(2)
    })
}

fn parse_from<O: Args>(
    program: &Program,
    capacity: Capacity,
    words: impl IntoIterator<Item = OsString>,
) -> Result<(Options, O), clap::Error> {
    let Program { name, version, about, after_help } = *program;
    let examples = EXAMPLES.replace("NAME", name);
    let mut command = O::augment_args(Options::command()).name(name).after_help(if after_help.is_empty() {
        examples
    } else {
        format!("{examples}\n\n{after_help}")
    });
    if let Some(version) = version {
        command = command.version(version);
    }
    if let Some(about) = about {
        command = command.about(about);
    }
    if capacity.threads.is_none() {
        command = command.mut_arg("threads", |threads| threads.hide(true));
    }
    let matches = command.try_get_matches_from_mut(words)?;
    let options = Options::from_arg_matches(&matches)?;
    if options.threads.is_some() && capacity.threads.is_none() {
        return Err(command.error(ErrorKind::UnknownArgument, format!("{name} has no threads to set")));
    }
    Ok((options, O::from_arg_matches(&matches)?))
}

/// What one process has that was started without any option.
pub(crate) fn default_config(capacity: Capacity) -> io::Result<Config> {
    let options = Options::parse_from(["worker", "--processes", "1"]);
    options.config(capacity).map(|(config, _)| config)
}

impl Options {
    pub(crate) fn listener(&self, predecessor: Option<&Predecessor>) -> Result<Listener, ListenError> {
        if let Some(predecessor) = predecessor {
            return listener::adopt(predecessor, self.listen.as_ref(), self.backlog.unwrap_or(BACKLOG));
        }
        match &self.listen {
            Some(address) if listener::is_passed() => Err(ListenError::Twice(address.to_string())),
            Some(address) => Listener::bind(address, &self.socket_options()),
            None if self.socket_owner.is_some() => Err(ListenError::NoFileToOwn),
            None if self.backlog.is_some() => Err(ListenError::NoBacklogToSet),
            None => Listener::inherited(),
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

    pub(crate) fn grace(&self) -> Duration {
        LEAST_GRACE.max(Duration::from_millis(self.grace_ms))
    }

    /// What `serve` is told, and one line for an operator where a process holds fewer connections than were asked for. `Err`:
    /// it cannot hold even one here.
    pub(crate) fn config(&self, capacity: Capacity) -> io::Result<(Config, Option<String>)> {
        let asked = self.asked_connections(capacity);
        let loops = match capacity.threads {
            Some(PerThread::Loop(_)) => self.asked_threads(capacity).min(asked),
            _ => 0,
        };
        let (connections, cut) = descriptors::hold(capacity.connections, asked, loops)?;
        Ok((self.config_for(capacity, connections), cut))
    }

    /// Connections that a process is to hold, as far as the model and the command line go.
    fn asked_connections(&self, capacity: Capacity) -> usize {
        let asked = self.connections.map(NonZeroUsize::get);
        match capacity.connections {
            ConnectionLimit::One => 1,
            ConnectionLimit::OnePerThread => self.asked_threads(capacity),
            ConnectionLimit::Many => asked.unwrap_or(USUAL_CONNECTIONS),
            ConnectionLimit::Selectable => asked.unwrap_or(USUAL_SELECTABLE),
            ConnectionLimit::AtMost(most) => asked.unwrap_or(USUAL_CONNECTIONS).min(most),
            ConnectionLimit::OnePerChild(most) => asked.unwrap_or(most).min(most),
        }
    }

    fn asked_threads(&self, capacity: Capacity) -> usize {
        self.threads.map(NonZeroUsize::get).or(capacity.threads.map(PerThread::usual)).unwrap_or(1)
    }

    fn config_for(&self, capacity: Capacity, connections: usize) -> Config {
        let threads = match (capacity.connections, capacity.threads) {
            (ConnectionLimit::OnePerThread, _) => connections,
            (_, Some(PerThread::Loop(_))) => self.asked_threads(capacity).min(connections),
            _ => self.asked_threads(capacity),
        };
        let requests_per_connection = if capacity.multiplexes { self.requests.get() } else { 1 };
        let mut requests = connections.saturating_mul(requests_per_connection);
        if let Some(PerThread::Request(_)) = capacity.threads {
            requests = requests.min(threads);
        }
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

/// A number that is not absurd.
fn up_to(most: usize) -> impl Fn(&str) -> Result<NonZeroUsize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= most);
        number.ok_or_else(|| format!("a number from 1 to {most} is needed"))
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

    const THREADED: Capacity = Capacity {
        connections: ConnectionLimit::OnePerThread,
        threads: Some(PerThread::Request(8)),
        multiplexes: false,
    };
    const LOOP: Capacity = Capacity { connections: ConnectionLimit::Many, threads: None, multiplexes: true };

    const BOUNDED: Capacity =
        Capacity { connections: ConnectionLimit::AtMost(5_000), threads: None, multiplexes: false };
    const FORKING: Capacity =
        Capacity { connections: ConnectionLimit::OnePerChild(256), threads: None, multiplexes: false };
    const THREAD_PER_REQUEST: Capacity = Capacity {
        connections: ConnectionLimit::Selectable,
        threads: Some(PerThread::Request(128)),
        multiplexes: true,
    };

    const LOOPS: Capacity = Capacity { threads: Some(PerThread::Loop(2)), ..LOOP };
    const POOL: Capacity = Capacity { threads: Some(PerThread::Step(2)), ..LOOP };

    fn options(capacity: Capacity, words: &str) -> Options {
        parsed(capacity, words).unwrap()
    }

    fn parsed(capacity: Capacity, words: &str) -> Result<Options, clap::Error> {
        #[derive(Args)]
        struct None {}

        let words = std::iter::once("worker").chain(words.split_whitespace()).map(OsString::from);
        parse_from::<None>(&Program::new("worker"), capacity, words).map(|(options, _)| options)
    }

    /// Where there are descriptors for all that is asked for.
    fn config(capacity: Capacity, words: &str) -> Config {
        let options = options(capacity, words);
        options.config_for(capacity, options.asked_connections(capacity))
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
    fn threads_bound_requests_only_where_a_request_has_a_thread_to_its_end() {
        let requests = |capacity, words: &str| {
            config(capacity, &format!("--processes 1 --connections 10 --requests 7 {words}")).values.requests
        };
        assert_eq!(requests(THREAD_PER_REQUEST, "--threads 3"), 3);
        assert_eq!(requests(LOOPS, "--threads 3"), 70);
        assert_eq!(requests(POOL, "--threads 3"), 70);
    }

    #[test]
    fn there_are_no_more_loops_than_connections() {
        let threads = |capacity, words| config(capacity, words).threads;
        assert_eq!((threads(LOOPS, ""), threads(LOOPS, "--threads 9 --connections 4")), (2, 4));
        assert_eq!(threads(POOL, "--threads 9 --connections 4"), 9);
    }

    #[test]
    fn what_a_model_holds_is_asked_for_unless_the_command_line_says_less() {
        let asked = |capacity, words| options(capacity, words).asked_connections(capacity);
        assert_eq!(asked(LOOP, ""), 16_384);
        assert_eq!(
            (asked(THREAD_PER_REQUEST, ""), asked(THREAD_PER_REQUEST, "--connections 1010")),
            (1_000, 1_010)
        );
        assert_eq!((asked(FORKING, ""), asked(FORKING, "--connections 9")), (256, 9));
        assert_eq!(asked(FORKING, "--connections 1000"), 256);
        assert_eq!((asked(BOUNDED, ""), asked(BOUNDED, "--connections 9")), (5_000, 9));
        assert_eq!(asked(BOUNDED, "--connections 16384"), 5_000);
        let bound = Capacity { connections: ConnectionLimit::AtMost(30_000), ..BOUNDED };
        assert_eq!((asked(bound, ""), asked(bound, "--connections 40000")), (16_384, 30_000));
        assert_eq!((asked(THREADED, ""), asked(THREADED, "--threads 5")), (8, 5));
    }

    #[test]
    fn what_is_not_held_is_not_announced() {
        let held = |capacity, connections| {
            options(capacity, "--processes 2 --requests 100").config_for(capacity, connections)
        };
        let config = held(THREADED, 5);
        assert_eq!(
            (config.threads, config.connections),
            (5, 5),
            "no thread waits for a connection that cannot come"
        );
        assert_eq!(config.values, fcgi_proto::Values { connections: 10, requests: 10, multiplexes: false });
        assert_eq!(config.with_threads(3).values.connections, 6);
        let config = held(THREAD_PER_REQUEST, 42);
        assert_eq!(config.values, fcgi_proto::Values { connections: 84, requests: 256, multiplexes: true });
        assert_eq!(
            held(THREAD_PER_REQUEST, 1).values.requests,
            200,
            "one connection has no more requests than that"
        );
        assert_eq!(held(LOOP, 42).values.requests, 2 * 42 * 100);
    }

    #[test]
    fn a_programs_own_options_may_be_called_as_ours() {
        #[derive(Args)]
        struct Options {
            #[arg(long)]
            title: String,
        }

        let words = ["worker", "--title", "x", "--processes", "2"].map(OsString::from);
        let (ours, own) = parse_from::<Options>(&Program::new("worker"), LOOP, words).unwrap();
        assert_eq!((ours.process_count(), &*own.title), (2, "x"));
    }

    #[test]
    fn absurd_numbers_are_refused_with_the_range() {
        for (words, range) in [
            ("--processes 100000", "1 to 4096"),
            ("--threads 10001", "1 to 10000"),
            ("--connections 1048577", "1 to 1048576"),
            ("--requests 65536", "1 to 65535"),
            ("--processes 99999999999999999999", "1 to 4096"),
        ] {
            let error = parsed(THREADED, words).unwrap_err().to_string();
            assert!(error.contains(range), "{error}");
        }
        options(THREADED, "--processes 4096 --threads 10000 --connections 1048576 --requests 65535");
    }

    #[test]
    fn threads_are_refused_where_the_model_has_none() {
        assert!(parsed(LOOP, "--threads 2").is_err());
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
        assert!(parsed(LOOP, "--processes 0").is_err());
    }
}
