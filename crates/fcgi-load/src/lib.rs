//! A load generator for any FastCGI server, which checks every reply.
mod address;
mod capacity;
mod check;
mod connection;
mod generator;
mod reply;
mod report;
mod request;
mod socket;
mod template;

pub use address::{Address, AddressError, Mode, ModeError};
pub use capacity::{Capacity, capacity};
pub use generator::{Generator, Options, OptionsError, Progress, Until};
pub use hdrhistogram::Histogram;
pub use report::{Errors, Report};
pub use request::{Expect, RequestSpec};
