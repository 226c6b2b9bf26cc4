//! Writing requests.

use std::collections::VecDeque;
use std::io::IoSlice;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::{Connection, Link, State, Unsent};
use crate::core::Core;

/// One call writes at most about this much.
const OUT_LIMIT: usize = 256 << 10;
/// One call writes at most so many pieces.
const MAX_PIECES: usize = 64;

impl Connection {
    /// Writes until everything is written or the socket is full.
    #[inline]
    pub(crate) fn flush(&mut self, core: &mut Core) {
        while let Link::Up(socket) = &self.link {
            if self.is_deaf {
                return;
            }
            if self.unsent.is_empty() {
                return self.watch_out(core, false);
            }
            match send(socket, core, &self.unsent, self.written) {
                Ok(count) => self.wrote(core, count),
                Err(Errno::AGAIN) => return self.watch_out(core, true),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) if self.on_wire > 0 => {
                    // A server that drains may take no more and still answer what it took.
                    self.is_deaf = true;
                    self.receive(core, true);
                }
                Err(errno) => {
                    // The replies that came before the end are still there to be read.
                    self.receive(core, true);
                    if self.is_up() {
                        self.end(core, Some(errno));
                    }
                }
            }
        }
    }

    /// Accounts for what the socket took.
    #[inline]
    fn wrote(&mut self, core: &mut Core, mut count: usize) {
        core.report.bytes_out += count as u64;
        while let Some(&Unsent { slot: index, request }) = self.unsent.front()
            && count > 0
        {
            let slot = &mut self.slots[usize::from(index)];
            if slot.state == State::Queued {
                slot.state = State::InFlight;
                self.on_wire += 1;
            }
            let left = core.exchange(request).template.len() - self.written;
            if count < left {
                self.written += count;
                break;
            }
            count -= left;
            self.written = 0;
            self.unsent.pop_front();
            if slot.state == State::Answered {
                slot.state = State::Free;
                self.free.push_back(index);
            }
        }
        core.report.peak_in_flight = core.report.peak_in_flight.max(self.on_wire);
    }
}

/// Writes what it can of these slots' requests by one call. Of the first, `written` bytes are written already.
#[inline]
fn send(
    socket: &OwnedFd,
    core: &mut Core,
    unsent: &VecDeque<Unsent>,
    written: usize,
) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL;
    // The requests in one piece from this place in the queue on, if they are kept ready; and how many they are.
    let ready = |at: usize| {
        let Unsent { slot: first, request } = unsent[at];
        let end = run_end(unsent, at);
        Some((core.exchange(request).template.ready(first, end)?, usize::from(end - first)))
    };
    match ready(0) {
        // As a rule everything is one piece.
        Some((piece, count)) if unsent.len() == count => rustix::net::send(socket, &piece[written..], flags),
        Some((piece, first)) => {
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            pieces[0] = IoSlice::new(&piece[written..]);
            let (mut count, mut at) = (1, first);
            while count < MAX_PIECES && at < unsent.len() {
                let Some((piece, requests)) = ready(at) else { break };
                pieces[count] = IoSlice::new(piece);
                count += 1;
                at += requests;
            }
            rustix::net::sendmsg(socket, &pieces[..count], &mut SendAncillaryBuffer::default(), flags)
        }
        None => {
            core.output.clear();
            let mut from = written;
            for &Unsent { slot, request } in unsent {
                let room = OUT_LIMIT - core.output.len();
                let template = &core.exchanges[usize::from(request)].template;
                if template.copy(from, room, slot + 1, &mut core.output) < template.len() {
                    break;
                }
                from = 0;
            }
            rustix::net::send(socket, &core.output, flags)
        }
    }
}

/// One more than the last of the slots that, from this place in the queue on, follow each other and send the same request.
#[inline]
fn run_end(unsent: &VecDeque<Unsent>, at: usize) -> u16 {
    let Unsent { slot, request } = unsent[at];
    let mut end = slot + 1;
    for next in unsent.iter().skip(at + 1) {
        if next.slot != end || next.request != request {
            break;
        }
        end += 1;
    }
    end
}
