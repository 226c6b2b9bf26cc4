//! What became of every request.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// Requests by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Sent, with a reply expected: the sum of the next six.
    pub sent: u64,
    /// Answered rightly.
    pub answered: u64,
    /// Declined in an orderly way: 503, OVERLOADED or CANT_MPX_CONN.
    pub refused: u64,
    /// The connection was closed before the first byte of the reply.
    pub unanswered: u64,
    /// The reply broke off.
    pub lost: u64,
    /// The reply was another one, or broke the protocol.
    pub wrong: u64,
    /// No reply came in time.
    pub timed_out: u64,
    /// Attempts to connect that failed: nothing was sent.
    pub not_connected: u64,
    /// Requests that their client never meant to see answered.
    pub abandoned: u64,
}

/// What may become of a request that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Counts`].
    Unanswered,
    /// See [`Counts`].
    Lost,
    /// See [`Counts`].
    Wrong,
    /// See [`Counts`].
    TimedOut,
    /// See [`Counts`].
    NotConnected,
}

/// Requests of one client that came to the same bad end in the same span of time.
#[derive(Clone, Debug, Serialize)]
pub struct Incident {
    /// Since the beginning.
    #[serde(rename = "from_s", serialize_with = "seconds")]
    pub from: Duration,
    /// Since the beginning.
    #[serde(rename = "to_s", serialize_with = "seconds")]
    pub to: Duration,
    /// Who sent them.
    pub client: &'static str,
    /// What became of them.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// How many requests this client had in flight at most.
    pub in_flight: u64,
    /// What happened, in words.
    pub words: String,
}

/// Counts and incidents of all clients of one soak.
#[derive(Debug)]
pub(super) struct Ledger {
    clock: Instant,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    counts: Counts,
    by_client: BTreeMap<&'static str, Counts>,
    incidents: Vec<Incident>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { clock: Instant::now(), pages: Mutex::default() }
    }

    /// Since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(super) fn counts(&self) -> Counts {
        self.pages().counts
    }

    pub(super) fn by_client(&self) -> BTreeMap<&'static str, Counts> {
        self.pages().by_client.clone()
    }

    pub(super) fn incidents(&self) -> Vec<Incident> {
        self.pages().incidents.clone()
    }

    pub(super) fn add(&self, client: &'static str, counts: Counts) {
        let mut pages = self.pages();
        pages.counts.add(counts);
        pages.by_client.entry(client).or_default().add(counts);
    }

    /// Counts an incident as well.
    pub(super) fn report(&self, incident: Incident) {
        let (mut counts, count) = (Counts { sent: incident.count, ..Counts::default() }, incident.count);
        match incident.kind {
            Kind::Unanswered => counts.unanswered = count,
            Kind::Lost => counts.lost = count,
            Kind::Wrong => counts.wrong = count,
            Kind::TimedOut => counts.timed_out = count,
            Kind::NotConnected => counts = Counts { not_connected: count, ..Counts::default() },
        }
        self.add(incident.client, counts);
        self.pages().incidents.push(incident);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.timed_out += other.timed_out;
        self.not_connected += other.not_connected;
        self.abandoned += other.abandoned;
    }
}

pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1_000.0).round() / 1_000.0)
}
