//! Series: the same measurement at several sizes, which is what `cargo bench` draws. A group of them says what is measured;
//! all points are measured here, in interleaved slices, before anybody looks at one of them.
//!
//! ```text
//!   GROUPS ──► ids (cargo bench -- --list)
//!     └──────► measure ──► Measured ──► Samples ──► Criterion
//!              (slices, launches)  └──► report::series_page
//! ```

mod measure;
mod samples;

use std::fmt;
use std::thread;
use std::time::Duration;

use fcgi_load::Mode;

use crate::entry::Kind;
use crate::experiment::{Ask, LEAD_IN, Plan, REST, Regime};
use crate::launch::Family;
use crate::mix::Mix;

pub use measure::{Measured, measure, part_of, share};
pub use samples::Samples;

/// How often all pools of a point are started afresh.
pub const LAUNCHES: usize = 3;
/// How long each pool is asked before its first turn.
const WARM_UP: Duration = Duration::from_millis(30);
/// What a pool takes to start and to end, roughly.
const POOL: Duration = Duration::from_millis(30);
/// How long all launches of all points may take together. Where there is more to measure, each pool has fewer turns.
const BUDGET: Duration = Duration::from_secs(180);
/// Turns that a pool has at least: Criterion wants ten samples of all launches.
const LEAST: usize = 4;
/// Requests on one connection where they are multiplexed.
const STREAMS: usize = 8;

/// What is measured at several sizes, for all entries side by side.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// What charts call it.
    pub name: &'static str,
    /// The same, of CPU per request, if that has a chart of its own.
    cpu_name: Option<&'static str>,
    /// How connections are used.
    pub mode: Mode,
    /// What is asked for, by its name ([`Mix::NAMED`]).
    workload: &'static str,
    /// What the sizes count.
    pub over: Over,
    /// From the least to the greatest.
    pub sizes: &'static [usize],
    /// How long each pool is asked at a time.
    pub(crate) turns: Turns,
}

/// How often each pool has its turn in a launch, and how long a turn is timed. With the start and the end of a pool, a launch of
/// a point takes a quarter of a second in either way, unless there are too many points for all these turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turns {
    slices: usize,
    slice: Duration,
}

impl Turns {
    /// How long they take, with what lies between them.
    fn time(self) -> Duration {
        (LEAD_IN + self.slice + 2 * REST) * self.slices as u32
    }

    /// So many of them, as long as they are.
    fn cut(self, share: f64) -> Self {
        let slices = (self.slices as f64 * share) as usize;
        Self { slices: slices.clamp(LEAST, self.slices), ..self }
    }
}

/// Where a request takes microseconds: the shorter the turns, the closer together lies what is compared.
const SHORT: Turns = Turns { slices: 36, slice: Duration::from_millis(3) };
/// Where a request takes milliseconds, of which a turn has to hold several.
const LONG: Turns = Turns { slices: 6, slice: Duration::from_millis(25) };

/// What the sizes of a group count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Requests in flight, before one worker process.
    Clients,
    /// Worker processes, before so many clients.
    Processes(usize),
}

/// What is looked at in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Time per request: the reciprocal of throughput.
    Time,
    /// Processor time of the workers per request.
    Cpu,
}

const CLIENTS: &[usize] = &[1, 8, 64];

/// All there are.
pub const GROUPS: [Group; 7] = [
    over_clients("close", "close-cpu", Mode::Close),
    over_clients("keep", "keep-cpu", Mode::Keep),
    over_clients("multiplex", "multiplex-cpu", Mode::Multiplex),
    of_workload("wait", &[64, 512]),
    of_workload("cpu", &[8, 64]),
    of_workload("upload", &[8, 64]),
    // The question of 2007: a front end that never keeps a connection, before more and more processes.
    Group {
        name: "processes",
        cpu_name: None,
        mode: Mode::Close,
        workload: "hello",
        over: Over::Processes(32),
        sizes: &[1, 2, 3, 4, 8, 13],
        turns: SHORT,
    },
];

const fn over_clients(name: &'static str, cpu_name: &'static str, mode: Mode) -> Group {
    Group {
        name,
        cpu_name: Some(cpu_name),
        mode,
        workload: "hello",
        over: Over::Clients,
        sizes: CLIENTS,
        turns: SHORT,
    }
}

