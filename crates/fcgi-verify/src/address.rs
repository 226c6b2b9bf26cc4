//! Where the server listens, and how to connect to it without ever hanging.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// The address of a FastCGI server: `unix:PATH`, `unix:@NAME` or `tcp:HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix stream socket at this path.
    Unix(PathBuf),
    /// A Unix stream socket with this name, without the `@`, in Linux's abstract namespace (unix(7)), which is no file. A
    /// file whose name begins with `@` is `unix:./@NAME`.
    Abstract(String),
    /// A TCP socket at `HOST:PORT`.
    Tcp(String),
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It starts with neither `unix:` nor `tcp:`.
    #[error("`{0}` is no address: write unix:PATH, unix:@NAME or tcp:HOST:PORT")]
    Family(String),
    /// `unix:` is followed by nothing.
    #[error("`unix:` needs a path, for example unix:/run/app.sock")]
    Path,
    /// `unix:@` is followed by nothing.
    #[error("`unix:@` needs a name, for example unix:@app")]
    Name,
    /// `tcp:` is followed by something else than `HOST:PORT`.
    #[error("`{0}` needs a host and a port, for example tcp:127.0.0.1:9000")]
    Port(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix('@') {
                Some("") => Err(AddressError::Name),
                Some(name) => Ok(Address::Abstract(name.to_owned())),
                None if path.is_empty() => Err(AddressError::Path),
                None => Ok(Address::Unix(path.into())),
            };
        }
        let Some(endpoint) = text.strip_prefix("tcp:") else {
            return Err(AddressError::Family(text.to_owned()));
        };
        match endpoint.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Address::Tcp(endpoint.to_owned()))
            }
            _ => Err(AddressError::Port(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{name}"),
            Address::Tcp(endpoint) => write!(f, "tcp:{endpoint}"),
        }
    }
}

impl Address {
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Address::Tcp(_))
    }

    /// Connects within `timeout` and leaves the socket non-blocking.
    pub(crate) fn connect(&self, timeout: Duration) -> io::Result<Socket> {
        let socket = match self {
            Address::Unix(path) => connect_unix(&SockAddr::unix(path)?, timeout)?,
            // The kernel's form of such a name begins with a NUL.
            Address::Abstract(name) => connect_unix(&SockAddr::unix(format!("\0{name}"))?, timeout)?,
            Address::Tcp(endpoint) => connect_tcp(endpoint, timeout)?,
        };
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// A connect to a Unix socket whose backlog is full blocks; the send timeout bounds it.
fn connect_unix(address: &SockAddr, timeout: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    socket.connect(address)?;
    Ok(socket)
}

fn connect_tcp(endpoint: &str, timeout: Duration) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{endpoint} has no address"));
    for address in endpoint.to_socket_addrs()? {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        match socket.connect_timeout(&address.into(), timeout.max(Duration::from_millis(1))) {
            Ok(()) => {
                // The cases decide where writes are split; Nagle's algorithm would join them again.
                socket.set_tcp_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    #[test]
    fn an_address_is_read_and_shown_alike() {
        for text in
            ["unix:/run/app.sock", "unix:@name", "tcp:127.0.0.1:9000", "tcp:[::1]:9000", "tcp:localhost:80"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "/run/app.sock",
            "unix:",
            "unix:@",
            "tcp:",
            "tcp:9000",
            "tcp:host:",
            "tcp::80",
            "tcp:host:99999",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_abstract_name_is_connected_to() {
        let name = format!("fcgi-verify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let address: Address = format!("unix:@{name}").parse().unwrap();
        address.connect(Duration::from_secs(1)).unwrap();
        drop(listener);
        assert!(address.connect(Duration::from_secs(1)).is_err());
    }
}
