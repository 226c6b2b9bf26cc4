//! What the data say of each claim: an effect in each launch, an interval over the launches, and a verdict by the rule that
//! was written down before.

use std::collections::{BTreeMap, BTreeSet};

use crate::experiment::Figures;
use crate::question::{
    About, Claim, Design, Direction, Metric, Part, Record, StartupFigure, Term, Test, Trial, Use,
};
use crate::report::metric;
use crate::report::statistics::{ALPHA, Estimate, Sample, log_ratios, logarithm, median};

/// A claim, and what has become of it.
pub(crate) struct Judged<'a> {
    pub(crate) claim: &'a Claim,
    /// One of each thing that it is decided of.
    pub(crate) verdicts: BTreeMap<About, Verdict>,
    pub(crate) outcomes: Vec<Outcome<'a>>,
}

/// A test, and what has come of it.
pub(crate) struct Outcome<'a> {
    pub(crate) test: &'a Test,
    pub(crate) verdict: Verdict,
    /// None where nothing was measured.
    pub(crate) effect: Option<Effect>,
}

/// A ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) ratio: Estimate,
    /// Of a number of processes that was to be best: the best other one.
    pub(crate) at: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Refuted,
    /// The interval holds the margin.
    Undecided,
    /// No interval of 95 % can be had.
    TooFewLaunches,
    NotMeasured,
}

/// All claims.
pub(crate) fn judge<'a>(design: &'a Design, record: &Record) -> Vec<Judged<'a>> {
    let parts = design.parts_of(record.plan.is_quick);
    let judged = |claim: &'a Claim| {
        let outcomes: Vec<Outcome<'_>> =
            claim.tests.iter().map(|test| outcome(test, part_of(test, &parts), record)).collect();
        let abouts = outcomes.iter().filter_map(|outcome| outcome.test.decides);
        let verdicts = abouts.map(|about| (about, of_claim(&outcomes, about))).collect();
        Judged { claim, verdicts, outcomes }
    };
    design.claims.iter().map(judged).collect()
}

fn part_of<'a>(test: &Test, parts: &'a [Part]) -> Option<&'a Part> {
    parts.iter().find(|part| Some(&part.name) == test.part.as_ref())
}

/// It holds where all tests that decide it hold, and is refuted where one of them is.
fn of_claim(outcomes: &[Outcome<'_>], about: About) -> Verdict {
    let deciding = || {
        let decides = |outcome: &&Outcome<'_>| outcome.test.decides == Some(about);
        outcomes.iter().filter(decides).map(|outcome| outcome.verdict)
    };
    if deciding().any(|verdict| verdict == Verdict::Refuted) {
        return Verdict::Refuted;
    }
    deciding().find(|verdict| *verdict != Verdict::Holds).unwrap_or(Verdict::Holds)
}

fn outcome<'a>(test: &'a Test, part: Option<&Part>, record: &Record) -> Outcome<'a> {
    if let Some(best) = &test.best {
        return best_at(test, best, part, record);
    }
    let logs = match (&test.of, &test.to, test.startup, part) {
        (Some(of), Some(to), Some(figure), _) => of_starts(figure, of, to, record),
        (Some(of), Some(to), None, Some(part)) if test.variation => of_variation(test, of, to, part, record),
        (Some(of), Some(to), None, Some(part)) => of_ratio(test, of, to, part, record),
        _ => Vec::new(),
    };
    let Some(sample) = Sample::of(logs) else { return not_measured(test) };
    let ratio = sample.ratio(ALPHA);
    let verdict = match test.claimed {
        _ if ratio.confidence < 1.0 - ALPHA => Verdict::TooFewLaunches,
        Some(Direction::Less) => against(test.margin, ratio.high.recip(), ratio.low.recip()),
        _ => against(test.margin, ratio.low, ratio.high),
    };
    Outcome { test, verdict, effect: Some(Effect { ratio, at: None }) }
}

fn not_measured(test: &Test) -> Outcome<'_> {
    Outcome { test, verdict: Verdict::NotMeasured, effect: None }
}

/// Whether an effect lies beyond the margin: the whole of its interval.
fn against(margin: f64, least: f64, most: f64) -> Verdict {
    if least > margin {
        Verdict::Holds
    } else if most < margin {
        Verdict::Refuted
    } else {
        Verdict::Undecided
    }
}

