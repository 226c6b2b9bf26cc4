//! A line on a terminal.

use bench_harness::experiment::Seen;
use indicatif::{ProgressBar, ProgressStyle};

/// The line. Away from a terminal it is not drawn. It is drawn between cycles only, so that it takes no time of a slice.
pub(crate) struct Line(ProgressBar);

impl Line {
    pub(crate) fn start() -> Self {
        let style =
            ProgressStyle::with_template("{elapsed:>5} {bar:30} {pos}/{len} {wide_msg} {eta:>5} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }

    pub(crate) fn show(&self, seen: &Seen<'_>) {
        match seen {
            Seen::Admission(entry) => self.0.set_message(format!("{entry}: being verified")),
            Seen::Begun(_) => {}
            Seen::Cycle { done, of, launch, ask, processes } => {
                self.0.set_length(*of as u64);
                self.0.set_position(*done as u64);
                let plural = if *processes == 1 { "process" } else { "processes" };
                self.0.set_message(format!(
                    "launch {launch}: {}, {}, {processes} {plural}",
                    ask.workload.name(),
                    ask.mode
                ));
            }
            Seen::Void(trial) => {
                let why = trial.void.as_deref().unwrap_or_default();
                self.0.println(format!("{}, {}, void: {why}", trial.entry, trial.ask.mode));
            }
            Seen::Launch(_) => {}
            Seen::SystemCalls(entry, mode) => {
                self.0.set_message(format!("{entry}, {mode}: system calls being counted"));
            }
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
