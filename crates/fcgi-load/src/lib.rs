//! A load generator for any FastCGI server, and for the web server before it, which checks every reply.
//!
//! ```no_run
//! use std::time::Duration;
//! use fcgi_load::{Generator, Mode, Options, RequestSpec, Until};
//!
//! let request = RequestSpec::get("/hello").expect_body("Hello\n");
//! let options = Options {
//!     mode: Mode::Multiplex,
//!     connections: 8,
//!     streams: 64,
//!     ..Options::new("unix:/run/app.sock".parse()?, request)
//! };
//! let mut generator = Generator::new(options)?;
//! let report = generator.run(Until::Duration(Duration::from_secs(5)))?;
//! assert!(report.is_clean(), "{:?}", report.errors);
//! println!("{:.0} replies/s, median {} ns", report.throughput(), report.latency.value_at_quantile(0.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With [`Protocol::Http`] the same load comes through a web server, over HTTP/1.1:
//!
//! ```
//! use fcgi_load::{Options, Protocol, RequestSpec};
//!
//! let request = RequestSpec::get("/hello").expect_body("Hello\n");
//! let options = Options { protocol: Protocol::Http, ..Options::new("tcp:127.0.0.1:8080".parse()?, request) };
//! # Ok::<(), fcgi_load::AddressError>(())
//! ```
//!
//! # What it measures
//!
//! **A closed loop** ([`Options::rate`] is `None`) follows each reply by the next request, so the server sets the pace:
//! it shows how much the server can do, and says little of what users would wait. While the server stalls, nothing is
//! sent, and the requests that real users would have sent meanwhile are missing from the latencies ("coordinated
//! omission").
//!
//! **An open loop** sends at a fixed rate. Request *k* is due *k* / rate after the start, whatever became of the ones
//! before it, and [`Report::latency`] counts from then. A request that finds no free connection waits, and the waiting
//! counts. [`Report::service`] counts from the sending: the difference between the two is the queue.
//! [`Report::kept_up`] tells whether the rate was reached.
//!
//! **A latency** is the time to a good reply. A request that never had one counts too: as slower than all that had one,
//! and with at least the time that it waited, whether it timed out, failed, was refused or was never sent ([`Latency`]).
//! So trouble can only make a percentile longer. One that falls among such requests is marked as a lower bound, and one
//! for which there are too few requests is not given.
//!
//! **An outage** ends no run of fixed duration, and no open loop. Connections are opened again, with pauses of at most a
//! tenth of a second. An open loop then sends at once all that is due by then, each counted from its own due time; due
//! times are computed and not stored, so an outage of any length at any rate takes no memory. What a run of fixed
//! duration has not sent a tenth of a second after its end is [`Report::unsent`].
//!
//! **Every request** is in exactly one row of a [`Report`], and the rows add up to [`Report::due`]. Attempts to connect
//! are no requests, and are counted apart ([`Report::connects_failed`]).
//!
//! **A mode** says how connections are used: one per request ([`Mode::Close`]), kept with one request at a time
//! ([`Mode::Keep`]), or kept with several ([`Mode::Multiplex`], which HTTP/1.1 does not have). That several requests were
//! really in flight is counted, not assumed: [`Report::peak_in_flight`].
//!
//! **A mix** of requests ([`Options::requests`]) is sent in a fixed order, each as often as its [`Share`] says. Every reply
//! is held against what its own request expects, and [`Report::by_request`] tells each request's latency apart.
//!
//! # What it checks
//!
//! Of every reply: that each record is of a type a server may send, and its id in flight on that connection; that the
//! output ends by an empty `FCGI_STDOUT`; CGI status, body, `appStatus` and `protocolStatus` ([`Expect`]). To refuse is
//! no error ([`Report::refused`]); a connection that ends before a reply began ([`Errors::unanswered`]) is told apart
//! from a reply that broke off ([`Errors::lost`]), since a web server may send only the former again. Nor is a kept
//! connection that the server closes between two requests ([`Errors::closed`]) the same as either: front ends send the
//! request again, and so does [`Options::retry_closed`].
//!
//! Of a reply in HTTP: that its head and the framing of its body are those of RFC 9112, that nothing comes unasked; status
//! code and body. Interim responses (1xx) are skipped. What may be read in two ways is an error, and not guessed: two
//! lengths, a length beside chunks, a chunk's line that ends by a bare LF. Heads and trailer sections are at most 64 KiB long.
//! A server that says `Connection: close` ends a kept connection in order: it is opened again, and no error. A body without
//! a length ends with its connection, so that one which broke off shows only in what was expected of it.
//!
//! # Why it is seldom the bottleneck
//!
//! One thread serves all connections by edge-triggered epoll. Each request is encoded once, under every id in use, and
//! sent from there without copying; the requests of all free streams go out by one write. One read takes many replies,
//! and a reply that equals an earlier good one byte for byte is settled by one comparison (one whose `Date` goes on each
//! second is parsed, and learnt anew, once a second). The clock is read once per read. Steady state allocates nothing. What that costs is in every report ([`Report::cpu`]), so that a reader can
//! tell when the generator was the limit after all.
//!
//! Bodies of any length, both ways, take bounded memory: a reply is checked as it arrives, and is read while the request
//! is still being written.
//!
//! # What it needs
//!
//! Linux 5.11 or later, for `epoll_pwait2`: an open loop of more than a thousand requests per second needs sleeps
//! shorter than a millisecond.
//!
//! # How it is laid out
//!
//! In the order in which a request passes through: `request` (what is asked), `exchange` (which of several is next),
//! `template` (its bytes), `generator` (the loop) and `run` (when what is due), `connection` (one socket and its requests in
//! flight), `codec` (what it reads by), `reply` (FastCGI records in) or `response` (HTTP in), `check` (good or not), `latency`
//! and `report`. This crate shares no code with the project's servers: a misreading of the specification made on both sides
//! would go unnoticed.

#[cfg(not(target_os = "linux"))]
compile_error!("fcgi-load runs on Linux only: it waits by epoll_pwait2(2), of Linux 5.11");

mod address;
mod capacity;
mod check;
mod codec;
mod connection;
mod core;
mod exchange;
mod generator;
mod latency;
mod options;
mod progress;
mod reply;
mod report;
mod request;
mod response;
mod run;
mod socket;
mod template;

pub use address::{Address, AddressError, Mode, ModeError, Protocol, ProtocolError};
pub use capacity::{Capacity, capacity};
pub use generator::Generator;
/// The type of the histograms in a [`Latency`].
pub use hdrhistogram::Histogram;
pub use latency::{Latency, Quantile};
pub use options::{Options, OptionsError, Share};
pub use progress::Progress;
pub use report::{Errors, Report, RequestReport};
pub use request::{Expect, RequestSpec};
pub use run::Until;
