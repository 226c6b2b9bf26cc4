//! What an experiment has found: from the raw data alone, and always the same from the same.

use std::collections::BTreeMap;

use fcgi_load::Mode;

use super::statistics::{ALPHA, Estimate, holm, median, rounds_needed, signed_rank_test};
use crate::experiment::{Figures, Participant, Record, Trial, twin_of};

/// A generator that is busy for more than this share of the time may be what limits the server.
const HEADROOM: f64 = 0.95;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Requests per second, in a closed loop.
    Throughput,
    /// The latency that 99 of 100 requests do not exceed, in an open loop.
    Latency,
    /// Processor time of the workers for each request.
    Cpu,
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency (p99)",
            Self::Cpu => "CPU per request",
        }
    }

    pub(crate) fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::Throughput => figures.requests as f64 / figures.elapsed.as_secs_f64(),
            Self::Latency => figures.latency_p99_ns as f64 / 1e3,
            Self::Cpu => micros_per_request(figures.worker_cpu.as_secs_f64(), figures),
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::Throughput
    }
}

/// What may be said of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Differs, and for the better.
    Better,
    /// Differs, and for the worse.
    Worse,
    /// Nothing was shown. That is no proof of equality.
    NotToldApart,
    /// Not even unanimous rounds would show anything.
    TooFewRounds,
    /// The generator may have been the limit.
    GeneratorBound,
    /// The same entry under two names differed.
    Unfit,
    /// There is nothing to compare.
    None,
}

/// An entry beside the reference, by one metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) value: Option<Estimate>,
    /// To the reference, in the same rounds.
    pub(crate) ratio: Option<Estimate>,
    /// By Holm's correction.
    pub(crate) chance: f64,
    pub(crate) verdict: Verdict,
}

/// An entry in a cell.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a Participant,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// Trials that count, and why others do not.
    pub(crate) valid: usize,
    pub(crate) void: Vec<&'a str>,
    /// The first is throughput, or latency in an open loop; the second CPU.
    pub(crate) metrics: [Comparison; 2],
    pub(crate) why: Why,
}

/// Medians of what explains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Why {
    pub(crate) user_share: Option<f64>,
    /// Worker CPU by elapsed time: 1 is one core.
    pub(crate) worker_load: Option<f64>,
    pub(crate) generator_load: Option<f64>,
    /// Microseconds for each request.
    pub(crate) generator_cpu: Option<f64>,
    pub(crate) voluntary: Option<f64>,
    pub(crate) involuntary: Option<f64>,
    pub(crate) system_calls: Option<f64>,
    pub(crate) latency_p50_us: Option<f64>,
    pub(crate) latency_p99_us: Option<f64>,
    pub(crate) pss_kib: Option<f64>,
    pub(crate) threads: Option<f64>,
    pub(crate) requests_per_process: Option<f64>,
    /// The least and the most that one process did of the pool's work, by processor time.
    pub(crate) shares: Option<(f64, f64)>,
    pub(crate) peak_in_flight: Option<f64>,
}

/// All entries in one mode, with one number of processes.
#[derive(Clone, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) mode: Mode,
    pub(crate) processes: usize,
    /// Requests in flight, over all connections, of whoever holds so many.
    pub(crate) in_flight: usize,
    /// The twin to the reference, by both metrics. Its interval is wide enough to hold 1 in all cells of a fit run at
    /// once; none where the rounds are too few for that.
    pub(crate) twin: [Option<Estimate>; 2],
    pub(crate) rows: Vec<Row<'a>>,
}

/// What a way of using connections saves an entry over another way, in the same rounds.
#[derive(Clone, Debug)]
pub(crate) struct Gain<'a> {
    pub(crate) entry: &'a Participant,
    pub(crate) processes: usize,
    pub(crate) from: Mode,
    pub(crate) to: Mode,
    /// CPU per request.
    pub(crate) ratio: Estimate,
}

/// At how many processes an entry does most.
#[derive(Clone, Debug)]
pub(crate) struct Peak<'a> {
    pub(crate) entry: &'a Participant,
    pub(crate) mode: Mode,
    pub(crate) processes: usize,
    pub(crate) throughput: f64,
    /// The numbers of processes that won a round, and how many.
    pub(crate) rounds_won: BTreeMap<usize, usize>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) record: &'a Record,
    pub(crate) metrics: [Metric; 2],
    pub(crate) cells: Vec<Cell<'a>>,
    pub(crate) gains: Vec<Gain<'a>>,
    pub(crate) peaks: Vec<Peak<'a>>,
    /// Comparisons by each metric, which Holm's correction is for.
    pub(crate) comparisons: usize,
    /// The rounds without which nothing can be said.
    pub(crate) rounds_needed: usize,
}

