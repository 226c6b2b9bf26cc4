//! The command line: what is run against what, and how it is told.

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
    // The server that was started lives until the end of this function.
    let launched = start(&args)?;
    let target = probe(&args, launched.as_ref())?;
    let ran = check(&args, &target, &cases);
    if args.json {
        json::print(&target, &ran)?;
    } else {
        text::summary(&ran, args.style());
    }
    if let Some(path) = &args.junit {
        fs::write(path, junit::document(&ran)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let fine = ran.iter().all(|(case, report)| !is_binding_failure(case, report));
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

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

fn check(args: &Args, target: &Target, cases: &[&'static Case]) -> Vec<Ran> {
    let style = args.style();
    if !args.json {
        text::header(target, cases.len());
    }
    let progress = progress::Progress::new(cases.len(), args.json);
    let mut ran = Vec::with_capacity(cases.len());
    for case in cases {
        progress.running(case);
        let report = run_case(target, case);
        if !args.json && (!args.quiet || matches!(report.outcome, Outcome::Failed(_))) {
            progress.aside(|| text::case(case, &report, style));
        }
        ran.push((*case, report));
        progress.done();
    }
    progress.finish();
    ran
}
