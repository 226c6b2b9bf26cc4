//! N worker processes on one listener: forked, replaced when they die, replaced one by one on SIGHUP, drained on SIGTERM.
//!
//! fork(2) without exec: a worker is this process as it stands, listener and options included. The supervisor has one
//! thread and serves nothing, so the fork copies no lock that somebody holds. It waits in one place, for a signal or for a
//! worker that has started, and for nothing else: not for a reader of its log, not for a process that cannot be had.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};

use crate::closing::Closing;
use crate::drain::{SECOND_SIGNAL, check};
use crate::listener::Listener;
use crate::log;
use crate::log::Flood;
use crate::notify::{self, notify};
use crate::pauses::Pauses;
use crate::program::UNSUPPORTED;
use crate::reload::Reload;
use crate::signals::{self, Signals, Watch};
use crate::threads::Lack;

/// A worker that lives this long has started well: its replacement starts at once.
const WELL_STARTED: Duration = Duration::from_secs(1);
/// The pauses before replacing one that did not, and where no process can be had.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(5));

/// How often a drain looks whether all that waited have been accepted.
const CLOSING_PAUSE: Duration = Duration::from_millis(5);

/// What a worker is told: its listener, and what to call when it is ready to serve.
pub(crate) type Work<'a> = &'a dyn Fn(Listener, &dyn Fn()) -> u8;

/// Runs `count` processes of `work` until SIGTERM, SIGINT or SIGQUIT, then waits `grace` for them to drain. `former` are the
/// workers of the program that this one has replaced.
pub(crate) fn run(
    signals: &Signals,
    listener: Listener,
    count: usize,
    grace: Duration,
    former: Vec<Pid>,
    work: Work<'_>,
) -> ExitCode {
    let supervised = Supervisor::new(signals, count, grace, former).and_then(|mut supervisor| {
        // The signal of one that has ended during an exec may be lost.
        supervisor.reap(&listener)?;
        loop {
            match supervisor.turn(&listener)? {
                Next::Turn => {}
                Next::Stop => return supervisor.stop(listener),
                // Never back into the caller's stack: that is the supervisor's.
                Next::Work => process::exit(supervisor.work(listener, work).into()),
            }
        }
    });
    supervised.unwrap_or_else(|error| {
        log::say(format_args!("the supervisor gave up: {error}"));
        ExitCode::FAILURE
    })
}

struct Supervisor {
    watch: Watch,
    places: Vec<Place>,
    /// Of the program before this one: each is asked to end when another has taken over.
    former: Vec<Pid>,
    /// Those that were asked to end.
    leaving: Vec<Leaving>,
    /// Workers write their process id into it when they are ready to serve.
    ready_reader: OwnedFd,
    ready_writer: OwnedFd,
    /// Not before this time: no process could be had.
    fork_at: Instant,
    fork_pauses: Pauses,
    grace: Duration,
    deaths: Flood,
    reload: Reload,
    /// Whether the service manager was told that all are ready.
    is_announced: bool,
    /// No replacement could do what this machine lacks.
    is_supported: bool,
}

/// One place in the pool.
struct Place {
    worker: Option<Worker>,
    /// When the next worker may start.
    due: Instant,
    pauses: Pauses,
}

struct Worker {
    pid: Pid,
    started: Instant,
    is_ready: bool,
}

struct Leaving {
    pid: Pid,
    /// When it is killed; `None`: it was.
    deadline: Option<Instant>,
}

enum Next {
    Turn,
    Stop,
    /// This is a worker.
    Work,
}

impl Supervisor {
    fn new(signals: &Signals, count: usize, grace: Duration, former: Vec<Pid>) -> io::Result<Self> {
        let now = Instant::now();
        let (ready_reader, ready_writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self {
            watch: signals.watch()?,
            places: (0..count).map(|_| Place { worker: None, due: now, pauses: PAUSES }).collect(),
            former,
            leaving: Vec::new(),
            ready_reader,
            ready_writer,
            fork_at: now,
            fork_pauses: PAUSES,
            grace,
            deaths: Flood::default(),
            reload: Reload::new(),
            is_announced: false,
            is_supported: true,
        })
    }

    /// Starts the workers that are due, waits, and does what has become necessary.
    fn turn(&mut self, listener: &Listener) -> io::Result<Next> {
        if self.start_workers() {
            return Ok(Next::Work);
        }
        let due = [self.next_start(), self.next_kill(), self.deaths.due()];
        self.wait(due.into_iter().flatten().min())?;
        while let Some(pid) = self.ready_worker() {
            self.note_ready(pid);
        }
        while let Some((signal, sender)) = self.watch.next()? {
            match signal {
                libc::SIGCHLD => self.reap(listener)?,
                libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => return Ok(Next::Stop),
                libc::SIGHUP => self.rehearse(),
                _ => log::say(format_args!(
                    "{} of process {sender} changes nothing: SIGTERM stops, SIGHUP replaces the workers",
                    signals::name(signal)
                )),
            }
        }
        self.kill_late();
        self.deaths.settle(Instant::now());
        Ok(if self.is_supported { Next::Turn } else { Next::Stop })
    }

