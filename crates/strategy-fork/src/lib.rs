//! Fork: a process for each connection, with blocking calls. The oldest way.
//!
//! - **Who accepts:** the process itself, blocking in accept(2); it forks a child, which takes the connection.
//! - **Who reads:** the child, blocking in read(2), until the connection is closed; then it ends.
//! - **Where a request waits:** in `thread::sleep`; its child does nothing else meanwhile.
//! - **What bounds it:** `--connections` children, 256 at most; then the process stops accepting.
//! - **What one process holds:** one connection for each of its children.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::process;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use fcgi_proto::{Connection, Event, Request, Spares};
use fcgi_worker::{AcceptError, Capacity, Config, Exchange, Handler, Held, Listener, Step, drain};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_parent_process_death_signal, waitpid,
};
use socket2::Socket;

/// One connection per child, one request at a time; an abort is read when the request has ended.
pub const CAPACITY: Capacity =
    Capacity { connections: Held::AtMost(256), threads: None, multiplexes: false, sees_aborts: false };

/// How long to wait for descriptors or processes when there are none left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// Forks a child for each connection until the drain, then waits for the children to end.
pub fn serve(listener: Listener, handler: impl Handler, config: &Config) -> io::Result<()> {
    let_children_interrupt()?;
    let mut children = Children { pids: Vec::new(), most: config.connections };
    while let Some(socket) = accept(&listener, &mut children)? {
        if let Some(child) = fork(&mut children) {
            children.pids.push(child);
            continue;
        }
        // In the child, which never returns into the parent's loop.
        drop(listener);
        let mut buffers = Buffers { input: vec![0; 64 << 10], output: Vec::new(), spares: Spares::new() };
        // An error in a connection is that connection's end.
        let _ = drive(&socket, &handler, config, &mut buffers);
        process::exit(0);
    }
    while !children.pids.is_empty() {
        children.wait();
    }
    Ok(())
}

/// What a connection needs while it is served.
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    spares: Spares,
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
        match listener.socket().accept() {
            Ok((socket, _)) if listener.admits(&socket) => return Ok(Some(socket)),
            Ok(_) => {}
            Err(error) => match AcceptError::from(&error) {
                AcceptError::Again => {}
                AcceptError::Empty | AcceptError::Exhausted => thread::sleep(EXHAUSTED),
                AcceptError::Fatal => return Err(error),
            },
        }
    }
}

/// A child for the connection just accepted; `None` in the child. Where there is no process to be had, the connection
/// waits for one.
fn fork(children: &mut Children) -> Option<Pid> {
    let parent = getpid();
    let pid = loop {
        // SAFETY: this process has one thread, so the child finds every lock free and all memory consistent.
        match unsafe { libc::fork() } {
            -1 => {
                thread::sleep(EXHAUSTED);
                children.reap();
            }
            pid => break pid,
        }
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
}

impl Children {
    /// Takes leave of those that have ended, which adds the time they used to this process's account. While draining,
    /// tells the others: once is not enough, since one may have looked for the drain just before it reads.
    fn reap(&mut self) {
        if drain::requested() {
            for child in &self.pids {
                // Not reaped yet, so the number is nobody else's.
                let _ = kill_process(*child, Signal::TERM);
            }
        }
        while self.reap_one(WaitOptions::NOHANG) {}
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
            // Nothing depends on stderr, which may be closed or broken (spec 2.2).
            let name = env!("CARGO_PKG_NAME");
            let _ =
                writeln!(io::stderr(), "{name}: a connection's process {pid} was killed by signal {signal}");
        }
        true
    }
}

/// Makes the end of a child interrupt accept(2), so that no zombie is left while nobody connects. A child that ends
/// between the look for it and the call interrupts nothing: for this one there is an alarm every second.
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

/// Reads a connection and serves its requests, until it ends.
fn drive(socket: &Socket, handler: &impl Handler, config: &Config, buffers: &mut Buffers) -> io::Result<()> {
    let mut connection = config.connection();
    let Buffers { input, output, spares } = buffers;
    loop {
        let read = match read(socket, &connection, input) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return linger(socket),
            Err(error) => return Err(error),
        };
        let mut input = &input[..read];
        while let Some(event) = connection.receive(&mut input, output, spares).map_err(io::Error::other)? {
            // No abort can come: nothing is in flight while this child reads.
            if let Event::Request(request) = event {
                let request = finish(socket, handler, config, request, output)?;
                connection.recycle(request, spares);
            }
        }
        flush(socket, output)?;
        if connection.is_finished() {
            if connection.was_answered_early() {
                linger(socket)?;
            }
            return Ok(());
        }
    }
}

/// Takes a request through all its steps, waits included.
fn finish<H: Handler>(
    socket: &Socket,
    handler: &H,
    config: &Config,
    request: Request,
    output: &mut Vec<u8>,
) -> io::Result<Request> {
    let mut exchange = Exchange::start(handler, request);
    loop {
        let room = config.output_bytes.saturating_sub(output.len());
        match exchange.step(handler, output, room) {
            Step::Done(_) => return Ok(exchange.into_request()),
            Step::Flush => flush(socket, output)?,
            Step::Wait(duration) => {
                flush(socket, output)?;
                thread::sleep(duration);
            }
        }
    }
}

/// Writes all output.
fn flush(mut socket: &Socket, output: &mut Vec<u8>) -> io::Result<()> {
    if !output.is_empty() {
        socket.write_all(output)?;
        output.clear();
    }
    Ok(())
}

/// The next bytes; 0 at the connection's end. While draining, an idle connection is not waited for: `WouldBlock` says
/// that all it has been sent is read.
fn read(socket: &Socket, connection: &Connection, input: &mut [u8]) -> io::Result<usize> {
    loop {
        let let_go = drain::requested() && connection.is_idle();
        match recv(socket, &mut *input, if let_go { RecvFlags::DONTWAIT } else { RecvFlags::empty() }) {
            Ok((_, read)) => return Ok(read),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Lets the peer read what was written: closing a connection under input that still comes would reset it.
fn linger(mut socket: &Socket) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(LINGER))?;
    let deadline = Instant::now() + LINGER;
    let mut unwanted = [0; 16 << 10];
    while Instant::now() < deadline {
        match socket.read(&mut unwanted) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How long a peer may go on sending what is not wanted.
const LINGER: Duration = Duration::from_millis(500);
