//! The raw data of an experiment: what was planned, on which machine, and every trial. Reports are made of it alone.

use std::time::Duration;

use fcgi_load::Mode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::machine;
use super::neighbour::Neighbour;
use super::regime::Regime;
use super::slices::Slices;
use crate::entry::Kind;
use crate::front_ends::Server;
use crate::launch::Family;
use crate::mix::Mix;

/// The version of this format.
pub const FORMAT: u32 = 4;
/// The oldest that can be read: launches of one slice each, one entry after the other. In the second no ask has a regime of its
/// own; before the fourth there are no targets, of which less is known.
pub const OLDEST_FORMAT: u32 = 1;

/// An experiment, whole or interrupted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// When it began, in UTC.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Of what.
    pub versions: Versions,
    /// How.
    pub plan: Plan,
    /// The entry that all others are compared to; its twin is called [`twin_of`] it.
    pub reference: String,
    /// Who took part.
    pub entries: Vec<Participant>,
    /// Who did not, and why.
    pub skipped: Vec<Skipped>,
    /// Every trial, in the order in which they were made.
    pub trials: Vec<Trial>,
    /// System calls, counted in a pass of their own.
    pub system_calls: Vec<SystemCalls>,
}

impl Record {
    /// Launches that are over.
    pub fn launches(&self) -> usize {
        self.trials.iter().map(|trial| trial.launch).max().unwrap_or(0)
    }

    /// Of an experiment that begins now, here.
    pub fn begun(plan: Plan, skipped: Vec<Skipped>) -> Self {
        Self {
            format: FORMAT,
            date: machine::date(),
            machine: Machine::here(),
            versions: Versions::here(),
            plan,
            reference: String::new(),
            entries: Vec::new(),
            skipped,
            trials: Vec::new(),
            system_calls: Vec::new(),
        }
    }
}

/// A pool that takes more than this share of a core while nobody asks it costs the others time.
pub const BUSY_WHEN_IDLE: f64 = 0.001;

/// The name under which an entry runs a second time.
pub fn twin_of(name: &str) -> String {
    format!("{name} (twin)")
}

/// The machine that an experiment ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// The kernel's release and architecture.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// The processors that the experiment could use.
    pub cores: usize,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// The load average when it began: how quiet the machine was.
    pub load_average: String,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// The commit, if it is known.
    pub commit: Option<String>,
    /// Whether files differed from the commit.
    pub modified: bool,
    /// The compiler.
    pub rustc: String,
}

/// What was to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// All shuffles are made from it.
    pub seed: u64,
    /// How often all pools are started afresh.
    #[serde(alias = "rounds")]
    pub launches: usize,
    /// For how many minutes the run goes on, beyond those launches, too, until all is known that was to be known; none where
    /// it ends with them.
    #[serde(default)]
    pub minutes: Option<u32>,
    /// How often each entry has its turn in a launch.
    #[serde(default = "one")]
    pub slices: usize,
    /// How long that turn is timed.
    #[serde(rename = "slice_s", alias = "trial_s", with = "seconds")]
    pub slice: Duration,
    /// How long it runs before that.
    #[serde(rename = "lead_in_s", default, with = "seconds")]
    pub lead_in: Duration,
    /// How long each pool is asked before the first slice.
    #[serde(rename = "warm_up_s", with = "seconds")]
    pub warm_up: Duration,
    /// Who runs on which cores.
    pub regime: Regime,
    /// In the isolated regime, cores for the workers; all others then are for generators, one on each. None: one and one.
    #[serde(default)]
    pub worker_cores: Option<usize>,
    /// The kind of socket.
    pub family: Family,
    /// Worker processes.
    pub processes: Vec<usize>,
    /// Requests in flight, over all connections.
    pub clients: usize,
    /// Of them on one connection, in multiplex mode.
    pub streams: usize,
    /// Connections in multiplex mode, each with so many streams, however many clients there are.
    #[serde(default)]
    pub multiplexed: Option<usize>,
    /// What is compared, each with each number of processes.
    #[serde(alias = "modes", deserialize_with = "asks")]
    pub asks: Vec<Ask>,
    /// Requests per second in an open loop; none in a closed one.
    pub rate: Option<f64>,
}

