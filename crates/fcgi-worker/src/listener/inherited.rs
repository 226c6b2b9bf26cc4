//! Sockets that whoever started this process has made listen: on fd 0, as FastCGI spawners give them (spec 2.2), or on fd 3,
//! as systemd does (sd_listen_fds(3)).

use std::env;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::process;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use socket2::{Socket, Type};

use super::web_servers::WebServers;
use super::{INHERITED_BACKLOG, ListenError, Listener, inherit_no_delay};

/// SD_LISTEN_FDS_START.
const FIRST_PASSED: RawFd = 3;

/// Whether sockets were passed to this very process. The variables say for which one they are meant, since its children
/// inherit them.
pub(crate) fn is_passed() -> bool {
    let for_us = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
    for_us && env::var_os("LISTEN_FDS").is_some()
}

/// The socket on fd 3 where systemd passed one, otherwise that on fd 0.
pub(crate) fn inherited() -> Result<Listener, ListenError> {
    // First: what it refuses concerns either.
    let web_servers = WebServers::from_env()?;
    let socket = if is_passed() { passed()? } else { spawned()? };
    Ok(Listener::new(socket, INHERITED_BACKLOG, web_servers))
}

fn spawned() -> Result<Socket, ListenError> {
    // SAFETY: std has made sure at start that fd 0 is open, if only on /dev/null; nothing else here owns it, and
    // nothing reads stdin.
    let socket = unsafe { Socket::from_raw_fd(0) };
    checked(socket, "fd 0").map_err(|error| match error {
        ListenError::NotListening(_) => ListenError::NotSpawned,
        error => error,
    })
}

fn passed() -> Result<Socket, ListenError> {
    let count = env::var_os("LISTEN_FDS").unwrap_or_default();
    if count != "1" {
        return Err(ListenError::NotOnePassed(count.display().to_string()));
    }
    // SAFETY: the descriptor is only asked about; where it is not open, the kernel says so.
    let descriptor = unsafe { BorrowedFd::borrow_raw(FIRST_PASSED) };
    if fcntl_getfd(descriptor).is_err() {
        return Err(ListenError::NotListening("fd 3"));
    }
    // SAFETY: it is open, as seen above, and by LISTEN_PID and LISTEN_FDS ours to own: nothing else here opened it.
    let socket = unsafe { Socket::from_raw_fd(FIRST_PASSED) };
    close_on_exec(&socket);
    checked(socket, "fd 3")
}

/// No program that the application starts inherits it. (Fd 0 is left open there: a program without one would take the next
/// file that it opens for its input.)
pub(super) fn close_on_exec(socket: &Socket) {
    // It cannot fail where the descriptor is open, and FD_CLOEXEC is all the flags there are.
    let _ = fcntl_setfd(socket, FdFlags::CLOEXEC);
}

/// A socket that connections can be accepted from.
pub(super) fn checked(socket: Socket, name: &'static str) -> Result<Socket, ListenError> {
    match socket.peer_addr() {
        Ok(_) => return Err(ListenError::Connected(name)),
        // ENOTCONN is what says FastCGI.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
        Err(_) => return Err(ListenError::NotListening(name)),
    }
    if !socket.is_listener().unwrap_or(false) || socket.r#type().ok() != Some(Type::STREAM) {
        return Err(ListenError::NotListening(name));
    }
    inherit_no_delay(&socket);
    Ok(socket)
}
