//! What the command line adds to the library.

pub(crate) mod args;
pub(crate) mod live;
pub(crate) mod table;
pub(crate) mod terminal;
