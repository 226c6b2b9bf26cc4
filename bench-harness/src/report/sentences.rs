//! What a report says in sentences: what was found, what is missing, and how it was made.

use std::net::IpAddr;

use super::findings::{Cause, Cell, Findings, WITHIN};
use super::metric::Metric;
use super::statistics::median;
use super::verdict::LAUNCHES;
use super::words::{NOT_KNOWN, number, percent, percent_beyond_one};
use crate::entry::Kind;
use crate::experiment::{BUSY_WHEN_IDLE, Machine, Participant, Plan, Regime, Versions};
use crate::launch::Family;
use crate::mix::Mix;

impl Findings<'_> {
    /// What stands on top: how near the ratios are known, and whether the run is fit.
    pub(crate) fn summary(&self) -> String {
        let reference = &self.record.reference;
        let launches = self.launches();
        let mut sentences = Vec::new();
        let known: Vec<(f64, String)> = self
            .cells
            .iter()
            .flat_map(|cell| cell.rows.iter().map(move |row| (cell, row)))
            .filter_map(|(cell, row)| {
                let reach = row.by(Metric::Cpu).ratio?.reach();
                Some((reach, format!("{} in {}", row.entry.name, self.cell_name(cell))))
            })
            .collect();
        if launches < LAUNCHES {
            sentences.push(format!(
                "Too few launches for a verdict: {launches}, and {LAUNCHES} are needed. There are intervals only."
            ));
        }
        let widest = known.iter().reduce(|one, other| if other.0 > one.0 { other } else { one });
        if let (Some(half), Some((reach, whose))) = (median(known.iter().map(|(reach, _)| *reach)), widest) {
            sentences.push(format!(
                "Half of the ratios of CPU per request to {reference} are known within {}; the widest, {whose}, \
                 within {}.",
                percent_beyond_one(half),
                percent_beyond_one(*reach)
            ));
        }
        let unfit: Vec<String> = self
            .metrics
            .iter()
            .flat_map(|&metric| {
                let cells = self.unfit(metric).into_iter();
                cells.map(move |cell| format!("{} in {}", metric.name(), self.cell_name(cell)))
            })
            .collect();
        let twin_ran = self.cells.iter().any(Cell::has_twin);
        if !unfit.is_empty() {
            sentences.push(format!(
                "The run is unfit for {}: there {reference}, run twice under two names, differed from itself.",
                unfit.join(", ")
            ));
        } else if launches >= LAUNCHES && twin_ran {
            sentences.push(format!(
                "{reference}, run twice under two names, did not differ from itself, as it must not."
            ));
        }
        sentences.join(" ")
    }

    /// How it was made, as names and values.
    pub(crate) fn setting(&self) -> Vec<(&'static str, String)> {
        let plan = &self.record.plan;
        let processes: Vec<String> = plan.processes.iter().map(usize::to_string).collect();
        let load = match plan.rate {
            None => format!("closed loop, {} requests in flight", plan.clients),
            Some(rate) => format!("open loop, {} requests per second", number(rate)),
        };
        let multiplexed = match plan.multiplexed {
            Some(connections) => format!("{} on each of {connections} connections", plan.streams),
            None => format!("up to {} on a connection", plan.streams),
        };
        let (regime, socket, processes) = if self.has_targets_alone() {
            let alone = "all workers were there already".to_owned();
            (
                format!("{}, of the generator alone", plan.regime),
                alone.clone(),
                format!("{NOT_KNOWN}: {alone}"),
            )
        } else {
            let socket = match plan.family {
                Family::Unix => "unix".to_owned(),
                Family::Tcp => "TCP, loopback".to_owned(),
            };
            (format!("{}: {}", plan.regime, regime_words(plan)), socket, processes.join(", "))
        };
        let mut setting = vec![
            ("date", self.record.date.clone()),
            ("regime", regime),
            ("socket", socket),
            ("worker processes", processes),
            ("load", format!("{load}; multiplexed, {multiplexed}")),
            ("requests", requests(plan)),
            (
                "launches",
                format!(
                    "{} of {}, of {} slices of {} s after {} s of warm-up",
                    self.launches(),
                    plan.launches,
                    plan.slices,
                    plan.slice.as_secs_f64(),
                    plan.warm_up.as_secs_f64()
                ),
            ),
        ];
        let targets: Vec<&str> = self.targets().filter_map(|target| target.address.as_deref()).collect();
        if !targets.is_empty() {
            setting.push(("targets", format!("{}, not started by this run", targets.join(", "))));
        }
        setting.extend(origin(self.record.plan.seed, &self.record.machine, &self.record.versions));
        setting
    }

    /// What is missing or marked, in sentences.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for skipped in &self.record.skipped {
            remarks.push(format!("{} took no part: {}.", skipped.name, skipped.reason));
        }
        remarks.extend(self.targets().map(|target| self.of_target(target)));
        for entry in self.record.entries.iter().filter(|entry| !entry.verified.failed.is_empty()) {
            let verified = &entry.verified;
            remarks.push(format!(
                "† {} fails {} of {} quick cases of fcgi-verify that apply: {}.",
                entry.name,
                verified.failed.len(),
                verified.failed.len() + verified.passed,
                verified.failed.join(", ")
            ));
        }
        for entry in self.record.entries.iter().filter(|entry| is_busy(entry)) {
            remarks.push(format!(
                "{} takes {:.1} % of a core when nobody asks it, so its pools were stopped while others had their turn.",
                entry.name,
                entry.idle_share.unwrap_or_default() * 100.0
            ));
        }
        for cell in &self.cells {
            for row in cell.rows.iter().filter(|row| !row.void.is_empty()) {
                remarks.push(format!(
                    "{}, {}: {} of {} launches are void; the first: {}.",
                    row.entry.name,
                    self.cell_name(cell),
                    row.void.len(),
                    row.void.len() + row.valid,
                    row.void[0]
                ));
            }
            let vague = self.vague(cell);
            if !vague.is_empty() && self.launches() >= LAUNCHES {
                let causes = [
                    (Cause::Launches, "since launches differ"),
                    (Cause::Slices, "since slices scatter"),
                    (Cause::WholeLaunches, "since it is told for whole launches"),
                ];
                let groups = causes.map(|(cause, words)| {
                    let of_cause = vague.iter().filter(|(.., why)| *why == cause);
                    let each = of_cause.map(|(row, reach, _)| {
                        format!("{} ({})", row.entry.name, percent_beyond_one(*reach))
                    });
                    let each = each.collect::<Vec<_>>().join(", ");
                    (!each.is_empty()).then(|| format!("{words}: {each}"))
                });
                remarks.push(format!(
                    "{}: CPU per request, as a ratio to {}, is not known within {}, {}.",
                    self.cell_name(cell),
                    self.record.reference,
                    percent(WITHIN),
                    groups.into_iter().flatten().collect::<Vec<_>>().join("; ")
                ));
            }
            let fewer: Vec<String> = cell
                .rows
                .iter()
                .filter(|row| cell.has_fewer_in_flight(row))
                .map(|row| format!("{} ({})", row.entry.name, row.connections * row.streams))
                .collect();
            if !fewer.is_empty() {
                remarks.push(format!(
                    "{}: fewer than {} requests in flight, since no more connections are held: {}.",
                    self.cell_name(cell),
                    cell.in_flight,
                    fewer.join(", ")
                ));
            }
            let bound: Vec<&str> = cell
                .rows
                .iter()
                .filter(|row| self.metrics.contains(&Metric::Throughput) && row.is_generator_bound())
                .map(|row| row.entry.name.as_str())
                .collect();
            if !bound.is_empty() {
                remarks.push(format!(
                    "{}: throughput may be the generator's limit, not their own, in {}.",
                    self.cell_name(cell),
                    bound.join(", ")
                ));
            }
            let absent: Vec<&str> = self
                .record
                .entries
                .iter()
                // What cannot be asked for this has no part in it; who could be, and does not multiplex, is named.
                .filter(|entry| entry.kind == Kind::Strategy)
                .filter(|entry| cell.rows.iter().all(|row| row.entry.name != entry.name))
                .map(|entry| entry.name.as_str())
                .collect();
            if !absent.is_empty() && !cell.ask.on_all_cores {
                remarks.push(format!("{}: not taken by {}.", self.cell_name(cell), absent.join(", ")));
            }
        }
        remarks
    }

    /// What is known of a server that the run did not start, and where it is.
    fn of_target(&self, target: &Participant) -> String {
        let (name, address) = (&target.name, target.address.as_deref().unwrap_or(NOT_KNOWN));
        let named = if name == address { String::new() } else { format!(", at {address}") };
        let where_it_is = if is_here(address, &self.record.machine.host) {
            "It ran on this machine, on whichever cores it was given, perhaps the generator's."
        } else {
            "Its machine is not the one that is described here, which is the generator's; the network between them is in its \
             throughput and latency."
        };
        format!(
            "{name} was there already{named}: this run did not start it. {where_it_is} What its processes took is not known: \
             CPU, context switches, system calls, memory, threads, and how many there are. So nothing is said of its CPU per \
             request. Its launches differ in their connections alone, not in their processes: its intervals may be too narrow."
        )
    }

    /// How to read it all.
    pub(crate) fn method(&self) -> String {
        format!(
            "{}{}{} What is shown is the Hodges-Lehmann estimate over the launches, on logarithms, \
             with its exact 95 % interval, that of Wilcoxon's signed-rank test (normal beyond 50 launches; fewer than \
             6 cannot give 95 %: their interval reaches from the least to the greatest, and 5 launches give 93.8 %, 3 \
             give 75 %). CPU per request alone is judged, from {LAUNCHES} launches on. First: the 90 % interval lies \
             inside 1/1.03 to 1.03: equal within 3 %. Else: the 95 % interval excludes 1, also after Holm's correction \
             for all ratios of its cell: less or more. Else it is undecided, with the number of further launches that \
             would decide it if estimate and spread stay as they are; an interval without 1 can be undecided, by the \
             correction. Equality is not corrected: of entries that differ by 3 % exactly, each is called equal with a \
             chance of up to 5 %. Throughput, p50 and p99 have intervals and no verdict. The twin of {} is a check of \
             the run: its intervals, whose confidence stands beside them, are so wide that all of them hold 1 in 95 \
             of 100 fit runs; where one does not, the run is unfit. CPU per request is user and system time of all \
             the pool's processes, reaped children included. Context switches are those of a pool's whole life, by \
             its requests; system calls were counted by strace in a pass of their own.",
            self.interleaving(),
            self.connections_of_targets(),
            self.threads(),
            self.record.reference
        )
    }

    /// What is fresh of those that were there already.
    fn connections_of_targets(&self) -> String {
        let targets: Vec<&str> = self.targets().map(|target| target.name.as_str()).collect();
        match targets[..] {
            [] => String::new(),
            _ => format!(" Of a target ({}) the connections alone were fresh.", targets.join(", ")),
        }
    }

    /// Whose threads were as many as the cores.
    fn threads(&self) -> String {
        let sharing = self.record.entries.iter().filter(|entry| entry.has_thread_per_core);
        let sharing: Vec<&str> = sharing.map(|entry| entry.name.as_str()).collect();
        if sharing.is_empty() {
            return String::new();
        }
        let mut words = format!(
            " Threads are those that each worker process had at the end of its turns. Where threads share the work ({}), there \
             is one for each core that the workers are pinned to, and as many as there are by default where they are pinned to none.",
            sharing.join(", ")
        );
        if self.cells.iter().any(|cell| cell.ask.on_all_cores) {
            words += &format!(
                " \"On all cores\" they were asked once more, {} beside them, with everybody on all cores as the scheduler likes.",
                self.record.reference
            );
        }
        words
    }

    /// How ratios were made.
    fn interleaving(&self) -> String {
        let plan = &self.record.plan;
        if plan.slices == 1 {
            return "Each launch ran everything once, one entry after the other, in an order shuffled anew, on fresh pools. \
                    Ratios are formed inside a launch."
                .to_owned();
        }
        format!(
            "In each launch all entries of a cell had a fresh pool, and all pools lived at once. Each was asked for {} \
             slices of {} ms, in cycles of one slice of everybody, in an order shuffled anew. The ratio of a launch is \
             the median over its cycles, of CPU per request and of throughput; of latencies (in a mix those of its first \
             request), of what no clock tells slice \
             by slice (workers that start a process for each connection, where no control group could be made), and between modes it is that of the whole launch.",
            plan.slices,
            plan.slice.as_millis()
        )
    }
}