/// What everybody is asked in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How connections are used.
    pub mode: Mode,
    /// What is asked for. Older records do not say: it was `/hello`.
    #[serde(default = "Mix::default")]
    pub workload: Mix,
    /// Whether everybody is on all cores, in a plan that isolates else: those alone whose threads share the work, and the reference
    /// beside them.
    #[serde(default, skip_serializing_if = "is_not")]
    pub on_all_cores: bool,
    /// The web server before the workers, which uses its connections to them as `mode` says and is asked by HTTP; none where the
    /// generator speaks FastCGI itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front_end: Option<Server>,
    /// A client beside those that are counted, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<Neighbour>,
}

impl Ask {
    /// For `/hello`.
    pub fn hello(mode: Mode) -> Self {
        Self::of(mode, Mix::default())
    }

    /// For this, in the plan's regime.
    pub fn of(mode: Mode, workload: Mix) -> Self {
        Self { mode, workload, on_all_cores: false, front_end: None, neighbour: None }
    }
}

/// Older records name modes, in which `/hello` was asked for.
fn asks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Ask>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Mode(Mode),
        Ask(Ask),
    }

    let asks = Vec::<Either>::deserialize(deserializer)?;
    let ask = |either| match either {
        Either::Mode(mode) => Ask::hello(mode),
        Either::Ask(ask) => ask,
    };
    Ok(asks.into_iter().map(ask).collect())
}

impl Trial {
    /// The least and the most threads that a worker had.
    pub(crate) fn threads(&self) -> Option<(u64, u64)> {
        let threads =
            || self.figures.iter().flat_map(|figures| &figures.workers).map(|worker| worker.threads);
        threads().min().zip(threads().max())
    }
}

impl Plan {
    /// The connections and the requests on each that a front end would have: several requests on one only where they
    /// are multiplexed.
    pub(crate) fn load(&self, mode: Mode) -> (usize, usize) {
        match (mode, self.multiplexed) {
            (Mode::Close | Mode::Keep, _) => (self.clients, 1),
            (Mode::Multiplex, Some(connections)) => (connections, self.streams),
            (Mode::Multiplex, None) => {
                let connections = self.clients.div_ceil(self.streams);
                (connections, self.clients.div_ceil(connections))
            }
        }
    }
}

/// An entry that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Of somebody else's implementation.
    pub version: Option<String>,
    /// Connections that one process of it holds; of a target all of it.
    pub connections: usize,
    /// Whether it takes several requests at a time on one connection.
    pub multiplexes: bool,
    /// Whether each new connection wakes all of its processes. Older records do not say.
    #[serde(default)]
    pub wakes_all: bool,
    /// Whether its threads share the work: it then has one for each core that its processes are pinned to, and
    /// its default where they are pinned to none. Older records do not say.
    #[serde(default)]
    pub has_thread_per_core: bool,
    /// Whether it is a form of a strategy, which takes part where it is named. Older records do not say: there was none.
    #[serde(default, skip_serializing_if = "is_not")]
    pub is_form: bool,
    /// Where it answers: of a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What an idle pool of it takes, as a share of a core. Older records do not say, and of a target it is not known.
    #[serde(default)]
    pub idle_share: Option<f64>,
    /// What fcgi-verify's quick cases said before it was timed.
    pub verified: Verified,
}

/// What fcgi-verify found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Cases passed.
    pub passed: usize,
    /// Cases that do not apply.
    pub not_applicable: usize,
    /// The binding cases that failed.
    pub failed: Vec<String>,
}

/// An entry that took no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What an entry did in a launch of a cell: one pool, warmed up and timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1.
    #[serde(alias = "round")]
    pub launch: usize,
    /// The entry, or its twin.
    pub entry: String,
    /// What it was asked.
    #[serde(flatten)]
    pub ask: Ask,
    /// Worker processes; of a target, whose are not known, those that the others of its cell had.
    pub processes: usize,
    /// Connections open at a time.
    pub connections: usize,
    /// Requests in flight on each.
    pub streams: usize,
    /// Why nothing of it counts, if so.
    pub void: Option<String>,
    /// What was measured, unless it is void.
    pub figures: Option<Figures>,
}

