//! N worker processes on one listener: forked, replaced when they die, drained on SIGTERM.
//!
//! fork(2) without exec: a worker is this process as it stands, listener and options included. The supervisor has one
//! thread and serves nothing, so the fork copies no lock that somebody holds.

use std::io;
use std::mem;
use std::process::{self, ExitCode};
use std::ptr;
use std::time::{Duration, Instant};

use crate::UNSUPPORTED;
use crate::drain::check;
use crate::listener::Listener;
use crate::log;

/// A worker that lives this long has started well: its replacement starts at once.
const WELL_STARTED: Duration = Duration::from_secs(1);
/// The pause before replacing one that did not, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs `count` processes of `work` until SIGTERM or SIGINT, then waits for them to drain.
pub(crate) fn run(
    signals: &Signals,
    listener: Listener,
    count: usize,
    grace: Duration,
    work: impl Fn(Listener) -> u8,
) -> ExitCode {
    match supervise(signals, listener, count, grace, work) {
        Ok(code) => code,
        Err(error) => {
            log::say(format_args!("the supervisor gave up: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One place in the pool.
struct Place {
    worker: Option<Worker>,
    /// When the next worker may start.
    due: Instant,
    pause: Duration,
}

struct Worker {
    pid: libc::pid_t,
    started: Instant,
}

fn supervise(
    signals: &Signals,
    mut listener: Listener,
    count: usize,
    grace: Duration,
    work: impl Fn(Listener) -> u8,
) -> io::Result<ExitCode> {
    let mut pool: Vec<Place> =
        (0..count).map(|_| Place { worker: None, due: Instant::now(), pause: FIRST_PAUSE }).collect();

    // Until asked to stop: every place is filled, or waits for its time. No replacement could do what this machine lacks.
    let mut supported = true;
    while supported {
        let now = Instant::now();
        for place in pool.iter_mut().filter(|place| place.worker.is_none() && place.due <= now) {
            match fork()? {
                Some(pid) => place.worker = Some(Worker { pid, started: now }),
                None => {
                    // Never back into the caller's stack: that is the supervisor's.
                    process::exit(work(listener.into_child()).into());
                }
            }
        }
        let next = pool.iter().filter(|place| place.worker.is_none()).map(|place| place.due).min();
        let timeout = next.map(|due| due.saturating_duration_since(Instant::now()));
        match signals.wait(timeout)? {
            Some(libc::SIGCHLD) => {
                while let Some((pid, end)) = reap()? {
                    supported &= end != End::Exited(UNSUPPORTED.into());
                    on_exit(&mut pool, pid, &end);
                }
            }
            Some(_) => break,
            None => {}
        }
    }

    // No path first, so that who connects from now on is told at once; then the workers take those that wait.
    listener.unpublish();
    signal_all(&pool, libc::SIGTERM);
    let mut clean = true;
    let mut deadline = Some(Instant::now() + grace);
    while pool.iter().any(|place| place.worker.is_some()) {
        match signals.wait(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())))? {
            Some(libc::SIGCHLD) => {
                while let Some((pid, end)) = reap()? {
                    clean &= end == End::Exited(0);
                    for place in &mut pool {
                        place.worker.take_if(|worker| worker.pid == pid);
                    }
                }
            }
            // A second signal, or the grace is over.
            _ => {
                if deadline.take().is_some() {
                    log::say(format_args!("not drained in time: the workers left are killed"));
                }
                signal_all(&pool, libc::SIGKILL);
            }
        }
    }
    Ok(match (supported, clean) {
        (false, _) => ExitCode::from(UNSUPPORTED),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Notes a worker's death and when its place is filled again.
fn on_exit(pool: &mut [Place], pid: libc::pid_t, end: &End) {
    let of_pid = |place: &&mut Place| place.worker.as_ref().is_some_and(|worker| worker.pid == pid);
    let Some(place) = pool.iter_mut().find(of_pid) else { return };
    let Some(worker) = place.worker.take() else { return };
    if *end == End::Exited(UNSUPPORTED.into()) {
        // It has said itself what is the matter.
        return;
    }
    if worker.started.elapsed() >= WELL_STARTED {
        place.pause = FIRST_PAUSE;
        place.due = Instant::now();
        log::say(format_args!("worker {pid} {end}; replaced"));
    } else {
        place.due = Instant::now() + place.pause;
        log::say(format_args!("worker {pid} {end} soon after its start; replaced in {:?}", place.pause));
        place.pause = LONGEST_PAUSE.min(place.pause * 2);
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exited(libc::c_int),
    Killed(libc::c_int),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with {status}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// `None` in the child, which dies with its parent: no worker is left behind, however the supervisor ends.
fn fork() -> io::Result<Option<libc::pid_t>> {
    let parent = rustix::process::getpid();
    // SAFETY: this process has one thread, so the child finds every lock free and all memory consistent.
    let pid = unsafe { libc::fork() };
    check(pid)?;
    if pid > 0 {
        return Ok(Some(pid));
    }
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    // The parent may have died before the line above.
    if rustix::process::getppid() != Some(parent) {
        process::exit(1);
    }
    Ok(None)
}

/// A child that has ended, if there is one.
fn reap() -> io::Result<Option<(libc::pid_t, End)>> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    match pid {
        0 => Ok(None),
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ if libc::WIFSIGNALED(status) => Ok(Some((pid, End::Killed(libc::WTERMSIG(status))))),
        _ => Ok(Some((pid, End::Exited(libc::WEXITSTATUS(status))))),
    }
}

fn signal_all(pool: &[Place], signal: libc::c_int) {
    for worker in pool.iter().filter_map(|place| place.worker.as_ref()) {
        // SAFETY: kill(2) touches no memory of ours; the pid is that of a child not reaped yet, so nobody else's.
        unsafe { libc::kill(worker.pid, signal) };
    }
}

/// The signals that the supervisor waits for, blocked, so that none comes at a wrong moment.
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    pub(crate) fn block() -> io::Result<Self> {
        // SAFETY: sigset_t is plain data; sigemptyset gives it its value.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: the pointer is to a live sigset_t.
        check(unsafe { libc::sigemptyset(&mut set) })?;
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
            // SAFETY: the pointer is to an initialised sigset_t, the signal exists.
            check(unsafe { libc::sigaddset(&mut set, signal) })?;
        }
        // SAFETY: the pointer is to an initialised sigset_t; the old mask is not asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) })?;
        Ok(Self(set))
    }

    /// The next signal; `None` after `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<libc::c_int>> {
        // A day stands for "no timeout": the caller looks and waits again.
        let timeout = timeout.unwrap_or(Duration::from_secs(86_400));
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: both pointers are to live values; the signal's details are not asked for.
        let signal = unsafe { libc::sigtimedwait(&self.0, ptr::null_mut(), &timeout) };
        if signal > 0 {
            return Ok(Some(signal));
        }
        match io::Error::last_os_error().kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
