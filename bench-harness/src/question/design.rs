//! The design of the experiment, as `data/claims.toml` writes it down: its parts, and the claims that they decide.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use fcgi_load::Mode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::experiment::{Ask, Neighbour, Regime};
use crate::front_ends::Server;
use crate::mix::Mix;
use crate::startup::Start;

/// All that was written down before the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// What is measured.
    pub parts: Vec<Part>,
    /// How long it takes until there is an answer.
    pub startup: Startup,
    /// What is decided.
    pub claims: Vec<Claim>,
}

/// A piece of the experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What tests, data and links call it.
    pub name: String,
    /// What the page calls it.
    pub title: String,
    /// How it is measured, in a sentence or two.
    pub says: String,
    /// Who stands before the workers, and how it uses its connections to them.
    pub uses: Vec<Use>,
    /// What is asked for.
    pub workloads: Vec<Mix>,
    /// Clients beside those that are counted, one at a time; none where it names none.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
    /// Who runs on which cores.
    pub regime: Regime,
    /// Worker processes.
    pub processes: Vec<Count>,
    /// Requests in flight.
    pub clients: Vec<usize>,
    /// Entries that are alive at the same time.
    pub groups: Vec<Vec<String>>,
    /// The entry that runs twice under two names, wherever it takes part: how far the two differ is what this part resolves.
    pub twin: Option<String>,
    /// All other strategies take part, in groups of so many; none of them where it is 0.
    #[serde(default)]
    pub others: usize,
    /// Of the other strategies only those that take several requests on a connection.
    #[serde(default)]
    pub multiplexing: bool,
    /// How many milliseconds a turn is timed, where that is not the usual time.
    pub slice_ms: Option<u64>,
    /// What charts over its uses show: where it does not say, the CPU of web server and workers.
    #[serde(default = "total_cpu")]
    pub charts: Vec<Metric>,
    /// System calls are counted, too.
    #[serde(default)]
    pub explains: bool,
    /// What is different in a quick run, which leaves out a part that does not say.
    pub quick: Option<Quick>,
}

/// What a part is in a quick run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    uses: Option<Vec<Use>>,
    workloads: Option<Vec<Mix>>,
    processes: Option<Vec<Count>>,
    groups: Option<Vec<Vec<String>>>,
    others: Option<usize>,
}

/// A number of worker processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Count {
    /// So many.
    Number(usize),
    /// As many as the machine has cores.
    Cores,
}

/// Who stands before the workers, and how their connections are used: `haproxy keep`, or `direct close` where the generator
/// speaks FastCGI itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Use {
    /// The web server, if there is one.
    pub front_end: Option<Server>,
    /// How connections to the workers are used.
    pub mode: Mode,
}

/// The start-up experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Startup {
    /// What the page calls it.
    pub title: String,
    /// How it is measured.
    pub says: String,
    /// What a worker does before it serves.
    pub starts: Vec<Start>,
    /// Who is started.
    pub pools: Vec<StartupPool>,
}

/// Who is started, with how many processes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartupPool {
    /// The entry.
    pub entry: String,
    /// Worker processes.
    pub processes: usize,
}

/// A sentence, and what decides it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its place in the table.
    pub number: usize,
    /// Whose it is.
    pub source: Source,
    /// In the words of 2007, where it is from there.
    pub quote: Option<String>,
    /// What is tested.
    pub says: String,
    /// The part that shows it.
    pub chart: String,
    /// What decides it, and what is told beside that.
    pub tests: Vec<Test>,
}

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// The library that the question was asked of.
    Flup,
    /// The models of today.
    Today,
}

impl About {
    /// As the claims' file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flup => "flup",
            Self::Today => "today",
        }
    }
}

/// Whose claim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Source {
    /// The text's of 2007.
    #[serde(rename = "2007")]
    Then,
    /// This project's.
    #[serde(rename = "ours")]
    Ours,
}

