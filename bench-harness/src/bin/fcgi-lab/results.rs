//! Files for what was found. Whether one can be written is tried before anything is measured; it is written whole or not
//! at all; and it takes the place of nothing that its user has not given up.

use std::env;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bench_harness::experiment::{Machine, Versions};
use serde::Serialize;
use tempfile::NamedTempFile;

/// Where a result goes.
#[derive(Debug)]
pub(crate) struct ResultFile {
    /// As its user calls it.
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// Made beside its place first, and moved there.
    File { path: PathBuf, replaces: bool },
    /// A device or a pipe, which has no other place.
    Stream(File),
}

impl ResultFile {
    /// Makes its folder, and tries whether a file can be made there.
    ///
    /// # Errors
    ///
    /// It cannot be written; or it exists, and is not to be replaced.
    pub(crate) fn claim(path: &Path, overwrite: bool) -> anyhow::Result<Self> {
        let name = || format!("cannot write {}", path.display());
        let target = match fs::metadata(path) {
            Ok(there) if there.is_dir() => bail!("{}: it is a folder; name a file", name()),
            Ok(there) if !there.is_file() => {
                Target::Stream(OpenOptions::new().write(true).open(path).with_context(name)?)
            }
            Ok(_) if !overwrite => {
                bail!("{} exists: name another file, or say --overwrite", path.display())
            }
            // Of a link, what it leads to is replaced.
            Ok(_) => Target::File { path: path.canonicalize().with_context(name)?, replaces: true },
            Err(_) => Target::File { path: path.to_owned(), replaces: overwrite },
        };
        if let Target::File { path, .. } = &target {
            let folder = folder_of(path);
            fs::create_dir_all(folder)
                .with_context(|| format!("the folder {} cannot be made", folder.display()))
                .and_then(|()| Ok(unfinished(path)?))
                .with_context(name)?;
        }
        Ok(Self { path: path.to_owned(), target })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is to be written once only, and not as often as there is more to keep.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.target, Target::Stream(_))
    }

    /// Writes all of it: in the place of what was written before.
    pub(crate) fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let written = match &mut self.target {
            Target::Stream(stream) => stream.write_all(text.as_bytes()),
            Target::File { path, replaces } => replace(path, *replaces, text).inspect(|()| *replaces = true),
        };
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// The same, for what cannot be had again: where it cannot be written here, it is kept elsewhere, and the error says
    /// where.
    pub(crate) fn keep(&mut self, text: &str) -> anyhow::Result<()> {
        self.write(text).map_err(|error| kept_elsewhere(error, text))
    }
}

/// An error that has cost nothing: `text` is in a file that it names.
pub(crate) fn kept_elsewhere(error: anyhow::Error, text: &str) -> anyhow::Error {
    let keep = || -> anyhow::Result<PathBuf> {
        let mut file = tempfile::Builder::new().prefix("fcgi-lab-").suffix(".json").tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok(file.keep()?.1)
    };
    match keep() {
        Ok(path) => anyhow::anyhow!("{error:#}; what was found is kept in {}", path.display()),
        Err(also) => {
            let folder = env::temp_dir();
            anyhow::anyhow!("{error:#}; nor can it be kept in {}: {also:#}", folder.display())
        }
    }
}

/// Raw data as they are kept.
pub(crate) fn json(record: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(record)? + "\n")
}

/// Whether more may be measured here for data that were taken `then`, and what is `now`.
///
/// # Errors
///
/// They were taken on another machine, or of something else.
pub(crate) fn may_go_on(
    name: impl Display,
    then: (&Machine, &Versions),
    now: (&Machine, &Versions),
) -> anyhow::Result<()> {
    if then.0.host != now.0.host {
        bail!("{name}: it was measured on {}, and this is {}", then.0.host, now.0.host);
    }
    if then.1 != now.1 {
        let commit = then.1.commit.as_deref().unwrap_or("an unknown commit");
        bail!("{name}: it was measured of {commit}, and by {}: go there to go on", then.1.rustc);
    }
    Ok(())
}

fn replace(path: &Path, replaces: bool, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder_of(path))?;
    let mut file = unfinished(path)?;
    file.write_all(text.as_bytes())?;
    let moved = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
    moved.map(drop).map_err(|failed| failed.error)
}

/// A file in the folder of another, which goes with its name unless it is moved there.
fn unfinished(path: &Path) -> io::Result<NamedTempFile> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // As any new file, and as the user's mask has it.
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(&name)
        .suffix(".unfinished")
        .permissions(permissions)
        .tempfile_in(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
