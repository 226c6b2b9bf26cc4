//! Standard output, which may be full or have no reader.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context as _, Result};

/// Remembers the first error, after which nothing more is written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    error: Option<io::Error>,
}

impl Output {
    /// Prints, unless an earlier print has failed.
    pub(crate) fn print(&mut self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.error.is_none() {
            let mut out = io::stdout().lock();
            self.error = print(&mut out).and_then(|()| out.flush()).err();
        }
    }

    /// Why nothing more can be printed, if so.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let error = self.error.as_ref()?;
        Some(if is_closed_pipe(error) {
            "nobody reads the output any more"
        } else {
            "standard output cannot be written"
        })
    }

    /// An error if something was not printed. `fcgi-verify ... | head` is none.
    pub(crate) fn result(self) -> Result<()> {
        match self.error {
            Some(error) if !is_closed_pipe(&error) => Err(error).context("cannot write to standard output"),
            _ => Ok(()),
        }
    }
}

fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// Prints all that there is to print.
pub(crate) fn print(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut output = Output::default();
    output.print(print);
    output.result()
}
