//! The worker binary: see the library.

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_PKG_NAME"), strategy_compio::CAPACITY, strategy_compio::serve)
}
