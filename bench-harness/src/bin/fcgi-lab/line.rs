//! A line on a terminal. Away from one it is not drawn.

use indicatif::{ProgressBar, ProgressStyle};

/// The line. It is to be drawn between turns only, so that it takes no time of what is measured.
pub(crate) struct Line(pub(crate) ProgressBar);

impl Line {
    /// Drawn as an indicatif template says.
    pub(crate) fn start(template: &str) -> Self {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }

    /// Lets something else be written where the line is.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
