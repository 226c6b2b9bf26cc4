//! The wire, as vectors: a name, the bytes that the peer sends, what is to come of them.
//!
//! Bytes are literals written down from the specification, never made by the crate's own encoder. Every vector is
//! run many times, its input cut into reads in other ways each time, and has to say the same each time.

mod abort;
mod begin;
mod body;
mod dialogue;
mod ids;
mod keep_conn;
mod limits;
mod literals;
mod management;
mod pairs;
mod properties;
mod records;
mod response;
mod roles;
