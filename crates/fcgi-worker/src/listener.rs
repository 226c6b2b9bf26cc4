//! The listening socket: as a spawner gives it, or bound by ourselves.

mod address;
mod error;
mod inherited;
mod owner;
mod tcp;
mod unix_path;
mod web_servers;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::drain;
use crate::reload::Predecessor;

pub use address::Address;
pub use error::ListenError;
pub(crate) use inherited::is_passed;
pub use owner::Owner;
use unix_path::BoundPath;
pub(crate) use unix_path::FileId;
use web_servers::WebServers;

/// Connections that may wait to be accepted, unless `--backlog` says otherwise. The kernel lowers it to
/// net.core.somaxconn.
pub(crate) const BACKLOG: u16 = 1024;

/// The same of a socket that somebody else made listen, who does not say how many: net.core.somaxconn as it is by default.
const INHERITED_BACKLOG: u16 = 4096;

/// How to bind a socket of our own.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
    pub backlog: u16,
    /// Permissions of the socket file, as in 0o660: who may connect.
    pub mode: u32,
    /// Whose the socket file is to be; `None` leaves it to whoever runs this.
    pub owner: Option<Owner>,
}

/// As a command line without a word about it: 1,024 may wait, and the file's user and group may connect.
impl Default for SocketOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, mode: 0o660, owner: None }
    }
}

/// A listening socket of either family. Each strategy accepts from it in its own way.
#[derive(Debug)]
pub struct Listener {
    /// Before the socket, since fields are dropped in this order: while the socket is open, the inode of its file is not
    /// given to another file, so the path can be told from another server's.
    bound: Option<BoundPath>,
    socket: Socket,
    /// The only peers to be served (spec 3.2), where the web server named them.
    web_servers: Option<WebServers>,
    backlog: u16,
    /// Connections still to be accepted while draining: those that waited when the drain began.
    drain_accepts: AtomicUsize,
    is_shared: bool,
    is_ours: bool,
}

impl Listener {
    /// Binds a socket of our own. The file of a unix socket is removed when this is dropped, if it is still the same; a stale
    /// one that nobody answers on is replaced.
    ///
    /// # Errors
    ///
    /// One line each, for whoever started the program: a server answers there already, a folder is missing, no permission, and
    /// the like.
    pub fn bind(address: &Address, options: &SocketOptions) -> Result<Self, ListenError> {
        // First: it needs no cleaning up.
        let web_servers = WebServers::from_env()?;
        let (socket, bound) = match address {
            Address::Unix(path) => {
                let (socket, bound) = unix_path::bind(path, options)?;
                (socket, Some(bound))
            }
            _ if options.owner.is_some() => return Err(ListenError::NoFileToOwn),
            Address::Abstract(name) => (bind_abstract(name, options.backlog)?, None),
            Address::Tcp(host_and_port) => (tcp::bind(host_and_port, options.backlog)?, None),
        };
        Ok(Self { bound, is_ours: true, ..Self::new(socket, options.backlog, web_servers) })
    }

    /// The socket on fd 3 where systemd passed one (sd_listen_fds(3)), otherwise that on fd 0, as FastCGI spawners give it
    /// (spec 2.2). To be called once: it owns the descriptor.
    ///
    /// # Errors
    ///
    /// The descriptor is no listening stream socket, or FCGI_WEB_SERVER_ADDRS (spec 3.2) is no list of addresses.
    pub fn inherited() -> Result<Self, ListenError> {
        inherited::inherited()
    }

    /// The listening socket itself. Whether it blocks is common to all who have it, as O_NONBLOCK lives on the open file
    /// description: the spawner, and after a SIGHUP the workers of the program before. A strategy that must not block says
    /// so when it starts to serve ([`set_nonblocking`](Socket::set_nonblocking)). One that may block takes it as it is, and
    /// [waits](Self::wait) where nobody has come: to make it block might block another for ever.
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a connection's peer may speak with us: FCGI_WEB_SERVER_ADDRS, right after accept (spec 3.2). Close it
    /// if not. Costs a system call only where the web server set the list.
    #[inline]
    pub fn admits(&self, connection: &impl AsFd) -> bool {
        self.web_servers.as_ref().is_none_or(|web_servers| web_servers.admit(connection))
    }

