//! The arguments, and their way into the library's options.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use fcgi_verify::{Address, Options};

use super::style::Style;

const EXAMPLES: &str = "\
Examples:
  fcgi-verify unix:/run/app.sock
  fcgi-verify tcp:127.0.0.1:9000 --quick
  fcgi-verify unix:/run/php/php-fpm.sock --param SCRIPT_FILENAME=/srv/index.php
  fcgi-verify --exec ./my-application --its-option     (started with the listening socket as descriptor 0)
  fcgi-verify --chapter abort --level required --exec ./my-application
  fcgi-verify unix:/run/app.sock --case a-pair-may-straddle-params-records
  fcgi-verify --list --chapter pairs

The server that --exec or --exec-tcp starts has to stay in the foreground. However fcgi-verify ends, by SIGKILL too,
the server is ended with every process that descends from it, in the background or in a session of its own: SIGTERM,
and SIGKILL after 3 s; its socket is removed. A process named fcgi-keeper does that; if SIGKILL ends that too, the
command is killed, and what it has started is not. If the server exits within a case, the case has FAILED, and the
server is started again.

A run stops early, says why, and tells what is known so far (table, --json, --junit):
  - at SIGINT, SIGTERM or SIGHUP;
  - if the server cannot be started again, or if nobody listens at its address any more;
  - if no byte came in 3 cases in a row, nor in answer to a plain request after them;
  - if standard output has no reader any more, or cannot be written.

Exit status: 0 if all required and robustness cases pass; 1 if not, if the server exited within a case, or if the run
stopped early; 2 for bad input, a server that cannot be started or reached, or output that cannot be written; 128 + the
signal that ended the run, so 130 after Ctrl-C.";

/// Checks any FastCGI responder against the FastCGI 1.0 specification.
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the server listens: unix:PATH, unix:@NAME (an abstract name) or tcp:HOST:PORT
    #[arg(conflicts_with_all = ["exec", "exec_tcp"])]
    pub(crate) address: Option<Address>,

    /// Start this command with a listening Unix socket as descriptor 0; everything behind it belongs to the command
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true, conflicts_with = "exec_tcp")]
    pub(crate) exec: Option<Vec<OsString>>,

    /// The same with a listening TCP socket
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec_tcp: Option<Vec<OsString>>,

    /// List the cases and run none
    #[arg(long)]
    pub(crate) list: bool,

    /// Only cases of this name, or whose chapter/name contains it; repeatable
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,

    /// Only cases of this chapter; repeatable
    #[arg(long = "chapter", value_name = "NAME")]
    pub(crate) chapters: Vec<String>,

    /// Only cases of this level; repeatable
    #[arg(long = "level", value_name = "LEVEL")]
    pub(crate) levels: Vec<LevelName>,

    /// Only a subset of fast cases, as used before every measurement
    #[arg(long)]
    pub(crate) quick: bool,

    /// A parameter that every request carries, for example SCRIPT_FILENAME=/srv/index.php; repeatable
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,

    /// Seconds that a case may take
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,

    /// Whether the server answers the workload of this suite (/hello, /echo, ...); found out if it is not said
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    workload: Option<YesNo>,

    /// Whether the server takes concurrent requests over one connection; asked by FCGI_GET_VALUES if it is not said
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    multiplexing: Option<YesNo>,

    /// Whether the server reads a connection whose request waits; the same as --multiplexing if it is not said
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    abort_while_waiting: Option<YesNo>,

    /// How many connections the server serves at once; tried out if it is not said
    #[arg(long, value_name = "COUNT")]
    connections: Option<usize>,

    /// The server's process, for the cases that read its memory and descriptors; known with --exec
    #[arg(long, conflicts_with_all = ["exec", "exec_tcp"])]
    pid: Option<u32>,

    /// The seed of the fuzz cases
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Print failures and the table only
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// A level, as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LevelName {
    /// The specification says so.
    Required,
    /// The specification recommends it.
    Recommended,
    /// The specification leaves it open.
    ImplementationDefined,
    /// The server must survive it.
    Robustness,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

/// The arguments; `None` after `--help` or `--version`.
pub(crate) fn parse() -> Result<Option<Args>> {
    match Args::try_parse() {
        Ok(args)
            if args.address.is_none() && args.exec.is_none() && args.exec_tcp.is_none() && !args.list =>
        {
            Err(anyhow!(
                "say where the server listens (unix:PATH, unix:@NAME or tcp:HOST:PORT), or start it with --exec COMMAND"
            ))
        }
        Ok(args) => Ok(Some(args)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // clap colours it where that is wanted.
            super::output::print(|_| error.print())?;
            Ok(None)
        }
        Err(error) => Err(anyhow!("{}", one_line(&error.to_string()))),
    }
}

/// clap explains at length; the first paragraph says what is wrong.
fn one_line(message: &str) -> String {
    let paragraph = message.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Args {
    pub(crate) fn options(&self) -> Options {
        Options {
            timeout: self.timeout,
            params: self.params.clone(),
            workload: self.workload.map(YesNo::is_yes),
            multiplexing: self.multiplexing.map(YesNo::is_yes),
            abort_while_waiting: self.abort_while_waiting.map(YesNo::is_yes),
            connections: self.connections,
            pid: self.pid,
            seed: self.seed,
        }
    }

    /// Colours only for people, and only if they want them (no-color.org) and their terminal has them.
    pub(crate) fn style(&self) -> Style {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Style { colours: !unwanted && !dumb && std::io::stdout().is_terminal() }
    }
}

impl YesNo {
    fn is_yes(self) -> bool {
        matches!(self, YesNo::Yes)
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && seconds <= 3_600.0 => Ok(time),
        _ => Err("it is more than 0 and at most 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_behind_exec_belongs_to_the_command() {
        let args = Args::try_parse_from(["x", "--quick", "--exec", "server", "--json", "-x", "7"]).unwrap();
        assert_eq!(args.exec.unwrap(), ["server", "--json", "-x", "7"]);
        assert!(args.quick && !args.json);
    }

    #[test]
    fn bad_input_is_one_line() {
        for bad in [&["x", "nonsense"][..], &["x", "unix:/a", "--timeout", "0"], &["x", "unix:/a", "--bogus"]]
        {
            let error = Args::try_parse_from(bad.iter().copied()).unwrap_err();
            let line = one_line(&error.to_string());
            assert!(!line.is_empty() && !line.contains('\n'), "{line}");
        }
    }
}
