//! Opening a non-blocking connection to either family.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::{Resource, getrlimit};

use crate::address::Address;

/// An [`Address`] the kernel understands.
#[derive(Debug)]
pub(crate) enum Target {
    Unix(SocketAddrUnix),
    Tcp(SocketAddr),
}

/// What became of an attempt to connect.
#[derive(Debug)]
pub(crate) enum Opened {
    Connected(OwnedFd),
    /// Writable once connected.
    InProgress(OwnedFd),
    /// Not now. Nothing is wrong; try again.
    Busy(Busy),
}

/// What there is too little of for the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Busy {
    /// Room in the server's backlog.
    Backlog,
    /// Local ports of this machine.
    Ports,
}

impl Target {
    pub(crate) fn resolve(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self::Unix(SocketAddrUnix::new(path)?)),
            Address::Abstract(name) => Ok(Self::Unix(SocketAddrUnix::new_abstract_name(name.as_bytes())?)),
            Address::Tcp(host_port) => match host_port.to_socket_addrs()?.next() {
                Some(address) => Ok(Self::Tcp(address)),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
            },
        }
    }

    pub(crate) fn open(&self) -> Result<Opened, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let stream = |family| rustix::net::socket_with(family, SocketType::STREAM, flags, None);
        let (socket, connected) = match self {
            Self::Unix(address) => {
                let socket = stream(AddressFamily::UNIX)?;
                let connected = rustix::net::connect(&socket, address);
                (socket, connected)
            }
            Self::Tcp(address) => {
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
                sockopt::set_tcp_nodelay(&socket, true)?;
                let connected = rustix::net::connect(&socket, address);
                (socket, connected)
            }
        };
        match connected {
            Ok(()) => Ok(Opened::Connected(socket)),
            Err(Errno::INPROGRESS | Errno::INTR) => Ok(Opened::InProgress(socket)),
            // unix(7) answers a full backlog with EAGAIN; connect(2) a lack of local ports with EADDRNOTAVAIL.
            Err(Errno::AGAIN) => Ok(Opened::Busy(Busy::Backlog)),
            Err(Errno::ADDRNOTAVAIL) => Ok(Opened::Busy(Busy::Ports)),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether this is a lack of this machine's, which says nothing of the server.
pub(crate) fn is_out_of_descriptors(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

/// The error, in words that say what to do where descriptors are lacking.
pub(crate) fn explain(errno: Errno) -> io::Error {
    let words = match errno {
        Errno::MFILE => {
            let most =
                getrlimit(Resource::Nofile).current.map_or("any number".into(), |most| most.to_string());
            format!(
                "out of file descriptors: this process may open {most} (ulimit -n); raise that, or open fewer connections"
            )
        }
        Errno::NFILE => "out of file descriptors: the whole machine has no more (sysctl fs.file-max)".into(),
        _ => return errno.into(),
    };
    io::Error::new(io::Error::from(errno).kind(), words)
}
