//! The application, as a strategy sees it: a request is served in steps that never block.

use std::error;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::mem;
use std::task::Waker;
use std::time::Duration;

use fcgi_proto::{AppStatus, OwnedRequest, ProtocolStatus, Request, Stdout, response};

use crate::parking::Parking;

/// An application. It never blocks and is not async: a step says what it waits for, and how that is waited for
/// is the strategy's.
///
/// It is made in each worker process after the fork ([`crate::run`]), so whatever it holds is that process's own. Its steps run
/// on several threads at a time where the strategy has threads; one request's steps never do.
///
/// ```
/// use fcgi_worker::{AppStatus, Error, Handler, Request, Response, Step};
///
/// struct Hello;
///
/// impl Handler for Hello {
///     type Job = ();
///
///     fn start(&self, _: Request<'_>) {}
///
///     fn step(&self, _: Request<'_>, _: &mut (), response: &mut Response<'_>) -> Result<Step, Error> {
///         response.write(b"Content-Type: text/plain\r\n\r\nHello, world\n");
///         Ok(Step::Done(AppStatus::SUCCESS))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Where one request has got to. It is dropped when the request ends, also where its peer has aborted it or gone.
    type Job: Send;

    /// Takes a request up: the whole of it has come, its body too.
    fn start(&self, request: Request<'_>) -> Self::Job;

    /// Goes on with a request until it is done or has to wait. Writes at most about [`Response::room`] bytes.
    ///
    /// # Errors
    ///
    /// The request has failed, and the worker goes on. Its peer gets a `500 Internal Server Error` if no step before this one
    /// has written anything, or else a response that breaks off; the web server's log gets the error, in a line on STDERR
    /// (spec 6.1); the request ends with [`AppStatus::FAILED`].
    fn step(
        &self,
        request: Request<'_>,
        job: &mut Self::Job,
        response: &mut Response<'_>,
    ) -> Result<Step, Error>;
}

/// Why a request has failed: whatever error `?` finds, or a text.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// What a request needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be resumed after this time. What it wrote so far is sent meanwhile.
    Wait(Duration),
    /// To be resumed once the connection's unsent output is under its limit.
    Flush,
    /// To be resumed once a waker of it was called ([`Response::waker`]), be that before this step returns. Without one it
    /// stays until its peer aborts it or `--request-timeout` does.
    ///
    /// Where it waits is the strategy's: in a loop it costs nothing, where each connection or request has a thread or a process
    /// it blocks that.
    ///
    /// ```
    /// use std::sync::mpsc::{Receiver, TryRecvError, channel};
    /// use std::thread;
    ///
    /// use fcgi_worker::{AppStatus, Error, Handler, Request, Response, Step};
    ///
    /// /// Asks a slow service, here a thread, which calls the waker when it has the answer.
    /// struct Slow;
    ///
    /// impl Handler for Slow {
    ///     type Job = Option<Receiver<String>>;
    ///
    ///     fn start(&self, _: Request<'_>) -> Self::Job {
    ///         None
    ///     }
    ///
    ///     fn step(
    ///         &self,
    ///         request: Request<'_>,
    ///         job: &mut Self::Job,
    ///         response: &mut Response<'_>,
    ///     ) -> Result<Step, Error> {
    ///         let answers = job.get_or_insert_with(|| {
    ///             let (answer, answers) = channel();
    ///             let (waker, asked) = (response.waker(), request.params().value(b"QUERY_STRING").map(<[u8]>::len));
    ///             thread::spawn(move || {
    ///                 // A request that has ended meanwhile does not listen any more.
    ///                 let _ = answer.send(format!("a query of {asked:?} bytes\n"));
    ///                 waker.wake();
    ///             });
    ///             answers
    ///         });
    ///         match answers.try_recv() {
    ///             Ok(answer) => {
    ///                 response.write(b"Content-Type: text/plain\r\n\r\n");
    ///                 response.write(answer.as_bytes());
    ///                 Ok(Step::Done(AppStatus::SUCCESS))
    ///             }
    ///             Err(TryRecvError::Empty) => Ok(Step::Park),
    ///             Err(error) => Err(error.into()),
    ///         }
    ///     }
    /// }
    /// ```
    Park,
    /// Nothing: it has ended.
    Done(AppStatus),
}

/// What a step writes: the CGI response to STDOUT, and lines for the web server's log to STDERR.
#[derive(Debug)]
pub struct Response<'a> {
    stdout: Stdout<'a>,
    progress: &'a mut Progress,
}

impl Response<'_> {
    /// Appends all of `bytes`, whatever the room: for heads and short bodies.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stdout.write(bytes);
    }

    /// Appends as much of `bytes` as there is room for, and returns how much that was. Where it is less than all, return
    /// [`Step::Flush`] and go on in the next step.
    #[inline]
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        self.stdout.write_some(bytes)
    }

    /// Bytes of output still welcome in this step.
    #[inline]
    pub fn room(&self) -> usize {
        self.stdout.room()
    }

    /// Says a line to the web server, which writes it to its log with the request that it is of (FCGI_STDERR). lighttpd and
    /// nginx do so as they are; HAProxy where its `fcgi-app` has `log-stderr`.
    #[cold]
    pub fn log(&mut self, line: impl Display) {
        self.progress.rare().say(&line);
    }

    /// What resumes this request once it is parked ([`Step::Park`]). It may be cloned, kept, and called from any thread, at any
    /// time and more than once; after the request's end it does nothing. A step may be resumed without it: look whether what
    /// was waited for is there.
    pub fn waker(&mut self) -> Waker {
        self.progress.rare().parking.waker()
    }
}

