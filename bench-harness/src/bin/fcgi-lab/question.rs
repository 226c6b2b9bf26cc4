//! `fcgi-lab question`: the question of 2007, asked again through real web servers.

mod progress;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use bench_harness::experiment;
use bench_harness::question::{Design, FORMAT, Plan, Question, Record, Seen, hash};
use bench_harness::report::question::{self, Texts};
use bench_harness::{Family, discover, launch};

use crate::entries;
use crate::line::Line;
use crate::output::{complain, print};
use crate::results::{self, ResultFile, json};
use crate::stop;

/// Ask the question of 2007 again: do you gain from FastCGI connection multiplexing?
///
/// What is measured and what decides each claim is written down in data/claims.toml. Strategies and other implementations,
/// flup among them, run behind lighttpd, nginx and HAProxy; a web server or an implementation that is missing is left out by
/// name. Raw data are written after each cell, so that an interrupted run can go on (see --resume).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A first look: a few entries and parts
    #[arg(long)]
    quick: bool,

    /// Fresh starts of everything; with fewer than 8 some claims stay undecided [default: 10, or 7 if quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    launches: Option<u16>,

    /// How long all launches may take together: each contender has as many turns in a launch as there is time for, from 8
    /// to 40 [default: 50, or 4 if quick]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: Option<u32>,

    /// The folder for the raw data, the page and the tables [default: data/results/DATE-question, or DATE-question-quick]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// What is measured and what decides each claim [default: data/claims.toml]
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,

    /// Replace what is there
    #[arg(long)]
    overwrite: bool,

    /// Go on with a run that was interrupted, as it was planned
    #[arg(long, value_name = "FOLDER", exclusive = true)]
    resume: Option<PathBuf>,

    /// Make the page and the tables anew from the raw data in this folder, and measure nothing
    #[arg(long, value_name = "FOLDER", exclusive = true)]
    report: Option<PathBuf>,

    /// What all shuffles are made from [default: the time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  A first look, and the whole experiment:
      fcgi-lab question --quick
      fcgi-lab question
  A run that was interrupted:
      fcgi-lab question --resume data/results/2026-12-01-question
  The page of a kept run, from its raw data:
      fcgi-lab question --report data/results/2026-12-01-question";

/// Eight launches are the fewest from which five intervals can hold together with 95 %; one may be void.
const LAUNCHES: usize = 10;
/// Of a quick run, which has two such intervals.
const QUICK_LAUNCHES: usize = 7;
/// Minutes.
const BUDGET: u32 = 50;
const QUICK_BUDGET: u32 = 4;

