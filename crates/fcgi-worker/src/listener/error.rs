//! Why there is no listener, and what to do about it: one line each.

use std::io;
use std::path::Path;

use thiserror::Error;

use super::owner::Owner;
use super::unix_path;

/// Why there is no listener, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each says itself what it is")]
pub enum ListenError {
    #[error(
        "fd 0 is not a listening socket: start this from a FastCGI spawner, or say --listen unix:/run/app.sock"
    )]
    NotSpawned,
    #[error("{0} is no listening stream socket: FastCGI needs one (ListenStream= of a systemd socket unit)")]
    NotListening(&'static str),
    #[error("{0} is a connected socket, as plain CGI has it: FastCGI gives a listening one (see --listen)")]
    Connected(&'static str),
    #[error(
        "systemd passes {0} sockets (LISTEN_FDS), and one is served: leave one in the socket unit, or use --listen"
    )]
    NotOnePassed(String),
    #[error(
        "a socket is passed by systemd (LISTEN_FDS), and --listen {0} names another: leave one of them out"
    )]
    Twice(String),
    #[error("--socket-owner needs a socket file of our own: use it with --listen unix:PATH, or leave it out")]
    NoFileToOwn,
    #[error(
        "--backlog needs a socket of our own: use it with --listen, or leave it to who passes the socket"
    )]
    NoBacklogToSet,
    #[error("{0} is there and is no socket: remove it, or name another path")]
    NoSocket(String),
    #[error("{0} is a folder: name a file in it")]
    Folder(String),
    #[error("a server answers on {0} already: stop it, or name another address")]
    Answered(String),
    #[error(
        "{0} is locked by another process for too long: wait until no other server starts or stops there"
    )]
    Locked(String),
    #[error("cannot listen on {address}: {reason}")]
    Bind { address: String, reason: String },
    #[error("cannot give {path} to {owner}: {reason}")]
    Owner { path: String, owner: String, reason: String },
    #[error(
        "FCGI_WEB_SERVER_ADDRS holds {0}, which is no IP address: write a list as in 192.0.2.1,2001:db8::1"
    )]
    WebServers(String),
}

impl ListenError {
    pub(super) fn bind(address: impl Into<String>, error: io::Error) -> Self {
        Self::because(address, error.to_string())
    }

    pub(super) fn because(address: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Bind { address: address.into(), reason: reason.into() }
    }

    pub(super) fn too_long(address: impl Into<String>, bytes: usize) -> Self {
        let most = unix_path::LONGEST;
        Self::because(
            address,
            format!("{bytes} bytes are too long for a unix socket: name it in {most} at most"),
        )
    }

    /// What binding a socket file has come to.
    pub(super) fn file(path: &Path, error: io::Error) -> Self {
        let name = path.display();
        let folder = unix_path::folder(path).display();
        let reason = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => return Self::Answered(name.to_string()),
            Some(libc::ENOENT) => {
                format!("there is no folder {folder}: create it first, or name another path")
            }
            Some(libc::ENOTDIR) => format!("{folder} is no folder: name another path"),
            Some(libc::EACCES | libc::EPERM) => {
                format!("no permission to make a file in {folder}: allow this user to, or name another path")
            }
            Some(libc::EROFS) => format!("{folder} cannot be written to: name another path"),
            _ => error.to_string(),
        };
        Self::because(format!("unix:{name}"), reason)
    }

    /// What binding a port has come to.
    pub(super) fn port(host_and_port: &str, error: io::Error) -> Self {
        let address = format!("tcp:{host_and_port}");
        let reason = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => return Self::Answered(address),
            Some(libc::EACCES | libc::EPERM) => {
                "no permission to take this port: name one from 1024 on, or give the program CAP_NET_BIND_SERVICE"
                    .to_owned()
            }
            Some(libc::EADDRNOTAVAIL) => {
                "this machine does not have that address: name one of its own, or 0.0.0.0 for all".to_owned()
            }
            _ => error.to_string(),
        };
        Self::because(address, reason)
    }

    pub(super) fn owner(path: &Path, owner: &Owner, error: io::Error) -> Self {
        let reason = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "only root may give a file to a user, and others only to a group that they are in".to_owned()
            }
            _ => error.to_string(),
        };
        Self::Owner { path: path.display().to_string(), owner: owner.to_string(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prevents_a_bind_is_said_with_what_to_do() {
        let file = |errno| {
            ListenError::file(Path::new("/run/x/app.sock"), io::Error::from_raw_os_error(errno)).to_string()
        };
        assert!(file(libc::ENOENT).contains("no folder /run/x: create it first"), "{}", file(libc::ENOENT));
        assert!(file(libc::EACCES).contains("no permission to make a file in /run/x"));
        let port = |errno| ListenError::port("a:80", io::Error::from_raw_os_error(errno)).to_string();
        assert!(port(libc::EACCES).contains("name one from 1024 on"));
        assert!(port(libc::EADDRINUSE).contains("answers on tcp:a:80 already"));
        assert!(port(libc::EADDRNOTAVAIL).contains("does not have that address"));
    }
}
