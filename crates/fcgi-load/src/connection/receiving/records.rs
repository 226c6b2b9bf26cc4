//! Reading replies of FastCGI records.

use super::{Connection, State};
use crate::address::Mode;
use crate::codec::Codec;
use crate::core::Core;
use crate::reply::{EndRequest, Part};
use crate::report::ErrorKind;

/// FCGI_END_REQUEST's protocolStatus (section 5.5).
const REQUEST_COMPLETE: u8 = 0;
const CANT_MPX_CONN: u8 = 1;
const OVERLOADED: u8 = 2;

impl Connection {
    #[inline]
    pub(super) fn read_records(&mut self, core: &mut Core, whole: &[u8], now: u64) {
        let mut input = whole;
        // Where in `whole` the reply under way began, and whose it is: what the golden copy is learnt from.
        let mut piece = None;
        loop {
            let at = whole.len() - input.len();
            let Codec::FastCgi(records) = &mut self.codec else { return };
            let at_record = !records.is_mid_record();
            if at_record && let Some(length) = self.golden(core, input) {
                let index = usize::from(u16::from_be_bytes([input[2], input[3]])) - 1;
                input = &input[length..];
                self.completed(core, index, now);
                if core.mode == Mode::Close {
                    return self.served();
                }
                continue;
            }
            let Codec::FastCgi(records) = &mut self.codec else { return };
            let part = match records.next(&mut input) {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(violation) => return self.violated(core, &violation),
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
                        let stop = whole.len() - input.len();
                        let ends = !self.codec.is_mid_message();
                        let reply = piece.filter(|_| ends).map(|(_, start)| &whole[start..stop]);
                        self.parsed(core, index, reply, now);
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

    /// The verdict on a whole reply that had to be parsed: whether it is good. What is not, is counted here.
    #[inline]
    fn judge(&mut self, core: &mut Core, index: usize, end: EndRequest) -> bool {
        let slot = &self.slots[index];
        let expect = self.expect(core, index);
        match end.protocol_status {
            CANT_MPX_CONN | OVERLOADED => self.refused(core, index),
            REQUEST_COMPLETE if !slot.stdout_ended && expect.stdout_end => {
                let words = || "FCGI_END_REQUEST before the end of FCGI_STDOUT".into();
                self.wrong(core, index, ErrorKind::Protocol, words);
                false
            }
            REQUEST_COMPLETE if !self.judge_output(core, index) => false,
            REQUEST_COMPLETE => {
                let (found, expected) = (end.app_status, self.expect(core, index).app_status);
                let is_right = found == expected;
                if !is_right {
                    let words = || format!("appStatus {found} instead of {expected}");
                    self.wrong(core, index, ErrorKind::AppStatus, words);
                }
                is_right
            }
            other => {
                let words = || format!("protocolStatus {other} instead of 0");
                self.wrong(core, index, ErrorKind::ProtocolStatus, words);
                false
            }
        }
    }
}
