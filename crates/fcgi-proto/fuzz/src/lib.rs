//! What the fuzz targets share: a reader of records that knows nothing of fcgi-proto, and a count of memory.

pub mod memory;
pub mod wire;
