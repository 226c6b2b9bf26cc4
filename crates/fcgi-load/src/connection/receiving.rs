//! Reading replies, and the verdict on each.

mod records;
mod responses;

use std::fmt::Display;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Connection, Link, State};
use crate::address::Mode;
use crate::check::Fault;
use crate::codec::Codec;
use crate::core::{Core, IN_LIMIT};
use crate::report::ErrorKind;
use crate::request::Expect;

impl Connection {
    #[inline]
    pub(super) fn receive(&mut self, core: &mut Core, to_the_end: bool) {
        while let Link::Up(socket) = &self.link {
            match rustix::net::recv(socket, &mut core.input[..], RecvFlags::empty()) {
                Ok((0, _)) => return self.ended(core),
                Ok((count, _)) => {
                    let now = core.now();
                    core.last_byte = now;
                    core.report.bytes_in += count as u64;
                    let input = std::mem::take(&mut core.input);
                    match self.codec {
                        Codec::FastCgi(_) => self.read_records(core, &input[..count], now),
                        Codec::Http(_) => self.read_responses(core, &input[..count], now),
                    }
                    core.input = input;
                    // epoll(7): a read that was not filled has emptied the socket. Only if the end has been seen
                    // already will no further event tell of it.
                    if count < IN_LIMIT && !to_the_end {
                        return;
                    }
                }
                Err(Errno::AGAIN) => {
                    core.now();
                    return;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return self.end(core, Some(errno)),
            }
        }
    }

    /// The server has closed the connection, which may be the end of a reply.
    #[cold]
    fn ended(&mut self, core: &mut Core) {
        if !self.codec.ends_by_close() {
            return self.end(core, None);
        }
        let now = core.now();
        if self.judge_output(core, 0) {
            self.parsed(core, 0, None, now);
        }
        self.close(core);
    }

    /// The reply is there, and no other comes on its connection.
    fn close(&mut self, core: &mut Core) {
        match core.mode {
            Mode::Close => self.served(),
            // It is opened again, at once.
            Mode::Keep | Mode::Multiplex => {
                self.clear();
                self.pause(core, core.time);
            }
        }
    }

    /// The request asked for no other on its connection, and the reply is there: the connection has served. A web server
    /// too closes it here.
    fn served(&mut self) {
        self.clear();
        self.link = Link::Idle;
    }

    /// What this slot's reply must be.
    #[inline]
    fn expect<'a>(&self, core: &'a Core, index: usize) -> &'a Expect {
        &core.exchange(self.slots[index].request).check.expect
    }

    /// The verdict on status and body of a whole reply that had to be parsed: whether they are good. What is not, is
    /// counted here.
    #[inline]
    fn judge_output(&mut self, core: &mut Core, index: usize) -> bool {
        let expect = self.expect(core, index);
        let fault = match self.slots[index].scan.verdict(expect) {
            Ok(()) => return true,
            Err(Fault::Status(503)) => return self.refused(core, index),
            Err(fault) => fault,
        };
        let (kind, words) = match fault {
            Fault::Status(other) => {
                (ErrorKind::Status, format!("status {other} instead of {}", expect.status))
            }
            Fault::Head => {
                (ErrorKind::Content, "the CGI headers do not end, or their Status is no number".into())
            }
            Fault::Body(length) => {
                let expected = expect.body.as_ref().map_or(0, Vec::len);
                let words = format!("a body of {length} bytes that is not the {expected} expected ones");
                (ErrorKind::Content, words)
            }
        };
        self.wrong(core, index, kind, || words);
        false
    }

    /// A whole reply is not the right one.
    #[cold]
    fn wrong(&mut self, core: &mut Core, index: usize, kind: ErrorKind, words: impl FnOnce() -> String) {
        self.failures = 0;
        self.has_served = true;
        self.fail(core, index, kind, words);
    }

    /// A reply was parsed, and is good. `reply` is all of it, where later ones can be held against it.
    #[inline(never)]
    fn parsed(&mut self, core: &mut Core, index: usize, reply: Option<&[u8]>, now: u64) {
        core.report.parsed += 1;
        let request = usize::from(self.slots[index].request);
        let completed =
            core.report.by_request.get(request).map_or(core.report.completed, |request| request.completed);
        core.exchanges[request].check.learn(reply, completed);
        self.completed(core, index, now);
    }

    /// A reply is good. Once for each request, so a call counts.
    #[inline(always)]
    fn completed(&mut self, core: &mut Core, index: usize, now: u64) {
        self.failures = 0;
        self.has_served = true;
        let slot = &self.slots[index];
        core.report.completed += 1;
        let latency = now.saturating_sub(slot.times.due);
        core.latencies.record(latency, core.report.latency.good_mut());
        if let Some(request) = core.report.by_request.get_mut(usize::from(slot.request)) {
            request.completed += 1;
            request.latency.good_mut().saturating_record(latency);
        }
        if let Some(service) = &mut core.report.service {
            service.good_mut().saturating_record(now.saturating_sub(slot.times.sent));
        }
        self.release(core, index);
    }

    fn refused(&mut self, core: &mut Core, index: usize) -> bool {
        self.failures = 0;
        self.has_served = true;
        core.report.refused += 1;
        let slot = &self.slots[index];
        core.waited(slot.request, slot.times);
        self.release(core, index);
        false
    }

    #[cold]
    fn violated(&mut self, core: &mut Core, violation: &impl Display) {
        self.broke_protocol(core, None, &violation.to_string());
    }

    /// Nothing that follows on this connection can be trusted: it is closed, and what is in flight on it is lost.
    #[cold]
    fn broke_protocol(&mut self, core: &mut Core, index: Option<usize>, words: &str) {
        match index {
            Some(index) => self.fail(core, index, ErrorKind::Protocol, || words.into()),
            // With one request in flight it is that one's reply that is broken.
            None => match self.slots.iter().position(|slot| slot.state == State::InFlight) {
                Some(only) if self.in_flight == 1 => {
                    self.fail(core, only, ErrorKind::Protocol, || words.into())
                }
                _ => {
                    core.report.stray += 1;
                    core.report.errors.note(|| words.into());
                }
            },
        }
        self.abandon(core, "its connection was closed, since the server had broken the protocol");
        self.failures += 1;
        let now = core.now();
        self.pause(core, now);
    }
}
