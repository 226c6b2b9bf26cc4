//! From a name to processes that answer, and to nothing that is left of them.
//!
//! ```text
//!   discover ──► builds ──► Strategy ─┐
//!   (packages)                        ├──► entry ──► launch ──► Pool (process, ports, usage)
//!   peers ────────────────► Peer ─────┤
//!   (data/peers)                      │
//!   target ───────────────► Target ───┘  (nothing is started)
//! ```

pub mod builds;
pub mod discover;
pub mod entry;
pub mod launch;
pub mod peers;
pub mod ports;
pub mod process;
pub mod target;
pub(crate) mod usage;
