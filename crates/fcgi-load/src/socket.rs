//! Opening a non-blocking connection to either family.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

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
    /// Not now: the server's backlog is full, or this machine is out of ports. Nothing is wrong; try again.
    Busy,
}

impl Target {
    pub(crate) fn resolve(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self::Unix(SocketAddrUnix::new(path)?)),
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
            Err(Errno::AGAIN | Errno::ADDRNOTAVAIL) => Ok(Opened::Busy),
            Err(errno) => Err(errno),
        }
    }
}