/// The raw data and the claims, in a folder of their own; the other files are made from these.
const DATA: &str = "question.json";
const CLAIMS: &str = "claims.toml";

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.report {
        let (record, design, hash) = read(folder)?;
        Files::claim(folder, true)?.write(&question::of(&record, &design, &hash)?)?;
        print(format_args!("{}\n", folder.join("question.html").display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = stop::on_signals()?;
    let begun = args.resume.as_deref().map(interrupted).transpose()?;
    let file = match (&args.claims, &args.resume) {
        (Some(file), _) => file.clone(),
        (None, Some(folder)) => folder.join(CLAIMS),
        (None, None) => discover::data_folder().join(CLAIMS),
    };
    let (design, text) = Design::read(&file)?;
    let hash = hash(&text);
    let plan = begun.as_ref().map_or_else(|| plan(args), |record| record.plan.clone());
    let folder = args.resume.clone().or(args.output.clone()).unwrap_or_else(|| default_folder(plan.is_quick));
    let replaces = args.overwrite || args.resume.is_some();
    let mut data = ResultFile::claim(&folder.join(DATA), replaces)?;
    let mut claims = ResultFile::claim(&folder.join(CLAIMS), replaces)?;
    let files = Files::claim(&folder, replaces)?;
    launch::try_here(Family::Unix)?;
    print(format_args!("seed {}, claims {}\n", plan.seed, &hash[..12]))?;

    let names = match &begun {
        Some(record) => record.entries.iter().map(|entry| entry.name.clone()).collect(),
        None => asked(&design, plan.is_quick)?,
    };
    let (entries, skipped) = entries::build(&names, None, &[])?;
    for skipped in &skipped {
        print(entries::absent(skipped))?;
    }
    let budget = args.minutes.unwrap_or(if plan.is_quick { QUICK_BUDGET } else { BUDGET });
    let begun = begun.unwrap_or_else(|| Record::begun(hash.clone(), plan, skipped));
    let known = begun.skipped.len();
    let question = Question {
        design: &design,
        entries: &entries,
        budget: Duration::from_secs(60) * budget,
        stop: &stop,
    };

    let line = Line::start(progress::TEMPLATE);
    let mut complained = false;
    let record = question.run(begun, &mut |seen| {
        progress::show(&line, &seen);
        if let Seen::Begun(time) = seen {
            line.aside(|| drop(print(format_args!("{}\n", estimate(time)))));
        }
        // A run that is killed has kept its whole cells, and the claims that they decide. What cannot be kept now is tried again
        // at the end.
        if let Seen::Saved(record) = seen
            && let Err(error) = claims.write(&text).and_then(|()| data.write(&json(record)?))
            && !complained
        {
            complained = true;
            line.aside(|| complain(format_args!("fcgi-lab: {error:#}; the run goes on")));
        }
    });
    line.finish();
    let record = record?;
    record.skipped.iter().skip(known).try_for_each(|skipped| print(entries::absent(skipped)))?;
    if !record.trials.is_empty() {
        claims.write(&text)?;
        data.keep(&json(&record)?)?;
        let texts = question::of(&record, &design, &hash)?;
        print(&texts.summary)?;
        files.write(&texts)?;
        print(format_args!("{}\n", folder.join("question.html").display()))?;
    }
    let is_interrupted = stop.load(Ordering::Relaxed) || !record.is_whole;
    Ok(if is_interrupted { stop::interrupted() } else { ExitCode::SUCCESS })
}

/// Who is to take part: those that the design names, and all other strategies where a part is for them.
fn asked(design: &Design, is_quick: bool) -> anyhow::Result<Vec<String>> {
    let mut names = design.names(is_quick);
    if design.includes_others(is_quick) {
        let sources =
            discover::sources()?.into_iter().filter(|source| !source.is_floor() && !source.is_form());
        names.extend(sources.map(|source| source.name().to_owned()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The files that are made of the raw data.
struct Files([ResultFile; 4]);

impl Files {
    fn claim(folder: &Path, replaces: bool) -> anyhow::Result<Self> {
        let claim = |name: &str| ResultFile::claim(&folder.join(name), replaces);
        Ok(Self([
            claim("question.html")?,
            claim("question.md")?,
            claim("verdicts.json")?,
            claim("processes.svg")?,
        ]))
    }

    fn write(mut self, texts: &Texts) -> anyhow::Result<()> {
        let texts = [&texts.page, &texts.markdown, &texts.json, &texts.picture];
        self.0.iter_mut().zip(texts).try_for_each(|(file, text)| file.write(text))
    }
}

/// The raw data and the claims of a folder.
fn read(folder: &Path) -> anyhow::Result<(Record, Design, String)> {
    let file = folder.join(DATA);
    let name = || file.display().to_string();
    let json = fs::read_to_string(&file).with_context(name)?;
    let record: Record = serde_json::from_str(&json).with_context(name)?;
    if record.format != FORMAT {
        bail!("{}: its format is {}, and this program reads {FORMAT}", name(), record.format);
    }
    let claims = folder.join(CLAIMS);
    let (design, text) = Design::read(&claims)?;
    let hash = hash(&text);
    record.is_of(&hash).with_context(|| claims.display().to_string())?;
    Ok((record, design, hash))
}

/// A record to which more may be added here.
fn interrupted(folder: &Path) -> anyhow::Result<Record> {
    let (record, _, _) = read(folder)?;
    let now = Record::begun(String::new(), record.plan.clone(), Vec::new());
    let name = folder.display();
    if record.is_whole {
        bail!("{name}: that run is whole");
    }
    let (then, now) = ((&record.machine, &record.versions), (&now.machine, &now.versions));
    results::may_go_on(name, then, now)?;
    Ok(record)
}

fn plan(args: &Args) -> Plan {
    let launches = if args.quick { QUICK_LAUNCHES } else { LAUNCHES };
    Plan {
        seed: args.seed.unwrap_or_else(stop::time),
        is_quick: args.quick,
        launches: args.launches.map_or(launches, usize::from),
        // As many as there is time for, once it is known who takes part.
        slices: 0,
    }
}

fn default_folder(is_quick: bool) -> PathBuf {
    let (date, quick) = (experiment::today(), if is_quick { "-quick" } else { "" });
    discover::data_folder().join("results").join(format!("{date}-question{quick}"))
}

fn estimate(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    let plural = if minutes == 1 { "" } else { "s" };
    format!("about {minutes} minute{plural}; Ctrl-C keeps finished cells, and --resume FOLDER continues")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        crate::parse(words)
    }

    #[test]
    fn a_run_is_whole_unless_it_is_to_be_quick() {
        let whole = plan(&parse(&[]).unwrap());
        assert_eq!((whole.launches, whole.is_quick), (10, false));
        let quick = plan(&parse(&["--quick"]).unwrap());
        assert_eq!((quick.launches, quick.is_quick), (7, true));
        assert_eq!(plan(&parse(&["--launches", "2"]).unwrap()).launches, 2);
    }

    #[test]
    fn a_run_that_goes_on_is_planned_already() {
        assert!(parse(&["--resume", "folder"]).is_ok());
        assert!(parse(&["--resume", "folder", "--quick"]).is_err());
        assert!(parse(&["--report", "folder", "--resume", "folder"]).is_err());
        assert!(parse(&["--launches", "0"]).is_err());
    }
}
