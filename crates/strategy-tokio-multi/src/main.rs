//! The worker binary: see the library.

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_PKG_NAME"), strategy_tokio_multi::CAPACITY, strategy_tokio_multi::serve)
}
