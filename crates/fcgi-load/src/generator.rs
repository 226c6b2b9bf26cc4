//! The loop: one thread, one epoll instance, all connections.

mod open_loop;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event};
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::address::{Address, Mode};
use crate::connection::Connection;
use crate::core::{Core, Times};
use crate::exchange::{Exchange, Rotation};
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{ErrorKind, Report};
use crate::run::{Run, TimerSlack, Until, nanoseconds};
use crate::socket::{Target, explain, is_out_of_descriptors};

const MILLISECOND: u64 = 1_000_000;
/// The longest sleep: so soon a stop is noticed.
const MAX_TICK: u64 = 100 * MILLISECOND;
const EVENTS: usize = 256;

/// A load generator. Kept connections stay open from one run to the next.
pub struct Generator {
    core: Core,
    connections: Vec<Connection>,
    rate: Option<f64>,
    progress: Arc<Progress>,
    /// Open loop: connections that can take a request, in turn.
    available: VecDeque<usize>,
    /// Open loop: connections given requests that are not yet written.
    touched: Vec<usize>,
    events: Events,
}

/// What epoll_wait(2) has told.
struct Events(Vec<Event>);

// SAFETY: an event is plain data. It is not `Send` by itself only since its data may be a pointer; here they are always the
// number of a connection.
unsafe impl Send for Events {}

impl Generator {
    /// Encodes the requests and, in the modes that keep connections, opens all of them.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with an [`OptionsError`](crate::OptionsError); what a failed look-up or connection gives; `TimedOut` where not all
    /// connections could be opened in time. In close mode nothing is connected yet, so nothing is said of the server.
    pub fn new(options: Options) -> io::Result<Self> {
        options.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let target = Target::resolve(&options.address)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", options.address)))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(explain)?;
        let streams = options.streams_per_connection() as u16;
        let report = Report::new(options.mode, options.rate, options.requests.len());
        let weights: Vec<u32> = options.requests.iter().map(|share| share.weight).collect();
        let rotation = Rotation::new(&weights);
        let keeps = options.mode != Mode::Close;
        let exchanges = Exchange::all(options.requests, options.protocol, keeps, streams)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connection = |index| Connection::new(index, streams, options.protocol);
        let mut generator = Self {
            core: Core::new(target, nanoseconds(options.timeout), exchanges, rotation, epoll, report),
            connections: (0..options.connections).map(connection).collect(),
            rate: options.rate,
            progress: Arc::default(),
            available: VecDeque::with_capacity(options.connections),
            touched: Vec::with_capacity(options.connections),
            events: Events(Vec::with_capacity(EVENTS)),
        };
        generator.core.retry_closed = options.retry_closed;
        if options.mode != Mode::Close {
            generator.open(&options.address)?;
        }
        Ok(generator)
    }

    /// A handle to watch and stop runs from another thread.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Sends, receives and checks until the end. It goes on over failed connections. A closed loop of so many requests
    /// gives up where no byte has come in for twice the timeout; every other run has an end of its own.
    ///
    /// # Errors
    ///
    /// Only what makes the generator itself unable to go on, such as a lack of file descriptors. What the server does
    /// wrong is in the report.
    pub fn run(&mut self, until: Until) -> io::Result<Report> {
        let _slack = self.rate.map(|_| TimerSlack::least());
        // What happened to kept connections since the last run is no part of this one's time.
        self.wait(0)?;
        while !self.events.0.is_empty() {
            self.attend(None);
            self.wait(0)?;
        }

        let cpu = thread_cpu();
        let mut run = Run::new(until, self.rate, self.core.timeout, self.core.now());
        self.core.last_byte = run.start;
        self.core.rotation.restart();
        let driven = self.drive(&mut run);
        // After a failure too, so that the next run finds clean connections.
        let report = self.finish(&run, cpu);
        driven.map(|()| report)
    }

