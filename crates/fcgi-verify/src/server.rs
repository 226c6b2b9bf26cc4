//! A server that is started here, by way of its [`keeper`].

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fcgi_verify::Address;

use crate::keeper::{self, Family, Told};

/// How long the keeper may take beyond the grace that it gives the server.
const LIMIT: Duration = Duration::from_secs(5);

/// A running server; it is ended on drop, with all processes that it has started.
#[derive(Debug)]
pub(crate) struct Server {
    address: Address,
    pid: u32,
    keeper: Keeper,
    end: Option<String>,
}

/// The keeper's process and the stream to it. The keeper ends the server when the stream ends, which is on drop.
#[derive(Debug)]
struct Keeper {
    process: Child,
    stream: BufReader<UnixStream>,
    line: String,
}

impl Server {
    /// Starts `command` with a listening socket as its descriptor 0.
    ///
    /// # Errors
    /// If the socket cannot be bound or the command cannot be started.
    pub(crate) fn start(command: &[OsString], family: Family) -> Result<Server> {
        let mut keeper = Keeper::start(command, family).context("its keeper cannot be started")?;
        match keeper.hear(None)? {
            Some(Told::Started { address, pid }) => {
                Ok(Server { address: address.parse()?, pid, keeper, end: None })
            }
            Some(Told::NotStarted(why)) => bail!(why),
            Some(Told::Ended(_)) | None => bail!("its keeper has ended"),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How its process has ended, if it has or does within `patience`: `status 1`, `signal 9 (SIGKILL)`.
    pub(crate) fn ended(&mut self, patience: Duration) -> Option<String> {
        if self.end.is_none() {
            // No wait at all would be an error to the socket.
            self.end = match self.keeper.hear(Some(patience.max(Duration::from_millis(1)))) {
                Ok(Some(Told::Ended(status))) => Some(words(ExitStatus::from_raw(status))),
                Ok(_) => Some("its keeper, which was killed".to_owned()),
                Err(_) => None,
            };
        }
        self.end.clone()
    }
}

impl Keeper {
    fn start(command: &[OsString], family: Family) -> io::Result<Keeper> {
        let (ours, theirs) = UnixStream::pair()?;
        // A process group of its own: Ctrl-C in a terminal is for fcgi-verify, which then ends the server.
        let process = Command::new("/proc/self/exe")
            .arg0(keeper::NAME)
            .arg(family.name())
            .args(command)
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(theirs))
            .process_group(0)
            .spawn()?;
        Ok(Keeper { process, stream: BufReader::new(ours), line: String::new() })
    }

    /// What it says next; `None` if it has gone. An error if it says nothing within `patience`.
    fn hear(&mut self, patience: Option<Duration>) -> io::Result<Option<Told>> {
        self.stream.get_ref().set_read_timeout(patience)?;
        if self.stream.read_line(&mut self.line)? == 0 {
            return Ok(None);
        }
        let told = serde_json::from_str(&self.line)?;
        self.line.clear();
        Ok(Some(told))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It fails only if the keeper has gone.
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
        let until = Instant::now() + keeper::GRACE + LIMIT;
        while Instant::now() < until {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `status 1`, `signal 9 (SIGKILL)`.
fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("status {code}"),
        None => status.to_string().replacen("signal: ", "signal ", 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(words(ExitStatus::from_raw(1 << 8)), "status 1");
        assert_eq!(words(ExitStatus::from_raw(9)), "signal 9 (SIGKILL)");
    }
}
