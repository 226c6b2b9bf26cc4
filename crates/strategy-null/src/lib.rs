//! The floor: what the sockets, the scheduling and the generator cost where the server does no protocol work.
//!
//! It counts bytes. All requests of a run are of one length, so after every so many bytes it writes the same answer,
//! under the request's id. Nothing is parsed, no parameter is read, no handler is asked: **it answers no question, and
//! is no FastCGI server.** No test of one applies to it, and no strategy can be faster than it is by doing less.
//!
//! - `strategy-null-blocking` stands below the models that block: prefork, a thread pool, a process per connection.
//! - `strategy-null-readiness` stands below the readiness loops, the tasks, and whatever else waits for all connections
//!   at once.
//!
//! A worker process learns the length from the first request that it gets, and whether connections are kept: that one
//! is looked at record by record. A peer whose requests differ gets garbage, in bounded memory.

pub mod blocking;
mod count;
pub mod readiness;