    /// The loop of a run.
    fn drive(&mut self, run: &mut Run) -> io::Result<()> {
        self.progress.publish(&self.core.report);
        self.kick_off(run)?;
        let mut now = run.start;
        loop {
            if self.progress.is_stopped() {
                self.core.report.stopped = true;
                break;
            }
            if now >= run.stop_sending {
                run.to_send = 0;
                self.fail_retries();
            }
            if run.to_send == 0
                && self.core.in_flight == 0
                && now >= run.least_end
                && self.core.retries.is_empty()
            {
                break;
            }
            if run.may_give_up && self.is_hopeless(now) {
                self.core.report.gave_up = true;
                break;
            }
            let wake = self.next_wake(run, now);
            self.wait(wake.saturating_sub(now))?;
            self.attend(Some(run));
            now = if self.events.0.is_empty() || run.period.is_some() {
                self.core.now()
            } else {
                self.core.time
            };
            self.reopen(Some(run), now)?;
            if now >= run.next_tick {
                self.sweep(run, now);
            }
            self.send_due(run, now);
            self.progress.publish(&self.core.report);
        }
        Ok(())
    }

    /// Opens every connection, and waits for it.
    fn open(&mut self, address: &Address) -> io::Result<()> {
        self.connections.iter_mut().for_each(|connection| connection.connect(&mut self.core));
        loop {
            if let Some(errno) = self.core.connect_error {
                let error = explain(errno);
                return Err(io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")));
            }
            let up = self.connections.iter().filter(|connection| connection.is_up()).count();
            if up == self.connections.len() {
                return Ok(());
            }
            let now = self.core.now();
            if now > self.core.timeout {
                let message = format!(
                    "{address} took only {up} of {} connections within the timeout: open fewer, or raise its backlog",
                    self.connections.len(),
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            self.wait(MILLISECOND)?;
            self.attend(None);
            self.reopen(None, now)?;
        }
    }

    /// Sleeps until something happens, for at most so many nanoseconds.
    fn wait(&mut self, nanoseconds: u64) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as i64,
            tv_nsec: (nanoseconds % 1_000_000_000) as i64,
        };
        self.events.0.clear();
        match epoll::wait(
            &self.core.epoll,
            rustix::buffer::spare_capacity(&mut self.events.0),
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Attends to every connection with an event.
    #[inline]
    fn attend(&mut self, mut run: Option<&mut Run>) {
        for at in 0..self.events.0.len() {
            let event = self.events.0[at];
            let (flags, index) = (event.flags, event.data.u64() as usize);
            self.connections[index].ready(&mut self.core, flags);
            if let Some(run) = run.as_deref_mut() {
                self.feed(run, index);
            }
        }
    }

    /// Gives a connection what it can take, or lists it as able to.
    #[inline]
    fn feed(&mut self, run: &mut Run, index: usize) {
        let connection = &mut self.connections[index];
        if connection.has_unsent() {
            // This may set free the id of a request that was answered before all of it was sent.
            connection.flush(&mut self.core);
        }
        if run.period.is_some() {
            return self.list(index);
        }
        if !self.core.retries.is_empty() {
            return self.resend(run, index);
        }
        while run.to_send > 0 && connection.can_send(self.core.mode) {
            // Read when this connection's replies were, an instant ago.
            let now = self.core.time;
            while run.to_send > 0 && connection.can_send(self.core.mode) {
                let request = self.core.rotation.deal();
                connection.dispatch(&mut self.core, request, Times { due: now, sent: now });
                run.sent(now);
            }
            connection.flush(&mut self.core);
        }
    }

    /// Closed loop: sends requests again, and then feeds on.
    #[cold]
    fn resend(&mut self, run: &mut Run, index: usize) {
        let connection = &mut self.connections[index];
        let sent = self.core.time;
        while connection.can_send(self.core.mode)
            && let Some((request, times)) = self.core.retries.pop_front()
        {
            self.core.report.retried += 1;
            connection.dispatch(&mut self.core, request, Times { sent, ..times });
        }
        if self.core.retries.is_empty() {
            return self.feed(run, index);
        }
        connection.flush(&mut self.core);
    }

    /// The time is over: what was to be sent again is not.
    fn fail_retries(&mut self) {
        while let Some((request, times)) = self.core.retries.pop_front() {
            let words = || "the connection had answered before, and the time was over".into();
            self.core.report.errors.count(ErrorKind::Closed, words);
            self.core.waited(request, times);
        }
    }

    fn kick_off(&mut self, run: &mut Run) -> io::Result<()> {
        let now = run.start;
        self.reopen(Some(run), now)?;
        for index in 0..self.connections.len() {
            self.feed(run, index);
        }
        self.send_due(run, now);
        Ok(())
    }

    /// Opens connections whose time has come.
    #[inline]
    fn reopen(&mut self, mut run: Option<&mut Run>, now: u64) -> io::Result<()> {
        if self.core.waiting.is_empty() {
            return Ok(());
        }
        if let Some(errno) = self.core.connect_error.filter(|&errno| is_out_of_descriptors(errno)) {
            return Err(explain(errno));
        }
        // Those that must wait longer, or again, list themselves anew.
        for index in std::mem::take(&mut self.core.waiting) {
            self.connections[index].retry(&mut self.core, now);
            if let Some(run) = run.as_deref_mut() {
                self.feed(run, index);
            }
        }
        Ok(())
    }

    /// Fails what is overdue.
    fn sweep(&mut self, run: &mut Run, now: u64) {
        run.next_tick = now + self.tick();
        for index in 0..self.connections.len() {
            if self.connections[index].expire(&mut self.core, now) {
                // No event tells of what was read here.
                self.feed(run, index);
            }
        }
    }

    fn tick(&self) -> u64 {
        (self.core.timeout / 8).clamp(MILLISECOND, MAX_TICK)
    }

    fn next_wake(&self, run: &Run, now: u64) -> u64 {
        let mut wake = run.next_tick;
        if run.to_send > 0 {
            wake = wake.min(run.stop_sending);
            if run.period.is_some() && !self.available.is_empty() {
                wake = wake.min(run.next_due());
            }
        } else if run.least_end > now {
            wake = wake.min(run.least_end);
        }
        for &index in &self.core.waiting {
            wake = wake.min(self.connections[index].wakes_at());
        }
        wake
    }

    /// Whether nothing at all has come in for too long.
    #[inline]
    fn is_hopeless(&self, now: u64) -> bool {
        now.saturating_sub(self.core.last_byte) > self.core.timeout.saturating_mul(2)
    }

    fn finish(&mut self, run: &Run, cpu: Duration) -> Report {
        let now = self.core.time;
        self.core.connect_error = None;
        for connection in &mut self.connections {
            connection.settle(&mut self.core);
            connection.is_listed = false;
        }
        while let Some((request, times)) = self.core.retries.pop_front() {
            self.core.report.unfinished += 1;
            self.core.waited(request, times);
        }
        self.available.clear();
        self.core.latencies.flush(self.core.report.latency.good_mut());
        let fresh = Report::new(self.core.mode, self.rate, self.core.exchanges.len());
        let mut report = std::mem::replace(&mut self.core.report, fresh);
        report.elapsed = Duration::from_nanos(now - run.start);
        report.due = run.due_by(now);
        report.unsent = report.due - run.sent;
        if let Some(period) = run.period {
            report.record_unsent(now.saturating_sub(run.next_due()), period, self.core.rotation.upcoming());
        }
        report.sending = match run.period {
            None => report.elapsed,
            Some(period) => Duration::from_nanos((report.due as f64 * period) as u64)
                .max(Duration::from_nanos(run.last_sent - run.start)),
        };
        report.cpu = thread_cpu().saturating_sub(cpu);
        report
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
