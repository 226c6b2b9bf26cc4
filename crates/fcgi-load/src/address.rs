//! Where a server listens, what it speaks, and which way its connections are used.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a server: `unix:PATH`, `unix:@NAME` or `tcp:HOST:PORT`.
///
/// ```
/// use fcgi_load::Address;
///
/// let address: Address = "tcp:[::1]:9000".parse().unwrap();
/// assert_eq!(address, Address::Tcp("[::1]:9000".into()));
/// assert_eq!(address.to_string(), "tcp:[::1]:9000");
/// assert!("localhost:9000".parse::<Address>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A unix stream socket in the file system.
    Unix(PathBuf),
    /// A unix stream socket with a name in Linux's abstract namespace (unix(7)), which is no file; its name without the `@`.
    /// A file whose name begins with `@` is `unix:./@NAME`.
    Abstract(String),
    /// `HOST:PORT`; an IPv6 host stands in brackets. The name is looked up once, when the generator is made.
    Tcp(String),
}

/// What is wrong with the text of an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with neither `unix:` nor `tcp:`.
    #[error("\"{0}\" is no address: write unix:PATH, unix:@NAME or tcp:HOST:PORT")]
    NoScheme(String),
    /// Nothing follows `unix:`.
    #[error("the socket's path is missing: write unix:PATH, such as unix:/run/app.sock")]
    NoPath,
    /// Nothing follows `unix:@`.
    #[error("the abstract name is missing: write unix:@NAME, such as unix:@app")]
    NoName,
    /// What follows `tcp:` is not a host, a colon and a port.
    #[error(
        "\"tcp:{0}\" lacks a host or a port from 1 to 65535: write tcp:HOST:PORT, such as tcp:127.0.0.1:9000"
    )]
    NoPort(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.strip_prefix('@') {
                Some("") => Err(AddressError::NoName),
                Some(name) => Ok(Self::Abstract(name.to_owned())),
                None if path.is_empty() => Err(AddressError::NoPath),
                None => Ok(Self::Unix(path.into())),
            };
        }
        let Some(rest) = text.strip_prefix("tcp:") else {
            return Err(AddressError::NoScheme(text.into()));
        };
        match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(Self::Tcp(rest.into()))
            }
            _ => Err(AddressError::NoPort(rest.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
            Self::Tcp(host_port) => write!(f, "tcp:{host_port}"),
        }
    }
}

/// What is spoken with the server.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// FastCGI 1.0, as a web server speaks it with an application.
    #[default]
    FastCgi,
    /// HTTP/1.1, as a client speaks it with a web server. There are no streams on a connection, so [`Mode::Multiplex`] is
    /// refused; nor are requests pipelined.
    ///
    /// The request is made of the same [`RequestSpec`](crate::RequestSpec): method and target are `REQUEST_METHOD` and
    /// `REQUEST_URI`, and what would be `FCGI_STDIN` is the content, of the type `CONTENT_TYPE` and of the length that it
    /// has. `HTTP_HOST`, or `localhost` without it, is the `Host`; every other parameter `HTTP_*` is a header field, but for
    /// `HTTP_USER_AGENT`: the client is fcgi-load, and says so. The other parameters are the web server's to make.
    Http,
}

/// The text is neither `fastcgi` nor `http`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no protocol: write fastcgi or http")]
pub struct ProtocolError(String);

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        match text {
            "fastcgi" => Ok(Self::FastCgi),
            "http" => Ok(Self::Http),
            _ => Err(ProtocolError(text.into())),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FastCgi => "fastcgi",
            Self::Http => "http",
        })
    }
}

/// How connections are used: the three ways the specification leaves a web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `FCGI_KEEP_CONN` is 0, or in HTTP `Connection: close`: a new connection for every request.
    Close,
    /// `FCGI_KEEP_CONN` is 1: connections are kept, with one request at a time on each. HTTP/1.1 keeps them of itself.
    Keep,
    /// `FCGI_KEEP_CONN` is 1: connections are kept, with several requests at a time on each. Not with HTTP.
    Multiplex,
}

/// The text is none of `close`, `keep` and `multiplex`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no mode: write close, keep or multiplex")]
pub struct ModeError(String);

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "close" => Ok(Self::Close),
            "keep" => Ok(Self::Keep),
            "multiplex" => Ok(Self::Multiplex),
            _ => Err(ModeError(text.into())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Close => "close",
            Self::Keep => "keep",
            Self::Multiplex => "multiplex",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in
            ["unix:/run/app.sock", "unix:relative.sock", "unix:@name", "tcp:localhost:9000", "tcp:[::1]:1"]
        {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("unix:@name".parse(), Ok(Address::Abstract("name".to_owned())));
    }

    #[test]
    fn a_bad_address_is_refused_with_a_line_that_says_what_to_write() {
        for (text, hint) in [
            ("/run/app.sock", "unix:PATH"),
            ("unix:", "unix:/run/app.sock"),
            ("unix:@", "unix:@NAME"),
            ("tcp:9000", "tcp:HOST:PORT"),
            ("tcp::9000", "tcp:HOST:PORT"),
            ("tcp:host:0", "65535"),
            ("tcp:host:65536", "65535"),
            ("", "tcp:HOST:PORT"),
        ] {
            let message = text.parse::<Address>().expect_err(text).to_string();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    #[test]
    fn modes_and_protocols_read_back_as_they_are_written() {
        for mode in [Mode::Close, Mode::Keep, Mode::Multiplex] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("Keep".parse::<Mode>().is_err());
        for protocol in [Protocol::FastCgi, Protocol::Http] {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert!("HTTP".parse::<Protocol>().is_err());
    }
}
