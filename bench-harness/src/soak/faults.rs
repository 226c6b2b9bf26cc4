//! Clients that misbehave, all the time.

use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::time::Duration;

use fcgi_load::Address;
use socket2::{Domain, SockAddr, Socket, Type};

use super::exchange::{Ending, endings, is_closing};
use super::gate::Gate;
use super::ledger::{Counts, Incident, Kind, Ledger};
use super::server::REQUESTS;
use crate::client::{self, Reply, Request, kind};
use crate::rng::Rng;
use crate::workload::pattern;

/// Between two faults of a kind.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(300)];
/// How long a stalled peer stalls. Shorter than the grace of a drain, which it holds up.
const STALLS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(2_500)];
/// How long a client that does not want its reply waits to get rid of its request.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a stalled reader asks for: more than all buffers on the way can hold.
const UNREAD: usize = 4_000_000;
/// The most connections opened at a time.
const CROWD: usize = 200;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The connection breaks in the middle of a request, or of its reply.
    Reset,
    /// A long reply is asked for, and not read for a while, or never.
    StalledReader,
    /// Half a request is sent, and the rest later, or never.
    StalledSender,
    /// More connections than the pool holds, or more requests than a connection may have in flight.
    Overload,
    /// Requests are aborted.
    Abort,
    /// Connections come and go.
    Churn,
}

/// One that misbehaves.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) address: Address,
    pub(super) gate: &'a Gate,
    pub(super) ledger: &'a Ledger,
    pub(super) rng: Rng,
    /// How many connections the pool holds.
    pub(super) connections: usize,
}

impl Fault {
    pub(super) const ALL: [Self; 6] =
        [Self::Reset, Self::StalledReader, Self::StalledSender, Self::Overload, Self::Abort, Self::Churn];

    fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::StalledReader => "stalled reader",
            Self::StalledSender => "stalled sender",
            Self::Overload => "overload",
            Self::Abort => "abort",
            Self::Churn => "churn",
        }
    }
}

