//! A session fed by hand: bytes, a clock that is only a number, and what comes out of it. No socket, no waiting.

mod closing;
mod completions;
mod dialogue;
mod elsewhere;
mod failures;
mod limits;
mod parking;
mod properties;
mod requests;
mod timeouts;
