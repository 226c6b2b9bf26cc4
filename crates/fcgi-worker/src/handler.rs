//! The application, as a strategy sees it: a request is served in steps that never block.

use std::time::Duration;

use fcgi_proto::{AppStatus, OwnedRequest, ProtocolStatus, Request, Stdout, response};

/// An application. It never blocks and is not async: a step says what it waits for, and how that is waited for
/// is the strategy's.
pub trait Handler: Send + Sync + 'static {
    /// Where one request has got to.
    type Job: Send;

    /// Takes a request up.
    fn start(&self, request: Request<'_>) -> Self::Job;

    /// Goes on with a request until it is done or has to wait. Writes at most about [`Stdout::room`] bytes.
    fn step(&self, request: Request<'_>, job: &mut Self::Job, stdout: &mut Stdout<'_>) -> Step;
}

/// Runs one step. Appends whole records to `out`, about `room` bytes of them, and after the last step those that end the
/// request.
#[inline]
pub fn run_step<H: Handler>(
    handler: &H,
    request: Request<'_>,
    job: &mut H::Job,
    out: &mut Vec<u8>,
    room: usize,
) -> Step {
    let step = handler.step(request, job, &mut Stdout::new(out, request.id(), room));
    if let Step::Done(status) = step {
        response::end(out, request.id(), status, ProtocolStatus::RequestComplete);
    }
    step
}

/// What a request needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be resumed after this time. What it wrote so far is sent meanwhile.
    Wait(Duration),
    /// To be resumed once the connection's unsent output is under its limit.
    Flush,
    /// Nothing: it has ended.
    Done(AppStatus),
}

/// A request that is held, and where the handler has got to with it.
#[derive(Debug)]
pub struct Exchange<H: Handler> {
    request: OwnedRequest,
    job: H::Job,
}

impl<H: Handler> Exchange<H> {
    /// Of a request that was taken up.
    #[inline]
    pub fn new(request: OwnedRequest, job: H::Job) -> Self {
        Self { request, job }
    }

    /// Goes one step on, as [`run_step`] does.
    #[inline]
    pub fn step(&mut self, handler: &H, out: &mut Vec<u8>, room: usize) -> Step {
        run_step(handler, self.request.as_request(), &mut self.job, out, room)
    }

    /// Ends the request early (spec 5.4): appends its end to `out`.
    pub fn abort(&self, out: &mut Vec<u8>) {
        response::end(out, self.request.id(), AppStatus::ABORTED, ProtocolStatus::RequestComplete);
    }

    /// The request, still in the handler's hands.
    #[inline]
    pub fn request(&self) -> Request<'_> {
        self.request.as_request()
    }

    /// The request, to be recycled.
    #[inline]
    pub fn into_request(self) -> OwnedRequest {
        self.request
    }
}
