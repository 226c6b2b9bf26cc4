//! The worker binary: see the library.

fn main() -> std::process::ExitCode {
    fcgi_workload::run(
        env!("CARGO_PKG_NAME"),
        strategy_thread_per_connection::CAPACITY,
        strategy_thread_per_connection::serve,
    )
}
