//! One connection to the server: sends bytes, reads records, and holds every record received against section 3.3.
//!
//! Whatever a case is about, these are checked on every record: version 1; a type that an application sends; id 0 for
//! management records; an active id for the others (so a second `FCGI_END_REQUEST` is found everywhere); nothing but
//! `FCGI_END_REQUEST` after the end of `FCGI_STDOUT`; bodies of 8 bytes where the specification gives 8.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use crate::case::Stop;
use crate::response::Response;
use crate::transcript::{Decoder, Transcript, Way};
use crate::wire::{self, Record};

/// Bytes of one STDOUT or STDERR stream that are kept; more is counted and dropped.
const KEPT: usize = 32 << 20;

/// How a connection ended, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it.
    Closed,
    /// The server closed it with bytes of ours unread.
    Reset,
}

/// What came next.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    Record(Record),
    Ended(End),
    Silence,
}

pub(crate) struct Peer {
    socket: Socket,
    number: usize,
    log: Rc<RefCell<Transcript>>,
    until: Instant,
    limit: Duration,
    inbox: VecDeque<u8>,
    end: Option<End>,
    lenient: bool,
    sent: Decoder,
    active: BTreeSet<u16>,
    partial: BTreeMap<u16, Response>,
    finished: VecDeque<Response>,
    management: VecDeque<Record>,
}

impl Peer {
    pub(crate) fn new(socket: Socket, log: Rc<RefCell<Transcript>>, until: Instant, limit: Duration) -> Self {
        let number = log.borrow_mut().open();
        Peer {
            socket,
            number,
            log,
            until,
            limit,
            inbox: VecDeque::new(),
            end: None,
            lenient: false,
            sent: Decoder::default(),
            active: BTreeSet::new(),
            partial: BTreeMap::new(),
            finished: VecDeque::new(),
            management: VecDeque::new(),
        }
    }

