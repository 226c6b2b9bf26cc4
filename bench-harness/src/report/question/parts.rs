//! What a part says in numbers: a value of each contender over the launches, and tables of them.

use std::time::Duration;

use super::Findings;
use super::dots;
use super::effects;
use super::page::CONNECTIONS;
use crate::entry::Kind;
use crate::experiment::{Figures, Neighbour, Participant, twin_of};
use crate::mix::Mix;
use crate::question::{Metric, Part, StartupMetric, Trial, Use};
use crate::report::lines::{Line, Point};
use crate::report::metric::micros_per_request;
use crate::report::statistics::{ALPHA, Estimate, Sample, logarithm, median};
use crate::report::tables::Table;
use crate::report::words;
use crate::startup::{Start, StartFigures, StartTrial};

/// So many colours the page has.
const HUES: usize = 10;

/// What is alike in the trials of a contender of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) entry: String,
    pub(crate) used: Use,
    pub(crate) workload: Mix,
    pub(crate) processes: usize,
    pub(crate) clients: usize,
    /// Connections of the generator: fewer than clients where the entry holds fewer.
    pub(crate) connections: usize,
    pub(crate) neighbour: Option<Neighbour>,
}

/// A pool that was started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Started {
    pub(crate) start: Start,
    pub(crate) entry: String,
    pub(crate) processes: usize,
}

