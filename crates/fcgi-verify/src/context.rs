//! What a running case works with: connections, requests and the checks that many cases share.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::case::{Stop, Verdict};
use crate::peer::Peer;
use crate::request::Request;
use crate::response::Response;
use crate::rng::Rng;
use crate::target::Target;
use crate::transcript::Transcript;

/// How long a server is watched where nothing should come: long enough to catch a wrong record, short enough to wait for.
pub(crate) const QUIET: Duration = Duration::from_millis(150);

/// A running case's view of the target. Opaque outside of this crate.
pub struct Context<'t> {
    target: &'t Target,
    log: Rc<RefCell<Transcript>>,
    until: Instant,
    limit: Duration,
}

impl<'t> Context<'t> {
    pub(crate) fn new(target: &'t Target, patience: u32) -> Self {
        let limit = target.timeout * patience;
        Context {
            target,
            log: Rc::new(RefCell::new(Transcript::new())),
            until: Instant::now() + limit,
            limit,
        }
    }

    pub(crate) fn target(&self) -> &'t Target {
        self.target
    }

    pub(crate) fn transcript(&self) -> String {
        self.log.borrow().render()
    }

    /// Whether the server has sent anything.
    pub(crate) fn heard(&self) -> bool {
        self.log.borrow().heard()
    }

    /// When the case has to be over.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// A new connection.
    pub(crate) fn open(&mut self) -> Result<Peer, Stop> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.open_within(left).map_err(|error| Stop::Failed(format!("cannot connect: {error}")))
    }

    pub(crate) fn open_within(&mut self, time: Duration) -> std::io::Result<Peer> {
        let socket = self.target.address.connect(time)?;
        Ok(Peer::new(socket, Rc::clone(&self.log), self.until, self.limit))
    }

    /// The request that any responder answers: `/hello`, and what the user said the server needs.
    pub(crate) fn plain(&self) -> Request {
        self.get("/hello")
    }

    /// A request of our workload.
    pub(crate) fn get(&self, target: &str) -> Request {
        let params = &self.target.params;
        params.iter().fold(Request::get(target), |request, (name, value)| request.param(name, value))
    }

    /// The answer to a request on a connection of its own.
    pub(crate) fn serve(&mut self, request: &Request) -> Result<Response, Stop> {
        let mut peer = self.open()?;
        peer.send(&request.bytes())?;
        peer.response(request.id)
    }

    /// A plain request is served on a connection of its own.
    pub(crate) fn serve_plain(&mut self) -> Result<(), Stop> {
        let request = self.plain();
        self.serve(&request)?.expect_complete()?;
        Ok(())
    }

    /// A plain request is served on this connection, which is kept.
    pub(crate) fn serve_on(&mut self, peer: &mut Peer, id: u16) -> Result<(), Stop> {
        peer.send(&self.plain().id(id).keep().bytes())?;
        peer.response(id)?.expect_complete()?;
        Ok(())
    }

    /// Numbers that depend on the run's seed and the case alone.
    pub(crate) fn rng(&self, case: u64) -> Rng {
        Rng::new(self.target.seed.wrapping_mul(0x0100_0000_01b3) ^ case)
    }

    /// A wait that no case sits out: what is aborted has to end well before it.
    pub(crate) fn long_wait(&self) -> String {
        format!("/wait?ms={}", (self.limit * 2).max(Duration::from_secs(10)).as_millis())
    }
}

/// The verdict of a case that got to its end.
pub(crate) fn passed() -> Result<Verdict, Stop> {
    Ok(Verdict::Passed)
}

/// The verdict of a case that reports what the server does.
pub(crate) fn reported(what: impl Into<String>) -> Result<Verdict, Stop> {
    Ok(Verdict::Reported(what.into()))
}

/// The end of a case that has found a fault.
pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}
