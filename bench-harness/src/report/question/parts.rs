//! What a part says in numbers: a value of each contender over the launches, and tables of them.

use super::Findings;
use super::dots;
use super::effects;
use crate::entry::Kind;
use crate::experiment::{Figures, Participant};
use crate::mix::Mix;
use crate::question::{Metric, Part, StartupMetric, Trial, Use};
use crate::report::lines::{Line, Point};
use crate::report::statistics::{ALPHA, Estimate, Sample, median};
use crate::report::tables::Table;
use crate::report::words;
use crate::startup::{StartFigures, StartTrial};

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
        let place = |name: &str| self.record.entries.iter().position(|entry| entry.name == name);
        contenders.sort_by_key(|one| {
            (place(&one.entry), one.workload.to_string(), one.used.to_string(), one.clients, one.processes)
        });
        contenders
    }

    /// Over the launches.
    pub(crate) fn value(&self, part: &Part, contender: &Contender, metric: Metric) -> Option<Estimate> {
        let logs = self.figures(part, contender).filter_map(|figures| {
            let value = effects::value(metric, figures)?;
            (value > 0.0).then(|| value.ln())
        });
        Sample::of(logs.collect()).map(|sample| sample.ratio(ALPHA))
    }

    fn figures<'b>(&'b self, part: &Part, contender: &Contender) -> impl Iterator<Item = &'b Figures> {
        let is_of = |trial: &&Trial| trial.part == part.name && Contender::of(trial) == *contender;
        let figures: Vec<&Figures> = self
            .record
            .trials
            .iter()
            .filter(is_of)
            .filter_map(|trial| trial.trial.figures.as_ref())
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
    pub(crate) fn dots(&self, part: &Part, workload: &Mix, metric: Metric, factor: f64) -> Vec<dots::Row> {
        let contenders = self.contenders(part);
        let row = |entry: &Participant| {
            let mark = |(way, used): (usize, &Use)| {
                let is_of = |one: &&Contender| {
                    one.entry == entry.name && one.workload == *workload && one.used == *used
                };
                Some((way, self.value(part, contenders.iter().find(is_of)?, metric)?.times(factor)))
            };
            let marks = part.uses.iter().enumerate().filter_map(mark).collect();
            dots::Row { name: entry.name.clone(), marks }
        };
        let mut rows: Vec<dots::Row> = self.record.entries.iter().map(row).collect();
        rows.retain(|row| !row.marks.is_empty());
        let least =
            |row: &dots::Row| row.marks.iter().map(|(_, value)| value.center).fold(f64::INFINITY, f64::min);
        rows.sort_by(|one, other| least(one).total_cmp(&least(other)));
        rows
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
                "generator CPU µs",
                "p99 µs",
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
        let value = |metric| {
            self.value(part, contender, metric)
                .map_or_else(|| "–".to_owned(), |value| words::number(value.center))
        };
        let of_request = |cpu: &dyn Fn(&Figures) -> Option<f64>| {
            let micros = self
                .figures(part, contender)
                .filter_map(|figures| Some(cpu(figures)? * 1e6 / figures.requests.max(1) as f64));
            words::or_dash(median(micros), words::number)
        };
        let fewer = match contender.connections {
            connections if connections < contender.clients => {
                format!("{} ({connections})", contender.clients)
            }
            _ => contender.clients.to_string(),
        };
        vec![
            contender.entry.clone(),
            contender.used.to_string(),
            contender.processes.to_string(),
            fewer,
            value(Metric::Throughput),
            value(Metric::WorkerCpu),
            of_request(&|figures| Some(figures.front_end_cpu?.as_secs_f64())),
            of_request(&|figures| Some(figures.generator_cpu.as_secs_f64())),
            value(Metric::LatencyP99),
            self.figures(part, contender).count().to_string(),
        ]
    }

    /// What was measured otherwise: starts, connections, switches and system calls.
    pub(crate) fn other_tables(&self) -> Vec<(String, Table)> {
        let mut tables = vec![
            (self.design.startup.title.clone(), self.starts_table()),
            ("How web servers used their connections".to_owned(), self.connections_table()),
        ];
        tables.extend(self.design.parts.iter().filter(|part| part.explains).map(|part| {
            (format!("{}: switches and system calls for a request", part.title), self.switches_table(part))
        }));
        tables.retain(|(_, table)| !table.rows.is_empty());
        tables
    }

    /// Who was started, with how many processes and with how long a start.
    pub(crate) fn starts(&self) -> Vec<(String, usize, u64)> {
        let mut starts: Vec<(String, usize, u64)> =
            self.record.starts.iter().map(|one| (one.entry.clone(), one.processes, one.startup_ms)).collect();
        starts.sort_by_key(|(entry, processes, startup_ms)| (*startup_ms, entry.clone(), *processes));
        starts.dedup();
        starts
    }

    /// Over the launches.
    pub(crate) fn start_value(&self, of: &(String, usize, u64), metric: StartupMetric) -> Option<Estimate> {
        let values = self.start_figures(of).filter_map(|figures| metric.of(figures));
        let logs = values.filter(|value| *value > 0.0).map(f64::ln);
        Sample::of(logs.collect()).map(|sample| sample.ratio(ALPHA))
    }

    fn starts_table(&self) -> Table {
        let mut table = Table::new(&[
            "pool",
            "to start ms",
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
        for of in self.starts() {
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
            let (entry, processes, startup_ms) = &of;
            table.rows.push(vec![
                format!("{entry}, {processes}"),
                startup_ms.to_string(),
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

    fn start_figures<'b>(&'b self, of: &'b (String, usize, u64)) -> impl Iterator<Item = &'b StartFigures> {
        let (entry, processes, startup_ms) = of;
        let is_of = move |start: &&StartTrial| {
            (&start.entry, &start.processes, &start.startup_ms) == (entry, processes, startup_ms)
        };
        self.record.starts.iter().filter(is_of).filter_map(|start| start.figures.as_ref())
    }

    fn connections_table(&self) -> Table {
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

    fn switches_table(&self, part: &Part) -> Table {
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

impl Contender {
    fn of(trial: &Trial) -> Self {
        let ask = &trial.trial.ask;
        Self {
            entry: trial.trial.entry.clone(),
            used: Use::of(ask),
            workload: ask.workload.clone(),
            processes: trial.trial.processes,
            clients: trial.clients,
            connections: trial.trial.connections * trial.trial.streams,
        }
    }
}