    /// A forked worker's whole life.
    fn work(self, listener: Listener, work: Work<'_>) -> u8 {
        // All else is the supervisor's, and closed.
        let Self { ready_writer, .. } = self;
        let pid = getpid().as_raw_nonzero().get().to_ne_bytes();
        work(listener.into_child(), &|| {
            // It fails where the pipe is full: then the supervisor has much to read.
            let _ = rustix::io::write(&ready_writer, &pid);
        })
    }

    /// Fills the places that are due. True in a worker. After SIGHUP the next one starts when the last is ready, so that
    /// never more than one too many runs.
    fn start_workers(&mut self) -> bool {
        let now = Instant::now();
        let mut is_starting = self.places.iter().any(Place::is_starting);
        for place in self.places.iter_mut().filter(|place| place.worker.is_none() && place.due <= now) {
            if self.fork_at > now || is_starting && !self.former.is_empty() {
                break;
            }
            match fork() {
                Ok(None) => return true,
                Ok(Some(pid)) => {
                    place.worker = Some(Worker { pid, started: now, is_ready: false });
                    is_starting = true;
                    self.fork_pauses = PAUSES;
                }
                Err(error) => {
                    let pause = self.fork_pauses.next_pause();
                    log::say(format_args!(
                        "no worker can be started, the next try is in {pause:?}: {}",
                        Lack(&error)
                    ));
                    self.fork_at = now + pause;
                }
            }
        }
        false
    }

    fn next_start(&self) -> Option<Instant> {
        if !self.former.is_empty() && self.places.iter().any(Place::is_starting) {
            return None;
        }
        let vacant = self.places.iter().filter(|place| place.worker.is_none());
        vacant.map(|place| place.due.max(self.fork_at)).min()
    }

    fn next_kill(&self) -> Option<Instant> {
        self.leaving.iter().filter_map(|leaving| leaving.deadline).min()
    }

    /// Until a signal has come, a worker has become ready, or that time is there.
    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let mut sources =
            [PollFd::new(&self.watch, PollFlags::IN), PollFd::new(&self.ready_reader, PollFlags::IN)];
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A worker that says that it is ready to serve.
    fn ready_worker(&self) -> Option<Pid> {
        let mut pid = [0; 4];
        let read = rustix::io::read(&self.ready_reader, &mut pid).ok()?;
        (read == pid.len()).then(|| Pid::from_raw(i32::from_ne_bytes(pid)))?
    }

    /// For each worker that is ready, one of the former ones leaves.
    fn note_ready(&mut self, pid: Pid) {
        let mut workers = self.places.iter_mut().filter_map(|place| place.worker.as_mut());
        let Some(worker) = workers.find(|worker| worker.pid == pid) else { return };
        worker.is_ready = true;
        self.leaving.extend(self.former.pop().map(|former| Leaving::asked(former, self.grace)));
        if self.places.iter().all(Place::is_ready) {
            // The pool was larger before.
            self.leaving.extend(self.former.drain(..).map(|former| Leaving::asked(former, self.grace)));
            if !self.is_announced {
                self.is_announced = true;
                notify("READY=1");
            }
        }
    }

    /// SIGHUP: asks the program, as it is on disk now, whether it would run. If so, it replaces this one, also where this one
    /// has not replaced all workers yet, as where its own do not start.
    fn rehearse(&mut self) {
        if let Err(error) = self.reload.rehearse() {
            self.stay(&error);
        }
    }

    /// The rehearsal has ended. Returns where this program goes on.
    fn replace(&mut self, end: &End, listener: &Listener) {
        if *end != End::Exited(0) {
            return self.stay(&format_args!("it {end} when it was checked"));
        }
        notify::reloading();
        let workers = self.places.iter().filter_map(|place| place.worker.as_ref());
        let pids = workers.map(|worker| worker.pid).chain(self.leaving.iter().map(|leaving| leaving.pid));
        let pids = pids.chain(self.former.iter().copied());
        let Err(error) = self.reload.replace(listener, pids);
        self.stay(&error);
        notify("READY=1");
    }

    fn stay(&self, reason: &dyn Display) {
        log::say(format_args!("SIGHUP: nothing is replaced: {}: {reason}", self.reload.program()));
    }

