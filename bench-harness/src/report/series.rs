//! The page of `cargo bench`: for each group a chart of what it costs and one of how much of it there is.

use fcgi_load::Mode;

use super::findings::threads;
use super::lines::{self, Line, Point};
use super::metric::Metric;
use super::page;
use super::sentences;
use super::statistics::{ALPHA, Sample};
use super::svg::escape;
use super::tables::Table;
use super::verdict::LAUNCHES;
use super::words;
use crate::entry::Kind;
use crate::experiment::{Participant, Record, Trial};
use crate::series::{Group, Measured, Over};

const STYLE: &str = include_str!("lines.css");
/// So many colours the page has.
const HUES: usize = 10;
/// What is drawn of each group.
const DRAWN: [Metric; 2] = [Metric::Cpu, Metric::Throughput];

pub(crate) fn of(record: &Record, measured: &[Measured]) -> String {
    let title = "Ways to build a FastCGI server, side by side";
    let mut text = page::begun(&format!("cargo bench, {}", record.date), title, &page::about(record), STYLE);
    text += &format!(
        "<p class=\"verdict\">This shows the shape. {} launches give intervals, from the least launch to the greatest, and no \
         verdict: <code>fcgi-lab compare</code> gives verdicts, from {LAUNCHES} launches on. Criterion's intervals, of the \
         same measurements, are too narrow.</p>\n\
         <p>Both axes are logarithmic. Hollow marks: fewer requests in flight than the axis says, since the entry holds \
         fewer connections. Dashed and grey: floors, which do no protocol work. Dotted: other implementations.</p>\n",
        record.plan.launches
    );
    for measured in measured {
        group(&mut text, record, measured);
    }
    let remarks = remarks(record, measured);
    if !remarks.is_empty() {
        text += "<h2>What is missing or marked</h2>\n<ul>\n";
        for remark in remarks {
            text += &format!("<li>{}</li>\n", escape(&remark));
        }
        text += "</ul>\n";
    }
    text += &format!("<h2>How this was made</h2>\n<p>{}</p>\n<dl>\n", escape(&method(record, measured)));
    for (name, value) in sentences::origin(record.plan.seed, &record.machine, &record.versions) {
        text += &format!("<dt>{name}</dt><dd>{}</dd>\n", escape(&value));
    }
    text + "</dl>\n</main>\n</html>\n"
}

fn group(text: &mut String, record: &Record, measured: &Measured) {
    let group = measured.group;
    *text += &format!(
        "<h2>{}</h2>\n<p>{}</p>\n<div class=\"lines\">\n",
        escape(group.name),
        escape(&about(group, record))
    );
    let axis = match group.over {
        Over::Clients => "clients",
        Over::Processes(_) => "worker processes",
    };
    let lines = DRAWN.map(|metric| (metric, lines_of(record, measured, metric)));
    for (metric, lines) in &lines {
        let (unit, better) = match metric {
            Metric::Throughput => ("Requests per second", "higher is better"),
            _ => ("CPU per request, µs", "lower is better"),
        };
        let title = format!("{}: {} over {axis}", group.name, metric.name());
        *text += &format!(
            "<figure><figcaption>{unit} <span>{better}</span></figcaption>{}</figure>\n",
            lines::chart(&title, group.sizes, axis, lines)
        );
    }
    *text += "</div>\n<details><summary>The numbers</summary>\n";
    for (metric, lines) in &lines {
        page::table(text, &table(measured, *metric, lines));
    }
    *text += "</details>\n";
}

fn about(group: &Group, record: &Record) -> String {
    let connections = match group.mode {
        Mode::Close => "A new connection for each request, as lighttpd does it",
        Mode::Keep => "Connections are kept, one for each client",
        Mode::Multiplex => {
            return format!(
                "Connections are kept, with up to {} requests at a time on each; one worker process. Whoever takes one \
                 request at a time only is absent.",
                record.plan.streams
            );
        }
    };
    match group.over {
        Over::Clients => {
            let workload = group.workload();
            let asked = match workload.name().as_str() {
                "hello" => String::new(),
                // Everybody answers as many as there are in flight, each time that a timer fires.
                "wait" => format!(
                    " What is asked for is {workload}: throughput there shows how fine timers are, too."
                ),
                _ => format!(" What is asked for is {workload}."),
            };
            format!("{connections}; one worker process.{asked}")
        }
        Over::Processes(clients) => format!(
            "{connections}; {clients} clients. All worker processes share what cores the workers have ({}): this shows what \
             more processes cost, not what more cores give.",
            sentences::regime_words(&record.plan)
        ),
    }
}