/// An effect, and the rule for its verdict.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What is compared to what.
    pub says: String,
    /// The verdict that depends on it; none where it only stands beside.
    pub decides: Option<About>,
    /// Where it is measured; of the start-up experiment `startup` says what.
    pub part: Option<String>,
    /// The figure.
    pub metric: Option<Metric>,
    /// A figure of the start-up experiment.
    pub startup: Option<StartupFigure>,
    /// The use that all of it is of.
    #[serde(rename = "use")]
    pub used: Option<Use>,
    /// The client beside, that all of it is of.
    pub neighbour: Option<Neighbour>,
    /// The effect is the ratio of this,
    pub of: Option<Term>,
    /// to this;
    pub to: Option<Term>,
    /// and where this is given, that ratio by the ratio of `to` to this.
    pub beyond: Option<Term>,
    /// The effect is the ratio of how much both vary over the number of processes.
    #[serde(default)]
    pub variation: bool,
    /// Instead: that no other number of processes is better than this one.
    pub best: Option<Term>,
    /// Which way the effect is claimed to go.
    pub claimed: Option<Direction>,
    /// As a factor of at least 1.
    pub margin: f64,
}

/// What a figure is of. What is not said is averaged over, or is the same in all of the test.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The entry.
    pub entry: String,
    /// Worker processes.
    pub processes: Option<Count>,
    /// The use.
    #[serde(rename = "use")]
    pub used: Option<Use>,
    /// What was asked for.
    pub workload: Option<Mix>,
    /// Requests in flight.
    pub clients: Option<usize>,
}

/// A figure of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Requests per second.
    Throughput,
    /// Microseconds of the workers' processor time for a request.
    WorkerCpu,
    /// The same, of workers and web server.
    TotalCpu,
    /// What 99 of 100 requests do not exceed, of a mix its first request.
    #[serde(rename = "latency-p99")]
    LatencyP99,
    /// The longest answer of a turn, of a mix to its first request.
    LongestWait,
}

fn total_cpu() -> Vec<Metric> {
    vec![Metric::TotalCpu]
}

/// A figure of the start-up experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartupFigure {
    /// Which.
    pub metric: StartupMetric,
    /// What a worker does before it serves.
    pub start: Start,
}

/// What is told of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartupMetric {
    /// From the start to the first good answer.
    First,
    /// From the start to the hundredth.
    Hundredth,
    /// What 99 of 100 requests of a burst at start do not exceed.
    #[serde(rename = "burst-p99")]
    BurstP99,
    /// After a worker was killed, the longest wait for an answer, or until none is late or lost any more where that took longer.
    LongestWait,
}

/// Which way an effect is claimed to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The ratio is above 1.
    More,
    /// It is below 1.
    Less,
}

impl Design {
    /// What is written there, as text too: a run keeps that beside its data.
    ///
    /// # Errors
    ///
    /// It cannot be read, or makes no sense: which claim, and why.
    pub fn read(file: &Path) -> anyhow::Result<(Self, String)> {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(name)?;
        Ok((Self::parse(&text).with_context(name)?, text))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let design: Self = toml::from_str(text)?;
        for used in design.parts.iter().flat_map(|part| &part.uses) {
            if used.front_end.is_some_and(|server| !server.modes().contains(&used.mode)) {
                bail!("{used}: that web server cannot");
            }
        }
        for claim in &design.claims {
            for test in &claim.tests {
                design.check(test).with_context(|| format!("claim {}, {:?}", claim.number, test.says))?;
            }
            if !claim.tests.iter().any(|test| test.decides.is_some()) {
                bail!("claim {}: no test decides it", claim.number);
            }
            if claim.chart != "startup" && design.part(&claim.chart).is_none() {
                bail!("claim {}: there is no part {}", claim.number, claim.chart);
            }
        }
        Ok(design)
    }

    /// The parts of a run.
    pub fn parts_of(&self, is_quick: bool) -> Vec<Part> {
        let quick = || self.parts.iter().filter_map(Part::quick).collect();
        if is_quick { quick() } else { self.parts.clone() }
    }

    /// The entries that a run names.
    pub fn names(&self, is_quick: bool) -> Vec<String> {
        let parts = self.parts_of(is_quick);
        let of_parts = parts.iter().flat_map(|part| part.groups.iter().flatten().cloned());
        let of_starts = self.startup.pools.iter().filter(|_| !is_quick).map(|pool| pool.entry.clone());
        of_parts.chain(of_starts).collect()
    }

    /// Whether strategies that it does not name take part in a run, too.
    pub fn includes_others(&self, is_quick: bool) -> bool {
        self.parts_of(is_quick).iter().any(|part| part.others > 0)
    }