/// What a trial measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests answered, each reply checked.
    pub requests: u64,
    /// How long that took.
    #[serde(rename = "elapsed_s", with = "seconds")]
    pub elapsed: Duration,
    /// User and system time of all the pool's processes, reaped children included. Of a target it is not known.
    #[serde(rename = "worker_cpu_s", with = "seconds_if_known")]
    pub worker_cpu: Option<Duration>,
    /// User and system time of the web server before them, if there is one.
    #[serde(
        rename = "front_end_cpu_s",
        default,
        with = "maybe_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub front_end_cpu: Option<Duration>,
    /// Of the workers' in user mode, as the kernel's ticks sample it; none where that is not known.
    pub user_share: Option<f64>,
    /// User and system time of the generator's thread.
    #[serde(rename = "generator_cpu_s", with = "seconds")]
    pub generator_cpu: Duration,
    /// Nanoseconds from the time a request was sent, or was due in an open loop, to the end of its reply: median. Of a mix
    /// that of its first request alone: what it waits for the others.
    pub latency_p50_ns: u64,
    /// The same: 99 of 100 are no longer.
    pub latency_p99_ns: u64,
    /// Achieved by offered rate, in an open loop.
    pub achieved_by_offered: Option<f64>,
    /// The most requests in flight on one connection.
    pub peak_in_flight: u32,
    /// Replies that the generator had to parse, since they were not byte for byte an earlier one.
    pub parsed: u64,
    /// Context switches of the pool over its whole life; none where the kernel did not say.
    pub switches: Option<Switches>,
    /// Each process of the pool, at the end of the timed part; none of a target, whose are not known.
    pub workers: Vec<Worker>,
    /// Its slices.
    #[serde(default, skip_serializing_if = "Slices::is_empty")]
    pub slices: Slices,
}

#[cfg(test)]
impl Figures {
    /// What slices add up to, and nothing else.
    pub(crate) fn of(slices: Slices) -> Self {
        Self {
            requests: slices.requests.iter().sum(),
            elapsed: Duration::from_nanos(slices.elapsed_ns.iter().sum()),
            worker_cpu: Some(slices.cpu()),
            front_end_cpu: None,
            user_share: None,
            generator_cpu: Duration::ZERO,
            latency_p50_ns: 1,
            latency_p99_ns: 1,
            achieved_by_offered: None,
            peak_in_flight: 1,
            parsed: 0,
            switches: None,
            workers: Vec::new(),
            slices,
        }
    }
}

/// Context switches of all processes of a pool, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switches {
    /// It had to wait.
    pub voluntary: u64,
    /// Something else was to run.
    pub involuntary: u64,
    /// The requests answered in that life, the warm-up's included.
    pub requests: u64,
}

/// A worker process at the end of the timed part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// The same, with what is shared counted in shares.
    pub pss_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Processor time in the timed part, reaped children included: how the work spread over the processes.
    #[serde(rename = "cpu_s", with = "seconds")]
    pub cpu: Duration,
}

/// System calls of one entry in one mode, never counted in a timed trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemCalls {
    /// The entry.
    pub entry: String,
    /// How connections were used.
    pub mode: Mode,
    /// What counted them; or why they were not counted.
    pub counted_by: Result<String, String>,
    /// Requests answered meanwhile.
    pub requests: u64,
    /// Calls by name.
    pub calls: Vec<(String, u64)>,
}

/// Older records do not say.
fn one() -> usize {
    1
}

fn is_not(flag: &bool) -> bool {
    !flag
}

/// The same, where there may be none.
mod maybe_seconds {
    use super::{Deserialize, Deserializer, Duration, Serializer, seconds};

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => seconds::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        let duration = |seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom);
        seconds.map(duration).transpose()
    }
}

/// Durations as seconds.
mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// The same, of durations that may not be known.
mod seconds_if_known {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Seconds(#[serde(with = "super::seconds")] Duration);

    pub(super) fn serialize<S: Serializer>(
        known: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        known.map(Seconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(duration)| duration))
    }
}
