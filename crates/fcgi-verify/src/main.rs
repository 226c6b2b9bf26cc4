//! `fcgi-verify`: checks any FastCGI responder against the specification.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fcgi-verify: {error:#}");
            ExitCode::from(2)
        }
    }
}
