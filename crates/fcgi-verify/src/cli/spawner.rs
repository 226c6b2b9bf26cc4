//! The server that `--exec` names: started, started again, and ended by whoever is first to want that.

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fcgi_verify::Address;

use super::args::Args;
use crate::keeper::Family;
use crate::server::Server;

/// How long a command is left alone after it was started: one that cannot serve usually ends within that.
const FIRST_MOMENT: Duration = Duration::from_millis(200);
/// How long a server's end may take to be known once its connections have ended.
pub(crate) const END_LIMIT: Duration = Duration::from_millis(200);

/// Starts the command, one server at a time.
#[derive(Debug)]
pub(crate) struct Spawner {
    command: Vec<OsString>,
    family: Family,
    state: Mutex<State>,
}

/// A server that was started.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) pid: u32,
}

/// What came of a question to a server that was just started.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(crate) answer: T,
    /// The server that runs now.
    pub(crate) place: Place,
    /// How the one that was asked has ended, if it has.
    pub(crate) end: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<Server>,
    over: bool,
}

impl Spawner {
    /// `None` if the server is not ours to start.
    pub(crate) fn of(args: &Args) -> Option<Self> {
        let (command, family) = match (&args.exec, &args.exec_tcp) {
            (Some(command), _) => (command, Family::Unix),
            (None, Some(command)) => (command, Family::Tcp),
            (None, None) => return None,
        };
        Some(Spawner { command: command.clone(), family, state: Mutex::default() })
    }

    /// Ends the server that runs, if one does, and starts another.
    pub(crate) fn start(&self) -> Result<Place> {
        let mut state = self.state();
        drop(state.server.take());
        if state.over {
            bail!("the run is over");
        }
        let server = state.server.insert(Server::start(&self.command, self.family)?);
        Ok(Place { address: server.address().clone(), pid: server.pid() })
    }

    /// The same, and then something is asked of it. If it ends over that, another is started.
    ///
    /// # Errors
    /// If the command cannot be started, or ends whether it is asked or not.
    pub(crate) fn start_and_ask<T>(&self, ask: impl FnOnce(&Place) -> T) -> Result<Asked<T>> {
        let began = Instant::now();
        let place = self.start()?;
        self.stays(FIRST_MOMENT)?;
        let answer = ask(&place);
        let end = self.ended(END_LIMIT);
        if end.is_none() {
            return Ok(Asked { answer, place, end });
        }
        // One that has not ended over the question ends again without it, a little later at most.
        let lasted = began.elapsed();
        let place = self.start()?;
        self.stays(lasted + Duration::from_secs(1))?;
        Ok(Asked { answer, place, end })
    }

    /// How the server's process has ended, if it has or does within `patience`.
    pub(crate) fn ended(&self, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        loop {
            // The lock is held for a moment only: a run that is interrupted takes the server away.
            if let Some(end) = self.state().server.as_mut().and_then(|server| server.ended(Duration::ZERO)) {
                return Some(end);
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server for good.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        drop(state.server.take());
    }

    /// An error if the server ends within `time`, though nobody asks anything of it.
    fn stays(&self, time: Duration) -> Result<()> {
        let Some(end) = self.ended(time) else { return Ok(()) };
        let hint =
            if end == "status 0" { "; what is started here has to stay in the foreground" } else { "" };
        bail!("it exited by itself with {end}{hint}")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
