//! Starts a server the way a FastCGI spawner does: with the listening socket as descriptor 0 (section 2.2).

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::address::Address;

/// How long a server may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// The kind of socket that a server is started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A Unix socket in a temporary folder.
    Unix,
    /// A TCP socket on the loopback interface.
    Tcp,
}

/// A server that was started here; it is ended on drop.
#[derive(Debug)]
pub struct Launched {
    address: Address,
    child: Child,
    _folder: Option<TempDir>,
}

impl Launched {
    /// Starts `command` with the listening socket as its descriptor 0.
    ///
    /// # Errors
    /// If the socket cannot be bound or the command cannot be started.
    pub fn start(command: &[OsString], family: Family) -> io::Result<Launched> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no command to start"));
        };
        let (address, listener, folder) = listen(family)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        Ok(Launched { address, child, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(family: Family) -> io::Result<(Address, OwnedFd, Option<TempDir>)> {
    match family {
        Family::Unix => {
            let folder = tempfile::Builder::new().prefix("fcgi-verify-").tempdir()?;
            let path = folder.path().join("socket");
            let listener = UnixListener::bind(&path)?;
            Ok((Address::Unix(path), listener.into(), Some(folder)))
        }
        Family::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = Address::Tcp(listener.local_addr()?.to_string());
            Ok((address, listener.into(), None))
        }
    }
}
