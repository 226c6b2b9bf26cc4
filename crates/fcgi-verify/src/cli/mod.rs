//! The command line: what is run against what, and how it is told.
//!
//! ```text
//!   checker (a thread) ──┐
//!                        ├─ events ─▶ Telling ─▶ lines, table, JSON, JUnit
//!   signals ─────────────┘
//! ```
//!
//! A signal ends the telling, not the case: what is known is told, and the thread ends with the process.

mod args;
mod checker;
mod json;
mod junit;
mod listing;
mod output;
mod progress;
mod run;
mod select;
mod signals;
mod spawner;
mod style;
mod table;
mod telling;
mod text;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use anyhow::Result;
use fcgi_verify::Case;

use args::Args;
use spawner::Spawner;
use telling::Telling;

/// Does what the command line asks. An error is bad input or lost output: exit status 2.
pub(crate) fn run() -> Result<ExitCode> {
    let Some(args) = args::parse()? else { return Ok(ExitCode::SUCCESS) };
    let cases = select::select(&args)?;
    if args.list {
        output::print(|out| listing::print(out, &cases, args.json))?;
        return Ok(ExitCode::SUCCESS);
    }
    let spawner = Spawner::of(&args).map(Arc::new);
    let status = check(&args, spawner.clone(), cases);
    if let Some(spawner) = spawner {
        spawner.end();
    }
    status.map(ExitCode::from)
}

/// Runs the cases and tells of them.
fn check(args: &Args, spawner: Option<Arc<Spawner>>, cases: Vec<&'static Case>) -> Result<u8> {
    let (events, inbox) = mpsc::channel();
    signals::watch(events.clone())?;
    checker::start(args, spawner, cases.clone(), events);
    let mut telling = Telling::new(args, cases);
    let signal = telling.follow(&inbox)?;
    let passed = telling.finish()?;
    Ok(match signal {
        Some(signal) => signals::exit_status(signal),
        None if passed => 0,
        None => 1,
    })
}
