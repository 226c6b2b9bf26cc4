//! What the command line adds to the library.

pub(crate) mod args;
mod clock;
pub(crate) mod json;
pub(crate) mod live;
pub(crate) mod notes;
pub(crate) mod table;
pub(crate) mod terminal;
