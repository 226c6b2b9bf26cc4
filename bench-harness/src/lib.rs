//! What stands around the strategies: finds them, builds them, starts pools of them and proves that these answer
//! correctly. Tests and benches are made of it.
//!
//! ```text
//!   discover::sources ──► builds::build ──► launch::Pool ──► check::check ──► tests, benches
//!   (cargo metadata)      (cargo build)     (N processes)    (every path)
//!                                                │
//!                                                └──► front_ends::FrontEnd (lighttpd, nginx, HAProxy) ──► tests
//!
//!   experiment::run ──► Record ──► report::page, report::markdown
//!   series::measure ──► Measured ──► Criterion, report::series_page
//!   startup::run ──► StartTrial, ...
//! ```
//!
//! No strategy is named here: a package called `strategy-*` in the workspace is one, and a folder of `data/peers` is
//! somebody else's implementation. Each strategy is built on its own, without this crate, so that what the harness needs
//! from a common dependency does not change what is measured.
//!
//! A pool dies with the thread that launched it (the kernel sees to it, so that an interrupted run leaves nothing
//! behind): launch it where it is used.

pub mod check;
pub mod client;
pub mod experiment;
pub mod front_ends;
pub mod mix;
mod pools;
pub mod programs;
pub mod question;
pub mod report;
mod rng;
pub mod series;
pub mod soak;
pub mod startup;
pub mod workload;

pub use check::check;
pub use front_ends::FrontEnd;
pub use mix::Mix;
pub use pools::builds::{BuildError, Strategy};
pub use pools::discover::{DiscoverError, Source};
pub use pools::entry::{Entry, Holds, Kind};
pub use pools::launch::{Family, LaunchError, Pool};
pub use pools::peers::Peer;
pub use pools::target::{Target, TargetError};
pub(crate) use pools::usage;
pub use pools::{builds, discover, entry, launch, peers, ports, process, target};
