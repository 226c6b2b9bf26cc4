//! One connection: its session, and the operations of it that the kernel holds.

use std::io::{self, ErrorKind};
use std::mem::{self, MaybeUninit};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::Instant;

use fcgi_worker::{Handler, Session, Shared};
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use socket2::Socket;

use crate::buffers;
use crate::ring::{Operation, Ring};

pub(crate) struct Client<H: Handler> {
    key: usize,
    pub(crate) socket: Socket,
    pub(crate) session: Session<H>,
    pub(crate) receive: Flight,
    pub(crate) send: Flight,
    /// What the send in flight sends, from `sent` on. The kernel reads it: it stays as it is.
    sending: Vec<u8>,
    sent: usize,
    /// Whether it has been served in this turn.
    pub(crate) had_turn: bool,
}

/// An operation of which the kernel holds one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    None,
    /// It does not wait, and has a completion only if it has not done all that it was to do.
    Silent,
    /// It may wait for its socket, and has a completion then.
    Waiting,
    /// It was asked to end; its completion has still to come.
    Cancelled,
    /// No buffer was left for it: it has ended, and is started again when there is one.
    Starved,
}

impl<H: Handler> Client<H> {
    pub(crate) fn new(key: usize, socket: Socket, session: Session<H>) -> Self {
        Self {
            key,
            socket,
            session,
            receive: Flight::None,
            send: Flight::None,
            sending: Vec::new(),
            sent: 0,
            had_turn: false,
        }
    }

    /// Goes on with what is left, and sends what came of it. Errors are the ring's.
    pub(crate) fn turn(&mut self, ring: &mut Ring, now: Instant, shared: &mut Shared<H>) -> io::Result<()> {
        if !mem::take(&mut self.had_turn) {
            self.session.resume(now, shared);
        }
        if self.session.wants_last_read() && !self.has_input(ring) {
            self.session.end_of_available_input(now, shared);
        }
        self.flush(ring)?;
        if self.session.shuts_write(now) && self.socket.shutdown(Shutdown::Write).is_err() {
            self.session.abandon();
        }
        self.receive(ring)
    }

    /// Has the kernel receive whatever comes, or has it stop.
    pub(crate) fn receive(&mut self, ring: &mut Ring) -> io::Result<()> {
        match (self.receive, self.session.takes_input()) {
            (Flight::None, true) => {
                self.receive = Flight::Waiting;
                let receive = opcode::RecvMulti::new(Fd(self.socket.as_raw_fd()), buffers::GROUP);
                ring.push(receive.build(), Operation::Receive, self.key)
            }
            (Flight::Waiting, false) => {
                self.receive = Flight::Cancelled;
                ring.cancel(Operation::Receive, self.key)
            }
            _ => Ok(()),
        }
    }

    /// Sends what there is, unless a send is in flight. Where nothing is to be done after it, it is a silent one: a
    /// reply that the socket takes at once wakes nobody.
    fn flush(&mut self, ring: &mut Ring) -> io::Result<()> {
        let has_output = !self.sending.is_empty() || self.session.wants_write();
        if self.send != Flight::None || !has_output || self.session.is_over() {
            return Ok(());
        }
        self.send = Flight::Waiting;
        if self.sending.is_empty() {
            self.sending = self.session.take_unsent();
            if self.session.rests_once_sent() {
                self.send = Flight::Silent;
            }
        }
        let unsent = &self.sending[self.sent..];
        // A longer one is sent in several.
        let length = u32::try_from(unsent.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fd(self.socket.as_raw_fd()), unsent.as_ptr(), length);
        let send = if self.send == Flight::Silent {
            // With WAITALL, to send less than all is no success, and so has a completion.
            send.flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL).build().flags(Flags::SKIP_SUCCESS)
        } else {
            send.build()
        };
        ring.push(send, Operation::Send, self.key)
    }

    /// The send in flight has sent this much; `None` is all.
    pub(crate) fn sent(&mut self, sent: Option<usize>, now: Instant, shared: &mut Shared<H>) {
        let sent = sent.unwrap_or(self.sending.len() - self.sent);
        self.send = Flight::None;
        self.sent += sent;
        self.session.sent(sent, now, shared);
        if self.sent == self.sending.len() {
            self.sent = 0;
            shared.give_back(mem::take(&mut self.sending));
        }
    }

    /// Whether the kernel holds nothing of it any more. It is asked to let go, and completions tell that it has.
    pub(crate) fn is_released(&mut self, ring: &mut Ring) -> io::Result<bool> {
        if self.send == Flight::Waiting {
            self.send = Flight::Cancelled;
            ring.cancel(Operation::Send, self.key)?;
        }
        Ok((self.receive, self.send) == (Flight::None, Flight::None))
    }

    /// Whether something has come that is not served yet, if only to the ring or the socket.
    fn has_input(&self, ring: &Ring) -> bool {
        let (mut byte, flags) = ([MaybeUninit::uninit()], libc::MSG_PEEK | libc::MSG_DONTWAIT);
        let mut peek = || self.socket.recv_with_flags(&mut byte, flags);
        !ring.completions.is_empty() || !peek().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