/// Of all who have a point. An entry has the same colour in every group; floors have none.
fn lines_of(record: &Record, measured: &Measured, metric: Metric) -> Vec<Line> {
    let mut hues = (0..HUES).cycle().map(|hue| format!("hue{hue}"));
    let mut hue = || hues.next().unwrap_or_default();
    let line = |entry: &Participant| Line {
        name: entry.name.clone(),
        class: match entry.kind {
            Kind::Floor => "floor".to_owned(),
            Kind::Strategy => hue(),
            Kind::Peer | Kind::Target => format!("peer {}", hue()),
        },
        points: measured
            .group
            .sizes
            .iter()
            .filter_map(|size| point(measured, &entry.name, *size, metric))
            .collect(),
    };
    let lines = record.entries.iter().map(line);
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// None where nobody takes part, or where a launch counts for nothing.
fn point(measured: &Measured, name: &str, size: usize, metric: Metric) -> Option<Point> {
    let trials: Vec<&Trial> = measured.trials_of(name, size).collect();
    let values = trials.iter().map(|trial| metric.of(trial.figures.as_ref()?));
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    // Nothing that has a logarithm: a pool whose CPU no tick has met.
    let logarithms =
        values.iter().all(|value| *value > 0.0).then(|| values.iter().map(|value| value.ln()).collect());
    let estimate = Sample::of(logarithms?)?.ratio(ALPHA);
    let asked = match measured.group.over {
        Over::Clients => size,
        Over::Processes(clients) => clients,
    };
    Some(Point {
        size,
        estimate,
        is_hollow: trials.iter().any(|trial| trial.connections * trial.streams < asked),
    })
}

/// Each row ends with how many threads a worker process had.
fn table(measured: &Measured, metric: Metric, lines: &[Line]) -> Table {
    let group = measured.group;
    let mut head = vec![metric.unit().to_owned()];
    head.extend(group.sizes.iter().map(|size| format!("{size} {}", group.over)));
    head.push("threads".to_owned());
    let row = |line: &Line| {
        let cell = |size: &usize| {
            let point = line.points.iter().find(|point| point.size == *size);
            words::or_dash(point, |point| words::value(&point.estimate))
        };
        let trials: Vec<&Trial> =
            group.sizes.iter().flat_map(|size| measured.trials_of(&line.name, *size)).collect();
        let threads = words::range(threads(&trials));
        [line.name.clone()].into_iter().chain(group.sizes.iter().map(cell)).chain([threads]).collect()
    };
    Table { head, rows: lines.iter().map(row).collect() }
}

fn remarks(record: &Record, measured: &[Measured]) -> Vec<String> {
    let mut remarks: Vec<String> = record
        .skipped
        .iter()
        .map(|skipped| format!("{} takes no part: {}", skipped.name, skipped.reason))
        .collect();
    let trials = || {
        measured.iter().flat_map(|measured| measured.trials.iter().map(move |trial| (measured.group, trial)))
    };
    for (group, (size, trial)) in trials() {
        if let Some(why) = &trial.void {
            let (name, group, over) = (&trial.entry, group.name, group.over);
            let point = format!("{name} fails in {group} with {size} {over}, so that point is missing");
            // One launch is enough.
            if !remarks.iter().any(|remark| remark.starts_with(&point)) {
                remarks.push(format!("{point}: {why}"));
            }
        }
    }
    let is_whole = |name: &str| {
        let figures = trials()
            .filter(|(_, (_, trial))| trial.entry == name)
            .filter_map(|(_, (_, trial))| trial.figures.as_ref());
        figures.into_iter().any(|figures| figures.slices.cpu_ns.is_empty())
    };
    for entry in &record.entries {
        let name = &entry.name;
        if is_whole(name) {
            remarks.push(format!(
                "{name} starts a process for each connection, and no control group could be made, which would have told its \
                 CPU: the kernel tells it in ticks of 10 ms, for a whole launch. It is known less exactly than the others' is."
            ));
        }
        if entry.wakes_all
            && measured.iter().any(|measured| matches!(measured.group.over, Over::Processes(_)))
        {
            remarks.push(format!(
                "{name} wakes all its processes for each new connection: its line over them shows that, too."
            ));
        }
        if let Some(version) = &entry.version {
            remarks.push(format!("{name} is somebody else's implementation: {version}"));
        }
    }
    remarks
}

fn method(record: &Record, measured: &[Measured]) -> String {
    let plan = &record.plan;
    let mut turns: Vec<String> = Vec::new();
    for of_group in measured.iter().map(|measured| measured.turns.to_string()) {
        if !turns.contains(&of_group) {
            turns.push(of_group);
        }
    }
    format!(
        "All entries of a size had a fresh pool, and all pools lived at once ({}). Each was asked for {}, in \
         cycles of one slice of everybody, in an order shuffled anew; {} launches repeated that on fresh pools, the sizes of \
         a group in turn. Every reply was checked. What is shown is the Hodges-Lehmann estimate over the launches, on \
         logarithms, and the interval from the least launch to the greatest, which holds the truth in {:.0} of 100 cases. \
         Criterion has the same slices, and takes them for independent, which those of a launch are not: its intervals are \
         too sure. Only what that run was asked for stands here.",
        sentences::regime_words(plan),
        turns.join(" or "),
        plan.launches,
        // The least and the greatest miss where all launches lie to one side.
        100.0 * (1.0 - 0.5_f64.powi(plan.launches as i32 - 1)),
    )
}
