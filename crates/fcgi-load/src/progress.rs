//! A run seen from another thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::report::Report;

/// A run seen from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    stop: AtomicBool,
    completed: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

impl Progress {
    /// Ends the run within a tenth of a second, and all later ones at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Good replies of the run so far.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Refusals of the run so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Errors of the run so far.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn publish(&self, report: &Report) {
        self.completed.store(report.completed, Ordering::Relaxed);
        self.refused.store(report.refused, Ordering::Relaxed);
        self.errors.store(report.errors.counted, Ordering::Relaxed);
    }
}
