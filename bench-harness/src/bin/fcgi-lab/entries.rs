//! What is asked for on the command line, found and built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bench_harness::experiment::{Skipped, twin_of};
use bench_harness::{BuildError, Entry, Family, Target, builds, discover, peers};
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Socket {
    Unix,
    Tcp,
}

impl From<Socket> for Family {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Unix => Self::Unix,
            Socket::Tcp => Self::Tcp,
        }
    }
}

/// Strategies, forms of them and peers of these names, or all there are but forms where no targets are named instead; all programs
/// of a folder; and the targets. And which of them cannot take part, and why.
pub(crate) fn build(
    names: &[String],
    programs: Option<&Path>,
    targets: &[Target],
) -> anyhow::Result<(Vec<Entry>, Vec<Skipped>)> {
    let (strategies, peers) = (discover::all()?, peers::sources()?);
    let known: Vec<&str> = strategies
        .iter()
        .map(discover::Source::name)
        .chain(peers.iter().map(peers::PeerSource::name))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no entry {unknown}: there are {}", known.join(", "));
    }
    for (at, target) in targets.iter().enumerate() {
        let name = target.name();
        let is_taken = known.contains(&name) || targets[..at].iter().any(|other| other.name() == name);
        // As the reference runs twice.
        if is_taken || name == twin_of(name.trim_end_matches(&twin_of(""))) {
            bail!("{name} is another entry's name: write --target {}=NAME", target.address());
        }
    }
    let is_named = |name: &str| names.iter().any(|asked| asked == name);
    let is_asked =
        |name: &str, by_default: bool| is_named(name) || names.is_empty() && targets.is_empty() && by_default;

    let mut entries = Vec::new();
    let mut skipped = Vec::new();
    for source in strategies.iter().filter(|source| is_asked(source.name(), !source.is_form())) {
        match builds::build(source) {
            Ok(strategy) => entries.push(Entry::Strategy(strategy)),
            Err(why @ BuildError::Unsupported { .. }) => {
                skipped.push(Skipped { name: source.name().to_owned(), reason: why.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    for source in peers.iter().filter(|source| is_asked(source.name(), true)) {
        match source.build() {
            Ok(peer) => entries.push(Entry::Peer(peer)),
            Err(why) => skipped.push(Skipped { name: source.name().to_owned(), reason: why.to_string() }),
        }
    }
    for program in programs.map(programs_of).transpose()?.unwrap_or_default() {
        match builds::program(&program) {
            Ok(strategy)
                if known.contains(&strategy.name())
                    || targets.iter().any(|target| target.name() == strategy.name()) =>
            {
                bail!("{} has the name of another entry: rename it", program.display());
            }
            Ok(strategy) => entries.push(Entry::Strategy(strategy)),
            Err(BuildError::Unsupported { package: name, reason }) => skipped.push(Skipped { name, reason }),
            Err(error) => return Err(error.into()),
        }
    }
    entries.extend(targets.iter().cloned().map(Entry::Target));
    Ok((entries, skipped))
}

/// A line about who takes no part.
pub(crate) fn absent(skipped: &Skipped) -> String {
    format!("{} takes no part: {}\n", skipped.name, skipped.reason)
}

/// The files of a folder that can be run, by name.
fn programs_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let name = || format!("the programs in {}", folder.display());
    let files = fs::read_dir(folder).with_context(name)?.collect::<Result<Vec<_>, _>>().with_context(name)?;
    let can_be_run = |path: &PathBuf| {
        let is_executable = |file: fs::Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
        fs::metadata(path).is_ok_and(is_executable)
    };
    let mut programs: Vec<PathBuf> = files.iter().map(fs::DirEntry::path).filter(can_be_run).collect();
    programs.sort();
    if programs.is_empty() {
        bail!("there is no program in {}", folder.display());
    }
    Ok(programs)
}
