//! The command line: what is run against what, and how it is told.

/// `println!` panics when the reader of a pipe has gone, which would leave the server running.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

mod args;
mod json;
mod junit;
mod listing;
mod progress;
mod select;
mod style;
mod table;
mod text;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fcgi_verify::{Address, Case, CaseReport, Family, Launched, Outcome, Target, run_case};

use args::Args;

/// A case and what came of it.
type Ran = (&'static Case, CaseReport);

/// Does what the command line asks. An error is bad input: exit status 2.
pub(crate) fn run() -> Result<ExitCode> {
    let Some(args) = args::parse()? else { return Ok(ExitCode::SUCCESS) };
    let cases = select::select(&args)?;
    if args.list {
        listing::print(&cases, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut server = start(&args)?;
    let mut target = probe(&args, server.as_ref())?;
    let (ran, gone) = check(&args, &mut server, &mut target, &cases)?;
    // A server that is gone fails the run, whatever the level of the case that ended it.
    let passed = !gone && ran.iter().all(|(case, report)| !is_binding_failure(case, report));
    if args.json {
        json::print(&target, &ran, passed)?;
    } else {
        text::summary(&ran, gone, args.style());
    }
    if let Some(path) = &args.junit {
        fs::write(path, junit::document(&ran)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A failure that makes the whole run fail.
fn is_binding_failure(case: &Case, report: &CaseReport) -> bool {
    case.level.is_binding() && matches!(report.outcome, Outcome::Failed(_))
}

fn start(args: &Args) -> Result<Option<Launched>> {
    let (command, family) = match (&args.exec, &args.exec_tcp) {
        (Some(command), _) => (command, Family::Unix),
        (None, Some(command)) => (command, Family::Tcp),
        (None, None) => return Ok(None),
    };
    Ok(Some(Launched::start(command, family).context("cannot start the server")?))
}

fn probe(args: &Args, launched: Option<&Launched>) -> Result<Target> {
    let mut options = args.options();
    let address: Address = match launched {
        Some(server) => {
            options.pid = Some(server.pid());
            server.address().clone()
        }
        None => args.address.clone().context("say where the server listens, or start it with --exec")?,
    };
    Target::probe(address.clone(), options).with_context(|| format!("nobody answers at {address}"))
}

/// Runs the cases; true if the server was gone before the last.
fn check(
    args: &Args,
    server: &mut Option<Launched>,
    target: &mut Target,
    cases: &[&'static Case],
) -> Result<(Vec<Ran>, bool)> {
    let style = args.style();
    if !args.json {
        text::header(target, cases.len());
    }
    let progress = progress::Progress::new(cases.len(), args.json);
    let mut ran = Vec::with_capacity(cases.len());
    let mut gone: Option<String> = None;
    for case in cases {
        progress.running(case);
        let report = match &gone {
            None => run_case(target, case),
            Some(reason) => not_run(reason),
        };
        let failed = matches!(report.outcome, Outcome::Failed(_));
        let fine = matches!(report.outcome, Outcome::Passed);
        if !args.json && (!args.quiet || failed) {
            progress.aside(|| text::case(case, &report, style));
        }
        ran.push((*case, report));
        progress.done();
        if let Some(launched) = server {
            let ended = launched.has_ended();
            if failed || ended {
                start_anew(args, server, target)?;
            }
        } else if gone.is_none() && !fine && !target.is_reachable() {
            gone = Some(format!("the server is gone since {}", case.path()));
        }
    }
    progress.finish();
    Ok((ran, gone.is_some()))
}

/// What a case has broken must not be laid to the next one's charge.
fn start_anew(args: &Args, server: &mut Option<Launched>, target: &mut Target) -> Result<()> {
    drop(server.take());
    *server = start(args)?;
    if let Some(launched) = server {
        target.address = launched.address().clone();
        target.pid = Some(launched.pid());
    }
    Ok(())
}

fn not_run(reason: &str) -> CaseReport {
    let outcome = Outcome::NotApplicable(reason.to_owned());
    CaseReport { outcome, elapsed: Duration::ZERO, transcript: String::new(), heard: false }
}
