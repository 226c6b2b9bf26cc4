//! A listening socket on a port.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use socket2::{Domain, Socket, Type};

use super::{ListenError, inherit_no_delay};
use crate::log;

/// Listens on the first address of `HOST:PORT` that this machine has, and says which where that was not asked for literally.
pub(super) fn bind(host_and_port: &str, backlog: u16) -> Result<Socket, ListenError> {
    let address = || format!("tcp:{host_and_port}");
    let addresses = host_and_port
        .to_socket_addrs()
        .map_err(|error| ListenError::because(address(), format!("the name is not known here: {error}")))?;
    let socket = first(addresses, backlog).map_err(|error| ListenError::port(host_and_port, error))?;
    let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
    if let Some(bound) = bound.map(|bound| bound.to_string()).filter(|bound| bound != host_and_port) {
        log::say(format_args!("listening on tcp:{bound}"));
    }
    Ok(socket)
}

/// An address of a name is skipped where this machine does not have it, or lacks its family. Not where it is taken: the
/// server that has it may have been asked for by the same name.
fn first(addresses: impl Iterator<Item = SocketAddr>, backlog: u16) -> io::Result<Socket> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match listen(address, backlog) {
            Err(error) if is_not_here(&error) => last = error,
            done => return done,
        }
    }
    Err(last)
}

fn is_not_here(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EADDRNOTAVAIL))
}

fn listen(address: SocketAddr, backlog: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart need not wait for the last connections' TIME_WAIT; a live server's port stays taken.
    socket.set_reuse_address(true)?;
    inherit_no_delay(&socket);
    socket.bind(&address.into())?;
    socket.listen(backlog.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> impl Iterator<Item = SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn an_address_that_this_machine_lacks_is_skipped() {
        // RFC 5737, RFC 3849: for documentation, so nobody's.
        let socket = first(addresses(&["[2001:db8::1]:0", "192.0.2.1:0", "127.0.0.1:0"]), 4).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket_ipv4().unwrap().ip().octets(), [127, 0, 0, 1]);
        assert!(is_not_here(&first(addresses(&["192.0.2.1:0"]), 4).unwrap_err()));
        assert!(first(addresses(&[]), 4).is_err());
    }

    #[test]
    fn an_address_that_is_taken_is_not_passed_over() {
        let taken = listen("127.0.0.1:0".parse().unwrap(), 4).unwrap();
        let name = taken.local_addr().unwrap().as_socket().unwrap().to_string();
        assert_eq!(
            first(addresses(&[&name, "127.0.0.1:0"]), 4).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
