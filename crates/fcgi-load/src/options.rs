//! What to send where, and how.

use std::time::Duration;

use crate::address::{Address, Mode, Protocol};
use crate::request::RequestSpec;
use crate::template;

/// What to send where, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub address: Address,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// How connections are used.
    pub mode: Mode,
    /// How many connections are open at a time.
    pub connections: usize,
    /// How many requests are in flight on each connection, in [`Mode::Multiplex`]. Without meaning in the others.
    pub streams: usize,
    /// What is sent, and what must come back: 1 to 64 requests, dealt in turn, each as often as its weight says and
    /// spread evenly. The order is always the same, and each run begins it anew.
    pub requests: Vec<Share>,
    /// Requests per second over all connections (open loop); `None`: each reply is followed by the next request
    /// (closed loop).
    pub rate: Option<f64>,
    /// How long a connection and a reply may take, each. Counted from the sending, in an open loop too.
    pub timeout: Duration,
    /// Whether a request is sent again, as a front end does, where its kept connection had answered before and ended
    /// before a byte of this reply. A connection that never answered is no reason, so a request is not sent for ever.
    /// Its latency counts from when it was first sent or was due.
    pub retry_closed: bool,
}

/// One request of a mix, and its share in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// So many of as many requests as the weights of the mix add up to. At least 1, and at most 1000 together.
    pub weight: u32,
    /// What is sent, and what must come back.
    pub request: RequestSpec,
}

impl Share {
    /// A mix has at most so many requests: each has a histogram of its own, of a quarter of a megabyte.
    pub const MAX_REQUESTS: usize = 64;
    /// The weights of a mix add up to so much at most, which is its longest cycle.
    pub const MAX_WEIGHTS: u32 = 1000;
}

/// With weight 1.
impl From<RequestSpec> for Share {
    fn from(request: RequestSpec) -> Self {
        Self { weight: 1, request }
    }
}

/// One request for each nanosecond of the clock.
const MAX_RATE: f64 = 1e9;

/// What is wrong with [`Options`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// No connection at all.
    #[error("the number of connections must be at least 1")]
    NoConnection,
    /// Nothing to send, or more than there are places in a report.
    #[error("the number of different requests must be from 1 to {max}, not {0}", max = Share::MAX_REQUESTS)]
    Requests(usize),
    /// A request that is never sent.
    #[error("the weight of each request must be at least 1")]
    NoWeight,
    /// A cycle that is too long to be sent often.
    #[error("the weights of the requests must add up to at most {max}, not {0}", max = Share::MAX_WEIGHTS)]
    Weights(u64),
    /// Request ids have 16 bits, and 0 is taken (section 3.3).
    #[error("the number of streams must be from 1 to 65535, not {0}")]
    Streams(usize),
    /// Zero, negative, not a number, or more than one request for each nanosecond of the clock.
    #[error("the rate must be a positive number of requests per second, at most 1000000000, not {0}")]
    Rate(f64),
    /// Nothing can be answered in no time.
    #[error("the timeout must be longer than 0")]
    NoTimeout,
    /// A connection has one request at a time in HTTP/1.1.
    #[error("HTTP/1.1 does not multiplex: the mode must be keep or close")]
    HttpMultiplex,
    /// A parameter that is missing, that would be no line of an HTTP head, or that is not the sender's to choose there.
    #[error("an HTTP request cannot be made with this parameter {0}, or without it")]
    HttpParameter(String),
}

impl Options {
    /// FastCGI, one request, one kept connection, closed loop, five seconds of patience: change what is to be otherwise.
    pub fn new(address: Address, request: RequestSpec) -> Self {
        let timeout = Duration::from_secs(5);
        Self {
            address,
            protocol: Protocol::FastCgi,
            mode: Mode::Keep,
            connections: 1,
            streams: 1,
            requests: vec![request.into()],
            rate: None,
            timeout,
            retry_closed: false,
        }
    }

    /// How many requests may be in flight on a connection: one where it is not [`Mode::Multiplex`].
    pub fn streams_per_connection(&self) -> usize {
        if self.mode == Mode::Multiplex { self.streams } else { 1 }
    }

    /// Whether a generator can be made of them.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if self.connections == 0 {
            return Err(OptionsError::NoConnection);
        }
        if self.mode == Mode::Multiplex && !(1..=65_535).contains(&self.streams) {
            return Err(OptionsError::Streams(self.streams));
        }
        if !(1..=Share::MAX_REQUESTS).contains(&self.requests.len()) {
            return Err(OptionsError::Requests(self.requests.len()));
        }
        if self.requests.iter().any(|share| share.weight == 0) {
            return Err(OptionsError::NoWeight);
        }
        let weights = self.requests.iter().map(|share| u64::from(share.weight)).sum();
        if weights > Share::MAX_WEIGHTS.into() {
            return Err(OptionsError::Weights(weights));
        }
        match self.rate {
            Some(rate) if !(rate > 0.0 && rate <= MAX_RATE) => return Err(OptionsError::Rate(rate)),
            _ => {}
        }
        if self.timeout.is_zero() {
            return Err(OptionsError::NoTimeout);
        }
        match self.protocol {
            Protocol::FastCgi => Ok(()),
            Protocol::Http if self.mode == Mode::Multiplex => Err(OptionsError::HttpMultiplex),
            Protocol::Http => {
                self.requests.iter().try_for_each(|share| template::http_head(&share.request, true).map(drop))
            }
        }
    }
}
