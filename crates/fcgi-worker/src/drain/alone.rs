//! A worker without a supervisor ends itself where its drain takes too long, from its signal handlers, whatever its threads do.
//!
//! All here but [`Alone::install`] calls only what is async-signal-safe. It allocates nothing, so lines are written before.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::SECOND_SIGNAL;
use rustix::process::{Pid, getppid};

use crate::log;

static ALONE: OnceLock<Alone> = OnceLock::new();

/// What its signal handlers know.
pub(super) struct Alone {
    pid: u32,
    /// Whose worker it is, while that lives.
    supervisor: Option<Pid>,
    grace: Duration,
    installed: Instant,
    /// When the drain began, in milliseconds since then.
    begun: AtomicU64,
    too_late: Vec<u8>,
    second_signal: Vec<u8>,
    no_reload: Vec<u8>,
}

impl Alone {
    /// This process has so much time to drain, and is alone: at once, or when its `supervisor` has died.
    pub(super) fn install(grace: Duration, supervisor: Option<Pid>) {
        ALONE.get_or_init(|| Self {
            pid: process::id(),
            supervisor,
            grace,
            installed: Instant::now(),
            begun: AtomicU64::new(u64::MAX),
            too_late: log::line(format_args!("not drained in {grace:?}: ended")),
            second_signal: log::line("a second signal: ended without waiting for requests in flight"),
            no_reload: log::line("SIGHUP: only a supervisor replaces workers (see --processes)"),
        });
    }

    /// In this process, that is: those that it has forked end with it.
    fn of_this_process() -> Option<&'static Self> {
        ALONE.get().filter(|alone| alone.pid == process::id())
    }

    /// While nobody else sees to its end.
    fn get() -> Option<&'static Self> {
        Self::of_this_process().filter(|alone| alone.supervisor.is_none() || alone.supervisor != getppid())
    }

    /// The drain has begun.
    pub(super) fn begin() {
        if let Some(alone) = Self::of_this_process() {
            alone.begun.store(alone.milliseconds(), Ordering::Relaxed);
        }
    }

    /// Ends the process where the grace is over.
    pub(super) fn look_at_the_time() {
        if let Some(alone) = Self::get()
            && alone.waited() >= alone.grace
        {
            end(&alone.too_late);
        }
    }

    /// A signal has come although the drain had begun.
    pub(super) fn request_again() {
        if let Some(alone) = Self::get()
            && alone.waited() >= SECOND_SIGNAL
        {
            end(&alone.second_signal);
        }
    }

    pub(super) fn refuse_to_reload() {
        if let Some(alone) = Self::get() {
            log::write_line(&alone.no_reload);
        }
    }

    fn milliseconds(&self) -> u64 {
        self.installed.elapsed().as_millis() as u64
    }

    /// Since the drain began.
    fn waited(&self) -> Duration {
        Duration::from_millis(self.milliseconds().saturating_sub(self.begun.load(Ordering::Relaxed)))
    }
}

/// The end of this process, with a line that says why.
fn end(line: &[u8]) {
    log::write_line(line);
    // SAFETY: _exit(2) is async-signal-safe, and ends all threads.
    unsafe { libc::_exit(1) };
}
