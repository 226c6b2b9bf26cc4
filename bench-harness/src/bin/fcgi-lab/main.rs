//! `fcgi-lab`: what can be done with all strategies at once.

mod compare;
mod entries;
mod line;
mod output;
mod question;
mod report;
mod results;
mod soak;
mod socket_race;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What was asked for could not be tried, or its result not be written.
const EXIT_NOT_DONE: u8 = 2;

/// The laboratory: every FastCGI strategy of this workspace, put to the test.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(Box<compare::Args>),
    Question(question::Args),
    Report(report::Args),
    Soak(soak::Args),
    SocketRace(socket_race::Args),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        output::complain(format_args!("fcgi-lab: {error:#}"));
        ExitCode::from(EXIT_NOT_DONE)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // Where that fails too there is nobody to tell; the exit status remains.
            let _ = error.print();
            return Ok(ExitCode::from(EXIT_NOT_DONE));
        }
        // The help or the version.
        Err(text) => return output::written(text.print()).map(|()| ExitCode::SUCCESS),
    };
    match args.command {
        Command::Compare(args) => compare::run(&args),
        Command::Question(args) => question::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::SocketRace(args) => socket_race::run(&args),
    }
}

/// The arguments of one subcommand, without its name.
#[cfg(test)]
fn parse<A: clap::Args>(words: &[&str]) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("fcgi-lab").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}
