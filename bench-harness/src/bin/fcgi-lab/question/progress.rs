//! What the line on a terminal says.

use bench_harness::question::Seen;

use crate::line::Line;

/// As [`Line::start`] takes it.
pub(crate) const TEMPLATE: &str = "{elapsed:>5} {bar:30} {percent:>3} % {wide_msg} {eta:>5} left";

pub(crate) fn show(Line(bar): &Line, seen: &Seen<'_>) {
    match seen {
        Seen::Admission(entry) => bar.set_message(format!("{entry}: being verified")),
        Seen::Begun(_) => {}
        Seen::Step { done, of, launch, name } => {
            if !of.is_zero() {
                let is_first = bar.length() == Some(0);
                bar.set_length(of.as_millis() as u64);
                bar.set_position(done.as_millis() as u64);
                if is_first {
                    // What was done before says nothing of how fast it goes.
                    bar.reset_eta();
                }
            }
            bar.set_message(format!("launch {launch}: {name}"));
        }
        Seen::Void(trial) => {
            let (of, why) = (&trial.measured, trial.measured.void.as_deref().unwrap_or_default());
            bar.println(format!("{}, {}, {} processes, void: {why}", trial.part, of.entry, of.processes));
        }
        Seen::Saved(_) => {}
    }
    bar.tick();
}
