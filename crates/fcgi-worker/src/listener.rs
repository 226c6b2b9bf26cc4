//! The listening socket: fd 0 as a FastCGI spawner gives it (spec 2.2), or bound by ourselves.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use thiserror::Error;

use crate::drain;

/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
pub(crate) const BACKLOG: i32 = 1024;

/// A listening socket of either family. Each strategy accepts from it in its own way.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// The only peers to be served (spec 3.2), where the web server named them.
    peers: Option<Vec<Ipv4Addr>>,
    /// Connections still to be accepted while draining: those that waited when the drain began.
    drain_accepts: AtomicUsize,
    bound: Option<BoundPath>,
    is_shared: bool,
}

impl Listener {
    /// The listening socket itself, blocking unless the strategy makes it otherwise. Its O_NONBLOCK is common to
    /// all processes of the pool, as it lives on the open file description.
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a connection's peer may speak with us: FCGI_WEB_SERVER_ADDRS, right after accept (spec 3.2). Close it
    /// if not. Costs a system call only where the web server set the list.
    #[inline]
    pub fn admits(&self, connection: &impl AsFd) -> bool {
        let Some(peers) = &self.peers else { return true };
        match SockRef::from(connection).peer_addr().ok().and_then(|peer| peer.as_socket()) {
            Some(peer) => matches!(peer.ip().to_canonical(), IpAddr::V4(peer) if peers.contains(&peer)),
            None => false,
        }
    }

    /// Whether a supervisor and the other workers of its pool have this socket too. It then outlives this process anyway.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Asked before an accept while draining: whether a connection waits that had come before the drain. Those are
    /// served: their peers have been told that they are connected. Bounded by the backlog, so that it ends under load.
    pub fn has_pending(&self) -> bool {
        let left = self.drain_accepts.load(Ordering::Relaxed);
        if left == 0 {
            return false;
        }
        self.drain_accepts.store(left - 1, Ordering::Relaxed);
        let mut listener = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut listener, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Nobody will come any more: what has come was accepted, and the worker is asked to finish.
    pub(crate) fn finish(&self) {
        self.drain_accepts.store(0, Ordering::Relaxed);
        drain::request();
    }

    /// Takes the socket's path away: no new connections, while those that wait can still be accepted.
    pub(crate) fn unpublish(&mut self) {
        self.bound = None;
    }

    /// The listener of a forked worker: the same socket, without the duty to remove its path.
    pub(crate) fn into_child(mut self) -> Self {
        if let Some(bound) = self.bound.take() {
            std::mem::forget(bound);
        }
        self.is_shared = true;
        self
    }

    fn new(socket: Socket, bound: Option<BoundPath>) -> Result<Self, ListenError> {
        let peers = match env::var("FCGI_WEB_SERVER_ADDRS") {
            Err(_) => None,
            Ok(list) => Some(peers(&list)?),
        };
        Ok(Self { socket, peers, drain_accepts: AtomicUsize::new(BACKLOG as usize), bound, is_shared: false })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            _ => Err("an address looks like unix:/run/app.sock or tcp:127.0.0.1:9000"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why there is no listener, and what to do about it.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    #[error(
        "fd 0 is not a listening socket: start this from a FastCGI spawner, or say --listen unix:/run/app.sock"
    )]
    NotSpawned,
    #[error("fd 0 is a connected socket, as plain CGI has it: FastCGI gives a listening one (see --listen)")]
    Connected,
    #[error("{0} is there and is no socket: remove it, or name another path")]
    NoSocket(String),
    #[error("a server answers on {0} already: stop it, or name another address")]
    Answered(String),
    #[error("cannot listen on {address}: {error}")]
    Bind { address: String, error: io::Error },
    #[error("FCGI_WEB_SERVER_ADDRS holds {0:?}, which is no IPv4 address")]
    Peers(String),
}

/// The socket on fd 0 (spec 2.2).
pub(crate) fn inherited() -> Result<Listener, ListenError> {
    // SAFETY: std has made sure at start that fd 0 is open, if only on /dev/null; nothing else here owns it, and
    // nothing reads stdin.
    let socket = unsafe { Socket::from_raw_fd(0) };
    match socket.peer_addr() {
        Ok(_) => return Err(ListenError::Connected),
        // ENOTCONN is what says FastCGI.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
        Err(_) => return Err(ListenError::NotSpawned),
    }
    if !socket.is_listener().unwrap_or(false) {
        return Err(ListenError::NotSpawned);
    }
    inherit_no_delay(&socket);
    Listener::new(socket, None)
}

/// A socket that nobody can know of.
pub(crate) fn unnamed() -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Without a name the kernel chooses one, in no file system (unix(7), autobind).
    socket.bind(&SockAddr::unix("")?)?;
    socket.listen(BACKLOG)?;
    Listener::new(socket, None).map_err(io::Error::other)
}

/// A socket of our own.
pub(crate) fn bind(address: &Address, mode: u32) -> Result<Listener, ListenError> {
    let failed = |error| ListenError::Bind { address: address.to_string(), error };
    match address {
        Address::Unix(path) => {
            remove_stale_socket(path)?;
            let name = SockAddr::unix(path).map_err(failed)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
            socket.bind(&name).map_err(failed)?;
            let bound = BoundPath(path.clone());
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
            socket.listen(BACKLOG).map_err(failed)?;
            Listener::new(socket, Some(bound))
        }
        Address::Tcp(host_and_port) => {
            let mut addresses = host_and_port.to_socket_addrs().map_err(failed)?;
            let Some(first) = addresses.next() else {
                return Err(failed(io::Error::other("the name has no address")));
            };
            match bind_tcp(first) {
                Ok(socket) => Listener::new(socket, None),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    Err(ListenError::Answered(address.to_string()))
                }
                Err(error) => Err(failed(error)),
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart need not wait for the last connections' TIME_WAIT; a live server's port stays taken.
    socket.set_reuse_address(true)?;
    inherit_no_delay(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Accepted TCP sockets inherit TCP_NODELAY from their listener on Linux: said once, it costs a connection nothing.
fn inherit_no_delay(socket: &Socket) {
    // Fails on a unix socket, which has no delay.
    let _ = socket.set_tcp_nodelay(true);
}

/// Removes a socket file that nobody answers on.
fn remove_stale_socket(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let name = path.display().to_string();
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket(name));
    }
    let connected = SockAddr::unix(path).and_then(|address| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&address)
    });
    match connected {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ListenError::Bind { address: name, error })
        }
        // A full backlog (EAGAIN) is a server too, if a slow one.
        Ok(()) => Err(ListenError::Answered(name)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ListenError::Answered(name)),
        Err(error) => Err(ListenError::Bind { address: name, error }),
    }
}

fn peers(list: &str) -> Result<Vec<Ipv4Addr>, ListenError> {
    list.split(',')
        .map(str::trim)
        .map(|address| address.parse().map_err(|_| ListenError::Peers(address.to_owned())))
        .collect()
}

/// A socket file that is ours to remove.
#[derive(Debug)]
struct BoundPath(PathBuf);

impl Drop for BoundPath {
    fn drop(&mut self) {
        // Where somebody else removed it, there is nothing left to do.
        let _ = fs::remove_file(&self.0);
    }
}
