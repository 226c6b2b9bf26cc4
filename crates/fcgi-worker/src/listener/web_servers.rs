//! FCGI_WEB_SERVER_ADDRS: the web servers that may connect (spec 3.2).

use std::env;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::ListenError;

/// The addresses of the web servers. IPv6 stands beside the IPv4 of the specification.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebServers(Vec<IpAddr>);

impl WebServers {
    /// `None` where the variable is not set: then everybody is admitted. What cannot be read admits nobody: there is no
    /// worker.
    pub(super) fn from_env() -> Result<Option<Self>, ListenError> {
        env::var_os("FCGI_WEB_SERVER_ADDRS").map(|list| Self::parse(&list)).transpose()
    }

    fn parse(list: &OsStr) -> Result<Self, ListenError> {
        let text = list.to_str().ok_or_else(|| ListenError::WebServers(format!("{list:?}")))?;
        let address = |word: &str| {
            word.trim().parse().map_err(|_| ListenError::WebServers(format!("{:?}", word.trim())))
        };
        // An IPv4 address may be written, and come, as the IPv6 address that stands for it.
        let addresses =
            text.split(',').map(|word| address(word).map(|address: IpAddr| address.to_canonical()));
        addresses.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the peer of this connection is one of them. On a unix socket nobody is.
    pub(super) fn admit(&self, connection: &impl AsFd) -> bool {
        let peer = SockRef::from(connection).peer_addr().ok().and_then(|peer| peer.as_socket());
        peer.is_some_and(|peer| self.0.contains(&peer.ip().to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn admits(list: &str, host: &str) -> bool {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let _client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        let (connection, _) = listener.accept().unwrap();
        WebServers::parse(OsStr::new(list)).unwrap().admit(&connection)
    }

    #[test]
    fn addresses_are_compared_in_the_one_form_that_they_have() {
        for list in ["127.0.0.1", "10.0.0.1, 127.0.0.1", "::ffff:127.0.0.1", "::1,::ffff:7f00:1"] {
            assert!(admits(list, "127.0.0.1"), "{list}");
        }
        for list in ["127.0.0.2", "::1", "::127.0.0.1"] {
            assert!(!admits(list, "127.0.0.1"), "{list}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for wrong in
            [&b"web"[..], b"", b"127.0.0.1,", b"127.0.0.1;::1", b"[::1]", b"\xff127.0.0.1", b"127.0.0.1/8"]
        {
            let error = WebServers::parse(OsStr::from_bytes(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("FCGI_WEB_SERVER_ADDRS holds \""), "{error}");
        }
    }
}
