//! Which strategies there are: the binaries of the workspace's packages that are called `strategy-*`.
//!
//! A package whose Cargo.toml says `[package.metadata.fcgi-lab] floor = true` holds floors: they do no protocol work, so
//! whatever asks for right answers leaves them out. `accepts = "all woken"` marks a strategy all of whose processes are
//! woken for each new connection: which of them gets it is chance, and its line over processes shows that too.
//! `threads = "one per core"` marks one whose `--threads` share the work, so that there is to be one for each core.
//!
//! The binary of a package's own name is the strategy. One that is called like it with a suffix is a form of it: the same
//! model but for one of its costs. Forms are workers like any other, and take part only where they are asked for by name:
//! [`sources`] leaves them out.

use std::env;
use std::path::{Path, PathBuf};

use cargo_metadata::{MetadataCommand, Package, PackageId};
use thiserror::Error;

/// What a strategy's package name begins with.
const PREFIX: &str = "strategy-";
/// What a floor's name begins with.
const FLOOR: &str = "floor";

/// A strategy as a binary of a package, not built yet.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    is_floor: bool,
    is_form: bool,
    wakes_all: bool,
    has_thread_per_core: bool,
    pub(crate) package: String,
    pub(crate) binary: String,
    pub(crate) id: PackageId,
    pub(crate) workspace: PathBuf,
}

impl Source {
    /// What tests and charts call it: the package's name without `strategy-`, and of a form its binary's. A floor is called
    /// `floor-`, and by what its binary's name adds to its package's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it does no protocol work, and stands in charts for what anything could reach at most.
    pub fn is_floor(&self) -> bool {
        self.is_floor
    }

    /// Whether it is a strategy but for one of its costs, which stands beside that only where it is asked for.
    pub fn is_form(&self) -> bool {
        self.is_form
    }

    /// Whether each new connection wakes all of its processes.
    pub fn wakes_all(&self) -> bool {
        self.wakes_all
    }

    /// Whether its threads share the work: it then has one for each core.
    pub fn has_thread_per_core(&self) -> bool {
        self.has_thread_per_core
    }
}

/// Cargo could not say what the workspace holds.
#[derive(Debug, Error)]
#[error("cargo metadata does not tell which strategies there are: {0}")]
pub struct DiscoverError(#[from] cargo_metadata::Error);

/// The strategies of this workspace and the floors, by name.
pub fn sources() -> Result<Vec<Source>, DiscoverError> {
    all().map(|all| all.into_iter().filter(|source| !source.is_form).collect())
}

/// The same, and the forms of strategies among them.
pub fn all() -> Result<Vec<Source>, DiscoverError> {
    let metadata =
        MetadataCommand::new().manifest_path(harness_folder().join("Cargo.toml")).no_deps().exec()?;
    let workspace = metadata.workspace_root.clone().into_std_path_buf();
    let packages = metadata.workspace_packages();
    let mut sources: Vec<Source> =
        packages.into_iter().flat_map(|package| sources_of(package, &workspace)).collect();
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

fn sources_of(package: &Package, workspace: &Path) -> Vec<Source> {
    let Some(name) = package.name.strip_prefix(PREFIX) else { return Vec::new() };
    let said = &package.metadata["fcgi-lab"];
    let source = |name: &str, binary: &str| Source {
        name: name.to_owned(),
        is_floor: false,
        is_form: false,
        wakes_all: said["accepts"] == "all woken",
        has_thread_per_core: said["threads"] == "one per core",
        package: package.name.to_string(),
        binary: binary.to_owned(),
        id: package.id.clone(),
        workspace: workspace.to_owned(),
    };
    let binaries = package.targets.iter().filter(|target| target.is_bin()).map(|target| &target.name);
    if said["floor"] == true {
        let floor = |binary: &String| {
            let form = binary.strip_prefix(package.name.as_str()).unwrap_or(binary);
            Source { is_floor: true, ..source(&format!("{FLOOR}{form}"), binary) }
        };
        return binaries.map(floor).collect();
    }
    let form = |binary: &String| {
        let suffix = binary.strip_prefix(package.name.as_str()).filter(|suffix| suffix.starts_with('-'))?;
        Some(Source { is_form: true, ..source(&format!("{name}{suffix}"), binary) })
    };
    // Where it has no binary of its own name, building it says so.
    [source(name, &package.name)].into_iter().chain(binaries.filter_map(form)).collect()
}

/// This package's folder: as Cargo says it now, or as it was when this was compiled.
pub fn harness_folder() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_package_says_what_is_particular_about_its_strategy() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        fs::write(folder.path().join("main.rs"), "fn main() {}").unwrap();
        let source = |said: &str| {
            let package = "[package]\nname = \"strategy-any\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
            let binary = "[[bin]]\nname = \"strategy-any\"\npath = \"main.rs\"\n";
            fs::write(&manifest, format!("{package}{binary}[package.metadata.fcgi-lab]\n{said}\n")).unwrap();
            let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec().unwrap();
            sources_of(&metadata.packages[0], folder.path()).swap_remove(0)
        };
        let flags = |said| {
            let source = source(said);
            (source.is_floor(), source.wakes_all(), source.has_thread_per_core())
        };
        assert_eq!(flags(""), (false, false, false));
        assert_eq!(flags("floor = true"), (true, false, false));
        assert_eq!(flags("accepts = \"all woken\""), (false, true, false));
        assert_eq!(flags("threads = \"one per core\""), (false, false, true));
    }

    #[test]
    fn a_binary_with_a_suffix_is_a_form_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        fs::write(folder.path().join("main.rs"), "fn main() {}").unwrap();
        let package = "[package]\nname = \"strategy-any\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        let names = ["strategy-any", "strategy-any-other", "strategy-anyhow", "tool"];
        let binaries = names.map(|name| format!("[[bin]]\nname = \"{name}\"\npath = \"main.rs\"\n"));
        let said = "[package.metadata.fcgi-lab]\naccepts = \"all woken\"\n";
        fs::write(&manifest, format!("{package}{}{said}", binaries.concat())).unwrap();
        let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec().unwrap();
        let found = sources_of(&metadata.packages[0], folder.path());
        let told: Vec<_> =
            found.iter().map(|source| (source.name(), source.binary.as_str(), source.is_form())).collect();
        assert_eq!(told, [("any", "strategy-any", false), ("any-other", "strategy-any-other", true)]);
        assert!(found.iter().all(Source::wakes_all));
    }

    #[test]
    fn forms_are_left_out_where_nobody_asks_for_them() {
        let (sources, all) = (sources().unwrap(), all().unwrap());
        let forms: Vec<&Source> = all.iter().filter(|source| source.is_form()).collect();
        assert!(!forms.is_empty() && !sources.iter().any(Source::is_form));
        assert_eq!(sources.len() + forms.len(), all.len());
        for form in forms {
            assert!(sources.iter().any(|source| source.package == form.package), "{}", form.name());
        }
    }
}