/// What is not `/hello`, with kept connections, as front ends prefer them.
const fn of_workload(name: &'static str, sizes: &'static [usize]) -> Group {
    Group { name, cpu_name: None, mode: Mode::Keep, workload: name, over: Over::Clients, sizes, turns: LONG }
}

impl Group {
    /// The charts of it, and what each is called.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Figure)> + use<> {
        [Some((self.name, Figure::Time)), self.cpu_name.map(|name| (name, Figure::Cpu))].into_iter().flatten()
    }

    /// What is asked for.
    pub fn workload(&self) -> Mix {
        Mix::named(self.workload).unwrap_or_default()
    }

    /// Whether such an entry stands in it. What a floor shows holds for one process alone.
    pub fn is_for(&self, kind: Kind) -> bool {
        kind.answers(&self.workload()) && (kind != Kind::Floor || self.over == Over::Clients)
    }

    /// What each point of an entry is called, whether or not it turns out that the entry cannot take part.
    pub fn ids(&self, name: &str) -> impl Iterator<Item = String> {
        self.figures().flat_map(move |(chart, _)| self.sizes.iter().map(move |&size| id(chart, name, size)))
    }

    /// How many slices a point has in all, where there is time for such a share of them.
    pub fn slices(&self, share: f64) -> usize {
        LAUNCHES * self.turns.cut(share).slices
    }

    /// How a point is measured, where there is time for all turns.
    pub fn plan(&self, size: usize, seed: u64) -> Plan {
        let (processes, clients) = match self.over {
            Over::Clients => (1, size),
            Over::Processes(clients) => (size, clients),
        };
        Plan {
            seed,
            launches: LAUNCHES,
            minutes: None,
            slices: self.turns.slices,
            slice: self.turns.slice,
            lead_in: LEAD_IN,
            warm_up: WARM_UP,
            regime: regime(),
            worker_cores: None,
            family: Family::Unix,
            processes: vec![processes],
            clients,
            streams: STREAMS,
            multiplexed: None,
            asks: vec![Ask::of(self.mode, self.workload())],
            rate: None,
        }
    }
}

/// What a point is called.
pub fn id(chart: &str, name: &str, size: usize) -> String {
    format!("{chart}/{name}/{size}")
}

/// Workers and generator on a core each, where there are two.
fn regime() -> Regime {
    match thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => Regime::Isolated,
        _ => Regime::Shared,
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slices of {} ms", self.slices, self.slice.as_millis())
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clients => "clients",
            Self::Processes(_) => "processes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_point_of_every_chart() {
        let ids: Vec<String> = GROUPS.iter().flat_map(|group| group.ids("one")).collect();
        assert_eq!(ids.len(), 3 * 2 * 3 + 3 * 2 + 6);
        for id in ["close/one/1", "keep-cpu/one/8", "wait/one/512", "multiplex/one/64", "processes/one/13"] {
            assert!(ids.iter().any(|listed| listed == id), "{id}");
        }
    }

    #[test]
    fn turns_become_fewer_and_no_shorter() {
        assert_eq!(SHORT.cut(1.0), SHORT);
        for (turns, share, slices) in
            [(SHORT, 0.75, 27), (SHORT, 0.01, LEAST), (LONG, 0.75, 4), (LONG, 0.5, LEAST)]
        {
            assert_eq!(turns.cut(share), Turns { slices, ..turns });
        }
        const { assert!(LAUNCHES * LEAST >= 10) };
    }

    #[test]
    fn a_floor_stands_where_one_process_does() {
        let of = |kind| GROUPS.iter().filter(|group| group.is_for(kind)).map(|group| group.name).collect();
        let (floors, peers): (Vec<&str>, Vec<&str>) = (of(Kind::Floor), of(Kind::Peer));
        assert_eq!(floors, ["close", "keep", "multiplex"]);
        assert_eq!(peers, ["close", "keep", "multiplex", "wait", "upload", "processes"]);
    }

    #[test]
    fn a_size_counts_clients_or_processes() {
        let [close, .., processes] = &GROUPS;
        let plan = close.plan(8, 1);
        assert_eq!((plan.clients, plan.processes, plan.asks), (8, vec![1], vec![Ask::hello(Mode::Close)]));
        let plan = processes.plan(13, 1);
        assert_eq!((plan.clients, plan.processes, plan.asks), (32, vec![13], vec![Ask::hello(Mode::Close)]));
    }
}
