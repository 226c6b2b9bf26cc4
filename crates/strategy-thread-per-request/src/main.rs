//! The worker binary: see the library.

use strategy_thread_per_request::{CAPACITY, serve};

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_PKG_NAME"), CAPACITY, serve)
}
