//! Builds strategies, each on its own, and learns from Cargo where the executable is.
//!
//! Listing a target folder would find stale ones, and building all at once would unify the features of what they
//! depend on.

use std::env;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cargo_metadata::{Artifact, Message};
use thiserror::Error;

use crate::discover::Source;
use crate::process;

/// How long a worker may take to look at what the machine has.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A strategy that is built.
#[derive(Clone, Debug)]
pub struct Strategy {
    name: String,
    is_floor: bool,
    is_form: bool,
    wakes_all: bool,
    has_thread_per_core: bool,
    binary: PathBuf,
}

impl Strategy {
    /// What tests and charts call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it does no protocol work: it answers nothing rightly but what it is measured with.
    pub fn is_floor(&self) -> bool {
        self.is_floor
    }

    /// Whether it is a form of a strategy.
    pub fn is_form(&self) -> bool {
        self.is_form
    }

    /// Whether each new connection wakes all of its processes: which of them gets it is then chance.
    pub fn wakes_all(&self) -> bool {
        self.wakes_all
    }

    /// Whether its threads share the work: it then has one for each core.
    pub fn has_thread_per_core(&self) -> bool {
        self.has_thread_per_core
    }

    /// The worker's executable.
    pub fn binary(&self) -> &Path {
        &self.binary
    }
}

/// Why a strategy is missing from tests and charts.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Cargo could not be run.
    #[error("{package} cannot be built: {error}")]
    Cargo {
        /// The package.
        package: String,
        /// What prevents it.
        error: io::Error,
    },
    /// The compiler has something to say.
    #[error("{package} does not build:\n{message}")]
    Compiler {
        /// The package.
        package: String,
        /// All that Cargo and the compiler wrote.
        message: String,
    },
    /// It is built, and says that this machine lacks what it needs: it is left out, and nothing is wrong.
    #[error("{package} is {reason}")]
    Unsupported {
        /// The package.
        package: String,
        /// What it says.
        reason: String,
    },
    /// It is built, and whether it can run here cannot be found out.
    #[error("{package} --check: {error}")]
    Check {
        /// The package.
        package: String,
        /// What prevents it: it cannot be started, or does not come to an end.
        error: io::Error,
    },
    /// It is built, but nothing of it can be started.
    #[error("{package} has no binary: a strategy has src/main.rs")]
    NoBinary {
        /// The package.
        package: String,
    },
}

/// Builds one strategy with the release profile. That takes no time where it has been built already.
pub fn build(source: &Source) -> Result<Strategy, BuildError> {
    let package = source.package.clone();
    let output = cargo(&source.workspace)
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .args(["--package", &package, "--bin", &source.binary])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| BuildError::Cargo { package: package.clone(), error })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Compiler { package, message });
    }
    let binary = Message::parse_stream(Cursor::new(output.stdout))
        .filter_map(Result::ok)
        .find_map(|message| match message {
            Message::CompilerArtifact(artifact) => executable_of(source, artifact),
            _ => None,
        })
        .ok_or_else(|| BuildError::NoBinary { package: package.clone() })?;
    match unsupported(&binary, CHECK_LIMIT) {
        Ok(None) => {}
        Ok(Some(reason)) => return Err(BuildError::Unsupported { package, reason }),
        Err(error) => return Err(BuildError::Check { package, error }),
    }
    Ok(Strategy {
        name: source.name().to_owned(),
        is_floor: source.is_floor(),
        is_form: source.is_form(),
        wakes_all: source.wakes_all(),
        has_thread_per_core: source.has_thread_per_core(),
        binary,
    })
}