impl Findings<'_> {
    /// Those that were measured in a part, in the order of the entries.
    pub(crate) fn contenders(&self, part: &Part) -> Vec<Contender> {
        let mut contenders: Vec<Contender> = Vec::new();
        for trial in self.record.trials.iter().filter(|trial| trial.part == part.name) {
            let contender = Contender::of(trial);
            if !contenders.contains(&contender) {
                contenders.push(contender);
            }
        }
        // Twins come last.
        let place = |name: &str| {
            let place = self.record.entries.iter().position(|entry| entry.name == name);
            place.unwrap_or(usize::MAX)
        };
        contenders.sort_by_key(|one| {
            let asked = (one.workload.to_string(), one.neighbour.clone(), one.used.to_string());
            (place(&one.entry), asked, one.clients, one.processes)
        });
        contenders
    }

    /// Over the launches.
    pub(crate) fn value(&self, part: &Part, contender: &Contender, metric: Metric) -> Option<Estimate> {
        self.estimate(part, contender, |figures| effects::value(metric, figures))
    }

    fn estimate(
        &self,
        part: &Part,
        contender: &Contender,
        value: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<Estimate> {
        estimate(self.figures(part, contender).filter_map(value))
    }

    fn figures<'b>(&'b self, part: &Part, contender: &Contender) -> impl Iterator<Item = &'b Figures> {
        let is_of = |trial: &&Trial| trial.part == part.name && contender.is_of(trial);
        let figures: Vec<&Figures> = self
            .record
            .trials
            .iter()
            .filter(is_of)
            .filter_map(|trial| trial.measured.figures.as_ref())
            .collect();
        figures.into_iter()
    }

    /// Requests per second of every entry of a part, over what `size` says.
    pub(crate) fn lines(&self, part: &Part, workload: &Mix, size: impl Fn(&Contender) -> usize) -> Vec<Line> {
        let contenders = self.contenders(part);
        let point = |contender: &Contender| {
            Some(Point {
                size: size(contender),
                estimate: self.value(part, contender, Metric::Throughput)?,
                is_hollow: contender.connections < contender.clients,
            })
        };
        let line = |(at, entry): (usize, &Participant)| {
            let own = contenders.iter().filter(|one| one.entry == entry.name && one.workload == *workload);
            let hue = format!("hue{}", at % HUES);
            let class = if entry.kind == Kind::Peer { format!("peer {hue}") } else { hue };
            Line { name: entry.name.clone(), class, points: own.filter_map(point).collect() }
        };
        let lines = self.record.entries.iter().enumerate().map(line);
        lines.filter(|line| !line.points.is_empty()).collect()
    }

    /// A row for each entry, a mark for each use, in a unit of which there are so many in the metric's.
    pub(crate) fn dots(
        &self,
        part: &Part,
        workload: &Mix,
        neighbour: Option<&Neighbour>,
        metric: Metric,
        factor: f64,
    ) -> Vec<dots::Row> {
        let contenders = self.contenders(part);
        let row = |entry: &Participant| {
            let mut row = dots::Row { name: entry.name.clone(), marks: Vec::new(), hollow: Vec::new() };
            for (way, used) in part.uses.iter().enumerate() {
                let contender = contenders.iter().find(|one| {
                    (&one.entry, &one.workload, &one.used) == (&entry.name, workload, used)
                        && one.neighbour.as_ref() == neighbour
                });
                let Some(contender) = contender else { continue };
                let Some(value) = self.value(part, contender, metric) else { continue };
                row.marks.push((way, value.times(factor)));
                if used.front_end.is_some() && contender.connections < contender.clients {
                    row.hollow.push(way);
                }
            }
            row
        };
        let mut rows: Vec<dots::Row> = self.record.entries.iter().map(row).collect();
        rows.retain(|row| !row.marks.is_empty());
        let least =
            |row: &dots::Row| row.marks.iter().map(|(_, value)| value.center).fold(f64::INFINITY, f64::min);
        rows.sort_by(|one, other| least(one).total_cmp(&least(other)));
        rows
    }

    /// How far the same entry under two names differs, in each part that has a twin: this is what the part resolves.
    pub(crate) fn resolutions(&self) -> Vec<String> {
        self.design.parts.iter().filter_map(|part| self.resolution(part)).collect()
    }

    fn resolution(&self, part: &Part) -> Option<String> {
        let name = part.twin.as_ref()?;
        let contenders = self.contenders(part);
        let own: Vec<&Contender> = contenders.iter().filter(|one| one.entry == *name).collect();
        let told = [(Metric::Throughput, "throughput"), (Metric::TotalCpu, "CPU for a request")].map(
            |(metric, words)| {
                let ratios: Vec<Estimate> =
                    own.iter().filter_map(|one| self.twin(part, one, metric)).collect();
                let widest = ratios.iter().map(Estimate::reach).reduce(f64::max)?;
                let farthest =
                    ratios.iter().map(|ratio| ratio.center.max(ratio.center.recip())).reduce(f64::max)?;
                // All of them together are to hold with 95 %, where there are launches enough.
                let fit =
                    if ratios.iter().all(|ratio| ratio.holds(1.0)) { "" } else { ", and some do not hold 1" };
                let (farthest, widest) =
                    (words::percent_beyond_one(farthest), words::percent_beyond_one(widest));
                Some(format!("in {words} by at most {farthest} (intervals reach up to {widest}{fit})"))
            },
        );
        let told: Vec<String> = told.into_iter().flatten().collect();
        let title = &part.title;
        (!told.is_empty()).then(|| {
            format!("{title}: {name} runs twice under two names, and the two differ {}.", told.join(" and "))
        })
    }

    fn twin(&self, part: &Part, contender: &Contender, metric: Metric) -> Option<Estimate> {
        let twin = Contender { entry: twin_of(&contender.entry), ..contender.clone() };
        let of = |one: &Contender| -> Vec<&Trial> {
            self.record.trials.iter().filter(|trial| trial.part == part.name && one.is_of(trial)).collect()
        };
        let (own, twins) = (of(contender), of(&twin));
        let log = |trial: &&Trial| {
            let other = twins.iter().find(|other| other.measured.launch == trial.measured.launch)?;
            effects::log_ratio(metric, other, trial)
        };
        Sample::of(own.iter().filter_map(log).collect()).map(|sample| sample.ratio(ALPHA))
    }

    /// The numbers of a part, a table for each workload.
    pub(crate) fn part_tables(&self, part: &Part) -> Vec<(String, Table)> {
        let contenders = self.contenders(part);
        let table = |workload: &Mix| {
            let mut table = Table::new(&[
                "entry",
                "connections",
                "processes",
                "clients",
                "requests/s",
                "worker CPU µs",
                "web server CPU µs",
                "web server busy",
                "generator CPU µs",
                "generator busy",
                "p99 µs",
                "longest µs",
                "launches",
            ]);
            for contender in contenders.iter().filter(|one| one.workload == *workload) {
                table.rows.push(self.row(part, contender));
            }
            (format!("{}: {}", part.title, workload.name()), table)
        };
        let tables = part.workloads.iter().map(table);
        tables.filter(|(_, table)| !table.rows.is_empty()).collect()
    }

    fn row(&self, part: &Part, contender: &Contender) -> Vec<String> {
        let told = |estimate: Option<Estimate>| words::or_dash(estimate, |estimate| words::value(&estimate));
        let value = |metric| told(self.value(part, contender, metric));
        let of_request = |cpu: &dyn Fn(&Figures) -> Option<Duration>| {
            told(self.estimate(part, contender, |figures| {
                Some(micros_per_request(cpu(figures)?.as_secs_f64(), figures))
            }))
        };
        let busy = |cpu: &dyn Fn(&Figures) -> Option<Duration>| {
            let share = |figures: &Figures| Some(cpu(figures)?.as_secs_f64() / figures.elapsed.as_secs_f64());
            words::or_dash(median(self.figures(part, contender).filter_map(share)), words::percent)
        };
        let web_server = |figures: &Figures| figures.front_end_cpu;
        let generator = |figures: &Figures| Some(figures.generator_cpu);
        let fewer = match contender.connections {
            connections if connections < contender.clients && contender.used.front_end.is_some() => {
                format!("{} ({connections})", contender.clients)
            }
            _ => contender.clients.to_string(),
        };
        let used = match &contender.neighbour {
            Some(neighbour) => format!("{}, beside {neighbour}", contender.used),
            None => contender.used.to_string(),
        };
        vec![
            contender.entry.clone(),
            used,
            contender.processes.to_string(),
            fewer,
            value(Metric::Throughput),
            value(Metric::WorkerCpu),
            of_request(&web_server),
            busy(&web_server),
            of_request(&generator),
            busy(&generator),
            value(Metric::LatencyP99),
            value(Metric::LongestWait),
            self.figures(part, contender).count().to_string(),
        ]
    }

    /// What was measured otherwise: starts, connections, switches and system calls.
    pub(crate) fn other_tables(&self) -> Vec<(String, Table)> {
        let mut tables = vec![
            (self.design.startup.title.clone(), self.starts_table()),
            (CONNECTIONS.to_owned(), self.connections_table()),
        ];
        let explained = self.design.parts.iter().filter(|part| part.explains);
        tables.extend(explained.map(|part| {
            let title = format!("{}: context switches and system calls for a request", part.title);
            (title, self.switches_table(part))
        }));
        tables.retain(|(_, table)| !table.rows.is_empty());
        tables
    }

    /// The pools that were started.
    pub(crate) fn started(&self) -> Vec<Started> {
        let started = |one: &StartTrial| {
            let (start, entry, processes) = (one.start, one.entry.clone(), one.processes);
            Started { start, entry, processes }
        };
        let mut all: Vec<Started> = self.record.starts.iter().map(started).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Over the launches.
    pub(crate) fn start_value(&self, of: &Started, metric: StartupMetric) -> Option<Estimate> {
        estimate(self.start_figures(of).filter_map(|figures| metric.of(figures)))
    }

    fn start_figures<'b>(&'b self, of: &'b Started) -> impl Iterator<Item = &'b StartFigures> {
        let is_of = move |one: &&StartTrial| {
            (one.start, &one.entry, one.processes) == (of.start, &of.entry, of.processes)
        };
        self.record.starts.iter().filter(is_of).filter_map(|start| start.figures.as_ref())
    }

    pub(crate) fn starts_table(&self) -> Table {
        let mut table = Table::new(&[
            "pool",
            "each worker",
            "first answer ms",
            "hundredth ms",
            "burst p99 ms",
            "refused",
            "lost",
            "late",
            "killed: longest wait ms",
            "lost",
            "late",
        ]);
        for of in self.started() {
            let milliseconds = |metric| {
                let value = self.start_value(&of, metric).map(|value| value.center * 1e3);
                words::or_dash(value, words::number)
            };
            let share = |count: &dyn Fn(&StartFigures) -> (u64, u64)| {
                let shares = self.start_figures(&of).map(|figures| {
                    let (count, due) = count(figures);
                    count as f64 / due.max(1) as f64
                });
                words::or_dash(median(shares), |share| format!("{:.1} %", share * 100.0))
            };
            table.rows.push(vec![
                format!("{}, {}", of.entry, words::processes(of.processes)),
                of.start.to_string(),
                milliseconds(StartupMetric::First),
                milliseconds(StartupMetric::Hundredth),
                milliseconds(StartupMetric::BurstP99),
                share(&|figures| (figures.burst.refused, figures.burst.due)),
                share(&|figures| (figures.burst.lost, figures.burst.due)),
                share(&|figures| (figures.burst.late, figures.burst.due)),
                milliseconds(StartupMetric::LongestWait),
                share(&|figures| (figures.kill.lost, figures.kill.due)),
                share(&|figures| (figures.kill.late, figures.kill.due)),
            ]);
        }
        table
    }

    pub(crate) fn connections_table(&self) -> Table {
        let mut table =
            Table::new(&["entry", "web server", "requests", "connections", "most in flight on one"]);
        for counted in &self.record.connections {
            let number = |count: usize| match counted.void {
                Some(_) => "–".to_owned(),
                None => words::whole(count as f64),
            };
            table.rows.push(vec![
                counted.entry.clone(),
                counted.used.clone(),
                number(counted.requests),
                number(counted.connections),
                number(counted.peak_in_flight),
            ]);
        }
        table
    }

    pub(crate) fn switches_table(&self, part: &Part) -> Table {
        let mut table = Table::new(&["entry", "connections", "voluntary", "involuntary", "system calls"]);
        for contender in self.contenders(part) {
            let switches = |count: &dyn Fn(&crate::experiment::Switches) -> u64| {
                let of_request = self.figures(part, &contender).filter_map(|figures| {
                    let switches = figures.switches?;
                    Some(count(&switches) as f64 / switches.requests.max(1) as f64)
                });
                words::or_dash(median(of_request), words::number)
            };
            let calls = self.record.system_calls.iter().find(|calls| {
                calls.entry == contender.entry && calls.mode == contender.used.mode && calls.requests > 0
            });
            let calls = calls.map(|calls| {
                calls.calls.iter().map(|(_, count)| *count).sum::<u64>() as f64 / calls.requests as f64
            });
            table.rows.push(vec![
                contender.entry.clone(),
                contender.used.to_string(),
                switches(&|switches| switches.voluntary),
                switches(&|switches| switches.involuntary),
                words::or_dash(calls, words::number),
            ]);
        }
        table
    }
}

/// Over launches.
fn estimate(values: impl Iterator<Item = f64>) -> Option<Estimate> {
    Sample::of(values.filter_map(logarithm).collect()).map(|sample| sample.ratio(ALPHA))
}

impl Contender {
    fn of(trial: &Trial) -> Self {
        let ask = &trial.measured.ask;
        Self {
            entry: trial.measured.entry.clone(),
            used: Use::of(ask),
            workload: ask.workload.clone(),
            processes: trial.measured.processes,
            clients: trial.clients,
            connections: trial.measured.connections * trial.measured.streams,
            neighbour: ask.neighbour.clone(),
        }
    }

    /// Whether that would be made of it.
    fn is_of(&self, trial: &Trial) -> bool {
        let (measured, ask) = (&trial.measured, &trial.measured.ask);
        (&self.entry, self.used, &self.workload) == (&measured.entry, Use::of(ask), &ask.workload)
            && (self.processes, self.clients) == (measured.processes, trial.clients)
            && self.connections == measured.connections * measured.streams
            && self.neighbour == ask.neighbour
    }
}
