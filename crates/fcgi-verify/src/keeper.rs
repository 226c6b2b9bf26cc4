//! The process between fcgi-verify and the server that it starts. It sees to it that nothing is left of the server.
//!
//! ```text
//!   fcgi-verify ◀── stream ──▶ keeper ──▶ server ──▶ its children
//! ```
//!
//! However fcgi-verify ends, by SIGKILL too, the kernel closes its end of the stream. The keeper then sends SIGTERM to
//! all of its descendants, SIGKILL after [`GRACE`], and removes the socket. It is a child subreaper: a descendant whose
//! parent has ended becomes the keeper's child, not init's, so that neither a shell in between nor a fork into the
//! background hides one. If the keeper itself is killed by SIGKILL, the server is too (PR_SET_PDEATHSIG); the server's
//! children are not.
//!
//! It is the same program, known by its name, and has a process group of its own.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{self, Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use fcgi_verify::{Address, process_tree};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

/// The name that the process is started by. No `pkill fcgi-verify` ends it.
pub(crate) const NAME: &str = "fcgi-keeper";
/// How long the server and its children may take to end after SIGTERM before they are killed.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The kind of socket that a server is started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// A Unix socket in a temporary folder.
    Unix,
    /// A TCP socket on the loopback interface.
    Tcp,
}

/// What the keeper says; a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The server was started, with a socket that listens here.
    Started { address: String, pid: u32 },
    /// It was not, for this reason.
    NotStarted(String),
    /// Its process has ended, with this wait status.
    Ended(i32),
}

impl Family {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Unix => "unix",
            Family::Tcp => "tcp",
        }
    }
}

/// Whether this process is a keeper.
pub(crate) fn is_asked_for() -> bool {
    env::args_os().next().is_some_and(|name| name == NAME)
}

/// Starts the server and lives as long as one of its processes.
pub(crate) fn run() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        // fcgi-verify says that there is no keeper.
        Err(_) => ExitCode::FAILURE,
    }
}

fn keep() -> io::Result<()> {
    let mut stream = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    // What ends fcgi-verify ends the server by way of the stream. Caught, not ignored: the server must not inherit that.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    rustix::thread::set_name(c"fcgi-keeper")?;
    set_child_subreaper(Some(getpid()))?;
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // The folder is removed at the end of this function.
    let (server, address, _folder) = match start(&arguments) {
        Ok(started) => started,
        Err(error) => return tell(&mut stream, &Told::NotStarted(error.to_string())),
    };
    let pid = server.id();
    // An error here is the end of fcgi-verify, which the thread finds out too.
    let _ = tell(&mut stream, &Told::Started { address: address.to_string(), pid });
    let end = stream.try_clone()?;
    thread::spawn(move || end_descendants_after(end));
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Pid::from_child(&server) == ended => {
                let _ = tell(&mut stream, &Told::Ended(status.as_raw()));
            }
            // A child of the server that had lost its parent.
            Ok(_) | Err(Errno::INTR) => {}
            // Nobody is left.
            Err(_) => return Ok(()),
        }
    }
}

fn tell(stream: &mut UnixStream, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_string(told)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

/// Starts the command the way a FastCGI spawner does: with the listening socket as descriptor 0 (section 2.2).
fn start(arguments: &[OsString]) -> io::Result<(Child, Address, Option<TempDir>)> {
    let [family, program, arguments @ ..] = arguments else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no command to start"));
    };
    let (address, listener, folder) = listen(family)?;
    let keeper = getpid();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::from(listener)).stdout(Stdio::null());
    // SAFETY: between fork and exec the closure makes two system calls: it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The keeper may have died before the line above.
            if getppid() == Some(keeper) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
    let server = command
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    // The command holds the listener. The server alone has it from here on: where it ends, connecting fails.
    Ok((server, address, folder))
}

fn listen(family: &OsStr) -> io::Result<(Address, OwnedFd, Option<TempDir>)> {
    if family == Family::Tcp.name() {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = Address::Tcp(listener.local_addr()?.to_string());
        return Ok((address, listener.into(), None));
    }
    let folder = tempfile::Builder::new().prefix("fcgi-verify-").tempdir()?;
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    Ok((Address::Unix(path), listener.into(), Some(folder)))
}

/// Waits for the end of the stream, then ends every descendant. The process exits when the last one has ended.
fn end_descendants_after(mut stream: UnixStream) {
    // fcgi-verify sends nothing: whatever this returns is the end.
    let _ = stream.read_exact(&mut [0]);
    signal_descendants(Signal::TERM);
    thread::sleep(GRACE);
    loop {
        // Again and again: a process may have forked since its children were listed.
        signal_descendants(Signal::KILL);
        thread::sleep(Duration::from_millis(10));
    }
}

fn signal_descendants(signal: Signal) {
    for pid in process_tree(process::id()).into_iter().skip(1) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It fails only for one that has ended.
            let _ = kill_process(pid, signal);
        }
    }
}
