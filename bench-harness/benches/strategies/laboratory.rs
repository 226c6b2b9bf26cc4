//! What is measured before Criterion is asked, and what became of the rest.

use std::collections::HashSet;
use std::env;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use bench_harness::experiment::{Lineup, Record, Seen, Skipped};
use bench_harness::peers::{PeerError, PeerSource};
use bench_harness::series::{self, GROUPS, Group, LAUNCHES, Measured, id, part_of};
use bench_harness::{BuildError, Entry, Family, Kind, Source, builds, discover, peers, report};
use fcgi_load::Mode;
use indicatif::{ProgressBar, ProgressStyle};

/// What could be measured, nothing of it built.
pub(crate) struct Found {
    strategies: Vec<Source>,
    peers: Vec<PeerSource>,
}

/// What could not be built: skipped where that is in order, and else failed.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    skipped: Vec<Skipped>,
    failures: Vec<String>,
}

impl Found {
    pub(crate) fn here() -> anyhow::Result<Self> {
        let wants_peers = env::var_os("FCGI_LAB_PEERS").is_some_and(|asked| asked != "0");
        let peers = if wants_peers { peers::sources()? } else { Vec::new() };
        Ok(Self { strategies: discover::sources()?, peers })
    }

    /// Every point that there can be in a group: whose, and its size.
    pub(crate) fn points(&self, group: &Group) -> impl Iterator<Item = (&str, usize)> {
        let kind = |source: &Source| if source.is_floor() { Kind::Floor } else { Kind::Strategy };
        let strategies = self.strategies.iter().map(move |source| (source.name(), kind(source)));
        let peers = self.peers.iter().map(|source| (source.name(), Kind::Peer));
        let of_group = strategies.chain(peers).filter(|(_, kind)| group.is_for(*kind));
        of_group.flat_map(|(name, _)| group.sizes.iter().map(move |size| (name, *size)))
    }

    /// Builds what is asked for.
    pub(crate) fn build(&self, asked: &HashSet<String>) -> (Vec<Entry>, Absent) {
        let is_asked =
            |name: &str| GROUPS.iter().flat_map(|group| group.ids(name)).any(|id| asked.contains(&id));
        let mut entries = Vec::new();
        let mut absent = Absent::default();
        for source in self.strategies.iter().filter(|source| is_asked(source.name())) {
            eprintln!("{:>20}  is built", source.name());
            match builds::build(source) {
                Ok(strategy) => entries.push(Entry::Strategy(strategy)),
                Err(why @ BuildError::Unsupported { .. }) => absent.skip(source.name(), why.to_string()),
                Err(why) => absent.fail(source.name(), &why.to_string()),
            }
        }
        for source in self.peers.iter().filter(|source| is_asked(source.name())) {
            eprintln!("{:>20}  is built", source.name());
            match source.build() {
                Ok(peer) => entries.push(Entry::Peer(peer)),
                Err(why @ PeerError::NotInstalled(_)) => absent.skip(source.name(), why.to_string()),
                Err(why) => absent.fail(source.name(), &why.to_string()),
            }
        }
        (entries, absent)
    }
}

impl Absent {
    fn skip(&mut self, name: &str, reason: String) {
        eprintln!("{name:>20}  is skipped: {reason}");
        self.skipped.push(Skipped { name: name.to_owned(), reason });
    }

    fn fail(&mut self, name: &str, why: &str) {
        let failure = format!("{name} is not measured: {why}");
        eprintln!("{failure}");
        self.failures.push(failure);
    }
}

/// The entries that take part, and what was measured of them.
pub(crate) struct Laboratory<'a> {
    asked: &'a HashSet<String>,
    lineup: Lineup<'a>,
    /// Where and how, for the page.
    record: Record,
    pub(crate) measured: Vec<Measured>,
    pub(crate) failures: Vec<String>,
}

