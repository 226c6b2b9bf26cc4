//! Signals, from the start of a process: set to what a worker needs, whatever was inherited (execve(2), signal(7)), and
//! held back until somebody is ready for them.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::drain::check;

/// What a signal is by default, for those that are no matter of a supervisor's: faults, the terminal's job control, and
/// what is ignored anyway.
const LEFT_ALONE: [libc::c_int; 13] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGWINCH,
    libc::SIGURG,
];

/// The signals that are held back.
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// Every signal as it is by default, and those that could end the process held back: to be watched by a supervisor, or
    /// let through by a worker that is ready for them. A spawner may have ignored SIGCHLD, so that no child could be waited
    /// for, or blocked SIGTERM.
    pub(crate) fn hold() -> io::Result<Self> {
        // SAFETY: sigset_t is plain data; sigfillset gives it its value.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the pointer is to a live sigset_t.
        check(unsafe { libc::sigfillset(&mut set) })?;
        for signal in LEFT_ALONE {
            // SAFETY: the pointer is to an initialised sigset_t, the signal exists.
            check(unsafe { libc::sigdelset(&mut set, signal) })?;
        }
        set_mask(&set)?;

        // SAFETY: sigaction is plain data, for which zeroes are a value: SIG_DFL, no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        // The first two are the standard library's, which says by them that a stack has overflowed.
        for signal in (1..=libc::SIGRTMAX()).filter(|signal| !LEFT_ALONE[..2].contains(signal)) {
            // A write to a peer that has gone is an error of that write (EPIPE).
            action.sa_sigaction = if signal == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
            // SAFETY: no handler is installed, so none can break a rule; the old action is not asked for. It fails for those
            // that nobody can set: SIGKILL, SIGSTOP, and what the C library keeps to itself.
            unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
        }
        Ok(Self(set))
    }

    /// A descriptor that is readable when one of them has come.
    pub(crate) fn watch(&self) -> io::Result<Watch> {
        // SAFETY: the pointer is to an initialised sigset_t, of which the kernel takes a copy.
        let descriptor = unsafe { libc::signalfd(-1, &self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        check(descriptor)?;
        // SAFETY: it was just opened, and nobody else has it.
        Ok(Watch(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }
}

/// The signals that have come to this process.
pub(crate) struct Watch(OwnedFd);

impl Watch {
    /// The next one, and who sent it; `None` where none has come.
    pub(crate) fn next(&self) -> io::Result<Option<(libc::c_int, u32)>> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let field =
            |offset: usize| u32::from_ne_bytes(info[offset..offset + 4].try_into().unwrap_or_default());
        let signal = field(mem::offset_of!(libc::signalfd_siginfo, ssi_signo));
        let sender = field(mem::offset_of!(libc::signalfd_siginfo, ssi_pid));
        Ok(Some((signal as libc::c_int, sender)))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets every signal come.
pub(crate) fn unblock() -> io::Result<()> {
    // SAFETY: sigset_t is plain data; sigemptyset gives it its value.
    let mut none: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live sigset_t.
    check(unsafe { libc::sigemptyset(&mut none) })?;
    set_mask(&none)
}

fn set_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the pointer is to an initialised sigset_t; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut()) })
}

/// The name that signal(7) gives it.
pub(crate) fn name(signal: libc::c_int) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGALRM => "SIGALRM",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
