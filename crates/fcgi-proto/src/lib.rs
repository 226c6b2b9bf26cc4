//! FastCGI 1.0 for a responder: bytes in, requests out; replies in, bytes out. No I/O.
//!
//! ```text
//!            input: &[u8]                            output: Vec<u8>
//!                 │                                        ▲
//!                 ▼                                        │
//!   ┌─────────────────────────────┐  protocol replies      │
//!   │ Connection::receive         │────────────────────────┤
//!   │ (GET_VALUES, roles, limits) │                        │
//!   └──────┬──────────────────────┘                        │
//!          │ Event::Request(Request)                       │
//!          ▼                                               │
//!   the application ── Stdout::write ── response::end ─────┘
//!          │
//!          └─ Connection::recycle(Request): its id is free, its memory used again
//! ```
//!
//! The caller owns every buffer and every descriptor. It reads bytes from wherever they come, feeds them to
//! [`Connection::receive`] until that returns `None`, and writes whatever stands in the output buffer. The
//! crate knows no socket, no thread and no clock, and so serves blocking reads, readiness loops and completion
//! loops alike.
//!
//! Rules that a caller keeps:
//!
//! 1. Call `receive` until it returns `Ok(None)`: only then is the input used up.
//! 2. After `Err`, close the connection; the others are not concerned.
//! 3. Encode [`response::end`] and call [`Connection::recycle`] before the bytes can reach the peer: from then on
//!    the peer may use the id again (spec 3.3).
//! 4. Close the connection once [`Connection::is_finished`] and all output is written (spec 5.1, KEEP_CONN).
//! 5. Read only while the unsent output is under a limit of your own; `receive` appends at most a small multiple
//!    of the bytes it is given.
//!
//! In the steady state nothing allocates: requests come from a [`Spares`] and go back to it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod connection;
mod limits;
pub mod pairs;
pub mod record;
mod request;
pub mod response;

pub use connection::{Connection, Event, ProtocolError};
pub use limits::{Capacity, Limits};
pub use record::{ProtocolStatus, RecordType, RequestId, Role};
pub use request::{Params, Request, Spares};
pub use response::{AppStatus, Stdout};
