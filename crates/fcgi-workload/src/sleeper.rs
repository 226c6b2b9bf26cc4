//! A thread that wakes requests at a time, as a driver of a database would when an answer has come.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

/// Its thread is started with the first sleep.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    sleeps: Mutex<Sleeps>,
    /// An earlier one has come.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Sleeps {
    /// By time, and by number where that is the same.
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    has_thread: bool,
}

/// One sleep, which ends with the time or when this is dropped.
#[derive(Debug)]
pub(crate) struct Sleep {
    key: (Instant, u64),
    sleeper: Arc<Sleeper>,
}

impl Sleeper {
    /// Wakes after this time. Fails where there is no thread to be had.
    pub(crate) fn sleep(self: &Arc<Self>, time: Duration, waker: Waker) -> io::Result<Sleep> {
        let mut sleeps = self.lock();
        if !sleeps.has_thread {
            let sleeper = Arc::clone(self);
            thread::Builder::new().name("sleeper".to_owned()).spawn(move || sleeper.run())?;
            sleeps.has_thread = true;
        }
        let key = (Instant::now() + time, sleeps.next);
        sleeps.next += 1;
        sleeps.wakers.insert(key, waker);
        if sleeps.wakers.keys().next() == Some(&key) {
            self.changed.notify_one();
        }
        Ok(Sleep { key, sleeper: Arc::clone(self) })
    }

    fn run(&self) {
        let mut sleeps = self.lock();
        loop {
            let now = Instant::now();
            while let Some(first) = sleeps.wakers.first_entry().filter(|first| first.key().0 <= now) {
                let waker = first.remove();
                drop(sleeps);
                waker.wake();
                sleeps = self.lock();
            }
            let next =
                sleeps.wakers.keys().next().map(|(time, _)| time.saturating_duration_since(Instant::now()));
            let waited = self.changed.wait_timeout(sleeps, next.unwrap_or(Duration::MAX));
            (sleeps, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sleeps> {
        self.sleeps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sleep {
    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        !self.sleeper.lock().wakers.contains_key(&self.key)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.sleeper.lock().wakers.remove(&self.key);
    }
}