    /// Whether a supervisor and the other workers of its pool have this socket too. It then outlives this process anyway.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Waits for a connection, a signal, or the drain, after an accept that found nobody. It costs a system call only
    /// where somebody else has made the listener nonblocking.
    pub fn wait(&self) {
        if !drain::requested() {
            // Interrupted or not, the next accept says what there is.
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], None);
        }
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

    /// How many connections may wait to be accepted: one more than listen(2) was told, on Linux.
    pub(crate) fn most_waiting(&self) -> usize {
        usize::from(self.backlog) + 1
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

    /// Whether it was bound here, and not by a spawner.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// The socket file that is to be removed.
    pub(crate) fn file(&self) -> Option<FileId> {
        self.bound.as_ref().map(BoundPath::file)
    }

    fn new(socket: Socket, backlog: u16, web_servers: Option<WebServers>) -> Self {
        let drain_accepts = AtomicUsize::new(usize::from(backlog) + 1);
        Self { bound: None, socket, web_servers, backlog, drain_accepts, is_shared: false, is_ours: false }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The listener of the program before this one (SIGHUP), bound to `address`, and the duty to remove the socket file, if that is
/// still this one.
pub(crate) fn adopt(
    predecessor: &Predecessor,
    address: Option<&Address>,
    backlog: u16,
) -> Result<Listener, ListenError> {
    let web_servers = WebServers::from_env()?;
    // SAFETY: the program before this one left it open for us, and nothing else here owns it.
    let socket = unsafe { Socket::from_raw_fd(predecessor.listener) };
    let socket = inherited::checked(socket, "the listener of the program before this one")?;
    if predecessor.listener > 0 {
        inherited::close_on_exec(&socket);
    }
    let bound = match (address, predecessor.file) {
        (Some(Address::Unix(path)), Some(file)) => Some(BoundPath::adopt(path.clone(), file)),
        _ => None,
    };
    let is_ours = address.is_some();
    let backlog = if is_ours { backlog } else { INHERITED_BACKLOG };
    Ok(Listener { bound, is_ours, ..Listener::new(socket, backlog, web_servers) })
}

/// A socket that nobody can know of, for a look at whether serving works here.
pub(crate) fn unnamed() -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Without a name the kernel chooses one, in no file system (unix(7), autobind).
    socket.bind(&SockAddr::unix("")?)?;
    socket.listen(BACKLOG.into())?;
    Ok(Listener::new(socket, BACKLOG, None))
}

/// In no file system: the name goes with the last descriptor, and whoever is on this machine may connect (unix(7)).
fn bind_abstract(name: &str, backlog: u16) -> Result<Socket, ListenError> {
    let address = || format!("unix:@{name}");
    if name.len() > unix_path::LONGEST {
        return Err(ListenError::too_long(address(), name.len()));
    }
    let bound = SockAddr::unix(format!("\0{name}")).and_then(|sock_addr| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&sock_addr)?;
        socket.listen(backlog.into())?;
        Ok(socket)
    });
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Answered(address()),
        _ => ListenError::bind(address(), error),
    })
}

/// Accepted TCP sockets inherit TCP_NODELAY from their listener on Linux: said once, it costs a connection nothing.
fn inherit_no_delay(socket: &Socket) {
    // Fails on a unix socket, which has no delay.
    let _ = socket.set_tcp_nodelay(true);
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_abstract_name_is_no_file_and_is_taken_once() {
        let name = format!("fcgi-worker-test-{}", std::process::id());
        let socket = bind_abstract(&name, 4).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_abstract_namespace(), Some(name.as_bytes()));
        assert!(matches!(bind_abstract(&name, 4), Err(ListenError::Answered(_))));
        drop(socket);
        assert!(bind_abstract(&name, 4).is_ok());
        assert!(bind_abstract(&"x".repeat(108), 4).is_err());
    }

    #[test]
    fn a_drain_takes_all_that_the_backlog_holds() {
        let name = format!("fcgi-worker-backlog-{}", std::process::id());
        let listener = Listener::new(bind_abstract(&name, 2).unwrap(), 2, None);
        let address = listener.socket().local_addr().unwrap();
        let mut clients = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            if client.connect(&address).is_err() {
                break;
            }
            clients.push(client);
        }
        let mut accepted = 0;
        while listener.has_pending() {
            listener.socket().accept().unwrap();
            accepted += 1;
        }
        assert_eq!(accepted, clients.len());
    }

    #[test]
    fn a_listener_can_be_handed_over_by_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("app.sock"));
        let before =
            Listener::bind(&address, &SocketOptions { backlog: 4, mode: 0o600, owner: None }).unwrap();
        // As exec does: the descriptor goes on, and nothing is dropped.
        let listener = before.socket().try_clone().unwrap().into_raw_fd();
        let left = Predecessor { listener, file: before.file(), workers: Vec::new() };
        std::mem::forget(before);

        let after = adopt(&left, Some(&address), 7).unwrap();
        assert_eq!(after.most_waiting(), 8);
        assert!(folder.path().join("app.sock").exists());
        drop(after);
        assert!(!folder.path().join("app.sock").exists());
        let listener = UnixStream::pair().unwrap().0.into_raw_fd();
        assert!(adopt(&Predecessor { listener, ..left }, Some(&address), 7).is_err());
    }
}