    /// The part of that name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    fn check(&self, test: &Test) -> anyhow::Result<()> {
        match (&test.part, &test.metric, &test.startup) {
            (Some(part), Some(_), None) if self.part(part).is_some() => {}
            (Some(part), Some(_), None) => bail!("there is no part {part}"),
            (None, None, Some(_)) => {}
            _ => bail!("a test has a part and a metric, or a figure of the start-up experiment"),
        }
        match (&test.best, &test.of, &test.to, test.claimed) {
            (Some(best), None, None, None) if best.processes.is_some() => {}
            (None, Some(_), Some(_), Some(_)) => {}
            _ => bail!("a test has of, to and claimed, or best with a number of processes"),
        }
        let terms = [&test.of, &test.to, &test.beyond, &test.best].into_iter().flatten();
        let terms: Vec<&Term> = terms.collect();
        match test.part.as_deref().and_then(|part| self.part(part)) {
            Some(part) => part.check(test, &terms)?,
            None => self.startup.check(test, &terms)?,
        }
        if test.margin < 1.0 {
            bail!("the margin is a factor of at least 1");
        }
        Ok(())
    }
}

/// The SHA-256 of claims as text, in hexadecimal digits.
pub fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Startup {
    fn check(&self, test: &Test, terms: &[&Term]) -> anyhow::Result<()> {
        let has = |term: &&Term| {
            self.pools.iter().any(|pool| {
                pool.entry == term.entry
                    && term.processes.is_none_or(|count| count == Count::Number(pool.processes))
            })
        };
        if let Some(absent) = terms.iter().find(|term| !has(term)) {
            bail!("no pool of {} is started so", absent.entry);
        }
        match test.startup {
            Some(figure) if !self.starts.contains(&figure.start) => {
                bail!("nothing starts so: {}", figure.start)
            }
            _ => Ok(()),
        }
    }
}

impl Part {
    /// What it is in a quick run; none where it is left out.
    pub fn quick(&self) -> Option<Self> {
        let Quick { uses, workloads, processes, groups, others } = self.quick.clone()?;
        Some(Self {
            uses: uses.unwrap_or_else(|| self.uses.clone()),
            workloads: workloads.unwrap_or_else(|| self.workloads.clone()),
            processes: processes.unwrap_or_else(|| self.processes.clone()),
            groups: groups.unwrap_or_else(|| self.groups.clone()),
            others: others.unwrap_or(self.others),
            ..self.clone()
        })
    }

    /// Whether it measures what a test compares, and side by side.
    fn check(&self, test: &Test, terms: &[&Term]) -> anyhow::Result<()> {
        if test.neighbour.as_ref().is_some_and(|neighbour| !self.neighbours.contains(neighbour)) {
            bail!("part {} has no such neighbour", self.name);
        }
        if !self.groups.iter().any(|group| terms.iter().all(|term| group.contains(&term.entry))) {
            bail!("no group of part {} has all of its entries", self.name);
        }
        for term in terms {
            let used = term.used.or(test.used);
            if used.is_some_and(|used| !self.uses.contains(&used)) {
                bail!("part {} has no such use", self.name);
            }
            if term.workload.as_ref().is_some_and(|workload| !self.workloads.contains(workload)) {
                bail!("part {} has no such workload", self.name);
            }
            if term.processes.is_some_and(|count| !self.processes.contains(&count)) {
                bail!("part {} has no such number of processes", self.name);
            }
            if term.clients.is_some_and(|clients| !self.clients.contains(&clients)) {
                bail!("part {} has no such number of clients", self.name);
            }
        }
        Ok(())
    }

    /// The numbers of processes on a machine of so many cores, in order.
    pub fn sizes(&self, cores: usize) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.processes.iter().map(|count| count.on(cores)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

impl Count {
    /// On a machine of so many cores.
    pub fn on(self, cores: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Cores => cores,
        }
    }
}

impl TryFrom<String> for Count {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (&*text, text.parse()) {
            ("cores", _) => Ok(Self::Cores),
            (_, Ok(number @ 1..)) => Ok(Self::Number(number)),
            _ => Err(format!("{text:?} is no number of processes: a number of at least 1, or cores")),
        }
    }
}

