//! The server under test, asked once what it is.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::case::Stop;
use crate::context::Context;
use crate::peer::Peer;
use crate::request::Request;
use crate::transcript::Transcript;
use crate::wire;

/// How many connections are tried at once by the probe.
const PROBED_CONNECTIONS: usize = 64;
/// How long the probe waits for one more connection to be served.
const PROBE_PATIENCE: Duration = Duration::from_millis(700);

/// What the user says about the server; what is `None` is found out.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a case may take, and how long anything in it is waited for.
    pub timeout: Duration,
    /// Parameters that every request carries, for example `SCRIPT_FILENAME`.
    pub params: Vec<(String, String)>,
    /// Whether the server answers our workload.
    pub workload: Option<bool>,
    /// Whether it takes concurrent requests over one connection.
    pub multiplexing: Option<bool>,
    /// Whether it reads a connection whose request waits.
    pub abort_while_waiting: Option<bool>,
    /// How many connections it serves at once.
    pub connections: Option<usize>,
    /// Its process, for the cases that read memory and descriptors.
    pub pid: Option<u32>,
    /// The seed of the fuzz cases.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: Duration::from_secs(5),
            params: Vec::new(),
            workload: None,
            multiplexing: None,
            abort_while_waiting: None,
            connections: None,
            pid: None,
            seed: 1,
        }
    }
}

/// What the server answered to `FCGI_GET_VALUES` (section 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Whether there was a well-formed answer.
    pub answered: bool,
    /// `FCGI_MAX_CONNS`.
    pub max_conns: Option<u64>,
    /// `FCGI_MAX_REQS`.
    pub max_reqs: Option<u64>,
    /// `FCGI_MPXS_CONNS`.
    pub mpxs_conns: Option<bool>,
}

/// A server and what is known about it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// How long a case may take.
    pub timeout: Duration,
    /// Parameters that every request carries.
    pub params: Vec<(String, String)>,
    /// Whether it answers our workload.
    pub workload: bool,
    /// Whether it takes concurrent requests over one connection.
    pub multiplexing: bool,
    /// Whether it reads a connection whose request waits.
    pub abort_while_waiting: bool,
    /// How many connections it serves at once, as far as that was tried.
    pub connections: usize,
    /// What it says of itself.
    pub capacity: Capacity,
    /// Its process, if known.
    pub pid: Option<u32>,
    /// The seed of the fuzz cases.
    pub seed: u64,
}

impl Target {
    /// Asks the server what it is.
    ///
    /// # Errors
    /// If nobody accepts connections at the address. A server that answers badly is a target all the same.
    pub fn probe(address: Address, options: Options) -> io::Result<Target> {
        drop(address.connect(options.timeout)?);
        let mut target = Target {
            address,
            timeout: options.timeout,
            params: options.params,
            workload: false,
            multiplexing: false,
            abort_while_waiting: false,
            connections: 1,
            capacity: Capacity::default(),
            pid: options.pid,
            seed: options.seed,
        };
        target.capacity = target.ask_capacity();
        target.workload = options.workload.unwrap_or_else(|| target.answers_workload());
        target.multiplexing = options.multiplexing.unwrap_or(target.capacity.mpxs_conns == Some(true));
        // Whoever takes further requests while one waits has to read while one waits.
        target.abort_while_waiting = options.abort_while_waiting.unwrap_or(target.multiplexing);
        target.connections = options.connections.unwrap_or_else(|| target.count_connections());
        Ok(target)
    }

    /// Whether somebody accepts connections.
    pub fn is_reachable(&self) -> bool {
        self.address.connect(self.timeout).is_ok()
    }

    /// Whether a plain request on a fresh connection is answered within the timeout, be it badly: a single byte is enough.
    pub fn answers(&self) -> bool {
        let mut context = Context::new(self, 1);
        // What is wrong with the answer is for the cases to find.
        let _ = context.serve_plain();
        context.heard()
    }

