//! Where the pages are: Criterion's, and ours beside it.

use std::env;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

/// The folder in Criterion's that is ours.
const FOLDER: &str = "fcgi-lab";

/// Where Criterion keeps all that it has: below Cargo's target folder, as the executable is.
pub(crate) fn home() -> PathBuf {
    let home = env::var_os("CRITERION_HOME").map(PathBuf::from).or_else(|| {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).or_else(|| {
            let program = env::current_exe().ok()?;
            // target/release/deps/strategies-hash
            program.ancestors().nth(3).map(PathBuf::from)
        })?;
        Some(target.join("criterion"))
    });
    home.unwrap_or_default()
}

/// The pages that a run ends by naming.
#[derive(Debug)]
pub(crate) struct Pages {
    home: PathBuf,
}

impl Pages {
    /// Tries whether ours can be written, before anything is measured for it.
    pub(crate) fn claim() -> anyhow::Result<Self> {
        let pages = Self { home: home() };
        pages.temporary()?;
        Ok(pages)
    }

    /// Criterion's.
    pub(crate) fn criterions(&self) -> PathBuf {
        full(self.home.join("report/index.html"))
    }

    /// Ours.
    pub(crate) fn ours(&self) -> PathBuf {
        full(self.home.join(FOLDER).join("index.html"))
    }

    /// Writes ours, whole or not at all.
    pub(crate) fn write(&self, page: &str) -> anyhow::Result<()> {
        let mut file = self.temporary()?;
        let written = file.write_all(page.as_bytes()).and_then(|()| Ok(file.persist(self.ours())?));
        written.with_context(|| self.ours().display().to_string())?;
        Ok(())
    }

    /// Gone when dropped.
    fn temporary(&self) -> anyhow::Result<NamedTempFile> {
        let folder = self.home.join(FOLDER);
        let read_by_all = Permissions::from_mode(0o644);
        fs::create_dir_all(&folder)
            .and_then(|()| tempfile::Builder::new().permissions(read_by_all).tempfile_in(&folder))
            .with_context(|| folder.display().to_string())
    }
}

/// From the root, so that it can be opened from anywhere.
fn full(page: impl AsRef<Path>) -> PathBuf {
    let page = page.as_ref();
    page.canonicalize().unwrap_or_else(|_| page.to_owned())
}