/// Whether it takes the others' time when nobody asks it, as far as that is known.
fn is_busy(entry: &Participant) -> bool {
    entry.idle_share.is_some_and(|share| share > BUSY_WHEN_IDLE)
}

/// Whether an address is one of this machine.
fn is_here(address: &str, this_host: &str) -> bool {
    let Some(host_and_port) = address.strip_prefix("tcp:") else { return true };
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host == "localhost" || host == this_host
}

/// What is asked for.
fn requests(plan: &Plan) -> String {
    let mut workloads: Vec<&Mix> = Vec::new();
    for workload in plan.asks.iter().map(|ask| &ask.workload) {
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    let words = |workload: &&Mix| {
        let (name, text) = (workload.name(), workload.to_string());
        if text.ends_with(&name) { text } else { format!("{name}: {text}") }
    };
    let words: Vec<String> = workloads.iter().map(words).collect();
    format!("{}; with 20 parameters, and every reply checked", words.join("; "))
}

/// By what a run can be repeated.
pub(crate) fn origin(seed: u64, machine: &Machine, versions: &Versions) -> Vec<(&'static str, String)> {
    let commit = versions.commit.as_deref().map_or("unknown", |commit| &commit[..commit.len().min(12)]);
    vec![
        ("seed", seed.to_string()),
        (
            "machine",
            format!(
                "{}, {} cores of {}, {} GiB, load average before: {}",
                machine.host,
                machine.cores,
                machine.cpu,
                machine.memory_kib >> 20,
                machine.load_average
            ),
        ),
        ("kernel", machine.kernel.clone()),
        ("commit", format!("{commit}{}", if versions.modified { ", with changes" } else { "" })),
        ("compiler", versions.rustc.clone()),
    ]
}

pub(crate) fn regime_words(plan: &Plan) -> String {
    match (plan.regime, plan.worker_cores) {
        (Regime::Isolated, None) => "workers on one core, the generator on another".to_owned(),
        (Regime::Isolated, Some(cores)) => {
            format!("workers on {cores} cores, a generator on each of the others")
        }
        (Regime::Shared, _) => "everybody on all cores".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_told_from_those_of_others() {
        for address in [
            "unix:/run/app.sock",
            "tcp:127.0.0.1:9000",
            "tcp:[::1]:9000",
            "tcp:localhost:9000",
            "tcp:me:9000",
        ] {
            assert!(is_here(address, "me"), "{address}");
        }
        for address in ["tcp:192.0.2.1:9000", "tcp:[2001:db8::1]:9000", "tcp:other:9000"] {
            assert!(!is_here(address, "me"), "{address}");
        }
    }
}
