//! SIGTERM asks a worker to finish, and SIGINT and SIGQUIT one without a supervisor: no new connections, the requests in
//! flight to their end, exit 0.
//!
//! No system call per request is spent on it. A readiness loop watches [`wake`]; a blocking call is interrupted
//! (EINTR, the handlers are installed without SA_RESTART). A signal that comes between the look at [`requested`] and
//! the blocking call would be missed, so the first one starts a timer that interrupts again until the process has gone.
//!
//! A worker that has no supervisor, or whose supervisor was killed, ends itself where the grace is over or a second signal comes, as a supervisor would end
//! it: from the signal handler, whatever its threads do.

mod alone;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use crate::pauses::Pauses;
use crate::signals;
use alone::Alone;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static WAKE: OnceLock<OwnedFd> = OnceLock::new();
/// The pipe's other end, as the signal handler needs it: a plain number.
static WAKE_WRITER: AtomicI32 = AtomicI32::new(-1);
/// The timer's id, which is a pointer in C's eyes.
static REPEAT: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

/// See [`pauses`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// A second signal comes later than this: timeout(1) sends each of its own twice, to the process and to its group.
pub(crate) const SECOND_SIGNAL: Duration = Duration::from_millis(250);

/// How often a call that blocks is interrupted.
const REPEAT_NANOSECONDS: libc::c_long = 20_000_000;

/// Whether the worker was asked to finish.
#[inline]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// A descriptor that turns readable, and stays so, when the worker is asked to finish.
///
/// # Panics
///
/// In a process that is no worker: [`crate::run`] prepares it before it calls `serve`, or [`install`] does.
pub fn wake() -> BorrowedFd<'static> {
    use std::os::fd::AsFd;

    WAKE.get().expect("run() installs the drain before it calls serve()").as_fd()
}

/// Asks this process to finish, as SIGTERM does.
pub fn request() {
    if !REQUESTED.swap(true, Ordering::Relaxed) {
        begin();
    }
}

/// Waits for the drain, as a thread does that has nothing else to do.
pub fn wait() {
    while !requested() {
        // Interrupted or not, the flag is what counts.
        let _ = poll(&mut [PollFd::new(&wake(), PollFlags::IN)], None);
    }
}

/// Waits for the drain, then for all of `threads` to end, interrupting the calls that they block in. One that fails ends
/// the others with it: it calls [`request`].
///
/// The first error is returned.
pub fn join(threads: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    wait();
    let mut pauses = pauses();
    while !threads.iter().all(JoinHandle::is_finished) {
        threads.iter().for_each(interrupt);
        thread::sleep(pauses.next_pause());
    }
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
}

/// The pauses between two signals to threads or processes that block although the worker drains, from 5 to 160 milliseconds.
///
/// They are told again and again: one may have looked for the drain just before it blocked. And less and less often: those
/// that are left have requests to finish.
pub fn pauses() -> Pauses {
    Pauses::new(FIRST_PAUSE, LONGEST_PAUSE)
}

/// Interrupts the call that a thread blocks in, if it blocks in one ([`join`] does that for threads that stay). One that has
/// looked at [`requested`] just before is to be interrupted again, after one of the [`pauses`].
pub fn interrupt<T>(thread: &JoinHandle<T>) {
    // SAFETY: the handle is not joined, so the id is that of a thread which pthread_kill knows, ended or not; the
    // signal has a handler (`install`), so it kills nothing.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), interruption()) };
}

/// Prepares this process to be drained by SIGTERM, SIGINT and SIGQUIT, for a `main` that does not call [`crate::run`]. Call it
/// once, before there is a socket file to be removed, and before there are threads. Where the drain takes longer than `grace`,
/// or after a second signal, the process ends itself.
///
/// # Errors
///
/// It is installed already, or the kernel has no pipe or timer left.
pub fn install(grace: Duration) -> io::Result<()> {
    install_for(grace, None)
}

