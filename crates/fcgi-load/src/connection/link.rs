//! Opening a connection, watching it, and opening it again.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::{Connection, Link};
use crate::address::Mode;
use crate::core::Core;
use crate::report::ErrorKind;
use crate::socket::{Busy, Opened, Target, is_out_of_descriptors};

const MILLISECOND: u64 = 1_000_000;
/// The longest pause before a connection that failed is opened again.
const MAX_PAUSE: u64 = 100 * MILLISECOND;
/// A backlog empties within microseconds: the first and the longest pause before asking again.
const FIRST_BUSY_PAUSE: u64 = MILLISECOND / 10;
const MAX_BUSY_PAUSE: u64 = 10 * MILLISECOND;

impl Connection {
    /// Taken off the list of those that wait: opens the connection, or makes it available, if its time has come.
    pub(crate) fn retry(&mut self, core: &mut Core, now: u64) {
        self.is_waiting = false;
        match self.link {
            Link::Waiting(until) if now < until => self.wait(core, until),
            Link::Waiting(_) if core.mode == Mode::Close && self.unsent.is_empty() => self.link = Link::Idle,
            Link::Waiting(_) => self.connect(core),
            _ => {}
        }
    }

    /// When its time to be opened comes.
    pub(crate) fn wakes_at(&self) -> u64 {
        match self.link {
            Link::Waiting(until) => until,
            _ => u64::MAX,
        }
    }

    pub(crate) fn connect(&mut self, core: &mut Core) {
        let now = core.now();
        match core.target.open() {
            Ok(Opened::Connected(socket)) => {
                if self.watch(core, &socket) {
                    self.link = Link::Up(socket);
                    self.opened(core);
                }
            }
            Ok(Opened::InProgress(socket)) => {
                if self.watch(core, &socket) {
                    self.link = Link::Connecting(socket, now);
                }
            }
            Ok(Opened::Busy(lack)) => {
                match lack {
                    Busy::Backlog => core.report.backlog_full += 1,
                    Busy::Ports => core.report.no_local_port += 1,
                }
                let pause = (FIRST_BUSY_PAUSE << self.busy.min(16)).min(MAX_BUSY_PAUSE);
                self.busy += 1;
                self.wait(core, now + pause);
            }
            Err(errno) => self.connect_failed(core, errno),
        }
    }

    pub(super) fn connected(&mut self, core: &mut Core) {
        let Link::Connecting(socket, _) = &self.link else { return };
        match rustix::net::sockopt::socket_error(socket) {
            Ok(Ok(())) => {
                let Link::Connecting(socket, _) = std::mem::replace(&mut self.link, Link::Idle) else {
                    return;
                };
                self.link = Link::Up(socket);
                self.opened(core);
            }
            Ok(Err(errno)) | Err(errno) => self.connect_failed(core, errno),
        }
    }

    fn opened(&mut self, core: &mut Core) {
        core.report.connections_opened += 1;
        self.busy = 0;
        self.has_served = false;
    }

    pub(super) fn connect_failed(&mut self, core: &mut Core, errno: Errno) {
        let now = core.now();
        core.connect_error = Some(errno);
        if is_out_of_descriptors(errno) {
            // Not the server's failure: the generator ends.
            return self.pause(core, now);
        }
        core.report.connects_failed += 1;
        core.report.errors.note(|| format!("cannot connect: {errno}"));
        for index in 0..self.slots.len() {
            self.fail(core, index, ErrorKind::Connect, || format!("cannot connect: {errno}"));
        }
        self.clear();
        self.failures += 1;
        self.pause(core, now);
    }

    /// Registers a new socket. Edge-triggered, and on a unix socket without a watch for room to write: there, every
    /// read by the peer would wake us to say that there is room, as there nearly always was.
    fn watch(&mut self, core: &mut Core, socket: &OwnedFd) -> bool {
        self.watches_out = matches!(core.target, Target::Tcp(_));
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, self.watches_out);
        let added = epoll::add(&core.epoll, socket, EventData::new_u64(self.index as u64), flags);
        if let Err(errno) = added {
            self.connect_failed(core, errno);
        }
        added.is_ok()
    }

    #[inline]
    pub(super) fn watch_out(&mut self, core: &mut Core, on: bool) {
        if self.watches_out == on || matches!(core.target, Target::Tcp(_)) {
            return;
        }
        let Link::Up(socket) = &self.link else { return };
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, on);
        match epoll::modify(&core.epoll, socket, EventData::new_u64(self.index as u64), flags) {
            Ok(()) => self.watches_out = on,
            Err(errno) => self.end(core, Some(errno)),
        }
    }

    /// Waits before the next attempt: not at all after the first failure (a server that closes after so many requests
    /// is back at once), then twice as long each time.
    pub(super) fn pause(&mut self, core: &mut Core, now: u64) {
        let pause = match self.failures {
            0 | 1 => 0,
            failures => (MILLISECOND << (failures - 2).min(16)).min(MAX_PAUSE),
        };
        self.wait(core, now + pause);
    }

    fn wait(&mut self, core: &mut Core, until: u64) {
        self.link = Link::Waiting(until);
        if !self.is_waiting {
            self.is_waiting = true;
            core.waiting.push(self.index);
        }
    }
}
