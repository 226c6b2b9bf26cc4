//! What a server says of itself, asked by `FCGI_GET_VALUES` (section 4.1).

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};

use crate::address::Address;
use crate::reply::{GET_VALUES, GET_VALUES_RESULT, Part, Records, Violation};
use crate::socket::{Busy, Opened, Target, explain};
use crate::template::encode_pairs;

/// What one process of the server can take at a time; `None` where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Capacity {
    /// `FCGI_MAX_CONNS`: connections.
    pub connections: Option<u32>,
    /// `FCGI_MAX_REQS`: requests.
    pub requests: Option<u32>,
    /// `FCGI_MPXS_CONNS`: whether several requests may share a connection.
    pub multiplexes: Option<bool>,
}

/// Asks a server for its capacity, over a connection of its own. A server that closes, answers something else or
/// does not answer in time has not said anything: all is `None`.
///
/// # Errors
///
/// The server could not be reached within the timeout, or it speaks HTTP.
pub fn capacity(address: &Address, timeout: Duration) -> io::Result<Capacity> {
    let deadline = Instant::now() + timeout;
    let socket = connect(address, deadline)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")))?;
    match ask(&socket, deadline) {
        Ok(answer) => Ok(read_pairs(&answer)),
        Err(Silence::Http(violation)) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{address}: {violation}")))
        }
        Err(Silence::Other) => Ok(Capacity::default()),
    }
}

fn connect(address: &Address, deadline: Instant) -> io::Result<OwnedFd> {
    let target = Target::resolve(address)?;
    loop {
        match target.open().map_err(explain)? {
            Opened::Connected(socket) => return Ok(socket),
            Opened::InProgress(socket) => {
                wait(&socket, PollFlags::OUT, deadline)?;
                sockopt::socket_error(&socket)??;
                return Ok(socket);
            }
            Opened::Busy(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            Opened::Busy(Busy::Backlog) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its backlog stays full"));
            }
            Opened::Busy(Busy::Ports) => return Err(Errno::ADDRNOTAVAIL.into()),
        }
    }
}

/// Why there is no answer.
enum Silence {
    Http(Violation),
    Other,
}

impl From<io::Error> for Silence {
    fn from(_: io::Error) -> Self {
        Self::Other
    }
}

impl From<Errno> for Silence {
    fn from(_: Errno) -> Self {
        Self::Other
    }
}

/// Returns the content of the `FCGI_GET_VALUES_RESULT`.
fn ask(socket: &OwnedFd, deadline: Instant) -> Result<Vec<u8>, Silence> {
    let pairs = encode_pairs(&[("FCGI_MAX_CONNS", ""), ("FCGI_MAX_REQS", ""), ("FCGI_MPXS_CONNS", "")]);
    let padding = pairs.len().next_multiple_of(8) - pairs.len();
    let mut query = vec![1, GET_VALUES, 0, 0, 0, pairs.len() as u8, padding as u8, 0];
    query.extend(&pairs);
    query.resize(query.len() + padding, 0);
    // A fresh socket takes these few bytes at once.
    rustix::net::send(socket, &query, SendFlags::NOSIGNAL)?;

    let mut records = Records::default();
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let count = match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(Silence::Other),
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => {
                wait(socket, PollFlags::IN, deadline)?;
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let mut input = &buffer[..count];
        while let Some(part) = records.next(&mut input).map_err(|violation| match violation {
            Violation::Http(_) => Silence::Http(violation),
            _ => Silence::Other,
        })? {
            match part {
                Part::Management { kind: GET_VALUES_RESULT, content, last } => {
                    answer.extend(content);
                    if last {
                        return Ok(answer);
                    }
                }
                _ => return Err(Silence::Other),
            }
        }
    }
}

fn wait(socket: &OwnedFd, flags: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(socket, flags)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn read_pairs(mut bytes: &[u8]) -> Capacity {
    let mut capacity = Capacity::default();
    while let Some((name, value)) = next_pair(&mut bytes) {
        let number = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse::<u32>().ok());
        match name {
            b"FCGI_MAX_CONNS" => capacity.connections = number,
            b"FCGI_MAX_REQS" => capacity.requests = number,
            b"FCGI_MPXS_CONNS" => capacity.multiplexes = number.map(|number| number != 0),
            _ => {}
        }
    }
    capacity
}

/// Section 3.4; `None` at the end, and where a pair is cut.
fn next_pair<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut lengths = [0; 2];
    for length in &mut lengths {
        *length = match **bytes {
            [short @ ..=127, ref rest @ ..] => {
                *bytes = rest;
                short.into()
            }
            [a, b, c, d, ref rest @ ..] => {
                *bytes = rest;
                (u32::from_be_bytes([a, b, c, d]) & !(1 << 31)) as usize
            }
            _ => return None,
        };
    }
    let (name, rest) = bytes.split_at_checked(lengths[0])?;
    let (value, rest) = rest.split_at_checked(lengths[1])?;
    *bytes = rest;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_read_and_others_skipped() {
        let pairs =
            [("FCGI_MAX_CONNS", "1000"), ("X", ""), ("FCGI_MPXS_CONNS", "0"), ("FCGI_MAX_REQS", "many")];
        let expected = Capacity { connections: Some(1000), requests: None, multiplexes: Some(false) };
        assert_eq!(read_pairs(&encode_pairs(&pairs)), expected);
        let long = "v".repeat(200);
        let pairs = [("LONG", long.as_str()), ("FCGI_MPXS_CONNS", "1")];
        assert_eq!(read_pairs(&encode_pairs(&pairs)).multiplexes, Some(true));
    }

    #[test]
    fn cut_pairs_end_the_reading_without_harm() {
        let whole = encode_pairs(&[("FCGI_MAX_CONNS", "7"), ("FCGI_MAX_REQS", "8")]);
        for end in 0..whole.len() {
            let capacity = read_pairs(&whole[..end]);
            assert_eq!(capacity.requests, None, "cut at {end}");
            assert_eq!(capacity.connections.is_some(), end >= 17, "cut at {end}");
        }
        assert_eq!(read_pairs(&[0x80, 0, 0]), Capacity::default());
        assert_eq!(read_pairs(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Capacity::default());
    }
}