/// So that `write!` works. It takes all that it is given, whatever the room, and never fails.
impl Write for Response<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of a request beside the handler's job.
#[derive(Debug, Default)]
pub struct Progress {
    /// Something was written to STDOUT in an earlier step, so there can be no other status.
    has_stdout: bool,
    rare: Option<Box<Rare>>,
}

/// What is known of a request that has logged or parked.
#[derive(Debug, Default)]
struct Rare {
    has_stderr: bool,
    /// What this step says on STDERR.
    stderr: Vec<u8>,
    parking: Parking,
}

impl Progress {
    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn parking(&self) -> Option<&Parking> {
        self.rare.as_ref().map(|rare| &rare.parking)
    }
}

impl Rare {
    fn say(&mut self, line: &dyn Display) {
        // It does not fail for lack of memory, but aborts; and what else fails is the line's own.
        let _ = writeln!(self.stderr, "{line}");
    }
}

/// Runs one step. Appends whole records to `out`, about `room` bytes of them, and after the last step those that end the
/// request.
#[inline]
pub fn run_step<H: Handler>(
    handler: &H,
    request: Request<'_>,
    job: &mut H::Job,
    progress: &mut Progress,
    out: &mut Vec<u8>,
    room: usize,
) -> Step {
    let before = out.len();
    let stdout = Stdout::new(out, request.id(), room);
    let stepped = handler.step(request, job, &mut Response { stdout, progress });
    match stepped {
        Ok(step) if progress.rare.is_none() => {
            match step {
                Step::Done(status) => {
                    response::end(out, request.id(), status, ProtocolStatus::RequestComplete);
                }
                _ => progress.has_stdout |= out.len() > before,
            }
            step
        }
        stepped => end_step(stepped, request, progress, out, before),
    }
}

/// A step that has failed, or of a request that has logged or parked.
#[cold]
fn end_step(
    stepped: Result<Step, Error>,
    request: Request<'_>,
    progress: &mut Progress,
    out: &mut Vec<u8>,
    before: usize,
) -> Step {
    let id = request.id();
    let Progress { has_stdout, rare } = progress;
    let rare = rare.get_or_insert_default();
    let step = stepped.unwrap_or_else(|error| {
        rare.say(&format_args!("{}", Chain(&*error)));
        if !*has_stdout {
            out.truncate(before);
            let has_body = request.params().value(b"REQUEST_METHOD") != Some(b"HEAD");
            response::status_page(out, id, "500 Internal Server Error", has_body);
        }
        Step::Done(AppStatus::FAILED)
    });
    *has_stdout |= out.len() > before;
    if !rare.stderr.is_empty() {
        rare.has_stderr = true;
        response::stderr(out, id, &mem::take(&mut rare.stderr));
    }
    if let Step::Done(status) = step {
        if rare.has_stderr {
            response::end_stderr(out, id);
        }
        response::end(out, id, status, ProtocolStatus::RequestComplete);
    }
    step
}

/// An error, and what caused it.
struct Chain<'e>(&'e (dyn error::Error + 'static));

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut error = self.0;
        write!(f, "{error}")?;
        while let Some(cause) = error.source() {
            write!(f, ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}

/// A request that is held, and where the handler has got to with it.
#[derive(Debug)]
pub struct Exchange<H: Handler> {
    request: OwnedRequest,
    job: H::Job,
    progress: Progress,
}

impl<H: Handler> Exchange<H> {
    /// Of a request that was taken up.
    #[inline]
    pub fn new(request: OwnedRequest, job: H::Job, progress: Progress) -> Self {
        Self { request, job, progress }
    }

    /// Goes one step on, as [`run_step`] does.
    #[inline]
    pub fn step(&mut self, handler: &H, out: &mut Vec<u8>, room: usize) -> Step {
        run_step(handler, self.request.as_request(), &mut self.job, &mut self.progress, out, room)
    }

    /// Ends the request early (spec 5.4): appends its end to `out`.
    pub fn abort(&self, out: &mut Vec<u8>) {
        let id = self.request.id();
        if self.progress.rare.as_ref().is_some_and(|rare| rare.has_stderr) {
            response::end_stderr(out, id);
        }
        response::end(out, id, AppStatus::ABORTED, ProtocolStatus::RequestComplete);
    }

    /// Whom to tell when the request is woken, for a strategy that waits with the exchange in its hands ([`Step::Park`]).
    /// Look whether it [is](Self::take_woken) after that, not before.
    pub fn set_waker(&self, waker: &Waker) {
        if let Some(parking) = self.progress.parking() {
            parking.set_turn(waker);
        }
    }

    /// Whether it was woken since it was last asked for.
    pub fn take_woken(&self) -> bool {
        self.progress.parking().is_some_and(Parking::take_woken)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.progress.parking().is_some_and(Parking::is_woken)
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