/// In each launch the logarithm of the ratio, averaged over what neither term says: all sizes of a part, for example.
fn of_ratio(test: &Test, of: &Term, to: &Term, part: &Part, record: &Record) -> Vec<f64> {
    let Some(metric) = test.metric else { return Vec::new() };
    let trials = |term: &Term| trials_of(test, term, part, record);
    let (ofs, tos) = (trials(of), trials(to));
    let beyonds = test.beyond.as_ref().map(trials);
    let log = |(launch, ofs): (&usize, &BTreeMap<Key, &Trial>)| {
        let logs = ofs.iter().map(|(key, of)| {
            let to = partner(&tos, *launch, key)?;
            match &beyonds {
                None => log_ratio(metric, of, to),
                Some(beyonds) => {
                    let beyond = partner(beyonds, *launch, key)?;
                    Some(log_ratio(metric, of, to)? - log_ratio(metric, to, beyond)?)
                }
            }
        });
        mean(&logs.collect::<Option<Vec<f64>>>()?)
    };
    ofs.iter().filter_map(log).collect()
}

/// In each launch the logarithm of the ratio of how much both vary over the number of processes: the standard deviation by the
/// mean.
fn of_variation(test: &Test, of: &Term, to: &Term, part: &Part, record: &Record) -> Vec<f64> {
    let Some(metric) = test.metric else { return Vec::new() };
    let (ofs, tos) = (trials_of(test, of, part, record), trials_of(test, to, part, record));
    let log = |(launch, ofs): (&usize, &BTreeMap<Key, &Trial>)| {
        let values = |trials: &BTreeMap<Key, &Trial>| -> Option<Vec<f64>> {
            trials.values().map(|trial| value(metric, trial.measured.figures.as_ref()?)).collect()
        };
        logarithm(variation(&values(ofs)?)? / variation(&values(tos.get(launch)?)?)?)
    };
    ofs.iter().filter_map(log).collect()
}

fn of_starts(figure: StartupFigure, of: &Term, to: &Term, record: &Record) -> Vec<f64> {
    let value = |term: &Term, launch: usize| {
        let start = record.starts.iter().find(|start| {
            start.launch == launch
                && start.entry == term.entry
                && term.processes.is_none_or(|count| count.on(record.machine.cores) == start.processes)
                && start.start == figure.start
        })?;
        figure.metric.of(start.figures.as_ref()?)
    };
    let launches: BTreeSet<usize> = record.starts.iter().map(|start| start.launch).collect();
    let log = |launch: usize| logarithm(value(of, launch)? / value(to, launch)?);
    launches.into_iter().filter_map(log).collect()
}

/// Whether no other number of processes is better by more than the margin, over all of them at once.
fn best_at<'a>(test: &'a Test, best: &Term, part: Option<&Part>, record: &Record) -> Outcome<'a> {
    let (Some(part), Some(metric), Some(count)) = (part, test.metric, best.processes) else {
        return not_measured(test);
    };
    let cores = record.machine.cores;
    let term = Term { used: best.used.or(test.used), processes: None, ..best.clone() };
    let find = |processes: usize, launch: usize| {
        record.trials.iter().find(|trial| {
            (trial.measured.processes, trial.measured.launch) == (processes, launch)
                && trial.is_of(&part.name, &term, test.neighbour.as_ref(), cores)
        })
    };
    let (target, mut others) = (count.on(cores), part.sizes(cores));
    others.retain(|processes| *processes != target);
    // All of them together are to hold with 95 %.
    let alpha = ALPHA / others.len().max(1) as f64;
    let ratio = |processes: usize| {
        let log = |launch| log_ratio(metric, find(processes, launch)?, find(target, launch)?);
        let logs = (1..=record.launches()).filter_map(log).collect();
        Some((processes, Sample::of(logs)?.ratio(alpha)))
    };
    // One that is missing might be the best.
    let ratios: Option<Vec<(usize, Estimate)>> = others.into_iter().map(ratio).collect();
    let Some(ratios) = ratios.filter(|ratios| !ratios.is_empty()) else { return not_measured(test) };
    let verdict = if ratios.iter().any(|(_, ratio)| ratio.confidence < 1.0 - alpha) {
        Verdict::TooFewLaunches
    } else if ratios.iter().any(|(_, ratio)| ratio.low > test.margin) {
        Verdict::Refuted
    } else if ratios.iter().all(|(_, ratio)| ratio.high < test.margin) {
        Verdict::Holds
    } else {
        Verdict::Undecided
    };
    let most = ratios.into_iter().max_by(|(_, one), (_, other)| one.center.total_cmp(&other.center));
    let effect = most.map(|(processes, ratio)| Effect { ratio, at: Some(processes) });
    Outcome { test, verdict, effect }
}

