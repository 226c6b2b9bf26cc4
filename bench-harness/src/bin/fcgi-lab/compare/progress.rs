//! What the line on a terminal says.

use bench_harness::experiment::Seen;

use crate::line::Line;

/// As [`Line::start`] takes it.
pub(crate) const TEMPLATE: &str = "{elapsed:>5} {bar:30} {pos}/{len} {wide_msg} {eta:>5} left";

pub(crate) fn show(Line(bar): &Line, seen: &Seen<'_>) {
    match seen {
        Seen::Admission(entry) => bar.set_message(format!("{entry}: being verified")),
        Seen::Begun(_) => {}
        Seen::Cycle { done, of, launch, ask, processes } => {
            bar.set_length(*of as u64);
            bar.set_position(*done as u64);
            let plural = if *processes == 1 { "process" } else { "processes" };
            bar.set_message(format!(
                "launch {launch}: {}, {}, {processes} {plural}",
                ask.workload.name(),
                ask.mode
            ));
        }
        Seen::Void(trial) => {
            let why = trial.void.as_deref().unwrap_or_default();
            bar.println(format!("{}, {}, void: {why}", trial.entry, trial.ask.mode));
        }
        Seen::Launch(_) => {}
        Seen::SystemCalls(entry, mode) => {
            bar.set_message(format!("{entry}, {mode}: system calls being counted"));
        }
    }
    bar.tick();
}
