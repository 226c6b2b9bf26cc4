//! Which connections of a loop can go on, told to it by other threads.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};

/// Keys of connections that somebody has woken, and a descriptor that turns readable with the first of them (eventfd(2)): a
/// loop watches it with the others.
#[derive(Debug)]
pub struct Wakeups {
    woken: Arc<Woken>,
}

#[derive(Debug)]
struct Woken {
    keys: Mutex<Vec<usize>>,
    changed: OwnedFd,
}

impl Wakeups {
    /// None yet. Fails for lack of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let changed = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { woken: Arc::new(Woken { keys: Mutex::default(), changed }) })
    }

    /// What wakes this key, from any thread. Where the connection has gone meanwhile, another may have its key, and is
    /// resumed for nothing.
    pub fn waker(&self, key: usize) -> Waker {
        Waker::from(Arc::new(Key { key, woken: Arc::clone(&self.woken) }))
    }

    /// The keys that were woken since the last call, some of them more than once. The descriptor is not readable any more.
    pub fn take(&self) -> Vec<usize> {
        // Before the look: whoever comes after that writes again. It fails where nobody has written.
        let _ = rustix::io::read(&self.woken.changed, &mut [0; 8]);
        mem::take(&mut self.woken.lock())
    }
}

impl AsFd for Wakeups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.changed.as_fd()
    }
}

impl AsRawFd for Wakeups {
    fn as_raw_fd(&self) -> RawFd {
        self.woken.changed.as_raw_fd()
    }
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Key {
    key: usize,
    woken: Arc<Woken>,
}

impl Wake for Key {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut keys = self.woken.lock();
        keys.push(self.key);
        if keys.len() == 1 {
            // It fails only where the counter is full, and then the loop is being woken already.
            let _ = rustix::io::write(&self.woken.changed, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn is_readable(wakeups: &Wakeups) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(wakeups, PollFlags::IN)], Some(&at_once)).unwrap() > 0
    }

    #[test]
    fn the_descriptor_is_readable_while_keys_are_woken_and_not_taken() {
        let wakeups = Wakeups::new().unwrap();
        assert!(!is_readable(&wakeups));
        assert!(wakeups.take().is_empty());
        let (seven, nine) = (wakeups.waker(7), wakeups.waker(9));
        thread::spawn(move || seven.wake()).join().unwrap();
        nine.wake_by_ref();
        assert!(is_readable(&wakeups));
        assert_eq!(wakeups.take(), [7, 9]);
        assert!(!is_readable(&wakeups));
        nine.wake();
        assert!(is_readable(&wakeups));
        assert_eq!(wakeups.take(), [9]);
    }

    #[test]
    fn a_waker_may_outlive_the_loop() {
        let waker = Wakeups::new().unwrap().waker(0);
        waker.wake();
    }
}
