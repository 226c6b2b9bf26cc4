//! Sending what is due, at a rate.

use super::Generator;
use crate::core::Times;
use crate::run::Run;

/// A request sent this much after it was due counts as late.
const LATE: u64 = 1_000_000;

impl Generator {
    /// Sends whatever is due, in turn over the connections, as long as one is free.
    #[inline]
    pub(super) fn send_due(&mut self, run: &mut Run, now: u64) {
        if run.period.is_none() {
            return;
        }
        if !self.core.retries.is_empty() {
            self.resend_due(now);
        }
        while run.to_send > 0 && run.next_due() <= now {
            let Some(index) = self.take_available() else { break };
            let due = run.next_due();
            self.core.report.late += u64::from(now - due > LATE);
            run.sent(now);
            let request = self.core.rotation.deal();
            self.give(index, request, Times { due, sent: now });
        }
        while let Some(index) = self.touched.pop() {
            self.connections[index].flush(&mut self.core);
            self.list(index);
        }
    }

    /// What is to be sent again goes first.
    #[cold]
    fn resend_due(&mut self, now: u64) {
        while !self.core.retries.is_empty()
            && let Some(index) = self.take_available()
            && let Some((request, times)) = self.core.retries.pop_front()
        {
            self.core.report.retried += 1;
            self.give(index, request, Times { sent: now, ..times });
        }
    }

    /// Takes the next connection off the list of those that can take a request.
    #[inline]
    fn take_available(&mut self) -> Option<usize> {
        while let Some(index) = self.available.pop_front() {
            let connection = &mut self.connections[index];
            connection.is_listed = false;
            if connection.can_send(self.core.mode) {
                return Some(index);
            }
        }
        None
    }

    /// Gives a request to a connection that can take it. Once for each request, so a call counts.
    #[inline(always)]
    fn give(&mut self, index: usize, request: u16, times: Times) {
        self.connections[index].dispatch(&mut self.core, request, times);
        self.list(index);
        if self.touched.last() != Some(&index) {
            self.touched.push(index);
        }
    }

    /// Lists a connection that can take a request.
    #[inline]
    pub(super) fn list(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.is_listed && connection.can_send(self.core.mode) {
            connection.is_listed = true;
            self.available.push_back(index);
        }
    }
}
