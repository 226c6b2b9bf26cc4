//! What an experiment has found: from the raw data alone, and always the same from the same.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use fcgi_load::Mode;

use super::metric::{METRICS, Metric, micros_per_request};
use super::statistics::{self, ALPHA, Estimate, Sample, logarithm, median};
use super::verdict::{self, LAUNCHES, Verdict};
use crate::entry::Kind;
use crate::experiment::{Ask, Figures, Participant, Record, Trial, twin_of};
use crate::mix::Mix;

/// How near a ratio is to be known, to either side.
pub(crate) const WITHIN: f64 = 0.02;
/// A generator that is busy for so much of the time may be what limits the server.
const HEADROOM: f64 = 0.95;

/// An entry beside the reference, by one metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) value: Option<Estimate>,
    /// To the reference, in the same launches.
    pub(crate) ratio: Option<Estimate>,
}

/// An entry in a cell.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a Participant,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// The least and the most that a worker process had.
    pub(crate) threads: Option<(u64, u64)>,
    /// Trials that count, and why others do not.
    pub(crate) valid: usize,
    pub(crate) void: Vec<&'a str>,
    /// In the order of [`METRICS`].
    comparisons: [Comparison; METRICS.len()],
    /// On CPU per request.
    pub(crate) verdict: Verdict,
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
    pub(crate) pss_kib: Option<f64>,
    pub(crate) requests_per_process: Option<f64>,
    /// The least and the most that one process did of the pool's work, by processor time.
    pub(crate) shares: Option<(f64, f64)>,
    pub(crate) peak_in_flight: Option<f64>,
    /// How many threads waited for a processor, on the average.
    pub(crate) run_delay: Option<f64>,
}

/// All entries in one mode, with one number of processes.
#[derive(Clone, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) processes: usize,
    /// Requests in flight, over all connections, of whoever holds so many.
    pub(crate) in_flight: usize,
    /// The twin to the reference, by each of [`METRICS`]. Its intervals are wide enough to hold 1 in all cells of 95 of
    /// 100 fit runs at once.
    twin: [Option<Estimate>; METRICS.len()],
    pub(crate) rows: Vec<Row<'a>>,
}

/// What a way of using connections saves an entry over another way, in the same launches.
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
    pub(crate) ask: &'a Ask,
    pub(crate) processes: usize,
    pub(crate) throughput: f64,
    /// The numbers of processes that won a launch, and how many.
    pub(crate) launches_won: BTreeMap<usize, usize>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) record: &'a Record,
    /// What is told: throughput not in an open loop, where it is what was asked for.
    pub(crate) metrics: &'static [Metric],
    pub(crate) cells: Vec<Cell<'a>>,
    pub(crate) gains: Vec<Gain<'a>>,
    pub(crate) peaks: Vec<Peak<'a>>,
}

/// Why a ratio is not known better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// CPU is told for launches as a whole.
    WholeLaunches,
    /// Slices scatter, which explains at least half of how launches do: more of them would help.
    Slices,
    /// Launches differ by more than that: more of them would help.
    Launches,
}

