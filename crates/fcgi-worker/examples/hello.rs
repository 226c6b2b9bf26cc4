//! The least that is an application. Another strategy serves it where `strategy_mio` is another's name, here twice and once in
//! Cargo.toml.
//!
//!     cargo run --release --example hello -- --listen unix:/run/hello.sock

use fcgi_worker::{AppStatus, Error, Handler, Request, Response, Step};
use strategy_mio as strategy;

struct Hello;

impl Handler for Hello {
    type Job = ();
    fn start(&self, _: Request<'_>) {}
    fn step(&self, _: Request<'_>, _: &mut (), response: &mut Response<'_>) -> Result<Step, Error> {
        response.write(b"Content-Type: text/plain\r\n\r\nHello, world\n");
        Ok(Step::Done(AppStatus::SUCCESS))
    }
}

fn main() -> std::process::ExitCode {
    fcgi_worker::run(strategy::CAPACITY, || Hello, strategy::serve)
}
