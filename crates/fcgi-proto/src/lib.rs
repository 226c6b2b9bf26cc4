//! FastCGI 1.0 for a responder: bytes in, requests out; replies in, bytes out. No I/O.
//!
//! ```text
//!            input: &[u8]                            output: Vec<u8>
//!                 │                                        ▲
//!      usual, and │ anything else                          │
//!        whole    ▼                                        │
//!          │  ┌─────────────────────────────┐  protocol    │
//!          │  │ Connection::receive         │──────────────┤
//!          │  │ (GET_VALUES, roles, limits) │   replies    │
//!          │  └─────┬───────────────────────┘              │
//!          │        │ Event::Request(OwnedRequest)         │
//!          ▼        ▼                                      │
//!       the application (Request) ── Stdout::write ── response::end
//!          │        │
//!          │        └─ Connection::recycle: its id is free, its memory used again
//!          └─ Connection::receive_whole: a view of the input, of which nothing is left
//! ```
//!
//! The caller owns every buffer and every descriptor. It reads bytes from wherever they come, feeds them to
//! [`Connection::receive`] until that returns `None`, and writes whatever stands in the output buffer. The
//! crate knows no socket, no thread and no clock, and so serves blocking reads, readiness loops and completion
//! loops alike.
//!
//! Rules that a caller keeps:
//!
//! 1. Call `receive` until it returns `Ok(None)`: only then is the input used up. To save time, call
//!    [`Connection::receive_whole`] before each `receive`: a usual request that lies whole in the input is then answered from
//!    there, and is copied only if it has to wait ([`Connection::hold`]).
//! 2. After `Err`, close the connection; the others are not concerned.
//! 3. Encode [`response::end`] and call [`Connection::recycle`] before the bytes can reach the peer: from then on
//!    the peer may use the id again (spec 3.3).
//! 4. Close the connection once [`Connection::is_finished`] and all output is written (spec 5.1, KEEP_CONN).
//! 5. Read only while the unsent output is under a limit of your own; `receive` appends at most five times the
//!    bytes it is given.
//!
//! In the steady state nothing allocates: requests come from a [`Spares`] and go back to it.
//!
//! # A request from its first byte to its last
//!
//! ```
//! use fcgi_proto::{
//!     AppStatus, Values, Connection, Event, Limits, ProtocolStatus, Request, Spares, Stdout, response,
//! };
//!
//! let values = Values { connections: 1, requests: 128, multiplexes: true };
//! let mut connection = Connection::new(Limits::default(), values);
//! let mut spares = Spares::new();
//! let mut output = Vec::new();
//!
//! // As read from a socket: BEGIN_REQUEST 1 (a responder, not to be kept), PARAMS and its end, the end of STDIN.
//! let mut input: &[u8] = b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0\
//!     \x01\x04\0\x01\0\x13\x05\0\x0b\x06SCRIPT_NAME/hello\0\0\0\0\0\x01\x04\0\x01\0\0\0\0\
//!     \x01\x05\0\x01\0\0\0\0";
//!
//! fn answer(request: Request<'_>, output: &mut Vec<u8>) {
//!     assert_eq!(request.params().value(b"SCRIPT_NAME"), Some(&b"/hello"[..]));
//!     let mut stdout = Stdout::new(output, request.id(), 64 << 10);
//!     stdout.write(b"Content-Type: text/plain\r\n\r\nhello\n");
//!     drop(stdout);
//!     response::end(output, request.id(), AppStatus::SUCCESS, ProtocolStatus::RequestComplete);
//! }
//!
//! while !input.is_empty() {
//!     if let Some(request) = connection.receive_whole(&mut input) {
//!         answer(request, &mut output);
//!         continue;
//!     }
//!     match connection.receive(&mut input, &mut output, &mut spares)? {
//!         Some(Event::Request(request)) => {
//!             answer(request.as_request(), &mut output);
//!             connection.recycle(request, &mut spares);
//!         }
//!         // Requests that take longer are kept by their id, and ended when this names them.
//!         Some(Event::Abort(_)) | None => {}
//!     }
//! }
//!
//! // To be written to the socket, which is to be closed then.
//! assert!(output.starts_with(b"\x01\x06\0\x01\0\x22\x06\0Content-Type: text/plain\r\n\r\nhello\n"));
//! assert!(output.ends_with(b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0"));
//! assert!(connection.is_finished());
//! # Ok::<(), fcgi_proto::ProtocolError>(())
//! ```

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
pub use limits::{Limits, Values};
pub use record::{ProtocolStatus, RecordType, RequestId, Role};
pub use request::{OwnedRequest, Params, Request, Spares};
pub use response::{AppStatus, Stdout};

/// The example in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
