//! `fcgi-lab report`: what an experiment has found, from its raw data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bench_harness::experiment::{FORMAT, Record};
use bench_harness::report;

/// Make the report of an experiment from its raw data: FILE.md and FILE.html beside it.
///
/// The same data give the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The raw data, as `fcgi-lab compare` has written them
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = || args.file.display().to_string();
    let json = fs::read_to_string(&args.file).with_context(name)?;
    let record: Record = serde_json::from_str(&json).with_context(name)?;
    if record.format != FORMAT {
        bail!("{}: its format is {}, and this program reads {FORMAT}", name(), record.format);
    }
    let page = write(&record, &args.file)?;
    println!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes both forms beside the raw data, and says where the page is.
pub(crate) fn write(record: &Record, file: &Path) -> anyhow::Result<PathBuf> {
    let page = file.with_extension("html");
    for (file, text) in
        [(&file.with_extension("md"), report::markdown(record)), (&page, report::page(record))]
    {
        fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(page)
}
