//! What a trial found out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One case in one launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartTrial {
    /// From 1.
    pub launch: usize,
    /// The entry.
    pub entry: String,
    /// Worker processes.
    pub processes: usize,
    /// What each of them did before it served.
    pub start: Start,
    /// Why nothing of it counts, if so.
    pub void: Option<String>,
    /// What was measured, unless it is void.
    pub figures: Option<StartFigures>,
}

/// What a process does before it serves; written `sleeps 1000 ms` or `computes 100 ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// It waits for so many milliseconds.
    Sleeps(u64),
    /// It takes so many milliseconds of processor time.
    Computes(u64),
}

impl Start {
    /// The option of a worker that says so, and its value.
    pub(super) fn option(self) -> (&'static str, u64) {
        match self {
            Self::Sleeps(milliseconds) => ("--startup-ms", milliseconds),
            Self::Computes(milliseconds) => ("--startup-cpu-ms", milliseconds),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleeps(milliseconds) => write!(f, "sleeps {milliseconds} ms"),
            Self::Computes(milliseconds) => write!(f, "computes {milliseconds} ms"),
        }
    }
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let start = match text.split(' ').collect::<Vec<_>>()[..] {
            ["sleeps", milliseconds, "ms"] => milliseconds.parse().map(Self::Sleeps).ok(),
            ["computes", milliseconds, "ms"] => milliseconds.parse().map(Self::Computes).ok(),
            _ => None,
        };
        start.ok_or_else(|| format!("{text:?} is no start: write \"sleeps 1000 ms\" or \"computes 100 ms\""))
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

/// The three situations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartFigures {
    /// Eight clients ask as soon as there is a socket.
    pub cold: ColdStart,
    /// Requests come at a fixed rate from the start on.
    pub burst: Burst,
    /// A worker of a warm pool is killed.
    pub kill: KilledWorker,
}

/// From nothing to answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// Seconds from the start of the program to the first good answer.
    pub first_s: f64,
    /// The same, to the hundredth.
    pub hundredth_s: f64,
    /// Requests until then whose connection was made and that had no good answer.
    pub lost: u64,
}

/// A pool that is asked while it starts. Each request is refused, lost, late or answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Requests per second.
    pub rate: f64,
    /// Requests in all.
    pub due: u64,
    /// Of them, those that could not connect: nobody listened yet.
    pub refused: u64,
    /// Those that had no good answer otherwise.
    pub lost: u64,
    /// Those answered more than [`LATE`](super::LATE) after they were due.
    pub late: u64,
    /// Seconds from the time when a request was due in which 99 of 100 had a good answer; none where they are too few.
    pub p99_s: Option<f64>,
    /// Whether it took longer than that: fewer than 99 of 100 had a good answer at all.
    pub p99_is_at_least: bool,
    /// How often a connection had to wait since the backlog was full.
    pub backlog_full: u64,
}

/// A warm pool under load, one of whose workers is killed. Each request is lost, unsent, late or answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KilledWorker {
    /// Requests per second: a quarter of what the pool could take.
    pub rate: f64,
    /// Requests in all, before the kill and after.
    pub due: u64,
    /// Of them, those that were sent and had no good answer.
    pub lost: u64,
    /// Those that still waited for a connection when the load was over: the pool had not made up for its outage.
    pub unsent: u64,
    /// Those answered more than [`LATE`](super::LATE) after they were due. By the rate it is the seconds for which the requests
    /// that came were late.
    pub late: u64,
    /// Seconds from the time when it was due to the good answer that was waited for longest.
    pub longest_s: f64,
    /// Seconds from the kill to the end of the last request that was late or lost, after which all were answered in time again; 0
    /// where none was. None where requests are unsent: there was no such end while the pool was asked.
    pub recovered_s: Option<f64>,
}