/// A program that is a worker like a strategy's, an older build for example; named by its file. It comes from no package that
/// would say more of it: its threads are as many as it has by default.
pub fn program(binary: &Path) -> Result<Strategy, BuildError> {
    let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let binary = binary.to_owned();
    match unsupported(&binary, CHECK_LIMIT) {
        Ok(None) => {
            let (is_floor, is_form, wakes_all, has_thread_per_core) = (false, false, false, false);
            Ok(Strategy { name, is_floor, is_form, wakes_all, has_thread_per_core, binary })
        }
        Ok(Some(reason)) => Err(BuildError::Unsupported { package: name, reason }),
        Err(error) => Err(BuildError::Check { package: name, error }),
    }
}

/// What a worker says that this machine lacks. Where it fails otherwise, tests will show how.
fn unsupported(binary: &Path, limit: Duration) -> io::Result<Option<String>> {
    const UNSUPPORTED: i32 = 3;

    let mut command = Command::new(binary);
    command.arg("--check").stdin(Stdio::null());
    let output = process::run(command, limit)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = stderr.split_once(": ").map_or(&*stderr, |(_, reason)| reason).trim().to_owned();
    Ok((output.status.code() == Some(UNSUPPORTED)).then_some(reason))
}

fn executable_of(source: &Source, artifact: Artifact) -> Option<PathBuf> {
    let path = artifact.executable?;
    (artifact.package_id == source.id && artifact.target.name == source.binary)
        .then(|| path.into_std_path_buf())
}

/// Cargo, as if called by hand: what an outer `cargo test` or `cargo bench` tells its child of the package it runs
/// would be taken for a change of the environment, and force rebuilds.
fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_the_outer_package) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_the_outer_package(variable: &str) -> bool {
    const PREFIXES: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CFG_"];
    const NAMES: [&str; 5] =
        ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "CARGO_MAKEFLAGS", "OUT_DIR"];
    NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover;
    use crate::entry::Entry;
    use crate::launch::Family;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_check_is_bounded_and_its_reason_is_what_follows_the_programs_name() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let file = folder.path().join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
            file
        };
        let endless = unsupported(&program("endless", "sleep 1000"), Duration::from_millis(200));
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let lacking = program("lacking", "echo 'strategy-x: not supported here' >&2; exit 3");
        assert_eq!(unsupported(&lacking, CHECK_LIMIT).unwrap().as_deref(), Some("not supported here"));
        assert_eq!(unsupported(&program("failing", "exit 1"), CHECK_LIMIT).unwrap(), None);
    }

    #[test]
    fn threads_that_share_the_work_are_as_many_as_the_cores_that_are_given_and_no_others_are() {
        let takes_threads = |strategy: &Strategy| {
            let mut command = Command::new(strategy.binary());
            command.args(["--threads", "1", "--check"]).stdin(Stdio::null());
            process::run(command, CHECK_LIMIT).unwrap().status.success()
        };
        let sources = discover::sources().unwrap();
        let strategies = sources.iter().filter_map(|source| build(source).ok());
        let strategy = strategies.into_iter().find(takes_threads).unwrap();
        let command_line = |has_thread_per_core: bool, cores: Option<usize>| {
            let entry = Entry::Strategy(Strategy { has_thread_per_core, ..strategy.clone() });
            let pool = entry.launch_on(Family::Unix, 1, cores).unwrap();
            let words = fs::read(format!("/proc/{}/cmdline", pool.pid())).unwrap();
            pool.drain().unwrap();
            String::from_utf8(words).unwrap().replace('\0', " ")
        };
        assert!(command_line(true, Some(3)).ends_with("--processes 1 --threads 3 "));
        for (has_thread_per_core, cores) in [(true, None), (false, Some(3))] {
            assert!(command_line(has_thread_per_core, cores).ends_with("--processes 1 "));
        }
    }

    #[test]
    fn what_a_user_sets_for_cargo_reaches_the_inner_build() {
        for variable in ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_BUILD_JOBS", "CARGO_PROFILE_RELEASE_LTO"] {
            assert!(!describes_the_outer_package(variable), "{variable}");
        }
        for variable in ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "CARGO_BIN_EXE_x"] {
            assert!(describes_the_outer_package(variable), "{variable}");
        }
    }
}
