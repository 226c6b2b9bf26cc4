//! A session on a socket that does not block, for the models in which a loop is told what is readable or writable; and the
//! connections of such a loop.

mod clients;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use socket2::Socket;

use crate::{Handler, Session, Shared};

pub use clients::Clients;

/// Reads of one turn, as long as they complete no request: a large body comes in many.
const READS: usize = 8;

/// A connection of a loop. The loop notes what its poll has announced, and gives the connection a turn.
pub struct Client<H: Handler> {
    /// Does not block.
    pub socket: Socket,
    /// The connection's rules.
    pub session: Session<H>,
    /// A read is worth a try. The turn clears it once nothing is left to be read.
    pub readable: bool,
    /// A write is worth a try. The turn clears it once the socket takes no more.
    pub writable: bool,
    /// The peer has shut its side: read on to the end, however short a read is. Only for a loop that is told of
    /// changes alone (EPOLLET), and so not again of an end that it has been told of.
    pub hung_up: bool,
    /// Steps of its requests that run elsewhere: what is theirs comes back.
    pub(crate) steps: usize,
}

impl<H: Handler> Client<H> {
    /// A connection that was just accepted. To read and to write are both worth a try: often it saves a call that waits.
    pub fn new(socket: Socket, session: Session<H>) -> Self {
        Self { socket, session, readable: true, writable: true, hung_up: false, steps: 0 }
    }

    /// Writes what is left, reads into `input`, serves, and writes what came of it. It reads until the turn has something
    /// to write, eight times at most.
    ///
    /// # Errors
    ///
    /// The transport has gone: an error in a connection is that connection's end.
    #[inline]
    pub fn turn(&mut self, input: &mut [u8], now: Instant, shared: &mut Shared<H>) -> io::Result<()> {
        if self.session.wants_write() {
            self.flush(now, shared)?;
        }
        if self.readable && self.session.wants_read() {
            self.read(input, now, shared)?;
        } else {
            self.session.resume(now, shared);
        }
        self.flush(now, shared)?;
        if self.session.shuts_write(now) {
            self.socket.shutdown(Shutdown::Write)?;
        }
        self.readable |= self.session.wants_last_read();
        Ok(())
    }

    /// Whether it is to have another turn whatever the poll says, after the others'.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.session.has_more() || self.readable && self.session.wants_read()
    }

    /// The worker is asked to finish: the connection ends as soon as it is idle, which its next turn finds out.
    pub fn drain(&mut self) {
        self.session.drain();
        self.readable = true;
    }

    /// Reads and serves what came.
    fn read(&mut self, input: &mut [u8], now: Instant, shared: &mut Shared<H>) -> io::Result<()> {
        for _ in 0..READS {
            match (&self.socket).read(input) {
                Ok(0) => {
                    self.readable = false;
                    self.session.end_of_input(now, shared);
                }
                Ok(read) => {
                    // A short read has emptied the socket; what comes later is announced anew (epoll(7)). The drain wants to
                    // be sure before it closes an idle connection.
                    self.readable = read == input.len() || self.hung_up || self.session.is_draining();
                    self.session.receive(&input[..read], now, shared);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    self.session.end_of_available_input(now, shared);
                }
                Err(error) => return Err(error),
            }
            if !self.readable || self.session.wants_write() || !self.session.wants_read() {
                break;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes.
    #[inline]
    fn flush(&mut self, now: Instant, shared: &mut Shared<H>) -> io::Result<()> {
        while self.writable && self.session.wants_write() {
            match (&self.socket).write(self.session.unsent()) {
                Ok(sent) => self.session.sent(sent, now, shared),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