impl<'a> Findings<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let metrics: &[Metric] = match record.plan.rate {
            None => &METRICS,
            Some(_) => &[Metric::Cpu, Metric::Median, Metric::Tail],
        };
        let mut findings = Self { record, metrics, cells: Vec::new(), gains: Vec::new(), peaks: Vec::new() };
        for ask in &record.plan.asks {
            for &processes in &record.plan.processes {
                let cell = findings.cell(ask, processes);
                if !cell.rows.is_empty() {
                    findings.cells.push(cell);
                }
            }
        }
        findings.gains = findings.find_gains();
        findings.peaks = findings.find_peaks();
        findings
    }

    /// The cells in which the same entry under two names differed.
    pub(crate) fn unfit(&self, metric: Metric) -> Vec<&Cell<'a>> {
        self.cells.iter().filter(|cell| cell.is_unfit(metric)).collect()
    }

    /// Those that the run did not start.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &'a Participant> + Clone {
        self.record.entries.iter().filter(|entry| entry.kind == Kind::Target)
    }

    /// Whether nothing can be said of CPU as a ratio to the reference.
    pub(crate) fn has_target_as_reference(&self) -> bool {
        self.targets().any(|target| target.name == self.record.reference)
    }

    /// Whether it started nobody at all.
    pub(crate) fn has_targets_alone(&self) -> bool {
        !self.record.entries.is_empty() && self.targets().count() == self.record.entries.len()
    }

    /// Launches that are over.
    pub(crate) fn launches(&self) -> usize {
        self.record.launches()
    }

    /// The entries of a cell whose ratio of CPU per request is not known within [`WITHIN`], within what it is, and why.
    pub(crate) fn vague<'b>(&self, cell: &'b Cell<'a>) -> Vec<(&'b Row<'a>, f64, Cause)> {
        let reach = |row: &'b Row<'a>| Some((row, row.by(Metric::Cpu).ratio?.reach()));
        let vague = cell.rows.iter().filter_map(reach).filter(|(_, reach)| *reach > 1.0 + WITHIN);
        vague.map(|(row, reach)| (row, reach, self.cause(cell, &row.entry.name))).collect()
    }

    fn cause(&self, cell: &Cell<'a>, name: &str) -> Cause {
        let trials = |name: &str| self.trials(name, cell.ask, cell.processes);
        let (trials, reference) = (trials(name), trials(&self.record.reference));
        let of_slices = trials.iter().filter_map(|trial| {
            let other = reference.iter().find(|other| other.launch == trial.launch)?;
            let logs = slice_log_ratios(Metric::Cpu, trial.figures.as_ref()?, other.figures.as_ref()?);
            // Of a median: it scatters by so much more than a mean would.
            Some(PI / 2.0 * variance(&logs)? / logs.len() as f64)
        });
        let of_slices: Vec<f64> = of_slices.collect();
        if of_slices.is_empty() {
            return Cause::WholeLaunches;
        }
        let of_slices = of_slices.iter().sum::<f64>() / of_slices.len() as f64;
        let of_launches = variance(&log_ratios(Metric::Cpu, &trials, &reference)).unwrap_or_default();
        if of_slices > of_launches / 2.0 { Cause::Slices } else { Cause::Launches }
    }

    fn cell(&self, ask: &'a Ask, processes: usize) -> Cell<'a> {
        let twin = twin_of(&self.record.reference);
        let trials = |name: &str| self.trials(name, ask, processes);
        let reference = trials(&self.record.reference);
        let twins = trials(&twin);
        let is_reference = |name: &str| name == self.record.reference;
        let rows = self.record.entries.iter().filter_map(|entry| {
            let trials = trials(&entry.name);
            let first = trials.first()?;
            let figures: Vec<&Figures> = trials.iter().filter_map(|trial| trial.figures.as_ref()).collect();
            let compare = |metric: Metric| {
                let logs = figures.iter().filter_map(|figures| logarithm(metric.of(figures)?));
                let ratio = Sample::of(log_ratios(metric, &trials, &reference));
                Comparison {
                    value: Sample::of(logs.collect()).map(|sample| sample.ratio(ALPHA)),
                    ratio: ratio.filter(|_| !is_reference(&entry.name)).map(|sample| sample.ratio(ALPHA)),
                }
            };
            Some(Row {
                entry,
                connections: first.connections,
                streams: first.streams,
                threads: threads(&trials),
                valid: figures.len(),
                void: trials.iter().filter_map(|trial| trial.void.as_deref()).collect(),
                comparisons: METRICS.map(compare),
                verdict: Verdict::None,
                why: self.why(entry, ask, processes, &figures),
            })
        });
        let rows: Vec<Row<'a>> = rows.collect();
        let were_asked = |ask: &&Ask| self.record.trials.iter().any(|trial| trial.ask == **ask);
        let asks = self.record.plan.asks.iter().filter(were_asked).count();
        let checks = self.metrics.len() * asks * self.record.plan.processes.len();
        let twin = METRICS.map(|metric| {
            let sample = Sample::of(log_ratios(metric, &twins, &reference))?;
            Some(sample.ratio(ALPHA / checks as f64))
        });
        let samples: Vec<Option<Sample>> = rows
            .iter()
            .map(|row| {
                let logs = || log_ratios(Metric::Cpu, &trials(&row.entry.name), &reference);
                (!is_reference(&row.entry.name)).then(logs).and_then(Sample::of)
            })
            .collect();
        let (connections, streams) = self.record.plan.load(ask.mode);
        let mut cell = Cell { ask, processes, in_flight: connections * streams, twin, rows };
        let is_unfit = cell.is_unfit(Metric::Cpu);
        for (row, verdict) in cell.rows.iter_mut().zip(verdict::of_family(&samples)) {
            let is_judged = !matches!(verdict, Verdict::None | Verdict::TooFewLaunches);
            row.verdict = if is_unfit && is_judged { Verdict::Unfit } else { verdict };
        }
        cell
    }

    fn trials(&self, name: &str, ask: &Ask, processes: usize) -> Vec<&'a Trial> {
        let is_meant =
            |trial: &&Trial| trial.entry == name && trial.ask == *ask && trial.processes == processes;
        self.record.trials.iter().filter(is_meant).collect()
    }

    fn why(&self, entry: &Participant, ask: &Ask, processes: usize, figures: &[&Figures]) -> Why {
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
        let pss_kib = |figures: &Figures| {
            let count = figures.workers.len();
            (count > 0).then(|| {
                figures.workers.iter().map(|worker| worker.pss_kib).sum::<u64>() as f64 / count as f64
            })
        };
        let calls = self
            .record
            .system_calls
            .iter()
            .find(|counted| counted.entry == entry.name && *ask == Ask::hello(counted.mode))
            .filter(|counted| counted.requests > 0 && self.record.plan.processes.first() == Some(&processes));
        Why {
            user_share: of(&|figures| figures.user_share),
            worker_load: of(&|figures| {
                Some(figures.worker_cpu?.as_secs_f64() / figures.elapsed.as_secs_f64())
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
            pss_kib: of(&pss_kib),
            requests_per_process: of(&|figures| {
                (entry.kind != Kind::Target).then(|| figures.requests as f64 / processes as f64)
            }),
            shares: share(f64::min).zip(share(f64::max)),
            peak_in_flight: of(&|figures| Some(figures.peak_in_flight.into())),
            run_delay: of(&|figures| figures.slices.threads_waiting()),
        }
    }

    /// What is asked for in all ways of using connections, so that these can be compared: the first workload.
    pub(crate) fn workload(&self) -> Option<&'a Mix> {
        self.record.plan.asks.first().map(|ask| &ask.workload)
    }

    /// The ways of using connections in which everybody is asked for it.
    pub(crate) fn modes(&self) -> Vec<Mode> {
        let of_all = self.record.plan.asks.iter().filter(|ask| !ask.on_all_cores);
        of_all.filter(|ask| Some(&ask.workload) == self.workload()).map(|ask| ask.mode).collect()
    }

    /// From one way of using connections to the next, where the run has both.
    pub(crate) fn steps(&self) -> Vec<(Mode, Mode)> {
        let modes = self.modes();
        let mut steps = vec![(Mode::Close, Mode::Keep), (Mode::Keep, Mode::Multiplex)];
        steps.retain(|(from, to)| modes.contains(from) && modes.contains(to));
        steps
    }

    /// What kept connections save over closed ones, and multiplexed ones over kept ones, with as many requests in flight.
    fn find_gains(&self) -> Vec<Gain<'a>> {
        let mut gains = Vec::new();
        let Some(workload) = self.workload() else { return gains };
        for &processes in &self.record.plan.processes {
            for entry in &self.record.entries {
                for (from, to) in self.steps() {
                    let trials = |mode| {
                        let ask = Ask::of(mode, workload.clone());
                        self.trials(&entry.name, &ask, processes)
                    };
                    let (one, other) = (trials(to), trials(from));
                    if in_flight(&one) != in_flight(&other) {
                        continue;
                    }
                    if let Some(sample) = Sample::of(log_ratios(Metric::Cpu, &one, &other)) {
                        gains.push(Gain { entry, processes, from, to, ratio: sample.ratio(ALPHA) });
                    }
                }
            }
        }
        gains
    }

    fn find_peaks(&self) -> Vec<Peak<'a>> {
        if self.record.plan.processes.len() < 2 || !self.metrics.contains(&Metric::Throughput) {
            return Vec::new();
        }
        let mut peaks = Vec::new();
        for ask in &self.record.plan.asks {
            // How many a target has is not known.
            for entry in self.record.entries.iter().filter(|entry| entry.kind != Kind::Target) {
                peaks.extend(self.peak(entry, ask));
            }
        }
        peaks
    }

    fn peak(&self, entry: &'a Participant, ask: &'a Ask) -> Option<Peak<'a>> {
        let mut by_launch: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        let mut medians = Vec::new();
        for &processes in &self.record.plan.processes {
            let mut all = Vec::new();
            for trial in self.trials(&entry.name, ask, processes) {
                let Some(figures) = &trial.figures else { continue };
                let Some(throughput) = Metric::Throughput.of(figures) else { continue };
                by_launch.entry(trial.launch).or_default().push((processes, throughput));
                all.push(throughput);
            }
            medians.extend(median(all).map(|median| (processes, median)));
        }
        let most = |all: &[(usize, f64)]| {
            all.iter().copied().reduce(|one, other| if other.1 > one.1 { other } else { one })
        };
        let mut launches_won = BTreeMap::new();
        for (processes, _) in by_launch.values().filter_map(|launch| most(launch)) {
            *launches_won.entry(processes).or_default() += 1;
        }
        let (processes, throughput) = most(&medians)?;
        Some(Peak { entry, ask, processes, throughput, launches_won })
    }
}

