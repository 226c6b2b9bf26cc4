//! select(2) for reading, with its limit in plain view.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

/// The descriptors below this number are those that select(2) can watch: the rest would be written beyond the set.
pub(crate) const LIMIT: usize = libc::FD_SETSIZE;

/// A set of descriptors: those to wait for, and after [`ReadSet::select`] those that are ready.
pub(crate) struct ReadSet {
    set: libc::fd_set,
    highest: libc::c_int,
}

impl ReadSet {
    pub(crate) fn new() -> Self {
        // SAFETY: fd_set is an array of integers, for which zeroes are the empty set, as FD_ZERO makes it.
        Self { set: unsafe { mem::zeroed() }, highest: -1 }
    }

    /// Whether select(2) can watch this descriptor at all.
    pub(crate) fn can_hold(descriptor: BorrowedFd<'_>) -> bool {
        usize::try_from(descriptor.as_raw_fd()).is_ok_and(|number| number < LIMIT)
    }

    /// Adds a descriptor, unless it is beyond the limit.
    pub(crate) fn insert(&mut self, descriptor: BorrowedFd<'_>) {
        if Self::can_hold(descriptor) {
            // SAFETY: the number is between 0 and FD_SETSIZE, so the bit is inside the set.
            unsafe { libc::FD_SET(descriptor.as_raw_fd(), &mut self.set) };
            self.highest = self.highest.max(descriptor.as_raw_fd());
        }
    }

    pub(crate) fn contains(&self, descriptor: BorrowedFd<'_>) -> bool {
        // SAFETY: the number is between 0 and FD_SETSIZE, so the bit is inside the set.
        Self::can_hold(descriptor) && unsafe { libc::FD_ISSET(descriptor.as_raw_fd(), &self.set) }
    }

    /// Waits until one of the set is readable, and leaves in it those that are.
    pub(crate) fn select(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut timeout = timeout.map(|timeout| libc::timeval {
            tv_sec: timeout.as_secs() as libc::time_t,
            // Rounded up, or the loop would spin through the last microsecond.
            tv_usec: (timeout.subsec_micros() + 1).min(999_999) as libc::suseconds_t,
        });
        let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: the pointers are null or to live values, and `highest` is below FD_SETSIZE.
        let ready = unsafe {
            libc::select(self.highest + 1, &mut self.set, ptr::null_mut(), ptr::null_mut(), timeout)
        };
        if ready >= 0 {
            return Ok(());
        }
        // The set is undefined after an error: nothing in it is ready.
        *self = Self::new();
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }
}
