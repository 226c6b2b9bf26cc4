//! Which strategies there are: the packages of the workspace that are called `strategy-*`.

use std::env;
use std::path::PathBuf;

use cargo_metadata::{MetadataCommand, PackageId};
use thiserror::Error;

/// What a strategy's package name begins with.
const PREFIX: &str = "strategy-";

/// A strategy as a package, not built yet.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    pub(crate) package: String,
    pub(crate) id: PackageId,
    pub(crate) workspace: PathBuf,
}

impl Source {
    /// What tests and charts call it: the package's name without `strategy-`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Cargo could not say what the workspace holds.
#[derive(Debug, Error)]
#[error("cargo metadata does not tell which strategies there are: {0}")]
pub struct DiscoverError(#[from] cargo_metadata::Error);

/// The strategies of this workspace, by name.
pub fn sources() -> Result<Vec<Source>, DiscoverError> {
    let metadata =
        MetadataCommand::new().manifest_path(harness_folder().join("Cargo.toml")).no_deps().exec()?;
    let workspace = metadata.workspace_root.clone().into_std_path_buf();
    let mut sources: Vec<Source> = metadata
        .workspace_packages()
        .into_iter()
        .filter_map(|package| {
            Some(Source {
                name: package.name.strip_prefix(PREFIX)?.to_owned(),
                package: package.name.to_string(),
                id: package.id.clone(),
                workspace: workspace.clone(),
            })
        })
        .collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

/// Cargo's target folder.
pub(crate) fn target_folder() -> Result<PathBuf, DiscoverError> {
    let metadata =
        MetadataCommand::new().manifest_path(harness_folder().join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// The folder `data` of the workspace.
pub fn data_folder() -> PathBuf {
    let harness = harness_folder();
    harness.parent().unwrap_or(&harness).join("data")
}

/// This package's folder: as Cargo says it now, or as it was when this was compiled.
pub fn harness_folder() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}
