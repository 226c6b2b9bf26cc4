//! The worker binary of a form: see the library.

use strategy_thread_per_request::{CAPACITY, Form, serve_as};

fn main() -> std::process::ExitCode {
    fcgi_workload::run(env!("CARGO_BIN_NAME"), CAPACITY, |listener, handler, config| {
        serve_as(Form::Pool, listener, handler, config)
    })
}