impl Client<'_> {
    /// Until the gate says that it is over.
    pub(super) fn go_on_with(&mut self, fault: Fault) {
        while let Some(_pass) = self.gate.enter() {
            let from = self.ledger.now();
            let provoked = match fault {
                Fault::Reset => self.reset(),
                Fault::StalledReader => self.stall_reading(from),
                Fault::StalledSender => self.stall_sending(from),
                Fault::Overload if self.rng.flip() => self.crowd(from),
                Fault::Overload => self.flood(from),
                Fault::Abort => self.abort(from),
                Fault::Churn => self.churn(),
            };
            if let Err(error) = provoked {
                // To connect is the only thing that a client here cannot put into its own words.
                self.failed(fault.name(), from, 1, Kind::NotConnected, 1, error.to_string());
            }
            let pause = self.rng.between(PAUSES);
            self.gate.sleep(pause);
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        let mut socket = self.connect()?;
        let (request, begins_reply) = match self.rng.below(3) {
            0 => {
                let mut bytes = Request::post("/echo", "text/plain", pattern(20_000)).encode();
                bytes.truncate(1 + self.rng.below(bytes.len() - 1));
                (bytes, false)
            }
            1 => (Request::get("/bytes?n=1000000").encode(), self.rng.flip()),
            _ => (Request::get("/stream?chunks=2&ms=200").encode(), self.rng.flip()),
        };
        // The server may be the first to go.
        if socket.write_all(&request).is_ok() && begins_reply {
            let _ = socket.read(&mut [0; 1_000]);
        }
        // On TCP a close is then a reset; on a unix socket it is one where something is left unread.
        let _ = socket.set_linger(Some(Duration::ZERO));
        self.abandoned(Fault::Reset);
        Ok(())
    }

    fn stall_reading(&mut self, from: Duration) -> io::Result<()> {
        let mut client = client::Client::connect(&self.address)?;
        let request = Request::get(&format!("/bytes?n={UNREAD}")).closing();
        if !self.send(&mut client, Fault::StalledReader, from, &request.encode()) {
            return Ok(());
        }
        let stall = self.rng.between(STALLS);
        self.gate.sleep(stall);
        if self.rng.flip() {
            self.abandoned(Fault::StalledReader);
            return Ok(());
        }
        let fault = |_, reply: &Reply| {
            let right = reply.body == pattern(UNREAD);
            (!right).then(|| format!("{} bytes came that are not the {UNREAD} right ones", reply.body.len()))
        };
        let endings = endings(&mut client, [request.id], fault);
        self.note(Fault::StalledReader, from, 1, endings);
        Ok(())
    }

    fn stall_sending(&mut self, from: Duration) -> io::Result<()> {
        let mut client = client::Client::connect(&self.address)?;
        let body = pattern(1_000);
        let bytes = Request::post("/echo", "text/plain", body.clone()).closing().encode();
        let half = 1 + self.rng.below(bytes.len() - 1);
        if !self.send(&mut client, Fault::StalledSender, from, &bytes[..half]) {
            return Ok(());
        }
        let stall = self.rng.between(STALLS);
        self.gate.sleep(stall);
        if self.rng.flip() {
            self.abandoned(Fault::StalledSender);
            return Ok(());
        }
        if self.send(&mut client, Fault::StalledSender, from, &bytes[half..]) {
            let endings = endings(&mut client, [1], |_, reply| fault(reply, &body));
            self.note(Fault::StalledSender, from, 1, endings);
        }
        Ok(())
    }

    /// More connections than there is room for: all are served, if not at once.
    fn crowd(&mut self, from: Duration) -> io::Result<()> {
        let count = (self.connections + self.connections / 2).min(CROWD);
        let mut clients =
            (0..count).map(|_| client::Client::connect(&self.address)).collect::<io::Result<Vec<_>>>()?;
        let request = Request::get("/hello").closing().encode();
        let in_flight = count as u64;
        clients.retain_mut(|client| match client.send(&request) {
            Ok(()) => true,
            Err(error) => {
                self.unsent(Fault::Overload, from, in_flight, &error);
                false
            }
        });
        for mut client in clients {
            let endings = endings(&mut client, [1], |_, reply| fault(reply, b"Hello, world\n"));
            self.note(Fault::Overload, from, in_flight, endings);
        }
        Ok(())
    }

    /// More requests than a connection may have in flight: those too many are refused, the others served.
    fn flood(&mut self, from: Duration) -> io::Result<()> {
        let mut client = client::Client::connect(&self.address)?;
        let ids = 1..=REQUESTS * 2;
        let bytes: Vec<u8> = ids.clone().flat_map(|id| Request::get("/wait?ms=10").id(id).encode()).collect();
        if self.send(&mut client, Fault::Overload, from, &bytes) {
            let endings = endings(&mut client, ids, |_, reply| fault(reply, b"waited 10 ms\n"));
            self.note(Fault::Overload, from, u64::from(REQUESTS * 2), endings);
        }
        Ok(())
    }

    /// An aborted request ends once, early or not, and its connection serves the next one.
    fn abort(&mut self, from: Duration) -> io::Result<()> {
        let mut client = client::Client::connect(&self.address)?;
        let aborted = Request::get("/wait?ms=100");
        let mut bytes = match self.rng.below(3) {
            0 => aborted.encode_head(),
            _ => aborted.encode(),
        };
        if !self.send(&mut client, Fault::Abort, from, &bytes) {
            return Ok(());
        }
        let pause = self.rng.between([Duration::ZERO, Duration::from_millis(120)]);
        self.gate.sleep(pause);
        bytes.clear();
        client::push_record(&mut bytes, kind::ABORT_REQUEST, aborted.id, &[]);
        let next = Request::get("/hello").id(2).closing();
        bytes.extend(next.encode());
        if self.send(&mut client, Fault::Abort, from, &bytes) {
            let answer = |id, reply: &Reply| match id {
                2 => fault(reply, b"Hello, world\n"),
                _ => None,
            };
            let endings = endings(&mut client, [aborted.id, next.id], answer);
            self.note(Fault::Abort, from, 2, endings);
        }
        Ok(())
    }

    fn churn(&mut self) -> io::Result<()> {
        for _ in 0..20 {
            let socket = self.connect()?;
            if self.rng.flip() {
                drop(socket);
                // It may be gone before it has said anything.
                let _ = client::Client::connect(&self.address)?.values();
            }
        }
        self.abandoned(Fault::Churn);
        Ok(())
    }

    fn connect(&self) -> io::Result<Socket> {
        let (domain, address) = match &self.address {
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
            Address::Abstract(name) => (Domain::UNIX, SockAddr::unix(format!("\0{name}"))?),
            Address::Tcp(host_and_port) => {
                let address = host_and_port.to_socket_addrs()?.next();
                let address = address.ok_or_else(|| io::Error::other("the name has no address"))?;
                (Domain::for_address(address), address.into())
            }
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect(&address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// False: the connection has gone, and that is noted.
    fn send(&self, client: &mut client::Client, fault: Fault, from: Duration, bytes: &[u8]) -> bool {
        let sent = client.send(bytes);
        if let Err(error) = &sent {
            self.unsent(fault, from, 1, error);
        }
        sent.is_ok()
    }

    fn unsent(&self, fault: Fault, from: Duration, in_flight: u64, error: &io::Error) {
        let kind = if is_closing(error) { Kind::Unanswered } else { Kind::TimedOut };
        self.failed(fault.name(), from, in_flight, kind, 1, format!("while sending: {error}"));
    }

    fn note(&self, fault: Fault, from: Duration, in_flight: u64, endings: Vec<Ending>) {
        for ending in endings {
            let one = Counts { sent: 1, ..Counts::default() };
            match ending {
                Ending::Answered => self.ledger.add(fault.name(), Counts { answered: 1, ..one }),
                Ending::Refused => self.ledger.add(fault.name(), Counts { refused: 1, ..one }),
                Ending::Failed(kind, words) => self.failed(fault.name(), from, in_flight, kind, 1, words),
            }
        }
    }

    fn failed(
        &self,
        client: &'static str,
        from: Duration,
        in_flight: u64,
        kind: Kind,
        count: u64,
        words: String,
    ) {
        self.ledger.report(Incident { from, to: self.ledger.now(), client, kind, count, in_flight, words });
    }

    fn abandoned(&self, fault: Fault) {
        self.ledger.add(fault.name(), Counts { abandoned: 1, ..Counts::default() });
    }
}

/// What is wrong with a reply that should have this body.
fn fault(reply: &Reply, body: &[u8]) -> Option<String> {
    if reply.status == 200 && reply.body == body && reply.protocol_status == 0 && reply.app_status == 0 {
        return None;
    }
    Some(format!(
        "status {}, {} bytes, application and protocol status {} and {}, where 200 and {} bytes are right",
        reply.status,
        reply.body.len(),
        reply.app_status,
        reply.protocol_status,
        body.len(),
    ))
}
