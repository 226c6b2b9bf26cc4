//! `fcgi-lab report`: what an experiment has found, from its raw data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bench_harness::experiment::{FORMAT, OLDEST_FORMAT, Record};
use bench_harness::report;

use crate::output;
use crate::results::ResultFile;

/// Make the report of an experiment from its raw data: FILE.md and FILE.html beside it.
///
/// The same data give the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The raw data, as `fcgi-lab compare` has written them
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the figures to standard output as JSON, and no file
    #[arg(long)]
    json: bool,

    /// Replace files that say something else
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = || args.file.display().to_string();
    let record = read(&args.file)?;
    if args.json {
        output::print(report::json(&record))?;
        return Ok(ExitCode::SUCCESS);
    }
    let [markdown, page] = paths(&args.file).with_context(|| format!("rename {}", name()))?;
    let [text, html] = texts(&record);
    let claim = |path: &Path, text: &str| {
        let is_the_same = fs::read(path).is_ok_and(|there| there == text.as_bytes());
        ResultFile::claim(path, args.overwrite || is_the_same)
    };
    let mut files = [claim(&markdown, &text)?, claim(&page, &html)?];
    for (file, text) in files.iter_mut().zip([text, html]) {
        file.write(&text)?;
    }
    output::print(format_args!("{}\n", page.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Raw data.
///
/// # Errors
///
/// They cannot be read, or are of a format that this program does not know.
pub(crate) fn read(file: &Path) -> anyhow::Result<Record> {
    let name = || file.display().to_string();
    let json = fs::read_to_string(file).with_context(name)?;
    let record: Record = serde_json::from_str(&json).with_context(name)?;
    if !(OLDEST_FORMAT..=FORMAT).contains(&record.format) {
        let format = record.format;
        bail!("{}: its format is {format}, and this program reads {OLDEST_FORMAT} to {FORMAT}", name());
    }
    Ok(record)
}

/// Where both forms go: beside the raw data.
///
/// # Errors
///
/// The raw data are, or are to be, in one of these places.
pub(crate) fn paths(data: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let paths = ["md", "html"].map(|extension| data.with_extension(extension));
    // Whatever leads there.
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(path) = paths.iter().find(|path| place(path) == place(data)) {
        let (taken, json) = (path.display(), data.with_extension("json"));
        bail!("the report goes to {taken}, so the data cannot be there; {} would do", json.display());
    }
    Ok(paths)
}

/// Both forms.
pub(crate) fn texts(record: &Record) -> [String; 2] {
    [report::markdown(record), report::page(record)]
}
