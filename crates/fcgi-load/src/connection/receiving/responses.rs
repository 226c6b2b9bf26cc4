//! Reading replies in HTTP: one at a time.

use super::{Connection, State};
use crate::address::Mode;
use crate::codec::Codec;
use crate::core::Core;
use crate::response::Part;

impl Connection {
    #[inline]
    pub(super) fn read_responses(&mut self, core: &mut Core, whole: &[u8], now: u64) {
        let mut input = whole;
        // Where in `whole` the reply under way began: what the golden copy is learnt from.
        let mut start = None;
        loop {
            let at = whole.len() - input.len();
            let Codec::Http(responses) = &mut self.codec else { return };
            let slot = &mut self.slots[0];
            if slot.state != State::InFlight {
                if !input.is_empty() {
                    self.broke_protocol(core, None, "a response nobody asked for");
                }
                return;
            }
            let exchange = core.exchange(slot.request);
            if !responses.is_mid_response() {
                if let Some(length) = exchange.check.golden(0, input) {
                    input = &input[length..];
                    self.completed(core, 0, now);
                    if core.mode == Mode::Close {
                        return self.close(core);
                    }
                    continue;
                }
                start = Some(at);
            }
            match responses.next(&mut input, exchange.is_head) {
                Ok(Some(Part::Head { status })) => slot.scan.reset_with(status),
                Ok(Some(Part::Body(content))) => slot.scan.output(content, &exchange.check.expect),
                Ok(Some(Part::End { closes })) => {
                    let closes = closes || core.mode == Mode::Close;
                    if self.judge_output(core, 0) {
                        // A golden copy says nothing of what becomes of the connection: all of them keep it, or none.
                        let is_usual = closes == (core.mode == Mode::Close);
                        let stop = whole.len() - input.len();
                        let reply = start.filter(|_| is_usual).map(|start| &whole[start..stop]);
                        self.parsed(core, 0, reply, now);
                    }
                    if closes {
                        return self.close(core);
                    }
                }
                Ok(None) => return,
                Err(violation) => return self.violated(core, &violation),
            }
        }
    }
}
