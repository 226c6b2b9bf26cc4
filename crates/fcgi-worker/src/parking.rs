//! Requests that wait to be woken ([`crate::Step::Park`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Whether a request was woken, and whom to tell. Made when the handler first asks for a waker, and until then nothing.
#[derive(Default)]
pub(crate) struct Parking(Option<Arc<Parked>>);

#[derive(Default)]
struct Parked {
    woken: AtomicBool,
    /// Sees to it that the request's connection gets a turn. It is there while the request is parked.
    turn: Mutex<Option<Waker>>,
}

impl Parking {
    /// What wakes the request, from any thread.
    pub(crate) fn waker(&mut self) -> Waker {
        Waker::from(Arc::clone(self.0.get_or_insert_default()))
    }

    /// Whom to tell when the request is woken. Look whether it [is](Self::is_woken) after that, not before.
    pub(crate) fn set_turn(&self, turn: &Waker) {
        if let Some(parked) = &self.0 {
            *parked.lock() = Some(turn.clone());
        }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.0.as_ref().is_some_and(|parked| parked.woken.load(Ordering::Acquire))
    }

    /// The same, and it is to be woken anew.
    pub(crate) fn take_woken(&self) -> bool {
        self.0.as_ref().is_some_and(|parked| parked.woken.swap(false, Ordering::AcqRel))
    }
}

/// The request has ended. Wakers may be left; what they would have told may go.
impl Drop for Parking {
    #[inline]
    fn drop(&mut self) {
        if let Some(parked) = &self.0 {
            *parked.lock() = None;
        }
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("woken", &self.is_woken()).finish()
    }
}

impl Parked {
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        // The lock is given back before somebody else's code runs.
        let turn = self.lock().take();
        if let Some(turn) = turn {
            turn.wake();
        }
    }
}
