//! Web servers before workers: lighttpd, nginx and HAProxy, run with the configurations in `data/front-ends`, which are
//! those that users read.
//!
//! ```text
//!   Site (which server, how it uses its connections) ──► config (the file, filled in) ──► FrontEnd (processes)
//!
//!   http (a client of it)        tap (what it does on its connections to the workers)
//! ```
//!
//! A front end dies with the thread that started it, as pools do.

mod config;
mod front_end;
pub mod http;
mod server;
mod site;
pub mod tap;

pub use front_end::{FrontEnd, FrontEndError};
pub use server::{Server, ServerError};
pub use site::{Site, SiteError};
