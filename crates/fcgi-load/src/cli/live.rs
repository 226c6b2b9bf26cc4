//! The line that shows a run's progress while it lasts, and what stops a run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fcgi_load::{Progress, Until};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;

/// Rare enough to cost the generator's core nothing worth mentioning.
const INTERVAL: Duration = Duration::from_millis(200);

/// A thread beside the generator's.
pub(crate) struct Live {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Live {
    /// Shows progress on a terminal, and passes an interrupt on to the generator in any case.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub(crate) fn start(
        progress: Arc<Progress>,
        interrupted: Arc<AtomicBool>,
        until: Until,
    ) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::Builder::new().spawn(move || {
            let bar = bar(until);
            let start = Instant::now();
            let mut last = (start, 0);
            while !seen.load(Ordering::Relaxed) {
                std::thread::park_timeout(INTERVAL);
                if interrupted.load(Ordering::Relaxed) {
                    progress.stop();
                }
                let (now, completed) = (Instant::now(), progress.completed());
                let rate = (completed - last.1) as f64 / (now - last.0).as_secs_f64();
                last = (now, completed);
                bar.set_position(match until {
                    Until::Requests(_) => completed + progress.refused() + progress.errors(),
                    Until::Duration(_) => start.elapsed().as_millis() as u64,
                });
                bar.set_message(message(rate, completed, progress.refused(), progress.errors()));
            }
            bar.finish_and_clear();
        })?;
        Ok(Self { over, thread })
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // It has nothing to say; that it panicked it has said itself.
        let _ = self.thread.join();
    }
}

fn message(rate: f64, completed: u64, refused: u64, errors: u64) -> String {
    let mut text = format!("{rate:.0}/s, {completed} good");
    if refused > 0 {
        text += &format!(", {refused} refused");
    }
    if errors > 0 {
        text += &format!(", {errors} errors");
    }
    text
}

fn bar(until: Until) -> ProgressBar {
    if !terminal::is_capable(&io::stderr()) {
        return ProgressBar::hidden();
    }
    let length = match until {
        Until::Requests(count) => count,
        Until::Duration(duration) => duration.as_millis() as u64,
    };
    let style =
        ProgressStyle::with_template("[{bar:30}] {percent:>3} %  {msg}").expect("the template is valid");
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr())
        .with_style(style.progress_chars("=> "))
}
