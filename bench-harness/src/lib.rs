//! What stands around the strategies: finds them, builds them, starts pools of them and proves that these answer
//! correctly. Tests and benches are made of it.
//!
//! ```text
//!   discover::sources ──► builds::build ──► launch::Pool ──► check::check ──► tests, benches
//!   (cargo metadata)      (cargo build)     (N processes)    (every path)
//!
//!   experiment::run ──► Record ──► report::page, report::markdown
//!   series::measure ──► Measured ──► Criterion, report::series_page
//! ```
//!
//! No strategy is named here: a package called `strategy-*` in the workspace is one, and a folder of `data/peers` is
//! somebody else's implementation. Each strategy is built on its own, without this crate, so that what the harness needs
//! from a common dependency does not change what is measured.
//!
//! A pool dies with the thread that launched it (the kernel sees to it, so that an interrupted run leaves nothing
//! behind): launch it where it is used.

pub mod builds;
pub mod check;
pub mod client;
pub mod discover;
pub mod entry;
pub mod experiment;
pub mod launch;
pub mod mix;
pub mod peers;
pub mod ports;
pub mod process;
pub mod report;
mod rng;
pub mod series;
pub mod soak;
mod usage;
pub mod workload;

pub use builds::{BuildError, Strategy};
pub use check::check;
pub use discover::{DiscoverError, Source};
pub use entry::{Entry, Holds, Kind};
pub use launch::{Family, LaunchError, Pool};
pub use mix::Mix;
pub use peers::Peer;