impl Use {
    /// What is asked in it, beside a neighbour perhaps.
    pub fn ask(self, workload: Mix, neighbour: Option<Neighbour>) -> Ask {
        Ask { front_end: self.front_end, neighbour, ..Ask::of(self.mode, workload) }
    }

    /// That of what was asked.
    pub fn of(ask: &Ask) -> Self {
        Self { front_end: ask.front_end, mode: ask.mode }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.front_end {
            None => write!(f, "direct {}", self.mode),
            Some(server) => write!(f, "{server} {}", self.mode),
        }
    }
}

impl FromStr for Use {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a web server and a mode: write \"haproxy keep\", or \"direct close\" without one"
            )
        };
        let (server, mode) = text.split_once(' ').ok_or_else(wrong)?;
        let mode = mode.parse().map_err(|_| wrong())?;
        let front_end = match server {
            "direct" => None,
            server => Some(server.parse().map_err(|_| wrong())?),
        };
        Ok(Self { front_end, mode })
    }
}

impl TryFrom<String> for Use {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::data_folder;

    const PART: &str = "[[parts]]\nname = \"one\"\ntitle = \"\"\nsays = \"\"\nuses = [\"direct close\"]\n\
                        workloads = [\"hello\"]\nregime = \"shared\"\nprocesses = [\"1\", \"cores\"]\nclients = [1]\n\
                        groups = [[\"a\", \"b\"]]\n[startup]\ntitle = \"\"\nsays = \"\"\nstarts = []\npools = []\n\
                        [[claims]]\nnumber = 1\nsource = \"ours\"\nsays = \"\"\nchart = \"one\"\n[[claims.tests]]\nsays = \"x\"\n";

    fn refusal(test: &str) -> String {
        format!("{:#}", Design::parse(&format!("{PART}{test}")).unwrap_err())
    }

    #[test]
    fn the_claims_of_2007_and_ours_are_written_down() {
        let (design, text) = Design::read(&data_folder().join("claims.toml")).unwrap();
        let of = |source| design.claims.iter().filter(|claim| claim.source == source).count();
        assert_eq!((of(Source::Then), of(Source::Ours)), (6, 3));
        assert!(design.claims.iter().enumerate().all(|(at, claim)| claim.number == at + 1));
        for claim in &design.claims {
            assert_eq!(claim.quote.is_some(), claim.source == Source::Then, "{}", claim.number);
            assert!(claim.chart == "startup" || design.part(&claim.chart).is_some());
        }
        assert_eq!(hash(&text).len(), 64);
        assert_eq!(hash("abc")[..8], *"ba7816bf");
    }

    #[test]
    fn a_test_that_cannot_be_made_is_refused_before_anything_is_measured() {
        let good = "decides = \"today\"\npart = \"one\"\nmetric = \"throughput\"\nmargin = 1.0\nclaimed = \"more\"\n\
                    of = { entry = \"a\" }\nto = { entry = \"b\" }\n";
        assert!(Design::parse(&format!("{PART}{good}")).is_ok());
        for (from, to, why) in [
            ("part = \"one\"", "part = \"two\"", "there is no part two"),
            ("margin = 1.0", "margin = 0.9", "the margin is a factor of at least 1"),
            ("decides = \"today\"", "", "no test decides it"),
            ("claimed = \"more\"", "", "of, to and claimed, or best"),
            ("metric = \"throughput\"", "", "a test has a part and a metric"),
            ("entry = \"a\"", "entry = \"a\", processes = \"0\"", "no number of processes"),
            ("entry = \"a\"", "entry = \"a\", use = \"apache keep\"", "not a web server and a mode"),
            ("entry = \"a\"", "entry = \"a\", color = \"red\"", "unknown field `color`"),
        ] {
            let said = refusal(&good.replace(from, to));
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn cores_are_a_size_once() {
        let design = Design::parse(&format!(
            "{PART}decides = \"today\"\npart = \"one\"\nmetric = \"throughput\"\nmargin = 1.0\nbest = {{ entry = \"a\", processes = \"cores\" }}\n"
        ))
        .unwrap();
        assert_eq!(design.parts[0].sizes(1), [1]);
        assert_eq!(design.parts[0].sizes(4), [1, 4]);
    }
}