    /// Stops holding records against the ids sent: for cases that send what the specification leaves open.
    pub(crate) fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Sends all of `bytes`, reading meanwhile, so that two full buffers cannot block each other.
    ///
    /// A server that has closed is not an error here: it may have answered first, and the case decides.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match (&self.socket).write(rest) {
                Ok(count) => {
                    self.note_sent(&rest[..count]);
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::IN | PollFlags::OUT, self.until);
                    self.pull();
                    if self.end.is_some() {
                        // The server has ended its side, and owes nobody to read on.
                        self.note(&format!("{} bytes were not sent", rest.len()));
                        return Ok(());
                    }
                    if Instant::now() >= self.until {
                        let done = bytes.len() - rest.len();
                        return Err(self.failed(&format!(
                            "the server stopped reading: {done} of {} bytes were taken within {:?}",
                            bytes.len(),
                            self.limit
                        )));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.note(&format!("sending failed with {} bytes left: {error}", rest.len()));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends without reading until the server takes nothing for `patience`; the count of bytes taken.
    pub(crate) fn send_without_reading(&mut self, bytes: &[u8], patience: Duration) -> usize {
        let mut done = 0;
        while done < bytes.len() && Instant::now() < self.until {
            match (&self.socket).write(&bytes[done..]) {
                Ok(count) => {
                    self.note_sent(&bytes[done..done + count]);
                    done += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(PollFlags::OUT, Instant::now() + patience) {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        done
    }

    /// Sends in pieces of `size`, with a pause after each, so that the server reads them one by one.
    pub(crate) fn send_slowly(&mut self, bytes: &[u8], size: usize, pause: Duration) -> Result<(), Stop> {
        for piece in bytes.chunks(size) {
            self.send(piece)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Ends the sending side: the server reads the end of the stream.
    pub(crate) fn half_close(&mut self) {
        self.note("half-closed");
        // It fails only if the server has closed already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Closes; with bytes of the server unread, if there are some.
    pub(crate) fn close(self) {
        self.note("closed");
    }

    /// Closes with a TCP reset.
    pub(crate) fn reset(self) {
        self.note("reset");
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    /// The answer to request `id`, once its `FCGI_END_REQUEST` is there.
    pub(crate) fn response(&mut self, id: u16) -> Result<Response, Stop> {
        loop {
            if let Some(at) = self.finished.iter().position(|response| response.id == id) {
                return Ok(self.finished.remove(at).unwrap_or_default());
            }
            let awaited = format!("FCGI_END_REQUEST of request {id}");
            self.step(&awaited)?;
        }
    }

    /// The next answer to end, whichever request it belongs to.
    pub(crate) fn any_response(&mut self) -> Result<Response, Stop> {
        loop {
            if let Some(response) = self.finished.pop_front() {
                return Ok(response);
            }
            self.step("FCGI_END_REQUEST of any request")?;
        }
    }

    /// An answer that rejects its request, if one has come: it says so to the front end, to the client, or to both.
    pub(crate) fn take_refused(&mut self) -> Option<Response> {
        let rejects = |response: &Response| {
            response.protocol_status != wire::REQUEST_COMPLETE || response.status() == 503
        };
        let at = self.finished.iter().position(rejects)?;
        self.finished.remove(at)
    }

    /// The next management record.
    pub(crate) fn management(&mut self, awaited: &str) -> Result<Record, Stop> {
        loop {
            if let Some(record) = self.management.pop_front() {
                return Ok(record);
            }
            self.step(awaited)?;
        }
    }

    /// Waits for the first bytes of STDOUT content of request `id`.
    pub(crate) fn first_output(&mut self, id: u16) -> Result<(), Stop> {
        loop {
            if self.partial.get(&id).is_some_and(|response| !response.stdout.is_empty()) {
                return Ok(());
            }
            if self.finished.iter().any(|response| response.id == id) {
                return Ok(());
            }
            self.step(&format!("output of request {id}"))?;
        }
    }

    /// What has come of request `id` so far.
    pub(crate) fn stdout_so_far(&self, id: u16) -> &[u8] {
        self.partial.get(&id).map_or(&[], |response| &response.stdout)
    }

    /// Whether the answer to request `id` has ended.
    pub(crate) fn has_ended(&self, id: u16) -> bool {
        self.finished.iter().any(|response| response.id == id)
    }

    /// The server closes the connection, and sends no record before.
    pub(crate) fn expect_closed(&mut self) -> Result<End, Stop> {
        match self.next(self.until)? {
            Next::Ended(end) => Ok(end),
            Next::Silence => {
                Err(self.failed(&format!("the server has not closed the connection within {:?}", self.limit)))
            }
            Next::Record(record) => {
                Err(self.failed(&format!("{} instead of the end of the connection", shown(&record))))
            }
        }
    }

    /// Nothing comes for `time`, and the connection stays open.
    pub(crate) fn expect_quiet(&mut self, time: Duration) -> Result<(), Stop> {
        match self.next((Instant::now() + time).min(self.until))? {
            Next::Silence => Ok(()),
            Next::Ended(end) => {
                Err(self.failed(&format!("the connection was {}, where it should stay open", end.verb())))
            }
            Next::Record(record) => {
                Err(self.failed(&format!("{} came, where nothing is owed", shown(&record))))
            }
        }
    }

    /// What comes within `time`: a record (counted as usual), the end, or nothing.
    pub(crate) fn observe(&mut self, time: Duration) -> Result<Next, Stop> {
        self.next((Instant::now() + time).min(self.until))
    }

    /// Reads and drops whatever comes, records or not, until the end or for `time`; true if the end came.
    pub(crate) fn drain(&mut self, time: Duration) -> bool {
        let until = (Instant::now() + time).min(self.until);
        while self.end.is_none() && Instant::now() < until {
            self.wait(PollFlags::IN, until);
            self.pull();
            self.inbox.clear();
        }
        self.end.is_some()
    }

    /// Reads at most `count` bytes of what has come, without waiting, for a slow reader; the bytes stay to be decoded.
    pub(crate) fn read_some(&mut self, count: usize) -> Result<(), Stop> {
        self.wait(PollFlags::IN, self.until);
        self.pull_at_most(count);
        while let Some(record) = self.buffered()? {
            self.account(&record)?;
        }
        Ok(())
    }

    pub(crate) fn note(&self, text: &str) {
        self.log.borrow_mut().note(self.number, text);
    }

    pub(crate) fn failed(&self, why: &str) -> Stop {
        Stop::Failed(format!("connection {}: {why}", self.number))
    }

    fn step(&mut self, awaited: &str) -> Result<(), Stop> {
        match self.next(self.until)? {
            Next::Record(_) => Ok(()),
            Next::Ended(end) => {
                Err(self.failed(&format!("the connection was {} while waiting for {awaited}", end.verb())))
            }
            Next::Silence => Err(self.failed(&format!("no {awaited} within {:?}", self.limit))),
        }
    }

    /// The next record, checked and counted.
    fn next(&mut self, until: Instant) -> Result<Next, Stop> {
        loop {
            if let Some(record) = self.buffered()? {
                self.account(&record)?;
                return Ok(Next::Record(record));
            }
            if let Some(end) = self.end {
                if !self.inbox.is_empty() {
                    let left = self.inbox.len();
                    return Err(self.failed(&format!(
                        "the connection was {} with {left} bytes of an unfinished record",
                        end.verb()
                    )));
                }
                return Ok(Next::Ended(end));
            }
            // What has come before the deadline counts, however late it is looked at.
            if !self.wait(PollFlags::IN, until) {
                return Ok(Next::Silence);
            }
            self.pull();
        }
    }

    fn buffered(&mut self) -> Result<Option<Record>, Stop> {
        let bytes = self.inbox.make_contiguous();
        if let [version, ..] = *bytes
            && version != wire::VERSION_1
        {
            return Err(self.failed(&format!("a record of version {version} came; the version is 1 (3.3)")));
        }
        let Some((record, length)) = Record::read(bytes) else { return Ok(None) };
        self.inbox.drain(..length);
        Ok(Some(record))
    }

    /// Holds a record against section 3.3 and puts it where the case will look for it.
    fn account(&mut self, record: &Record) -> Result<(), Stop> {
        let header = record.header;
        match header.kind {
            wire::STDOUT | wire::STDERR | wire::END_REQUEST => self.account_application(record),
            wire::GET_VALUES_RESULT | wire::UNKNOWN_TYPE => {
                if header.id != 0 {
                    return Err(
                        self.failed(&format!("{}: a management record has id 0 (3.3)", shown(record)))
                    );
                }
                if header.kind == wire::UNKNOWN_TYPE && header.content_length != 8 {
                    return Err(self.failed(&format!("{}: its body has 8 bytes (4.2)", shown(record))));
                }
                self.management.push_back(record.clone());
                Ok(())
            }
            _ => Err(self.failed(&format!("{} came, which no application sends (8)", shown(record)))),
        }
    }

    fn account_application(&mut self, record: &Record) -> Result<(), Stop> {
        let header = record.header;
        if header.id == 0 {
            return Err(self
                .failed(&format!("{}: an application record has an id other than 0 (3.3)", shown(record))));
        }
        if !self.active.contains(&header.id) && !self.lenient {
            return Err(self.failed(&format!(
                "{} came, but request {} is not active (3.3)",
                shown(record),
                header.id
            )));
        }
        let response = self
            .partial
            .entry(header.id)
            .or_insert_with(|| Response { id: header.id, ..Response::default() });
        match header.kind {
            wire::STDOUT if header.content_length == 0 => response.stdout_ends += 1,
            wire::STDERR if header.content_length == 0 => response.stderr_ends += 1,
            wire::STDOUT if response.stdout_ends == 0 => {
                response.stdout_length += record.content.len();
                keep(&mut response.stdout, &record.content);
            }
            wire::STDERR if response.stderr_ends == 0 => keep(&mut response.stderr, &record.content),
            wire::STDOUT | wire::STDERR => {
                return Err(
                    self.failed(&format!("{} came after the stream's empty record (3.3)", shown(record)))
                );
            }
            _ => {
                let Some([a3, a2, a1, a0, status, ..]) = record.content.first_chunk::<8>().copied() else {
                    return Err(self.failed(&format!("{}: its body has 8 bytes (5.5)", shown(record))));
                };
                if header.content_length != 8 {
                    return Err(self.failed(&format!("{}: its body has 8 bytes (5.5)", shown(record))));
                }
                response.app_status = u32::from_be_bytes([a3, a2, a1, a0]);
                response.protocol_status = status;
                self.active.remove(&header.id);
                self.finished.extend(self.partial.remove(&header.id));
            }
        }
        Ok(())
    }

    fn note_sent(&mut self, bytes: &[u8]) {
        self.log.borrow_mut().bytes(self.number, Way::Sent, bytes);
        let active = &mut self.active;
        self.sent.feed(bytes, &mut |header, _| {
            if header.kind == wire::BEGIN_REQUEST {
                active.insert(header.id);
            }
        });
    }

    fn pull(&mut self) {
        self.pull_at_most(1 << 20);
    }

    /// Moves what has come into the inbox.
    fn pull_at_most(&mut self, count: usize) {
        let mut buffer = vec![0; count.min(65_536)];
        let mut left = count;
        while left > 0 && self.end.is_none() {
            let size = left.min(buffer.len());
            match (&self.socket).read(&mut buffer[..size]) {
                Ok(0) => self.ended(End::Closed),
                Ok(got) => {
                    self.log.borrow_mut().bytes(self.number, Way::Received, &buffer[..got]);
                    self.inbox.extend(&buffer[..got]);
                    left -= got;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended(End::Reset),
            }
        }
    }

    fn ended(&mut self, end: End) {
        self.note(&format!("the server {} the connection", end.verb()));
        self.end = Some(end);
    }

    /// Waits until the socket is ready; false if `until` came first.
    fn wait(&self, flags: PollFlags, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)) {
                Ok(0) => return false,
                Err(rustix::io::Errno::INTR) => {}
                // An error of poll itself shows in the next read or write.
                _ => return true,
            }
        }
    }
}

impl End {
    fn verb(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Reset => "reset",
        }
    }
}

fn keep(stream: &mut Vec<u8>, content: &[u8]) {
    stream.extend_from_slice(&content[..content.len().min(KEPT.saturating_sub(stream.len()))]);
}

fn shown(record: &Record) -> String {
    format!(
        "{} for id {} of {} bytes",
        wire::kind_name(record.header.kind),
        record.header.id,
        record.header.content_length
    )
}