impl<'a> Laboratory<'a> {
    /// Verifies every entry: nothing is measured that answers wrongly.
    pub(crate) fn open(entries: &'a [Entry], absent: Absent, asked: &'a HashSet<String>) -> Self {
        let Absent { skipped, failures } = absent;
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let [first, ..] = &GROUPS;
        let record = Record::begun(first.plan(first.sizes[0], seed), skipped);
        let mut see = |seen: Seen<'_>| {
            if let Seen::Admission(name) = seen {
                eprintln!("{name:>20}  is verified");
            }
        };
        let lineup = Lineup::of(entries, Family::Unix, &AtomicBool::new(false), &mut see);
        let mut laboratory = Self { asked, lineup, record, measured: Vec::new(), failures };
        for Skipped { name, reason } in std::mem::take(&mut laboratory.lineup.skipped) {
            let failure = format!("{name} is not measured: {reason}");
            eprintln!("{failure}");
            laboratory.failures.push(failure);
            laboratory.record.skipped.push(Skipped { name, reason });
        }
        laboratory.record.entries.clone_from(&laboratory.lineup.participants);
        laboratory
    }

    /// Measures what is asked for.
    pub(crate) fn measure(&mut self) -> anyhow::Result<()> {
        let Self { asked, lineup, .. } = &*self;
        let is_asked = |group: &Group, name: &str, size| {
            group.figures().any(|(chart, _)| asked.contains(&id(chart, name, size)))
        };
        let share = series::share(&GROUPS, lineup, is_asked);
        let mut cycles = 0;
        for group in &GROUPS {
            let takes_part = |size| move |name: &str| is_asked(group, name, size);
            let entries_with = |size| part_of(lineup, group, takes_part(size)).entries.len();
            let count = group.sizes.iter().map(|size| entries_with(*size)).max().unwrap_or_default();
            if count == 0 {
                continue;
            }
            let sizes: Vec<usize> =
                group.sizes.iter().copied().filter(|size| entries_with(*size) > 0).collect();
            cycles += group.slices(share) * sizes.len();
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            let (sizes, name, over) = (sizes.join(", "), group.name, group.over);
            let plural = if count == 1 { "entry" } else { "entries" };
            eprintln!("{name:>20}  {count} {plural} side by side: {sizes} {over}");
        }
        if share < 1.0 {
            let percent = share * 100.0;
            eprintln!(
                "{:>20}  of their turns, so that all takes no longer than it may",
                format!("{percent:.0} %")
            );
        }
        let line = line(cycles);
        let mut failures = Vec::new();
        let mut see = |group: &Group, size, seen: Seen<'_>| match seen {
            Seen::Cycle { launch, .. } => {
                let (name, over) = (group.name, group.over);
                line.set_message(format!("launch {launch} of {LAUNCHES}: {name}, {size} {over}"));
                line.inc(1);
            }
            Seen::Void(trial) => {
                let why = trial.void.as_deref().unwrap_or_default();
                let point = format!("{} fails in {} with {size} {}", trial.entry, group.name, group.over);
                // One launch is enough.
                if !failures.iter().any(|failure: &String| failure.starts_with(&point)) {
                    let failure = format!("{point}, which voids that point: {why}");
                    line.suspend(|| eprintln!("{failure}"));
                    failures.push(failure);
                }
            }
            _ => {}
        };
        // Nobody tells it to stop.
        let (seed, stop) = (self.record.plan.seed, AtomicBool::new(false));
        let measured = series::measure(&GROUPS, lineup, seed, is_asked, &stop, &mut see)?;
        line.finish_and_clear();
        let measured = measured.unwrap_or_default();
        for measured in &measured {
            let group = measured.group;
            for participant in &lineup.participants {
                let name = &participant.name;
                let is_missing = |size: &&usize| {
                    group.is_for(participant.kind)
                        && is_asked(group, name, **size)
                        && measured.trials_of(name, **size).next().is_none()
                };
                let missing: Vec<String> =
                    group.sizes.iter().filter(is_missing).map(usize::to_string).collect();
                if !missing.is_empty() {
                    let why = match group.mode {
                        Mode::Multiplex if !participant.multiplexes => "it does not multiplex",
                        _ => "it takes no part",
                    };
                    eprintln!("{:>20}  {name} is skipped with {}: {why}", group.name, missing.join(", "));
                }
            }
        }
        self.failures.append(&mut failures);
        self.measured = measured;
        Ok(())
    }

    /// Our page.
    pub(crate) fn page(&self) -> String {
        report::series_page(&self.record, &self.measured)
    }
}

/// How far a group is. Away from a terminal it is not drawn.
fn line(cycles: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>5} {bar:30} {pos}/{len} {wide_msg} {eta:>5} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(cycles as u64).with_style(style)
}
