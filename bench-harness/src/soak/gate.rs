//! Lets all clients work, rest or go home.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What every client passes before it does something.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    inside: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Shut,
    Open,
    Over,
}

/// Its holder is at work.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    pub(super) fn open(&self) {
        self.set(Mode::Open);
    }

    pub(super) fn end(&self) {
        self.set(Mode::Over);
    }

    /// Waits until nobody is at work any more. False: somebody is, after so long.
    pub(super) fn shut(&self, limit: Duration) -> bool {
        self.set(Mode::Shut);
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| state.inside > 0)
            .unwrap_or_else(PoisonError::into_inner);
        state.inside == 0
    }

    /// Waits until there is work to do; `None`: there is none any more.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| state.mode == Mode::Shut)
            .unwrap_or_else(PoisonError::into_inner);
        if state.mode == Mode::Over {
            return None;
        }
        state.inside += 1;
        Some(Pass(self))
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().mode == Mode::Open
    }

    /// Sleeps, but not longer than there is work.
    pub(super) fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        let mut state = self.lock();
        while state.mode == Mode::Open {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn set(&self, mode: Mode) {
        self.lock().mode = mode;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}