/// Prepares this process, once, after the last fork: a timer is not inherited. It has so much time to drain, which its
/// `supervisor` looks after as long as there is one.
pub(crate) fn install_for(grace: Duration, supervisor: Option<Pid>) -> io::Result<()> {
    use rustix::pipe::{PipeFlags, pipe_with};

    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    WAKE_WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
    mem::forget(writer); // open as long as the process, for the signal handler
    WAKE.set(reader).map_err(|_| io::Error::other("the drain is installed already"))?;

    // SAFETY: sigevent is plain data, for which zeroes are a value.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = interruption();
    let mut timer: libc::timer_t = ptr::null_mut();
    // SAFETY: both pointers are to live values of the right type; the kernel keeps neither.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) }).map_err(|error| {
        // It takes one of the signals that a user may have pending.
        io::Error::other(format!("no timer for the drain: {error} (ulimit -i, LimitSIGPENDING=)"))
    })?;
    REPEAT.store(timer, Ordering::Relaxed);

    handle(libc::SIGTERM, on_request)?;
    handle(interruption(), on_interruption)?;
    Alone::install(grace, supervisor);
    if supervisor.is_none() {
        handle(libc::SIGINT, on_request)?;
        handle(libc::SIGQUIT, on_request)?;
        handle(libc::SIGHUP, on_hangup)?;
    } else {
        // What a terminal sends to all its processes is for the supervisor, which first sees to it that nobody else connects.
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            handle(signal, ignore)?;
        }
    }
    signals::unblock()
}

/// The signal that interrupts calls that block. Not SIGTERM itself: while one is on its way, another would be lost with it.
fn interruption() -> libc::c_int {
    libc::SIGRTMIN()
}

/// Calls `handler` for each such signal, which calls only what is async-signal-safe.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: sigaction is plain data, for which zeroes are a value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // SAFETY: every handler in this file calls only what is async-signal-safe; the old action is not asked for.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })
}

extern "C" fn on_request(_: libc::c_int) {
    keep_errno(|| {
        if !REQUESTED.swap(true, Ordering::Relaxed) {
            begin();
        } else {
            Alone::request_again();
        }
    });
}

extern "C" fn on_interruption(_: libc::c_int) {
    keep_errno(Alone::look_at_the_time);
}

extern "C" fn on_hangup(_: libc::c_int) {
    keep_errno(Alone::refuse_to_reload);
}

extern "C" fn ignore(_: libc::c_int) {}

/// The first signal. Calls only what is async-signal-safe.
fn begin() {
    Alone::begin();
    let byte = [0_u8];
    // SAFETY: write(2) is async-signal-safe and reads one byte of a live array. A full pipe is as readable as wanted.
    unsafe { libc::write(WAKE_WRITER.load(Ordering::Relaxed), byte.as_ptr().cast(), 1) };

    let interval = libc::timespec { tv_sec: 0, tv_nsec: REPEAT_NANOSECONDS };
    let repeat = libc::itimerspec { it_interval: interval, it_value: interval };
    // SAFETY: timer_settime(2) is async-signal-safe; the timer was created before this handler was installed.
    unsafe { libc::timer_settime(REPEAT.load(Ordering::Relaxed), 0, &repeat, ptr::null_mut()) };
}

/// The code that a handler interrupts must find errno as it left it.
fn keep_errno(handle: impl FnOnce()) {
    // SAFETY: errno is this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: __errno_location returns a pointer that is valid for the thread's life.
    let saved = unsafe { *errno };
    handle();
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// The C convention: -1 says that errno does.
pub(crate) fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_thread_that_blocks_is_interrupted_and_one_that_has_ended_is_left_alone() {
        handle(interruption(), ignore).unwrap();
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let thread = thread::spawn(move || rustix::io::read(&reader, &mut [0]));
        while !thread.is_finished() {
            interrupt(&thread);
            thread::sleep(FIRST_PAUSE);
        }
        interrupt(&thread);
        assert_eq!(thread.join().unwrap(), Err(Errno::INTR));
    }
}
