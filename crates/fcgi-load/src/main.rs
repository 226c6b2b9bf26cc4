//! `fcgi-load`: load on any FastCGI or HTTP server, from the command line. See the library for what is measured and how.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use fcgi_load::{Generator, Mode, Options, Protocol, Report, Until, capacity};

use cli::args::{Args, BadInput};
use cli::json::Document;
use cli::live::Live;
use cli::notes::Notes;
use cli::table::Table;
use cli::terminal;

const EXIT_ERRORS: u8 = 1;
const EXIT_BAD_INPUT: u8 = 2;
const EXIT_INTERRUPTED: u8 = 130;

/// The longest wait for the answer to `FCGI_GET_VALUES`. Many servers never give one.
const CAPACITY_PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let outcome = match Args::try_parse() {
        Ok(args) => run(args),
        Err(error) if error.use_stderr() => {
            // Where that fails too there is nobody to tell; the exit status remains.
            let _ = error.print();
            Ok(EXIT_BAD_INPUT)
        }
        // The help or the version.
        Err(text) => written(text.print()).map(|()| 0),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "fcgi-load: {error:#}");
            let bad_input = error.is::<BadInput>();
            ExitCode::from(if bad_input { EXIT_BAD_INPUT } else { EXIT_ERRORS })
        }
    }
}

fn run(args: Args) -> anyhow::Result<u8> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // A second SIGINT ends the process at once, whatever holds up the first.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = EXIT_INTERRUPTED.into();
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let (mut options, until) = args.options()?;
    let mut notes = Notes::default();
    let start = SystemTime::now();
    let report = measure(&args, &mut options, until, &mut notes, &interrupted);
    if let Ok(report) = &report {
        notes.judge(report);
    }
    let code = match &report {
        _ if interrupted.load(Ordering::Relaxed) => EXIT_INTERRUPTED,
        Ok(report) if is_success(report, args.best_effort) => 0,
        _ => EXIT_ERRORS,
    };
    let mut out = io::stdout().lock();
    if args.json {
        let outcome = report.as_ref().map_err(|error| format!("{error:#}"));
        let document = Document::new(&options, until, start, &notes, outcome, code);
        let line = serde_json::to_string(&document)?;
        let wrote = written(writeln!(out, "{line}"));
        // What went wrong first is what the line on stderr says.
        report?;
        wrote?;
    } else {
        let report = report?;
        let coloured = terminal::is_coloured(&out);
        let table = Table { options: &options, report: &report, notes: &notes, coloured };
        written(write!(out, "{table}"))?;
    }
    Ok(code)
}

fn measure(
    args: &Args,
    options: &mut Options,
    until: Until,
    notes: &mut Notes,
    interrupted: &Arc<AtomicBool>,
) -> anyhow::Result<Report> {
    raise_open_files();
    fit_to_capacity(options, args, notes)?;
    let mut generator = Generator::new(options.clone())?;
    let live = Live::start(generator.progress(), Arc::clone(interrupted), until)?;
    let report = generator.run(until);
    live.finish();
    report.context("the generator failed")
}

fn is_success(report: &Report, best_effort: bool) -> bool {
    report.is_clean() && report.completed > 0 && (best_effort || report.kept_up())
}

/// Asks the server what it can take. Kept connections beyond that would wait for ever, so they are not opened.
fn fit_to_capacity(options: &mut Options, args: &Args, notes: &mut Notes) -> anyhow::Result<()> {
    if args.no_get_values || options.protocol == Protocol::Http {
        return Ok(());
    }
    let said = capacity(&options.address, options.timeout.min(CAPACITY_PATIENCE))?;
    notes.capacity = Some(said);
    if options.mode == Mode::Close {
        return Ok(());
    }
    if let Some(most) = said.connections.and_then(|most| usize::try_from(most).ok())
        && most > 0
        && options.connections > most
    {
        notes.warn(format!(
            "the server holds {most} connections (FCGI_MAX_CONNS), so {most} are opened instead of {}; \
             --no-get-values opens them all",
            options.connections
        ));
        options.connections = most;
    }
    if options.mode == Mode::Multiplex && said.multiplexes == Some(false) {
        notes.warn("the server says it does not multiplex (FCGI_MPXS_CONNS is 0); expect refusals".into());
    }
    if let Some(most) = said.requests
        && options.mode == Mode::Multiplex
        && options.connections.saturating_mul(options.streams) > most as usize
    {
        notes.warn(format!(
            "{} requests in flight are more than the server takes (FCGI_MAX_REQS is {most}); expect refusals",
            options.connections * options.streams
        ));
    }
    Ok(())
}

/// What came of writing to the standard output, once all of it is out.
fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result.and_then(|()| io::stdout().flush()) {
        // `fcgi-load ... | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the result"),
    }
}

/// Each connection takes a descriptor, and the usual soft limit is 1024. What the hard limit allows needs no asking.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it a run over the limit ends in a connect error that says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
