//! Free TCP ports that stay free until the server they are meant for takes them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A loopback port that nobody else is given while this lives.
///
/// The socket is bound and never listens. With SO_REUSEADDR on both, the server that the port is meant for can still
/// bind and listen; but the kernel hands the port to nobody who asks for just any.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _socket: Socket,
}

impl ReservedPort {
    /// Any free one.
    pub fn any() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        // After bind: with it before, the kernel might choose a port that another reservation holds.
        socket.set_reuse_address(true)?;
        let address = socket.local_addr()?.as_socket();
        let number = address.ok_or_else(|| io::Error::other("a TCP socket without an address"))?.port();
        Ok(Self { number, _socket: socket })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_can_listen_on_a_reserved_port() {
        let port = ReservedPort::any().unwrap();
        // std sets SO_REUSEADDR, as servers do.
        TcpListener::bind(port.host_and_port()).unwrap();
    }

    #[test]
    fn no_port_is_reserved_twice() {
        let ports: Vec<_> = (0..200).map(|_| ReservedPort::any().unwrap()).collect();
        let mut numbers: Vec<_> = ports.iter().map(ReservedPort::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
    }
}
