//! The application that every strategy serves when it is tested and measured, chosen by the request's path:
//!
//! | path | what it costs and answers |
//! |---|---|
//! | `/hello` | nothing; one line |
//! | `/cpu?us=N` | N microseconds of CPU time |
//! | `/wait?ms=N` | N milliseconds of waiting, told to the strategy ([`Step::Wait`](fcgi_worker::Step::Wait)) |
//! | `/park?ms=N` | the same, ended by another thread ([`Step::Park`](fcgi_worker::Step::Park)) |
//! | `/echo` | the request's body |
//! | `/bytes?n=N` | N bytes |
//! | `/stream?chunks=N&ms=M` | a line, a wait of M milliseconds, a line, ... N lines |
//! | `/params` | the parameters, sorted, a line each |
//! | `/status?code=N` | that HTTP status |
//! | `/exit?status=N` | that application status in END_REQUEST |
//! | `/log` | a line for the web server's log on STDERR, and one for the peer |
//! | `/fail?after=N` | an error, after N chunks of a response: a 500 where N is 0 |
//! | `/crash` | the process aborts, where it was started with --allow-crash |

mod sleeper;
mod workload;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use fcgi_worker::{Capacity, Config, Listener, Program, clap};

pub use workload::{Job, Workload};

/// What a worker of the workload has beside what every worker has.
#[derive(clap::Args)]
#[command(next_help_heading = "Testing")]
struct Options {
    /// Milliseconds that each process takes to start, like an application that waits for a disk first
    #[arg(long, value_name = "MS", default_value_t = 0)]
    startup_ms: u64,

    /// Milliseconds of processor time that each process takes to start, like an application that compiles itself first
    #[arg(long, value_name = "MS", default_value_t = 0)]
    startup_cpu_ms: u64,

    /// Let a request for /crash abort the process it reaches
    #[arg(long)]
    allow_crash: bool,
}

const PATHS: &str = "\
Paths served: /hello /cpu?us=N /wait?ms=N /park?ms=N /echo /bytes?n=N
/stream?chunks=N&ms=M /params /status?code=N /exit?status=N /log /fail?after=N";

/// The whole `main` of a strategy's own program, which serves the [`Workload`].
pub fn run(
    name: &str,
    capacity: Capacity,
    serve: impl Fn(Listener, Workload, &Config) -> io::Result<()>,
) -> ExitCode {
    let make = |options: &Options| {
        thread::sleep(Duration::from_millis(options.startup_ms));
        workload::burn(options.startup_cpu_ms.saturating_mul(1000));
        Ok(Workload::new(options.allow_crash))
    };
    Program::new(name).version(env!("CARGO_PKG_VERSION")).after_help(PATHS).run(capacity, make, serve)
}
