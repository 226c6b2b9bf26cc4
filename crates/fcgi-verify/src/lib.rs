//! A conformance checker for any FastCGI responder: what h2spec is to HTTP/2.
//!
//! ```text
//!   Address ──probe──▶ Target ──┐
//!                               ├─▶ run_case ─▶ CaseReport { outcome, elapsed, transcript }
//!   cases() ───────────▶ Case ──┘
//! ```
//!
//! [`Target::probe`] asks the server once what it is (`FCGI_GET_VALUES`, how many connections it serves at once,
//! whether it answers our workload). [`cases`] lists every [`Case`] with the section of the specification that it comes
//! from, a [`Level`] and what it [`Needs`]. [`run_case`] runs one of them against the target. A case whose needs the
//! server does not meet is [`Outcome::NotApplicable`] with the reason, never left out.
//!
//! The bytes sent are literals of the FastCGI 1.0 specification; nothing here is shared with the implementations checked.
//!
//! ```no_run
//! use fcgi_verify::{Options, Outcome, Target, cases, run_case};
//!
//! let target = Target::probe("unix:/run/app.sock".parse()?, Options::default())?;
//! for case in cases().iter().filter(|case| case.quick) {
//!     if let Outcome::Failed(why) = run_case(&target, case).outcome {
//!         println!("{}: {why}", case.name);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("fcgi-verify runs on Linux only: it looks at the server under test through /proc");

mod address;
mod case;
mod chapters;
mod context;
mod peer;
mod process;
mod request;
mod response;
mod rng;
mod run;
mod target;
mod transcript;
mod wire;

pub use address::{Address, AddressError};
pub use case::{Case, Level, Needs, Stop, Verdict};
pub use chapters::{cases, chapters};
pub use context::Context;
pub use process::tree as process_tree;
pub use run::{CaseReport, Outcome, run_case};
pub use target::{Capacity, Options, Target};
