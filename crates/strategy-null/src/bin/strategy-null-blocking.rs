//! The worker binary: see the library.

use strategy_null::blocking;

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_BIN_NAME"), blocking::CAPACITY, blocking::serve)
}
