//! What the sessions of one thread lend each other, so that an idle one holds none of it.

use std::mem;
use std::sync::Arc;

use fcgi_proto::Spares;

use crate::{Config, Handler, Wakeups};

/// Bytes of the spare buffer, and of all the others together.
const SPARE_BUFFER_BYTES: usize = 1 << 20;

/// The handler, and memory that has been used and will be used again: at most 4 MiB of requests
/// ([`fcgi_proto::Spares`]) and 2 MiB of buffers, however many connections there are.
///
/// A thread has one, or several threads share one under a lock. It is borrowed for the time of a call, never across
/// a wait, so it serves models in which connections move between threads.
pub struct Shared<H: Handler> {
    pub(crate) handler: Arc<H>,
    config: Config,
    runs_steps: bool,
    is_draining: bool,
    pub(crate) spares: Spares,
    /// What [`crate::blocking`] reads into.
    pub(crate) input: Vec<u8>,
    /// What ends its wait for a request that is parked: made for the first one.
    wakeups: Option<Wakeups>,
    /// The buffer that was given back last, if it is not lent: a loop that serves one connection after the other needs
    /// no other.
    buffer: Vec<u8>,
    more_buffers: Vec<Vec<u8>>,
    /// The capacity of those, in bytes.
    more_bytes: usize,
}

impl<H: Handler> Shared<H> {
    /// For sessions that run the handler's steps themselves.
    pub fn new(handler: Arc<H>, config: &Config) -> Self {
        Self {
            handler,
            config: *config,
            runs_steps: true,
            is_draining: false,
            spares: Spares::new(),
            input: Vec::new(),
            wakeups: None,
            buffer: Vec::new(),
            more_buffers: Vec::new(),
            more_bytes: 0,
        }
    }

    /// For sessions whose exchanges the strategy takes out ([`crate::Session::take_exchange`]), to run them elsewhere.
    #[must_use]
    pub fn with_steps_elsewhere(self) -> Self {
        Self { runs_steps: false, ..self }
    }

    /// The worker is asked to finish: sessions that begin from now on are drained from their begin. Those that have begun
    /// are to be told each ([`crate::Session::drain`]).
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// The application.
    #[inline]
    pub fn handler(&self) -> &Arc<H> {
        &self.handler
    }

    /// What the worker was started with.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes back a buffer.
    #[inline]
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if self.buffer.capacity() == 0 && buffer.capacity() <= SPARE_BUFFER_BYTES {
            self.buffer = buffer;
        } else {
            self.give_back_more(buffer);
        }
    }

    #[cold]
    fn give_back_more(&mut self, buffer: Vec<u8>) {
        let bytes = self.more_bytes + buffer.capacity();
        if bytes <= SPARE_BUFFER_BYTES && buffer.capacity() > 0 {
            self.more_bytes = bytes;
            self.more_buffers.push(buffer);
        }
    }

    /// An empty buffer; it goes back by [`Self::give_back`].
    #[inline]
    pub fn buffer(&mut self) -> Vec<u8> {
        if self.buffer.capacity() > 0 { mem::take(&mut self.buffer) } else { self.one_more_buffer() }
    }

    #[cold]
    fn one_more_buffer(&mut self) -> Vec<u8> {
        let buffer = self.more_buffers.pop().unwrap_or_default();
        self.more_bytes -= buffer.capacity();
        buffer
    }

    /// `None` where no descriptor is left.
    pub(crate) fn wakeups(&mut self) -> Option<&Wakeups> {
        if self.wakeups.is_none() {
            self.wakeups = Wakeups::new().ok();
        }
        self.wakeups.as_ref()
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    #[inline]
    pub(crate) fn runs_steps(&self) -> bool {
        self.runs_steps
    }
}
