//! A line for each strategy, on a terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bench_harness::Strategy;
use bench_harness::soak::{Seen, Watch};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Often enough to see that it lives.
const INTERVAL: Duration = Duration::from_millis(250);

/// The lines. Away from a terminal they are not drawn.
pub(crate) struct Lines {
    watches: Vec<(String, Arc<Watch>)>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Lines {
    pub(crate) fn start(strategies: &[Strategy], duration: Duration) -> Self {
        let watches: Vec<(String, Arc<Watch>)> =
            strategies.iter().map(|strategy| (strategy.name().to_owned(), Arc::default())).collect();
        let over = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (watches.clone(), Arc::clone(&over));
        let thread = thread::spawn(move || draw(&seen, &ended, duration));
        Self { watches, over, thread }
    }

    /// Where a strategy's soak says where it has got to.
    ///
    /// # Panics
    ///
    /// For a strategy that was not there at the start.
    pub(crate) fn watch(&self, strategy: &Strategy) -> &Watch {
        let found = self.watches.iter().find(|(name, _)| name == strategy.name());
        &found.expect("there is a line for every strategy").1
    }

    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // It draws, and nothing depends on it.
        let _ = self.thread.join();
    }
}

fn draw(watches: &[(String, Arc<Watch>)], over: &AtomicBool, duration: Duration) {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{prefix:12} {elapsed:>5} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let lines: Vec<ProgressBar> = watches
        .iter()
        .map(|(name, _)| {
            bars.add(ProgressBar::no_length().with_style(style.clone()).with_prefix(name.clone()))
        })
        .collect();
    while !over.load(Ordering::Relaxed) {
        for ((_, watch), line) in watches.iter().zip(&lines) {
            line.set_message(words(watch.seen(), duration));
        }
        thread::park_timeout(INTERVAL);
    }
    lines.iter().for_each(ProgressBar::finish_and_clear);
}

fn words(seen: Seen, duration: Duration) -> String {
    if seen.phase.is_empty() {
        return format!("waits for its {} s", duration.as_secs());
    }
    let counts = seen.counts;
    format!(
        "{}: {} answered, {} refused, {} unanswered, {} lost, {} kills, {} restarts",
        seen.phase,
        counts.answered,
        counts.refused,
        counts.unanswered,
        counts.lost,
        seen.kills,
        seen.restarts,
    )
}
