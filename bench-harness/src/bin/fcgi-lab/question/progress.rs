//! A line on a terminal.

use bench_harness::question::Seen;
use indicatif::{ProgressBar, ProgressStyle};

/// The line. Away from a terminal it is not drawn. It is drawn between cells only, so that it takes no time of a slice.
pub(crate) struct Line(ProgressBar);

impl Line {
    pub(crate) fn start() -> Self {
        let style =
            ProgressStyle::with_template("{elapsed:>5} {bar:30} {percent:>3} % {wide_msg} {eta:>5} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }

    pub(crate) fn show(&self, seen: &Seen<'_>) {
        match seen {
            Seen::Admission(entry) => self.0.set_message(format!("{entry}: being verified")),
            Seen::Begun(_) => {}
            Seen::Step { done, of, launch, name } => {
                if !of.is_zero() {
                    let is_first = self.0.length() == Some(0);
                    self.0.set_length(of.as_millis() as u64);
                    self.0.set_position(done.as_millis() as u64);
                    if is_first {
                        // What was done before says nothing of how fast it goes.
                        self.0.reset_eta();
                    }
                }
                self.0.set_message(format!("launch {launch}: {name}"));
            }
            Seen::Void(trial) => {
                let (of, why) = (&trial.measured, trial.measured.void.as_deref().unwrap_or_default());
                self.0.println(format!(
                    "{}, {}, {} processes, void: {why}",
                    trial.part, of.entry, of.processes
                ));
            }
            Seen::Saved(_) => {}
        }
        self.0.tick();
    }

    /// Lets something else be written where the line is.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
