//! A tap on the line between a web server and a pool: it passes everything on, and counts the requests in flight on
//! each connection. What a web server is configured to do is one thing, what it does another.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use fcgi_load::Address;

use crate::client::kind::{BEGIN_REQUEST, END_REQUEST};
use crate::launch::Place;
use crate::{Family, Pool};

/// What was seen on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests begun.
    pub requests: usize,
    /// The most that were begun and not ended at a time.
    pub peak_in_flight: usize,
    in_flight: usize,
}

/// A tap before a pool on a unix socket.
#[derive(Debug)]
pub struct Tap {
    place: Place,
    connections: Arc<Mutex<Vec<Seen>>>,
    closed: Arc<AtomicBool>,
}

impl Tap {
    /// Starts to listen.
    pub fn before(pool: &Pool) -> io::Result<Self> {
        let Address::Unix(pool) = pool.address().clone() else {
            return Err(io::Error::other("this tap is for unix sockets"));
        };
        let place = Place::new(Family::Unix)?;
        let listener = UnixListener::from(place.listen()?);
        place.let_everybody_in()?;
        let tap = Self { place, connections: Arc::default(), closed: Arc::default() };
        let (connections, closed) = (Arc::clone(&tap.connections), Arc::clone(&tap.closed));
        thread::spawn(move || accept(&listener, &pool, &connections, &closed));
        Ok(tap)
    }

    /// Where the web server connects to.
    pub fn address(&self) -> Address {
        self.place.address()
    }

    /// What was seen, on each connection that carried a request.
    pub fn seen(&self) -> Vec<Seen> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().copied().filter(|seen| seen.requests > 0).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, so that it ends. The others end with their connections.
        if let Address::Unix(path) = self.place.address() {
            let _ = UnixStream::connect(path);
        }
    }
}

fn accept(listener: &UnixListener, pool: &PathBuf, connections: &Arc<Mutex<Vec<Seen>>>, closed: &AtomicBool) {
    while let Ok((web_server, _)) = listener.accept() {
        if closed.load(Ordering::Relaxed) {
            return;
        }
        let Ok(worker) = UnixStream::connect(pool) else { return };
        let index = {
            let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.push(Seen::default());
            connections.len() - 1
        };
        for (from, to) in [(&web_server, &worker), (&worker, &web_server)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let connections = Arc::clone(connections);
            thread::spawn(move || {
                // However it ends, the other side is told.
                let _ = pass(&from, &to, |kind| {
                    let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
                    connections[index].count(kind);
                });
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
}

/// Passes bytes on until there are no more, and names the type of each record before it is passed on.
fn pass(mut from: &UnixStream, mut to: &UnixStream, mut count: impl FnMut(u8)) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut records = Records::default();
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        records.read(&buffer[..read], &mut count);
        to.write_all(&buffer[..read])?;
    }
}

impl Seen {
    fn count(&mut self, kind: u8) {
        match kind {
            BEGIN_REQUEST => {
                self.requests += 1;
                self.in_flight += 1;
                self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
            }
            END_REQUEST => self.in_flight = self.in_flight.saturating_sub(1),
            _ => {}
        }
    }
}

/// Where in the stream of records one direction is.
#[derive(Default)]
struct Records {
    header: Vec<u8>,
    /// Content and padding of the record at hand that are still to come.
    to_skip: usize,
}

impl Records {
    fn read(&mut self, mut bytes: &[u8], count: &mut impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.to_skip > 0 {
                let skipped = self.to_skip.min(bytes.len());
                self.to_skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let [_, kind, _, _, length1, length0, padding, _] = self.header[..] {
                count(kind);
                self.to_skip = usize::from(u16::from_be_bytes([length1, length0])) + usize::from(padding);
                self.header.clear();
            }
        }
    }
}