    fn ask_capacity(&self) -> Capacity {
        let ask = || -> Result<Capacity, Stop> {
            let mut peer = self.open(self.timeout.min(Duration::from_secs(2)))?;
            peer.send(&wire::get_values(&["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"]))?;
            let record = peer.management("FCGI_GET_VALUES_RESULT")?;
            if record.header.kind != wire::GET_VALUES_RESULT {
                return Ok(Capacity::default());
            }
            Ok(read_capacity(&record.content))
        };
        ask().unwrap_or_default()
    }

    /// `/params` gives a parameter back that nobody else knows.
    fn answers_workload(&self) -> bool {
        let request = self.request("/params").param("FCGI_VERIFY_PROBE", "is this the workload?");
        let ask = || -> Result<bool, Stop> {
            let mut peer = self.open(self.timeout)?;
            peer.send(&request.bytes())?;
            Ok(peer.response(1)?.body() == request.params_as_text())
        };
        ask().unwrap_or(false)
    }

    /// Opens one kept connection after the other, each with a request served, until one is not.
    fn count_connections(&self) -> usize {
        let mut held = Vec::new();
        let request = self.request("/hello").keep().bytes();
        while held.len() < PROBED_CONNECTIONS {
            let patience = if held.is_empty() { self.timeout } else { PROBE_PATIENCE.min(self.timeout) };
            let served = || -> Result<Peer, Stop> {
                let mut peer = self.open(patience)?;
                peer.send(&request)?;
                peer.response(1)?;
                Ok(peer)
            };
            match served() {
                Ok(peer) => held.push(peer),
                Err(_) => break,
            }
        }
        // A server that served all that were tried is believed for the rest.
        match (held.len(), self.capacity.max_conns) {
            (PROBED_CONNECTIONS, Some(declared)) => {
                usize::try_from(declared).unwrap_or(usize::MAX).max(held.len())
            }
            (count, _) => count.max(1),
        }
    }

    fn request(&self, path: &str) -> Request {
        Context::new(self, 1).get(path)
    }

    fn open(&self, patience: Duration) -> Result<Peer, Stop> {
        let socket = self.address.connect(patience).map_err(|error| Stop::Failed(error.to_string()))?;
        let log = Rc::new(RefCell::new(Transcript::new()));
        Ok(Peer::new(socket, log, Instant::now() + patience, patience))
    }
}

impl Capacity {
    /// `FCGI_MPXS_CONNS` in words.
    pub(crate) fn mpxs_text(&self) -> &'static str {
        match self.mpxs_conns {
            Some(true) => "is 1",
            Some(false) => "is 0",
            None => "was not answered",
        }
    }
}

fn read_capacity(content: &[u8]) -> Capacity {
    let Ok(pairs) = wire::read_pairs(content) else { return Capacity::default() };
    let mut capacity = Capacity { answered: true, ..Capacity::default() };
    for (name, value) in pairs {
        let value = String::from_utf8_lossy(&value);
        match &name[..] {
            b"FCGI_MAX_CONNS" => capacity.max_conns = value.parse().ok(),
            b"FCGI_MAX_REQS" => capacity.max_reqs = value.parse().ok(),
            b"FCGI_MPXS_CONNS" => {
                capacity.mpxs_conns = ["0", "1"].iter().position(|bit| *bit == value).map(|bit| bit == 1)
            }
            _ => {}
        }
    }
    capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_read_from_pairs() {
        let content = b"\x0e\x0210FCGI_MAX_CONNS";
        assert!(!read_capacity(&content[..5]).answered);
        let content = b"\x0e\x02FCGI_MAX_CONNS10\x0f\x01FCGI_MPXS_CONNS1";
        let expected =
            Capacity { answered: true, max_conns: Some(10), max_reqs: None, mpxs_conns: Some(true) };
        assert_eq!(read_capacity(content), expected);
    }
}
