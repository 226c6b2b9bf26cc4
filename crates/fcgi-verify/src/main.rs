//! `fcgi-verify`: checks any FastCGI responder against the specification.

mod cli;
mod keeper;
mod server;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    if keeper::is_asked_for() {
        return keeper::run();
    }
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            // `eprintln!` panics where standard error cannot be written.
            let _ = writeln!(std::io::stderr(), "fcgi-verify: {error:#}");
            ExitCode::from(2)
        }
    }
}
