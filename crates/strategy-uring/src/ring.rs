//! The ring itself: how it is made, and the numbers by which it names what is done.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

/// Operations that one system call may start, and completions that may wait to be looked at. More of either cost
/// another call.
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 4096;

/// The newest thing that is asked for is DEFER_TASKRUN, of Linux 6.1: where that is had, all the rest is.
pub(crate) fn build() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        // The kernel works on our operations inside of our own system call, and nowhere else.
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)
}

/// Says of an error at the start whether it is the machine's.
pub(crate) fn unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) => io::Error::new(
            ErrorKind::Unsupported,
            format!("io_uring as of Linux 6.1, which this kernel lacks or forbids: {error}"),
        ),
        _ => error,
    }
}

/// Completes once, when the descriptor is readable.
pub(crate) fn poll(descriptor: &impl AsRawFd) -> Entry {
    opcode::PollAdd::new(Fd(descriptor.as_raw_fd()), libc::POLLIN as u32).build()
}

/// What a completion is of, as the number that the kernel hands back with it.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Drain,
    Readiness,
    /// A cancel or a close, which says something only where it fails, and then nothing of use.
    Unobserved,
    Receive(usize),
    Send(usize),
}

impl From<Operation> for u64 {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Drain => 0,
            Operation::Readiness => 1,
            Operation::Unobserved => 2,
            Operation::Receive(key) => (key as u64 + 2) << 1,
            Operation::Send(key) => (key as u64 + 2) << 1 | 1,
        }
    }
}

impl From<u64> for Operation {
    fn from(number: u64) -> Self {
        let key = |number: u64| (number >> 1) as usize - 2;
        match number {
            0 => Self::Drain,
            1 => Self::Readiness,
            2 => Self::Unobserved,
            receive if receive & 1 == 0 => Self::Receive(key(receive)),
            send => Self::Send(key(send)),
        }
    }
}
