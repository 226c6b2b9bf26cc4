//! Fork: a process for each connection, with blocking calls. The oldest way.
//!
//! - **Who accepts:** the process itself, blocking in accept(2); it forks a child, which takes the connection.
//! - **Who reads:** the child, blocking in recv(2), until the connection is closed; then it ends.
//! - **Where a request waits:** in its child, which does nothing else meanwhile.
//! - **What bounds it:** `--connections` children, 256 at most; then the process stops accepting.
//! - **What one process holds:** one connection for each of its children.

use std::io;
use std::mem;
use std::process;
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use fcgi_worker::{
    Accepted, BACK_OFF, Capacity, Config, ConnectionLimit, Handler, Listener, Pauses, Shared, blocking,
    drain, log::Flood, threads::Lack,
};
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};
use socket2::Socket;

/// One connection per child, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: ConnectionLimit::OnePerChild(256), threads: None, multiplexes: false };

/// Forks a child for each connection until the drain, then waits for the children to end.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let_children_interrupt()?;
    let mut children = Children {
        pids: Vec::new(),
        most: config.connections,
        killed: Flood::default(),
        waiting: Flood::default(),
        tell_at: Instant::now(),
        pauses: drain::pauses(),
    };
    while let Some(socket) = accept(&listener, &mut children)? {
        if let Some(child) = fork(&mut children) {
            children.pids.push(child);
            continue;
        }
        // In the child, which never returns into the parent's loop.
        drop(listener);
        blocking::serve_connection(&socket, &mut Shared::new(Arc::new(handler), config));
        process::exit(0);
    }
    while !children.pids.is_empty() {
        children.wait();
    }
    Ok(())
}

/// The next connection, once there may be a child for it; `None` once the worker drains and none waits.
fn accept(listener: &Listener, children: &mut Children) -> io::Result<Option<Socket>> {
    loop {
        children.reap();
        while children.pids.len() >= children.most {
            children.wait();
        }
        if drain::requested() && !listener.has_pending() {
            return Ok(None);
        }
        match listener.judge(accept_with(listener, SocketFlags::CLOEXEC))? {
            Accepted::Connection(socket) => return Ok(Some(socket.into())),
            Accepted::Again | Accepted::Closed => {}
            Accepted::Empty => listener.wait(),
            Accepted::Exhausted => thread::sleep(BACK_OFF),
        }
    }
}

/// A child for the connection just accepted; `None` in the child. Where there is no process to be had, the connection
/// waits for one.
fn fork(children: &mut Children) -> Option<Pid> {
    let parent = getpid();
    let mut waits = false;
    let pid = loop {
        // SAFETY: this process has one thread, so the child finds every lock free and all memory consistent.
        let pid = unsafe { libc::fork() };
        if pid >= 0 {
            break pid;
        }
        if !mem::replace(&mut waits, true) {
            let error = io::Error::last_os_error();
            let event = format_args!("a connection waits for a process: {}", Lack(&error));
            children.waiting.say(event, Instant::now());
        }
        thread::sleep(BACK_OFF);
        children.reap();
    };
    if pid > 0 {
        return Pid::from_raw(pid);
    }
    // A worker that is killed takes its connections along, as in every other model.
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have died before the line above.
    if bound.is_err() || getppid() != Some(parent) {
        process::exit(1);
    }
    None
}

/// The processes that serve connections.
struct Children {
    pids: Vec<Pid>,
    /// How many there may be.
    most: usize,
    /// What is said of those that crashed, and of connections for which there was none.
    killed: Flood,
    waiting: Flood,
    /// When to tell them of the drain again, and how long to pause then.
    tell_at: Instant,
    pauses: Pauses,
}

impl Children {
    /// Takes leave of those that have ended, which adds the time they used to this process's account. While draining,
    /// tells the others, again and again.
    fn reap(&mut self) {
        let now = Instant::now();
        if drain::requested() && self.tell_at <= now {
            self.tell_at = now + self.pauses.next_pause();
            for child in &self.pids {
                // Not reaped yet, so the number is nobody else's.
                let _ = kill_process(*child, Signal::TERM);
            }
        }
        while self.reap_one(WaitOptions::NOHANG) {}
        self.killed.settle(now);
        self.waiting.settle(now);
    }

    /// Waits until one has ended, or a signal comes: while draining, one comes every few milliseconds.
    fn wait(&mut self) {
        self.reap();
        if !self.pids.is_empty() {
            self.reap_one(WaitOptions::empty());
        }
    }

    fn reap_one(&mut self, options: WaitOptions) -> bool {
        let Ok(Some((pid, status))) = waitpid(None, options) else { return false };
        self.pids.retain(|child| *child != pid);
        if let Some(signal) = status.terminating_signal() {
            let event = format_args!("a connection's process {pid} was killed by signal {signal}");
            self.killed.say(event, Instant::now());
        }
        true
    }
}

/// Makes the end of a child interrupt accept(2), so that no zombie is left while nobody connects. A child that ends
/// between the look for it and the call interrupts nothing: for this one there is an alarm every second, and for what is
/// still to be said.
fn let_children_interrupt() -> io::Result<()> {
    extern "C" fn interrupt(_: libc::c_int) {}

    // SAFETY: sigaction is plain data, for which zeroes are a value: no flags, so no SA_RESTART, and an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = interrupt as *const () as libc::sighandler_t;
    for signal in [libc::SIGCHLD, libc::SIGALRM] {
        // SAFETY: `interrupt` does nothing, which is async-signal-safe; the old action is not asked for.
        check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })?;
    }
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let every_second = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: the pointer is to a live value; the old timer is not asked for. Children do not inherit it (fork(2)).
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &every_second, ptr::null_mut()) })
}

/// The C convention: -1 says that errno does.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
