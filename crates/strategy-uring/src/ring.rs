//! The ring: what is submitted to the kernel, what it has completed, and the numbers by which both name an operation.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::event::epoll::EventFlags;

/// Operations that one system call may start, and completions that may wait to be looked at. More of either cost
/// another call.
pub(crate) const SUBMISSIONS: u32 = 256;
pub(crate) const COMPLETIONS: u32 = 4096;

pub(crate) struct Ring {
    pub(crate) io_uring: IoUring,
    /// Taken out of the kernel's queue, and not looked at yet.
    pub(crate) completions: VecDeque<cqueue::Entry>,
}

impl Ring {
    /// The newest thing that is asked for is DEFER_TASKRUN, of Linux 6.1: where that is had, all the rest is.
    pub(crate) fn new(submissions: u32, completions: u32) -> io::Result<Self> {
        let io_uring = IoUring::builder()
            .setup_single_issuer()
            // The kernel works on our operations inside of our own system call, and nowhere else.
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(completions)
            .build(submissions)
            .map_err(unsupported)?;
        Ok(Self { io_uring, completions: VecDeque::new() })
    }

    /// One system call submits all that was pushed, and waits for as many completions, or until the timeout.
    ///
    /// When it returns, everything is submitted, and every completion that the kernel has is among `completions`: what
    /// is not there has not completed.
    pub(crate) fn enter(&mut self, mut wanted: usize, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(Timespec::from);
        let args = timeout.as_ref().map_or(SubmitArgs::new(), |timeout| SubmitArgs::new().timespec(timeout));
        loop {
            if let Err(error) = self.io_uring.submitter().submit_with_args(wanted, &args) {
                match error.raw_os_error() {
                    // EBUSY: too many completions wait to be taken, which is done now. EAGAIN: no memory, for now.
                    Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => {}
                    _ => return Err(error),
                }
            }
            self.completions.extend(self.io_uring.completion());
            // Completions for which the queue had no room, the kernel puts there when it is entered again.
            let submissions = self.io_uring.submission();
            if submissions.is_empty() && !submissions.cq_overflow() {
                return Ok(());
            }
            wanted = 0;
        }
    }

    /// Puts an operation among those that the next system call submits.
    pub(crate) fn push(&mut self, entry: Entry, operation: Operation, key: usize) -> io::Result<()> {
        let entry = entry.user_data(operation.number(key));
        // SAFETY: what an operation points to is a client's `sending`, and stays as it is until its completion.
        while unsafe { self.io_uring.submission().push(&entry) }.is_err() {
            self.enter(0, None)?;
        }
        Ok(())
    }

    /// Has an operation complete soon, be it done or not.
    pub(crate) fn cancel(&mut self, operation: Operation, key: usize) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(operation.number(key)).build();
        self.push(cancel.flags(Flags::SKIP_SUCCESS), Operation::Unobserved, 0)
    }
}

/// Completes once, when the descriptor is readable. Of all that wait so for a socket, one is woken.
pub(crate) fn poll(descriptor: impl AsFd) -> Entry {
    let events = EventFlags::IN | EventFlags::EXCLUSIVE;
    opcode::PollAdd::new(Fd(descriptor.as_fd().as_raw_fd()), events.bits()).build()
}

/// Says of an error at the start whether it is the machine's.
fn unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) => {
            let lack = "io_uring as of Linux 6.1, which this kernel lacks or forbids";
            io::Error::new(ErrorKind::Unsupported, format!("{lack}: {error}"))
        }
        _ => error,
    }
}

/// What a completion is of, or, with a connection's key, as the number that the kernel hands back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Drain,
    Accept,
    Woken,
    /// A cancel or a close, which says something only where it fails, and then nothing of use.
    Unobserved,
    Receive,
    Send,
}

impl Operation {
    fn number(self, key: usize) -> u64 {
        (key as u64) << 3 | self as u64
    }

    /// The operation and the key of a number that [`Self::number`] has made.
    pub(crate) fn of(number: u64) -> (Self, usize) {
        let kinds = [Self::Drain, Self::Accept, Self::Woken, Self::Unobserved, Self::Receive, Self::Send];
        (kinds[(number & 7) as usize], (number >> 3) as usize)
    }
}

#[cfg(test)]
mod tests;
