//! Where to listen.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on, read from `unix:PATH`, `unix:@NAME` or `tcp:HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// A name in Linux's abstract namespace (unix(7)), written `unix:@NAME`. A file whose name begins with @ is `unix:./@NAME`.
    Abstract(String),
    /// `HOST:PORT`; an IPv6 address stands in brackets; the kernel chooses in place of port 0.
    Tcp(String),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').filter(|(_, rest)| !rest.is_empty());
        match parts {
            Some(("unix", "@")) => Err("an abstract name is missing: write unix:@NAME"),
            Some(("unix", path)) => Ok(match path.strip_prefix('@') {
                Some(name) => Self::Abstract(name.to_owned()),
                None => Self::Unix(path.into()),
            }),
            Some(("tcp", address)) => match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Self::Tcp(address.to_owned()))
                }
                _ => Err(
                    "a host and a port from 0 to 65535 are needed, as in tcp:127.0.0.1:9000 or tcp:[::1]:9000",
                ),
            },
            _ => Err("an address looks like unix:/run/app.sock, unix:@name or tcp:127.0.0.1:9000"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["unix:/run/app.sock", "unix:./@file", "unix:@name", "tcp:localhost:9000", "tcp:[::1]:0"]
        {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("unix:@name".parse(), Ok(Address::Abstract("name".to_owned())));
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
            "tcp::9000",
            "tcp:host:",
            "tcp:host:65536",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
