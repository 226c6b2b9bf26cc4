//! Standard output and standard error, which may be full or have no reader.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Prints this, and nothing after it.
pub(crate) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(write!(out, "{text}").and_then(|()| out.flush()))
}

/// What came of writing to standard output. `fcgi-lab ... | head` is no failure.
pub(crate) fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// A line on standard error. Where that cannot be written there is nobody to tell; the exit status remains.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