/// What a term leaves open, and so has to be the same on both sides: processes, clients, use and workload.
type Key = (Option<usize>, Option<usize>, Option<String>, Option<String>);
/// The trials of a term that count.
type ByLaunch<'a> = BTreeMap<usize, BTreeMap<Key, &'a Trial>>;

/// Of the launches in which nothing is missing: an average over fewer sizes would be one of something else.
fn trials_of<'a>(test: &Test, term: &Term, part: &Part, record: &'a Record) -> ByLaunch<'a> {
    let mut all = ByLaunch::new();
    let cores = record.machine.cores;
    let term = Term { used: term.used.or(test.used), ..term.clone() };
    let is_of = |trial: &&Trial| trial.is_of(&part.name, &term, test.neighbour.as_ref(), cores);
    for trial in record.trials.iter().filter(is_of) {
        let ask = &trial.measured.ask;
        let key = (
            term.processes.is_none().then_some(trial.measured.processes),
            term.clients.is_none().then_some(trial.clients),
            term.used.is_none().then(|| Use::of(ask).to_string()),
            term.workload.is_none().then(|| ask.workload.to_string()),
        );
        if trial.measured.figures.is_some() {
            all.entry(trial.measured.launch).or_default().insert(key, trial);
        }
    }
    let open = |is_open: bool, count: usize| if is_open { count } else { 1 };
    let whole = open(term.processes.is_none(), part.sizes(cores).len())
        * open(term.clients.is_none(), part.clients.len())
        * open(term.used.is_none(), part.uses.len())
        * open(term.workload.is_none(), part.workloads.len());
    all.retain(|_, trials| trials.len() == whole);
    all
}

/// The same of another term.
fn partner<'a>(others: &ByLaunch<'a>, launch: usize, key: &Key) -> Option<&'a Trial> {
    others.get(&launch)?.get(key).copied()
}

/// Of what lay side by side the median over the turns; otherwise the ratio of the launch's figures.
pub(crate) fn log_ratio(metric: Metric, one: &Trial, other: &Trial) -> Option<f64> {
    let (figures, others) = (one.measured.figures.as_ref()?, other.measured.figures.as_ref()?);
    if one.cell == other.cell {
        let logs = log_ratios(of_slices(metric, figures), of_slices(metric, others));
        if let Some(log) = median(logs) {
            return Some(log);
        }
    }
    logarithm(of_launch(metric, figures)? / of_launch(metric, others)?)
}

/// Of a launch: the median over the turns, where turns tell of it.
pub(crate) fn value(metric: Metric, figures: &Figures) -> Option<f64> {
    let of_launch = || of_launch(metric, figures).filter(|value| value.is_finite());
    median(of_slices(metric, figures)).or_else(of_launch)
}

/// None where it is not known.
fn of_launch(metric: Metric, figures: &Figures) -> Option<f64> {
    match metric {
        Metric::Throughput => metric::Metric::Throughput.of(figures),
        Metric::WorkerCpu => metric::Metric::Cpu.of(figures),
        Metric::TotalCpu => {
            let cpu = figures.worker_cpu? + figures.front_end_cpu.unwrap_or_default();
            Some(metric::micros_per_request(cpu.as_secs_f64(), figures))
        }
        Metric::LatencyP99 => metric::Metric::Tail.of(figures),
        // Only turns tell of it.
        Metric::LongestWait => None,
    }
}

