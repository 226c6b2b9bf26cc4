//! The result for a reader, and for a program.

use std::fmt;

use fcgi_load::{Capacity, Mode, Options, Report};

/// Above this share of a core the generator, not the server, may have set the pace.
const BUSY_GENERATOR: f64 = 0.9;
/// Under this share of the offered rate a queue was growing.
const KEPT_UP: f64 = 0.99;

/// What there is to say about a run beside its numbers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) capacity: Option<Capacity>,
    warnings: Vec<String>,
}

impl Notes {
    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Looks for what makes the numbers mean less than they seem to.
    pub(crate) fn judge(&mut self, report: &Report) {
        if report.generator_load() > BUSY_GENERATOR {
            self.warn(format!(
                "this generator used {:.0} % of a core: it may have been the bottleneck, not the server",
                report.generator_load() * 100.0
            ));
        }
        if let Some(share) = report.achieved_by_offered()
            && share < KEPT_UP
            && !report.stopped
        {
            self.warn(format!(
                "only {:.1} % of the offered rate was achieved: the latencies are those of a growing queue",
                share * 100.0
            ));
        }
        let peak = report.peak_in_flight;
        if report.mode == Mode::Multiplex && peak < 2 && report.completed > 1 {
            self.warn("no connection ever had two requests in flight: nothing was multiplexed".into());
        }
        if report.gave_up {
            self.warn("the run ended early: nothing came from the server in twice the timeout".into());
        }
        if report.stopped {
            self.warn("the run was interrupted; requests then in flight are not counted".into());
        }
    }

    /// One object with all of it.
    pub(crate) fn json(&self, options: &Options, report: &Report) -> serde_json::Value {
        serde_json::json!({
            "address": options.address.to_string(),
            "connections": options.connections,
            "streams": streams(options),
            "capacity": self.capacity,
            "throughput": report.throughput(),
            "achieved_rate": report.achieved_rate(),
            "achieved_by_offered": report.achieved_by_offered(),
            "warnings": self.warnings,
            "report": report,
        })
    }
}

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
        let each = match streams(options) {
            1 => String::new(),
            streams => format!(" x {streams} streams"),
        };
        let loop_ = match options.rate {
            Some(rate) => format!("open loop at {rate}/s"),
            None => "closed loop".into(),
        };
        writeln!(
            f,
            "{}, {}: {} connections{each}, {loop_}",
            options.address, options.mode, options.connections
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
        let concluded = report.completed + report.refused + report.errors.total();
        row(f, "throughput", &format!("{:.0} good replies/s", report.throughput()))?;
        row(f, "elapsed", &format!("{:.3} s", report.elapsed.as_secs_f64()))?;
        row(f, "checked", &format!("{} of {concluded} good", report.completed))?;
        if let (Some(offered), Some(share)) = (report.offered_rate, report.achieved_by_offered()) {
            let achieved = report.achieved_rate();
            row(f, "achieved/offered", &format!("{achieved:.0} / {offered:.0} per s = {share:.4}"))?;
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
        if report.closed_idle > 0 {
            row(f, "", &format!("{} closed by the server while idle", report.closed_idle))?;
        }
        if report.backlog_full > 0 {
            row(f, "", &format!("{} waits for a full backlog", report.backlog_full))?;
        }
        row(f, "bytes", &format!("{} out, {} in", bytes(report.bytes_out), bytes(report.bytes_in)))?;
        if report.stderr_bytes > 0 {
            row(f, "", &format!("{} of them FCGI_STDERR", bytes(report.stderr_bytes)))?;
        }
        let per_request = report.cpu.as_secs_f64() * 1e6 / concluded.max(1) as f64;
        let load = report.generator_load() * 100.0;
        row(f, "generator CPU", &format!("{load:.0} % of a core, {per_request:.2} us per request"))
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.completed == 0 {
            return Ok(());
        }
        let since = if report.service.is_some() { "due" } else { "sent" };
        write!(f, "\nlatency      since {since}")?;
        if report.service.is_some() {
            write!(f, "   since sent")?;
        }
        writeln!(f)?;
        for (name, quantile) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)]
        {
            write!(f, "  {name:<8} {:>12}", time(report.latency.value_at_quantile(quantile)))?;
            if let Some(service) = &report.service {
                write!(f, " {:>12}", time(service.value_at_quantile(quantile)))?;
            }
            writeln!(f)?;
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
        if report.is_clean() && self.notes.warnings.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        if report.refused > 0 {
            writeln!(f, "{} {}", self.paint("33", "refused"), report.refused)?;
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

fn streams(options: &Options) -> usize {
    if options.mode == Mode::Multiplex { options.streams } else { 1 }
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
