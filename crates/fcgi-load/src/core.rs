//! What all connections of a generator share.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::address::Mode;
use crate::exchange::{Exchange, Rotation};
use crate::report::Report;
use crate::socket::Target;

/// One read takes this much; small enough to stay in a core's second-level cache.
pub(crate) const IN_LIMIT: usize = 128 << 10;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) target: Target,
    pub(crate) mode: Mode,
    pub(crate) timeout: u64,
    /// Each request by its number, and which is next.
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) rotation: Rotation,
    pub(crate) epoll: OwnedFd,
    pub(crate) clock: Instant,
    pub(crate) report: Report,
    pub(crate) latencies: Latencies,
    /// The clock as it was last read. A reading serves until the next read from a socket: a batch of replies, and the
    /// requests that follow them.
    pub(crate) time: u64,
    /// Requests in flight on all connections.
    pub(crate) in_flight: u64,
    /// When a byte last came in.
    pub(crate) last_byte: u64,
    /// Connections that wait for their time to be opened (again).
    pub(crate) waiting: Vec<usize>,
    /// Why the last attempt to connect failed.
    pub(crate) connect_error: Option<Errno>,
    pub(crate) retry_closed: bool,
    /// Requests to be sent again. No further request is sent before them, so they are never more than can be in flight.
    pub(crate) retries: VecDeque<(u16, Times)>,
    /// What one read brought, and what one write is to take; shared, since neither outlives the call.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
}

impl Core {
    pub(crate) fn new(
        target: Target,
        timeout: u64,
        exchanges: Vec<Exchange>,
        rotation: Rotation,
        epoll: OwnedFd,
        report: Report,
    ) -> Self {
        Self {
            target,
            mode: report.mode,
            timeout,
            exchanges,
            rotation,
            epoll,
            clock: Instant::now(),
            report,
            latencies: Latencies::default(),
            time: 0,
            in_flight: 0,
            last_byte: 0,
            waiting: Vec::new(),
            connect_error: None,
            retry_closed: false,
            retries: VecDeque::new(),
            input: vec![0; IN_LIMIT],
            output: Vec::new(),
        }
    }

    /// What is sent, and expected, under this number.
    #[inline]
    pub(crate) fn exchange(&self, request: u16) -> &Exchange {
        &self.exchanges[usize::from(request)]
    }

    /// Accounts, at the time last read, for the waiting of a request that has had no good reply.
    pub(crate) fn waited(&mut self, request: u16, times: Times) {
        let waited = self.time.saturating_sub(times.due);
        self.report.latency.record_without(waited);
        if let Some(request) = self.report.by_request.get_mut(usize::from(request)) {
            request.latency.record_without(waited);
        }
        if let Some(service) = &mut self.report.service {
            service.record_without(self.time.saturating_sub(times.sent));
        }
    }

    /// Reads the generator's own clock, in nanoseconds.
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        self.time = self.clock.elapsed().as_nanos() as u64;
        self.time
    }
}

/// When a request was due, and when it was sent. The same in a closed loop.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) due: u64,
    pub(crate) sent: u64,
}

/// Equal latencies in a row, not yet recorded: the replies of one read to the requests of one write are recorded at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    value: u64,
    count: u64,
}

impl Latencies {
    #[inline]
    pub(crate) fn record(&mut self, value: u64, histogram: &mut Histogram<u64>) {
        if self.value != value {
            self.flush(histogram);
            self.value = value;
        }
        self.count += 1;
    }

    #[inline]
    pub(crate) fn flush(&mut self, histogram: &mut Histogram<u64>) {
        if self.count > 0 {
            histogram.saturating_record_n(self.value, self.count);
            self.count = 0;
        }
    }
}