impl Cell<'_> {
    /// Whether an entry is asked for less at a time than the others, since it holds no more connections.
    pub(crate) fn has_fewer_in_flight(&self, row: &Row<'_>) -> bool {
        row.connections * row.streams < self.in_flight
    }

    pub(crate) fn twin(&self, metric: Metric) -> Option<Estimate> {
        self.twin[metric as usize]
    }

    /// Whether there is something to say of the twin.
    pub(crate) fn has_twin(&self) -> bool {
        self.twin.iter().any(Option::is_some)
    }

    /// Whether the twin's interval, of enough launches, does not hold 1.
    pub(crate) fn is_unfit(&self, metric: Metric) -> bool {
        self.twin(metric).is_some_and(|twin| twin.launches >= LAUNCHES && !twin.holds(1.0))
    }
}

impl Row<'_> {
    pub(crate) fn by(&self, metric: Metric) -> &Comparison {
        &self.comparisons[metric as usize]
    }

    /// Whether nobody here started it, so that nothing is known of its processes.
    pub(crate) fn is_target(&self) -> bool {
        self.entry.kind == Kind::Target
    }

    /// Whether it is compared to the reference by anything.
    pub(crate) fn has_ratio(&self) -> bool {
        self.comparisons.iter().any(|comparison| comparison.ratio.is_some())
    }

    /// Whether the generator may have been the limit.
    pub(crate) fn is_generator_bound(&self) -> bool {
        self.why.generator_load.is_some_and(|load| load >= HEADROOM)
    }
}

