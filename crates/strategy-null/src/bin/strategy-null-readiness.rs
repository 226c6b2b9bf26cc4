//! The worker binary: see the library.

use strategy_null::readiness;

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_BIN_NAME"), readiness::CAPACITY, readiness::serve)
}
