//! The result for a reader.

use std::fmt;

use fcgi_load::{Capacity, Latency, Options, Quantile, Report};

use super::notes::Notes;

/// The result as text.
pub(crate) struct Table<'a> {
    pub(crate) options: &'a Options,
    pub(crate) report: &'a Report,
    pub(crate) notes: &'a Notes,
    pub(crate) coloured: bool,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options;
        let each = match options.streams_per_connection() {
            1 => String::new(),
            streams => format!(" x {streams} streams"),
        };
        let loop_ = match options.rate {
            Some(rate) => format!("open loop at {rate}/s"),
            None => "closed loop".into(),
        };
        writeln!(
            f,
            "{}, {}, {}: {} connections{each}, {loop_}",
            options.address, options.protocol, options.mode, options.connections
        )?;
        if let Some(capacity) = self.notes.capacity {
            row(f, "server says", &says(&capacity))?;
        }
        writeln!(f)?;
        self.figures(f)?;
        self.latencies(f)?;
        self.problems(f)
    }
}

impl Table<'_> {
    fn figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        row(f, "throughput", &format!("{} good replies/s", rate(report.throughput())))?;
        row(f, "elapsed", &time(u64::try_from(report.elapsed.as_nanos()).unwrap_or(u64::MAX)))?;
        row(f, "checked", &format!("{} of {} good", report.completed, report.due))?;
        if let (Some(offered), Some(share)) = (report.offered_rate, report.achieved_by_offered()) {
            let (achieved, offered) = (rate(report.achieved_rate()), rate(offered));
            row(f, "achieved/offered", &format!("{achieved} / {offered} per s = {share:.4}"))?;
            row(
                f,
                "sent",
                &format!(
                    "{} of {} due, {} of them late",
                    report.due - report.unsent,
                    report.due,
                    report.late
                ),
            )?;
        }
        row(f, "peak in flight", &format!("{} per connection", report.peak_in_flight))?;
        row(f, "connections", &format!("{} opened", report.connections_opened))?;
        for (count, words) in [
            (report.connects_failed, "attempts failed"),
            (report.closed_idle, "closed by the server while idle"),
            (report.retried, "sent again, since their connection was closed before a reply began"),
            (report.stray, "breaches of the protocol outside any reply"),
            (report.backlog_full, "waits for a full backlog"),
            (report.no_local_port, "waits for a free local port"),
        ] {
            if count > 0 {
                row(f, "", &format!("{count} {words}"))?;
            }
        }
        row(f, "bytes", &format!("{} out, {} in", bytes(report.bytes_out), bytes(report.bytes_in)))?;
        if report.stderr_bytes > 0 {
            row(f, "", &format!("{} of them FCGI_STDERR", bytes(report.stderr_bytes)))?;
        }
        row(f, "generator CPU", &generator_cpu(report))
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.latency.is_empty() {
            return Ok(());
        }
        let since = if report.service.is_some() { "due" } else { "sent" };
        write!(f, "\nlatency      since {since}")?;
        if report.service.is_some() {
            write!(f, "   since sent")?;
        }
        writeln!(f)?;
        for (name, share) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)]
        {
            write!(f, "  {name:<8} {:>12}", quantile(&report.latency, share))?;
            if let Some(service) = &report.service {
                write!(f, " {:>12}", quantile(service, share))?;
            }
            writeln!(f)?;
        }
        let without = report.due - report.completed;
        if without > 0 {
            let note = format!(
                "{without} requests had no good reply. They count as slower than all that had one, and with at least (>=)\n  \
                 what they waited."
            );
            writeln!(f, "  {}", self.paint("2", &note))?;
        }
        if report.service.is_none() {
            let note = "A closed loop waits for each reply, so a stall delays requests that then are not counted as late\n  \
                        (coordinated omission). Use --rate for latencies that users would see.";
            writeln!(f, "  {}", self.paint("2", note))?;
        }
        Ok(())
    }

    fn problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let is_whole = report.due == report.completed;
        if is_whole && report.errors.samples.is_empty() && self.notes.warnings.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        for (name, count) in
            [("refused", report.refused), ("unsent", report.unsent), ("unfinished", report.unfinished)]
        {
            if count > 0 {
                writeln!(f, "{} {count}", self.paint("33", name))?;
            }
        }
        let errors = report.errors.by_kind().into_iter().filter(|(_, count)| *count > 0);
        for (kind, count) in errors {
            writeln!(f, "{} {kind} {count}", self.paint("31", "error"))?;
        }
        for sample in &report.errors.samples {
            writeln!(f, "  for example: {sample}")?;
        }
        for warning in &self.notes.warnings {
            writeln!(f, "{} {warning}", self.paint("33", "warning:"))?;
        }
        Ok(())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name:<18}{value}")
}

fn says(capacity: &Capacity) -> String {
    let known = [
        capacity.connections.map(|most| format!("FCGI_MAX_CONNS {most}")),
        capacity.requests.map(|most| format!("FCGI_MAX_REQS {most}")),
        capacity.multiplexes.map(|yes| format!("FCGI_MPXS_CONNS {}", u8::from(yes))),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    if known.is_empty() { "nothing of its capacity".into() } else { known.join(", ") }
}

fn generator_cpu(report: &Report) -> String {
    let Some(load) = report.generator_load() else { return "too short a run to say".into() };
    let sent = report.due - report.unsent;
    let per_request = report.cpu.as_secs_f64() * 1e6 / sent.max(1) as f64;
    format!("{:.0} % of a core, {per_request:.2} us per request", load * 100.0)
}

fn quantile(latency: &Latency, share: f64) -> String {
    match latency.quantile(share) {
        None => "too few".into(),
        Some(Quantile::Exactly(value)) => time(value),
        Some(Quantile::AtLeast(value)) => format!(">= {}", time(value)),
    }
}

/// Requests per second, with as many digits as mean something.
fn rate(value: f64) -> String {
    match value {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn time(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    match nanoseconds {
        0..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.3} s", value / 1e9),
    }
}

fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{:.1} kB", value / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}