/// In each slice, where slices tell of it.
fn of_slices(metric: Metric, figures: &Figures) -> Vec<f64> {
    let slices = &figures.slices;
    match metric {
        Metric::Throughput => metric::Metric::Throughput.of_slices(figures),
        Metric::TotalCpu if !slices.front_end_cpu_ns.is_empty() => {
            let both = slices.cpu_ns.iter().zip(&slices.front_end_cpu_ns).map(|(one, other)| one + other);
            both.zip(&slices.requests).map(|(cpu, requests)| cpu as f64 / 1e3 / *requests as f64).collect()
        }
        Metric::WorkerCpu | Metric::TotalCpu => metric::Metric::Cpu.of_slices(figures),
        Metric::LatencyP99 => metric::Metric::Tail.of_slices(figures),
        Metric::LongestWait => slices.longest_ns.iter().map(|longest| *longest as f64 / 1e3).collect(),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation by the mean; none of less than two values.
fn variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt() / mean)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::discover::data_folder;
    use crate::experiment::{self, Figures, Slices};
    use crate::question::{Plan, hash};

    /// Of a machine with two cores.
    pub(crate) fn record(launches: usize) -> (Design, Record) {
        let (design, text) = Design::read(&data_folder().join("claims.toml")).unwrap();
        let plan = Plan { seed: 1, is_quick: false, launches, slices: 3 };
        let mut record = Record::begun(hash(&text), plan, Vec::new());
        record.machine.cores = 2;
        (design, record)
    }

    /// Three turns, in which so many requests are answered in each second, and each takes so many microseconds.
    pub(crate) fn trial(
        part: &str,
        entry: &str,
        used: &str,
        processes: usize,
        launch: usize,
        per_second: f64,
        micros: f64,
    ) -> Trial {
        let used: Use = used.parse().unwrap();
        let requests = per_second.round() as u64;
        let cpu = (micros * 1e3 * requests as f64) as u64;
        let slices = Slices {
            requests: vec![requests; 3],
            elapsed_ns: vec![1_000_000_000; 3],
            cpu_ns: vec![cpu; 3],
            ..Slices::default()
        };
        let figures = Figures { latency_p99_ns: (micros * 1e3) as u64, ..Figures::of(slices) };
        Trial {
            part: part.to_owned(),
            cell: 0,
            clients: 32,
            measured: experiment::Trial {
                launch,
                entry: entry.to_owned(),
                ask: used.ask(crate::Mix::default(), None),
                processes,
                connections: 32,
                streams: 1,
                void: None,
                figures: Some(figures),
            },
        }
    }

    const LIGHTTPD: &str = "lighttpd-spawning close";

    /// flup and its multiplexed form over all sizes.
    fn of_flup(launches: usize, throughput: impl Fn(&str, usize, usize) -> f64) -> (Design, Record) {
        let (design, mut record) = record(launches);
        for launch in 1..=launches {
            for entry in ["flup", "flup-multiplexed"] {
                for processes in [1, 2, 3, 4, 8, 13] {
                    let per_second = throughput(entry, processes, launch);
                    record.trials.push(trial(
                        "processes",
                        entry,
                        LIGHTTPD,
                        processes,
                        launch,
                        per_second,
                        10.0,
                    ));
                }
            }
        }
        (design, record)
    }

    fn first(design: &Design, record: &Record, number: usize) -> (Verdict, Option<Effect>) {
        let judged = judge(design, record);
        let outcome = &judged[number - 1].outcomes[0];
        (outcome.verdict, outcome.effect)
    }

    #[test]
    fn an_effect_is_averaged_over_the_sizes_and_judged_by_its_whole_interval() {
        let of = |ratio: f64| {
            of_flup(8, move |entry, processes, launch| {
                let ratio = if entry == "flup" { 1.0 } else { ratio };
                (1000.0 * processes as f64 + launch as f64) * 1000.0 * ratio
            })
        };
        for (ratio, verdict) in [(0.5, Verdict::Holds), (1.0, Verdict::Refuted), (2.0, Verdict::Refuted)] {
            let (design, record) = of(ratio);
            let (said, effect) = first(&design, &record, 1);
            assert_eq!(said, verdict, "{ratio}");
            assert!((effect.unwrap().ratio.center / ratio - 1.0).abs() < 1e-3);
        }
        // Launches that scatter about the margin.
        let (design, record) = of_flup(8, |entry, _, launch| match entry {
            "flup" => 1e6,
            _ => 1e6 * (0.9 + 0.02 * launch as f64),
        });
        assert_eq!(first(&design, &record, 1).0, Verdict::Undecided);
    }

    #[test]
    fn five_launches_are_too_few_for_95_percent_and_none_is_nothing() {
        let (design, record) = of_flup(5, |entry, _, _| if entry == "flup" { 2e6 } else { 1e6 });
        assert_eq!(first(&design, &record, 1).0, Verdict::TooFewLaunches);
        let (design, record) = of_flup(0, |_, _, _| 0.0);
        assert_eq!(first(&design, &record, 1).0, Verdict::NotMeasured);
        assert!(judge(&design, &record)[0].verdicts.values().all(|verdict| *verdict == Verdict::NotMeasured));
    }

    #[test]
    fn a_launch_that_lacks_a_size_is_left_out() {
        let (design, mut record) = of_flup(8, |entry, processes, _| match (entry, processes) {
            ("flup", _) => 1e6,
            (_, 13) => 1e5,
            _ => 5e5,
        });
        let whole = first(&design, &record, 1).1.unwrap().ratio;
        let lost = record.trials.iter_mut().find(|trial| {
            (trial.measured.launch, trial.measured.processes, trial.measured.entry.as_str())
                == (3, 13, "flup-multiplexed")
        });
        lost.unwrap().measured.figures = None;
        let left = first(&design, &record, 1).1.unwrap().ratio;
        assert_eq!((whole.launches, left.launches), (8, 7));
        assert!((whole.center - left.center).abs() < 1e-9);
    }

    #[test]
    fn the_best_number_of_processes_is_one_that_no_other_beats_by_more_than_the_margin() {
        for (best, gain, verdict) in
            [(2, 1.5, Verdict::Holds), (4, 1.01, Verdict::Holds), (4, 1.10, Verdict::Refuted)]
        {
            let (design, record) = of_flup(8, |_, processes, launch| {
                let gain = if processes == best { gain } else { 1.0 };
                1e6 * gain * (1.0 + 0.001 * launch as f64)
            });
            let (said, effect) = first(&design, &record, 3);
            assert_eq!(said, verdict, "{best} {gain}");
            if best != 2 {
                assert_eq!(effect.unwrap().at, Some(best));
            }
        }
    }

    #[test]
    fn who_varies_less_over_the_sizes_is_told_by_the_deviation_and_not_by_the_height() {
        let (design, record) = of_flup(8, |entry, processes, launch| {
            let shape = if entry == "flup" { processes as f64 } else { 10.0 + processes as f64 };
            1e5 * shape * (1.0 + 0.001 * launch as f64)
        });
        let (verdict, effect) = first(&design, &record, 4);
        assert_eq!(verdict, Verdict::Holds);
        assert!(effect.unwrap().ratio.high < 0.5);
    }

    #[test]
    fn one_refuted_test_refutes_a_claim_and_all_have_to_hold() {
        let (design, _) = record(0);
        let claim = &design.claims[0];
        let outcomes = |verdicts: [Verdict; 2]| -> Verdict {
            let deciding = claim.tests.iter().filter(|test| test.decides == Some(About::Today));
            let outcomes: Vec<Outcome<'_>> = deciding
                .zip(verdicts)
                .map(|(test, verdict)| Outcome { test, verdict, effect: None })
                .collect();
            assert_eq!(outcomes.len(), 2);
            of_claim(&outcomes, About::Today)
        };
        use Verdict::{Holds, NotMeasured, Refuted, Undecided};
        assert_eq!(outcomes([Holds, Holds]), Holds);
        assert_eq!(outcomes([Holds, Undecided]), Undecided);
        assert_eq!(outcomes([NotMeasured, Holds]), NotMeasured);
        assert_eq!(outcomes([NotMeasured, Refuted]), Refuted);
    }

    #[test]
    fn a_size_that_is_void_in_every_launch_is_no_smaller_average_and_no_best_number() {
        let (design, mut record) = of_flup(8, |_, _, launch| 1e6 * (1.0 + 0.001 * launch as f64));
        for trial in record.trials.iter_mut().filter(|trial| trial.measured.processes == 8) {
            trial.measured.figures = None;
        }
        for number in [1, 3, 4] {
            assert_eq!(first(&design, &record, number).0, Verdict::NotMeasured, "{number}");
        }
        // What is said of other sizes alone is as it was.
        assert_ne!(first(&design, &record, 5).0, Verdict::NotMeasured);
    }

    #[test]
    fn the_longest_wait_of_a_launch_is_the_median_over_its_turns_and_an_older_record_has_none() {
        let trial = trial("neighbours", "mio", "haproxy keep", 1, 1, 1e5, 1.0);
        let mut figures = trial.measured.figures.unwrap();
        assert_eq!(value(Metric::LongestWait, &figures), None);
        figures.slices.longest_ns = vec![1_000_000, 300_000_000, 4_000_000];
        assert_eq!(value(Metric::LongestWait, &figures), Some(4_000.0));
    }

    #[test]
    fn what_keeping_saves_is_held_against_what_multiplexing_saves_beyond_it() {
        let (design, mut record) = record(8);
        for launch in 1..=8 {
            for (used, micros) in
                [("haproxy close", 20.0), ("haproxy keep", 18.0), ("haproxy multiplex", 9.0)]
            {
                record.trials.push(trial("connections", "mio", used, 1, launch, 1e5, micros));
            }
        }
        let (verdict, effect) = first(&design, &record, 9);
        // 20/18 by 18/9.
        assert!((effect.unwrap().ratio.center - 20.0 / 18.0 / 2.0).abs() < 1e-3);
        assert_eq!(verdict, Verdict::Refuted);
        assert_eq!(first(&design, &record, 7).0, Verdict::Holds);
    }
}
