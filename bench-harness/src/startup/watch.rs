//! A run of a generator, and an eye on it from the thread that owns the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fcgi_load::{Generator, Progress, Report, Until};

/// How often one looks.
const LOOK: Duration = Duration::from_millis(1);

/// Runs clients in a thread of their own and looks at them now and then. They end by themselves, where `look` says false or
/// fails, or where everything is told to stop.
pub(super) fn watch(
    mut clients: Generator,
    until: Until,
    stop: &AtomicBool,
    mut look: impl FnMut(&Progress) -> anyhow::Result<bool>,
) -> anyhow::Result<Report> {
    let progress = clients.progress();
    thread::scope(|scope| {
        let run = scope.spawn(move || clients.run(until));
        let mut looked = Ok(true);
        while !run.is_finished() && !stop.load(Ordering::Relaxed) {
            looked = look(&progress);
            if !matches!(looked, Ok(true)) {
                break;
            }
            thread::sleep(LOOK);
        }
        // One that has ended does not mind.
        progress.stop();
        let report = run.join().expect("a generator does not panic")?;
        looked.map(|_| report)
    })
}
