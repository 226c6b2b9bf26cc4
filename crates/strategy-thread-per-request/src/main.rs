//! The worker binary: see the library.

fn main() -> std::process::ExitCode {
    fcgi_worker::run(
        env!("CARGO_PKG_NAME"),
        strategy_thread_per_request::CAPACITY,
        strategy_thread_per_request::serve,
    )
}