    /// Takes leave of all that have ended.
    fn reap(&mut self, listener: &Listener) -> io::Result<()> {
        while let Some((pid, end)) = ended()? {
            if self.reload.is_rehearsal(pid) {
                self.replace(&end, listener);
                continue;
            }
            self.former.retain(|former| *former != pid);
            self.leaving.retain(|leaving| leaving.pid != pid);
            let of_pid = |place: &&mut Place| place.worker.as_ref().is_some_and(|worker| worker.pid == pid);
            if let Some(place) = self.places.iter_mut().find(of_pid) {
                self.is_supported &= end != End::Exited(UNSUPPORTED.into());
                place.vacate(&end, &mut self.deaths);
            }
        }
        Ok(())
    }

    /// Kills those that take longer than they may.
    fn kill_late(&mut self) {
        let now = Instant::now();
        for leaving in &mut self.leaving {
            if leaving.deadline.is_some_and(|deadline| deadline <= now) {
                log::say(format_args!("worker {} is not drained in {:?}: killed", leaving.pid, self.grace));
                leaving.kill();
            }
        }
    }

    /// Asks all to end, and waits until they have.
    fn stop(mut self, listener: Listener) -> io::Result<ExitCode> {
        notify("STOPPING=1");
        self.reload.end_rehearsal();
        let mut closing = Closing::begin(listener);
        let workers = self.places.drain(..).filter_map(|place| place.worker).map(|worker| worker.pid);
        let asked = workers.chain(self.former.drain(..)).map(|pid| Leaving::asked(pid, self.grace));
        self.leaving.extend(asked);
        let begun = Instant::now();
        let mut is_clean = true;
        while !self.leaving.is_empty() {
            closing = closing.and_then(Closing::go_on);
            let look = closing.as_ref().map(|_| Instant::now() + CLOSING_PAUSE);
            self.wait(look.into_iter().chain(self.next_kill()).min())?;
            while self.ready_worker().is_some() {}
            while let Some((signal, _)) = self.watch.next()? {
                match signal {
                    libc::SIGCHLD => {}
                    libc::SIGTERM | libc::SIGINT | libc::SIGQUIT if begun.elapsed() >= SECOND_SIGNAL => {
                        log::say("a second signal: the workers left are killed");
                        self.leaving.iter_mut().for_each(Leaving::kill);
                    }
                    _ => {}
                }
            }
            while let Some((pid, end)) = ended()? {
                let before = self.leaving.len();
                self.leaving.retain(|leaving| leaving.pid != pid);
                is_clean &= end == End::Exited(0) || self.leaving.len() == before;
            }
            self.kill_late();
        }
        Ok(match (self.is_supported, is_clean) {
            (false, _) => ExitCode::from(UNSUPPORTED),
            (true, false) => ExitCode::FAILURE,
            (true, true) => ExitCode::SUCCESS,
        })
    }
}

impl Place {
    fn is_ready(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.is_ready)
    }

    fn is_starting(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| !worker.is_ready)
    }

    /// Notes its worker's death and when the next one may start.
    fn vacate(&mut self, end: &End, deaths: &mut Flood) {
        let Some(worker) = self.worker.take() else { return };
        // It has said itself what is the matter.
        if *end == End::Exited(UNSUPPORTED.into()) {
            return;
        }
        let (pid, now) = (worker.pid, Instant::now());
        if worker.started.elapsed() >= WELL_STARTED {
            self.pauses = PAUSES;
            self.due = now;
            deaths.say(format_args!("worker {pid} {end}; replaced"), now);
        } else {
            let pause = self.pauses.next_pause();
            self.due = now + pause;
            deaths.say(format_args!("worker {pid} {end} soon after its start; replaced in {pause:?}"), now);
        }
    }
}

impl Leaving {
    /// Not reaped yet, so the number is nobody else's.
    fn asked(pid: Pid, grace: Duration) -> Self {
        let _ = kill_process(pid, Signal::TERM);
        Self { pid, deadline: Some(Instant::now() + grace) }
    }

    fn kill(&mut self) {
        self.deadline = None;
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(i32),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with {status}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// `None` in the child, which drains when its parent dies: no worker is left behind, however the supervisor ends.
fn fork() -> io::Result<Option<Pid>> {
    let parent = getpid();
    // SAFETY: this process has one thread, so the child finds every lock free and all memory consistent.
    let pid = unsafe { libc::fork() };
    check(pid)?;
    if pid > 0 {
        return Ok(Pid::from_raw(pid));
    }
    let bound = set_parent_process_death_signal(Some(Signal::TERM));
    // The parent may have died before the line above.
    if bound.is_err() || getppid() != Some(parent) {
        process::exit(1);
    }
    Ok(None)
}

/// A child that has ended, if there is one. Some are nobody's: to process 1 come all that lost their parents.
fn ended() -> io::Result<Option<(Pid, End)>> {
    match waitpid(None, WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Ok(Some((
            pid,
            match (status.terminating_signal(), status.exit_status()) {
                (Some(signal), _) => End::Killed(signal),
                (None, status) => End::Exited(status.unwrap_or_default()),
            },
        ))),
        Ok(None) | Err(Errno::CHILD | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