impl<'a> Findings<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let first = if record.plan.rate.is_some() { Metric::Latency } else { Metric::Throughput };
        let mut findings = Self {
            record,
            metrics: [first, Metric::Cpu],
            cells: Vec::new(),
            gains: Vec::new(),
            peaks: Vec::new(),
            comparisons: 0,
            rounds_needed: 0,
        };
        for &mode in &record.plan.modes {
            for &processes in &record.plan.processes {
                let cell = findings.cell(mode, processes);
                if !cell.rows.is_empty() {
                    findings.cells.push(cell);
                }
            }
        }
        findings.judge();
        let cells = record.plan.modes.len() * record.plan.processes.len();
        findings.rounds_needed = rounds_needed(findings.comparisons.max(2 * cells));
        findings.gains = findings.find_gains();
        findings.peaks = findings.find_peaks();
        findings
    }

    /// The largest difference by a metric that the twin leaves possible, as a factor; none without a twin.
    pub(crate) fn resolution(&self, metric: usize) -> Option<f64> {
        self.cells.iter().filter_map(|cell| cell.twin[metric]).map(|twin| twin.reach()).reduce(f64::max)
    }

    /// The cells in which the same entry under two names differed.
    pub(crate) fn unfit(&self, metric: usize) -> Vec<&Cell<'a>> {
        self.cells.iter().filter(|cell| cell.is_unfit(metric)).collect()
    }

    /// Rounds that are over.
    pub(crate) fn rounds(&self) -> usize {
        self.record.trials.iter().map(|trial| trial.round).max().unwrap_or(0)
    }

    fn cell(&self, mode: Mode, processes: usize) -> Cell<'a> {
        let twin = twin_of(&self.record.reference);
        let trials = |name: &str| self.trials(name, mode, processes);
        let reference = trials(&self.record.reference);
        let twins = trials(&twin);
        // Each of them has to hold 1, in every cell and by both metrics.
        let cells = self.record.plan.modes.len() * self.record.plan.processes.len();
        let alpha = ALPHA / (2 * cells) as f64;
        let rows = self.record.entries.iter().filter_map(|entry| {
            let trials = trials(&entry.name);
            let first = trials.first()?;
            let figures: Vec<&Figures> = trials.iter().filter_map(|trial| trial.figures.as_ref()).collect();
            let compare = |metric: Metric| {
                let values: Vec<f64> = figures.iter().map(|figures| metric.of(figures)).collect();
                let logs = log_ratios(metric, &trials, &reference);
                let is_compared = entry.name != self.record.reference && !logs.is_empty();
                Comparison {
                    value: Estimate::of(&values, ALPHA, self.record.plan.seed),
                    ratio: Estimate::of_ratio(&logs, ALPHA, self.record.plan.seed).filter(|_| is_compared),
                    chance: signed_rank_test(&logs),
                    verdict: Verdict::None,
                }
            };
            Some(Row {
                entry,
                connections: first.connections,
                streams: first.streams,
                valid: figures.len(),
                void: trials.iter().filter_map(|trial| trial.void.as_deref()).collect(),
                metrics: self.metrics.map(compare),
                why: self.why(&entry.name, mode, processes, &figures),
            })
        });
        let rows = rows.collect();
        let twin = self.metrics.map(|metric| {
            let twin =
                Estimate::of_ratio(&log_ratios(metric, &twins, &reference), alpha, self.record.plan.seed);
            // Of fewer the widest interval is not wide enough to say anything.
            twin.filter(|twin| twin.rounds >= rounds_needed(2 * cells))
        });
        let (connections, streams) = self.record.plan.load(mode);
        Cell { mode, processes, in_flight: connections * streams, twin, rows }
    }

    fn trials(&self, name: &str, mode: Mode, processes: usize) -> Vec<&'a Trial> {
        let is_meant =
            |trial: &&Trial| trial.entry == name && trial.mode == mode && trial.processes == processes;
        self.record.trials.iter().filter(is_meant).collect()
    }

    fn why(&self, name: &str, mode: Mode, processes: usize, figures: &[&Figures]) -> Why {
        let of = |value: &dyn Fn(&Figures) -> Option<f64>| {
            median(figures.iter().filter_map(|figures| value(figures)))
        };
        let switches = |which: &dyn Fn(&crate::experiment::Switches) -> u64| {
            of(&|figures| {
                figures.switches.map(|switches| which(&switches) as f64 / switches.requests.max(1) as f64)
            })
        };
        let share = |pick: fn(f64, f64) -> f64| {
            of(&|figures| {
                let all: f64 = figures.workers.iter().map(|worker| worker.cpu.as_secs_f64()).sum();
                let each = figures.workers.iter().map(|worker| worker.cpu.as_secs_f64() / all);
                each.reduce(pick).filter(|_| all > 0.0)
            })
        };
        let mean = |of: &dyn Fn(&crate::experiment::Worker) -> u64, figures: &Figures| {
            let count = figures.workers.len();
            (count > 0).then(|| figures.workers.iter().map(of).sum::<u64>() as f64 / count as f64)
        };
        let calls = self
            .record
            .system_calls
            .iter()
            .find(|counted| counted.entry == name && counted.mode == mode)
            .filter(|counted| counted.requests > 0 && self.record.plan.processes.first() == Some(&processes));
        Why {
            user_share: of(&|figures| figures.user_share),
            worker_load: of(&|figures| {
                Some(figures.worker_cpu.as_secs_f64() / figures.elapsed.as_secs_f64())
            }),
            generator_load: of(&|figures| {
                Some(figures.generator_cpu.as_secs_f64() / figures.elapsed.as_secs_f64())
            }),
            generator_cpu: of(&|figures| {
                Some(micros_per_request(figures.generator_cpu.as_secs_f64(), figures))
            }),
            voluntary: switches(&|switches| switches.voluntary),
            involuntary: switches(&|switches| switches.involuntary),
            system_calls: calls.map(|counted| {
                counted.calls.iter().map(|(_, count)| count).sum::<u64>() as f64 / counted.requests as f64
            }),
            latency_p50_us: of(&|figures| Some(figures.latency_p50_ns as f64 / 1e3)),
            latency_p99_us: of(&|figures| Some(figures.latency_p99_ns as f64 / 1e3)),
            pss_kib: of(&|figures| mean(&|worker| worker.pss_kib, figures)),
            threads: of(&|figures| mean(&|worker| worker.threads, figures)),
            requests_per_process: of(&|figures| Some(figures.requests as f64 / processes as f64)),
            shares: share(f64::min).zip(share(f64::max)),
            peak_in_flight: of(&|figures| Some(figures.peak_in_flight.into())),
        }
    }

    /// Says what may be said, once all comparisons are known: how many there are is part of each.
    fn judge(&mut self) {
        let rows = |cells: &[Cell<'_>]| -> Vec<(usize, usize)> {
            let places = cells
                .iter()
                .enumerate()
                .flat_map(|(at, cell)| (0..cell.rows.len()).map(move |row| (at, row)));
            places.collect()
        };
        for metric in 0..self.metrics.len() {
            let compared: Vec<(usize, usize)> = rows(&self.cells)
                .into_iter()
                .filter(|&(cell, row)| self.cells[cell].rows[row].metrics[metric].ratio.is_some())
                .collect();
            self.comparisons = self.comparisons.max(compared.len());
            let needed = rounds_needed(compared.len());
            let chances: Vec<f64> = compared
                .iter()
                .map(|&(cell, row)| self.cells[cell].rows[row].metrics[metric].chance)
                .collect();
            for (&(cell, row), chance) in compared.iter().zip(holm(&chances)) {
                let verdict =
                    self.verdict(&self.cells[cell], &self.cells[cell].rows[row], metric, chance, needed);
                let comparison = &mut self.cells[cell].rows[row].metrics[metric];
                (comparison.chance, comparison.verdict) = (chance, verdict);
            }
        }
    }

    fn verdict(&self, cell: &Cell<'_>, row: &Row<'_>, metric: usize, chance: f64, needed: usize) -> Verdict {
        let Some(ratio) = row.metrics[metric].ratio else { return Verdict::None };
        let kind = self.metrics[metric];
        let is_bound = |row: &Row<'_>| row.why.generator_load.is_some_and(|load| load >= HEADROOM);
        let reference = cell.rows.iter().find(|row| row.entry.name == self.record.reference);
        if kind == Metric::Throughput && (is_bound(row) || reference.is_some_and(is_bound)) {
            return Verdict::GeneratorBound;
        }
        if ratio.rounds < needed {
            return Verdict::TooFewRounds;
        }
        if cell.is_unfit(metric) {
            return Verdict::Unfit;
        }
        let within =
            cell.twin[metric].is_some_and(|twin| ratio.median.max(ratio.median.recip()) <= twin.reach());
        if chance > ALPHA || ratio.holds(1.0) || within {
            return Verdict::NotToldApart;
        }
        if (ratio.median > 1.0) == kind.more_is_better() { Verdict::Better } else { Verdict::Worse }
    }

    /// From one way of using connections to the next, where the run has both.
    pub(crate) fn steps(&self) -> Vec<(Mode, Mode)> {
        let modes = &self.record.plan.modes;
        let mut steps = vec![(Mode::Close, Mode::Keep), (Mode::Keep, Mode::Multiplex)];
        steps.retain(|(from, to)| modes.contains(from) && modes.contains(to));
        steps
    }

    /// What kept connections save over closed ones, and multiplexed ones over kept ones.
    fn find_gains(&self) -> Vec<Gain<'a>> {
        let mut gains = Vec::new();
        for &processes in &self.record.plan.processes {
            for entry in &self.record.entries {
                for (from, to) in self.steps() {
                    let trials = |mode| self.trials(&entry.name, mode, processes);
                    let logs = log_ratios(Metric::Cpu, &trials(to), &trials(from));
                    if let Some(ratio) = Estimate::of_ratio(&logs, ALPHA, self.record.plan.seed) {
                        gains.push(Gain { entry, processes, from, to, ratio });
                    }
                }
            }
        }
        gains
    }

    fn find_peaks(&self) -> Vec<Peak<'a>> {
        if self.record.plan.processes.len() < 2 || self.metrics[0] != Metric::Throughput {
            return Vec::new();
        }
        let mut peaks = Vec::new();
        for &mode in &self.record.plan.modes {
            for entry in &self.record.entries {
                peaks.extend(self.peak(entry, mode));
            }
        }
        peaks
    }

    fn peak(&self, entry: &'a Participant, mode: Mode) -> Option<Peak<'a>> {
        let mut by_round: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        let mut medians = Vec::new();
        for &processes in &self.record.plan.processes {
            let mut all = Vec::new();
            for trial in self.trials(&entry.name, mode, processes) {
                let Some(figures) = &trial.figures else { continue };
                let throughput = Metric::Throughput.of(figures);
                by_round.entry(trial.round).or_default().push((processes, throughput));
                all.push(throughput);
            }
            medians.extend(median(all).map(|median| (processes, median)));
        }
        let most = |all: &[(usize, f64)]| {
            all.iter().copied().reduce(|one, other| if other.1 > one.1 { other } else { one })
        };
        let mut rounds_won = BTreeMap::new();
        for (processes, _) in by_round.values().filter_map(|round| most(round)) {
            *rounds_won.entry(processes).or_default() += 1;
        }
        let (processes, throughput) = most(&medians)?;
        Some(Peak { entry, mode, processes, throughput, rounds_won })
    }
}

impl Cell<'_> {
    /// Whether an entry is asked for less at a time than the others, since it holds no more connections.
    pub(crate) fn has_fewer_in_flight(&self, row: &Row<'_>) -> bool {
        row.connections * row.streams < self.in_flight
    }

    pub(crate) fn is_unfit(&self, metric: usize) -> bool {
        self.twin[metric].is_some_and(|twin| !twin.holds(1.0))
    }
}

/// Of the rounds in which both count.
fn log_ratios(metric: Metric, trials: &[&Trial], others: &[&Trial]) -> Vec<f64> {
    let ratio = |trial: &Trial| {
        let other = others.iter().find(|other| other.round == trial.round)?;
        let ratio = metric.of(trial.figures.as_ref()?) / metric.of(other.figures.as_ref()?);
        // A trial shorter than the clocks can tell gives none.
        (ratio.is_finite() && ratio > 0.0).then(|| ratio.ln())
    };
    trials.iter().filter_map(|trial| ratio(trial)).collect()
}

fn micros_per_request(seconds: f64, figures: &Figures) -> f64 {
    seconds * 1e6 / figures.requests.max(1) as f64
}
