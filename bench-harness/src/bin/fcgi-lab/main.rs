//! `fcgi-lab`: what can be done with all strategies at once.

mod compare;
mod entries;
mod report;
mod soak;
mod socket_race;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The laboratory: every FastCGI strategy of this workspace, put to the test.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::Args),
    Report(report::Args),
    Soak(soak::Args),
    SocketRace(socket_race::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::SocketRace(args) => socket_race::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("fcgi-lab: {error:#}");
        ExitCode::from(2)
    })
}

/// The arguments of one subcommand, without its name.
#[cfg(test)]
fn parse<A: clap::Args>(words: &[&str]) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("fcgi-lab").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}
