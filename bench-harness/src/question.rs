//! The question of 2007, asked again: through real web servers, of the library that it was asked of and of the strategies of
//! today. What is measured, and what decides each claim, was written down before, in `data/claims.toml`.
//!
//! ```text
//!   data/claims.toml ──► design ──► schedule (cells) ──► run (launches) ──► Record ──► report::question
//!                                                        └ startup, tap, system calls      (effects, verdicts, page)
//! ```

mod design;
mod record;
mod run;
mod schedule;

pub use design::{
    About, Claim, Count, Design, Direction, Metric, Part, Quick, Source, Startup, StartupFigure,
    StartupMetric, StartupPool, Term, Test, Use, hash,
};
pub use record::{Connections, FORMAT, Plan, Record, SLICE, Trial};
pub use run::{Question, Seen};
pub(crate) use schedule::turns;