/// The least and the most threads that a worker process had.
pub(crate) fn threads(trials: &[&Trial]) -> Option<(u64, u64)> {
    let (least, most): (Vec<u64>, Vec<u64>) = trials.iter().filter_map(|trial| trial.threads()).unzip();
    least.into_iter().min().zip(most.into_iter().max())
}

/// Requests in flight, over all connections.
fn in_flight(trials: &[&Trial]) -> Option<usize> {
    trials.first().map(|trial| trial.connections * trial.streams)
}

/// Of the launches in which both count.
fn log_ratios(metric: Metric, trials: &[&Trial], others: &[&Trial]) -> Vec<f64> {
    let ratio = |trial: &&Trial| {
        let other = others.iter().find(|other| other.launch == trial.launch)?;
        let (figures, of_other) = (trial.figures.as_ref()?, other.figures.as_ref()?);
        // Two cells lie too far apart for their slices to be pairs.
        let are_pairs = (&trial.ask, trial.processes) == (&other.ask, other.processes);
        let of_slices = are_pairs.then(|| log_ratio_of_slices(metric, figures, of_other)).flatten();
        // What is shorter than the clocks can tell gives none.
        of_slices.or_else(|| logarithm(metric.of(figures)? / metric.of(of_other)?))
    };
    trials.iter().filter_map(ratio).collect()
}

/// The median over the cycles of a launch; none where slices do not tell of the metric.
fn log_ratio_of_slices(metric: Metric, figures: &Figures, other: &Figures) -> Option<f64> {
    median(slice_log_ratios(metric, figures, other))
}

/// Of slices that lie side by side.
fn slice_log_ratios(metric: Metric, figures: &Figures, other: &Figures) -> Vec<f64> {
    statistics::log_ratios(metric.of_slices(figures), metric.of_slices(other))
}

/// None of less than two.
fn variance(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (values.len() > 1).then(|| squares / (count - 1.0))
}
