//! What a process inherits from whoever starts it (execve(2), signal(7)): set to what a worker needs, not trusted.
//!
//! The umask concerns the socket file alone, whose permissions are set whatever it is; it stays for the application. So do
//! descriptors beyond the first three, which may be the application's: they are counted, not closed.

use std::io;
use std::mem;
use std::ptr;

use crate::drain::check;

/// Every signal as it is by default, none blocked. A spawner may have ignored SIGCHLD, so that no child could be waited
/// for, or blocked SIGTERM.
pub(crate) fn set() -> io::Result<()> {
    // SAFETY: sigaction is plain data, for which zeroes are a value: SIG_DFL, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // Those two are the standard library's, which says by them that a stack has overflowed.
    let kept = [libc::SIGSEGV, libc::SIGBUS];
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| !kept.contains(signal)) {
        // A write to a peer that has gone is an error of that write (EPIPE).
        action.sa_sigaction = if signal == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: no handler is installed, so none can break a rule; the old action is not asked for. It fails for those that
        // nobody can set: SIGKILL, SIGSTOP, and what the C library keeps to itself.
        unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    }
    unblock_signals()
}

/// Lets every signal come.
pub(crate) fn unblock_signals() -> io::Result<()> {
    // SAFETY: sigset_t is plain data; sigemptyset gives it its value.
    let mut none: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live sigset_t.
    check(unsafe { libc::sigemptyset(&mut none) })?;
    // SAFETY: as above; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()) })
}
