//! Reading replies, and the verdict on each.

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Connection, Link, State};
use crate::address::Mode;
use crate::check::Fault;
use crate::core::{Core, IN_LIMIT};
use crate::reply::{EndRequest, Part, Violation};
use crate::report::ErrorKind;

/// FCGI_END_REQUEST's protocolStatus (section 5.5).
const REQUEST_COMPLETE: u8 = 0;
const CANT_MPX_CONN: u8 = 1;
const OVERLOADED: u8 = 2;

impl Connection {
    #[inline]
    pub(super) fn receive(&mut self, core: &mut Core, to_the_end: bool) {
        while let Link::Up(socket) = &self.link {
            match rustix::net::recv(socket, &mut core.input[..], RecvFlags::empty()) {
                Ok((0, _)) => return self.end(core, None),
                Ok((count, _)) => {
                    let now = core.now();
                    core.last_byte = now;
                    core.report.bytes_in += count as u64;
                    let input = std::mem::take(&mut core.input);
                    self.read(core, &input[..count], now);
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

    #[inline]
    fn read(&mut self, core: &mut Core, whole: &[u8], now: u64) {
        let mut input = whole;
        // Where in `whole` the reply under way began, and whose it is: what the golden copy is learnt from.
        let mut piece = None;
        loop {
            let at = whole.len() - input.len();
            let at_record = !self.records.is_mid_record();
            if at_record && let Some(length) = self.golden(core, input) {
                let index = usize::from(u16::from_be_bytes([input[2], input[3]])) - 1;
                input = &input[length..];
                self.completed(core, index, now);
                if core.mode == Mode::Close {
                    return self.served();
                }
                continue;
            }
            let part = match self.records.next(&mut input) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(violation) => return self.violated(core, violation),
            };
            let id = match part {
                Part::Stdout { id, .. }
                | Part::StdoutEnd { id }
                | Part::Stderr { id, .. }
                | Part::End { id, .. } => id,
                Part::Management { .. } => {
                    return self.broke_protocol(core, None, "a management record nobody asked for");
                }
            };
            // Section 3.3: an id is active from FCGI_BEGIN_REQUEST to FCGI_END_REQUEST.
            let index = usize::from(id) - 1;
            let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.state == State::InFlight) else {
                return self.broke_protocol(core, None, "a record with a request id that is not in flight");
            };
            if !slot.begun {
                slot.begun = true;
                slot.scan.reset();
                piece = at_record.then_some((index, at));
            } else if piece.is_some_and(|(known, _)| known != index) {
                piece = None;
            }
            match part {
                Part::Stdout { .. } | Part::StdoutEnd { .. } if slot.stdout_ended => {
                    return self.broke_protocol(core, Some(index), "FCGI_STDOUT after its end");
                }
                Part::Stdout { content, .. } => {
                    slot.scan.output(content, &core.exchange(slot.request).check.expect);
                }
                Part::StdoutEnd { .. } => slot.stdout_ended = true,
                Part::Stderr { content, .. } => {
                    core.report.stderr_bytes += content.len() as u64;
                    // Counted, so a reply with error output is not learnt from.
                    piece = None;
                }
                Part::End { end, .. } => {
                    if self.judge(core, index, end) {
                        core.report.parsed += 1;
                        let stop = whole.len() - input.len();
                        let ends = !self.records.is_mid_record();
                        let check = &mut core.exchanges[usize::from(self.slots[index].request)].check;
                        check.learn(piece.filter(|_| ends).map(|(_, start)| &whole[start..stop]));
                        self.completed(core, index, now);
                    }
                    piece = None;
                    if core.mode == Mode::Close {
                        return self.served();
                    }
                }
                Part::Management { .. } => {}
            }
        }
    }

    /// If the input begins with a whole good reply to a request that is in flight, the reply's length.
    #[inline]
    fn golden(&self, core: &Core, input: &[u8]) -> Option<usize> {
        let &[_, _, high, low, ..] = input else { return None };
        let index = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        let slot = self.slots.get(index).filter(|slot| slot.state == State::InFlight && !slot.begun)?;
        core.exchange(slot.request).check.golden(index, input)
    }

    /// FCGI_KEEP_CONN was 0, and the reply is there: the connection has served. A web server too closes it here.
    fn served(&mut self) {
        self.clear();
        self.link = Link::Idle;
    }

    /// The verdict on a whole reply that had to be parsed: whether it is good. What is not, is counted here.
    #[inline]
    fn judge(&mut self, core: &mut Core, index: usize, end: EndRequest) -> bool {
        let slot = &mut self.slots[index];
        let expect = &core.exchange(slot.request).check.expect;
        let (kind, words) = match end.protocol_status {
            CANT_MPX_CONN | OVERLOADED => return self.refused(core, index),
            REQUEST_COMPLETE if !slot.stdout_ended && expect.stdout_end => {
                (ErrorKind::Protocol, "FCGI_END_REQUEST before the end of FCGI_STDOUT".into())
            }
            REQUEST_COMPLETE => match slot.scan.verdict(expect) {
                Ok(()) if end.app_status == expect.app_status => return true,
                Ok(()) => {
                    let words = format!("appStatus {} instead of {}", end.app_status, expect.app_status);
                    (ErrorKind::AppStatus, words)
                }
                Err(Fault::Status(503)) => return self.refused(core, index),
                Err(Fault::Status(other)) => {
                    (ErrorKind::Status, format!("status {other} instead of {}", expect.status))
                }
                Err(Fault::Head) => {
                    (ErrorKind::Content, "the CGI headers do not end, or their Status is no number".into())
                }
                Err(Fault::Body(length)) => {
                    let expected = expect.body.as_ref().map_or(0, Vec::len);
                    (
                        ErrorKind::Content,
                        format!("a body of {length} bytes that is not the {expected} expected ones"),
                    )
                }
            },
            other => (ErrorKind::ProtocolStatus, format!("protocolStatus {other} instead of 0")),
        };
        self.failures = 0;
        self.has_served = true;
        self.fail(core, index, kind, || words);
        false
    }

    #[inline]
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
    fn violated(&mut self, core: &mut Core, violation: Violation) {
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
