//! Other people's implementations: a small program on each, in a folder of `data/peers`, which says there how it is
//! built and run. The folder list is the registry, as it is for strategies.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use thiserror::Error;

use crate::discover::{self, DiscoverError};
use crate::process;

/// What a folder's `build` exits with where something that it needs is not installed.
const NOT_INSTALLED: i32 = 3;
/// How long a build may take, downloads included.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// A peer as a folder, not built yet.
#[derive(Clone, Debug)]
pub struct PeerSource {
    name: String,
    folder: PathBuf,
    /// Where what it makes goes.
    built: PathBuf,
}

/// A peer that is built.
#[derive(Clone, Debug)]
pub struct Peer {
    name: String,
    version: String,
    folder: PathBuf,
    built: PathBuf,
    forks: bool,
    params: Vec<(String, String)>,
    ends_stdout: bool,
}

/// Why a peer is missing.
#[derive(Debug, Error)]
pub enum PeerError {
    /// It needs something that is not installed.
    #[error("{0}; scripts/setup --peers installs what it needs")]
    NotInstalled(String),
    /// It cannot be built though everything is there.
    #[error("it does not build: {0}")]
    Failed(String),
    /// Its build did not come to an end, and was killed.
    #[error("its build was given up after {0:?}")]
    Slow(Duration),
    /// Its folder says something of it that is not understood.
    #[error("its file `{file}` says {line:?}, which data/peers/README.md does not know")]
    Declaration {
        /// The file.
        file: &'static str,
        /// The line.
        line: String,
    },
    /// Its build could not be run.
    #[error("its build cannot be run: {0}")]
    Io(#[from] io::Error),
}

/// The peers, by name.
pub fn sources() -> Result<Vec<PeerSource>, DiscoverError> {
    let target = discover::target_folder()?.join("peers");
    let folders = fs::read_dir(discover::data_folder().join("peers")).into_iter().flatten().flatten();
    let mut sources: Vec<PeerSource> = folders
        .map(|entry| entry.path())
        .filter(|folder| folder.join("build").is_file())
        .filter_map(|folder| {
            let name = folder.file_name()?.to_str()?.to_owned();
            Some(PeerSource { built: target.join(&name), name, folder })
        })
        .collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

impl PeerSource {
    /// What tests and charts call it: its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Builds it. That takes no time where it has been built already, and ten minutes at most.
    pub fn build(&self) -> Result<Peer, PeerError> {
        self.build_within(BUILD_LIMIT)
    }

    fn build_within(&self, limit: Duration) -> Result<Peer, PeerError> {
        fs::create_dir_all(&self.built)?;
        let mut command = Command::new(self.folder.join("build"));
        command.arg(&self.built).stdin(Stdio::null());
        let output = process::run(command, limit).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => PeerError::Slow(limit),
            _ => PeerError::Io(error),
        })?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => {}
            Some(NOT_INSTALLED) => return Err(PeerError::NotInstalled(said)),
            _ => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                return Err(PeerError::Failed(format!("{}: {}", output.status, stderr.trim())));
            }
        }
        Ok(Peer {
            name: self.name.clone(),
            version: said,
            forks: word_of(&self.folder, "workers")?.trim() == "processes",
            params: params(&self.folder)?,
            ends_stdout: ends_stdout(&self.folder)?,
            folder: self.folder.clone(),
            built: self.built.clone(),
        })
    }
}

impl Peer {
    /// What tests and charts call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The implementation's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it starts its worker processes itself; of one that does not, several are started.
    pub fn forks(&self) -> bool {
        self.forks
    }

    /// Parameters that each of its requests has to have beside those of the workload.
    pub fn params(&self) -> &[(String, String)] {
        &self.params
    }

    /// Whether it ends FCGI_STDOUT by an empty record (3.3). Web servers put up with one that does not.
    pub fn ends_stdout(&self) -> bool {
        self.ends_stdout
    }

    /// What starts it on a listening socket. Its threads are as many as it has by default.
    pub(crate) fn command(&self, listener: OwnedFd, processes: usize) -> Command {
        let mut command = Command::new(self.folder.join("run"));
        command.arg(&self.built).stdin(listener);
        if self.forks {
            command.env("PEER_WORKERS", processes.to_string());
        } else {
            command.env_remove("PEER_WORKERS");
        }
        command
    }

    /// The same as words for a web server that gives it the socket. Its environment is the web server's.
    pub(crate) fn command_line(&self, processes: usize) -> String {
        let workers = match self.forks {
            true => format!("PEER_WORKERS={processes}"),
            false => "-u PEER_WORKERS".to_owned(),
        };
        let (folder, built) = (self.folder.display(), self.built.display());
        format!("/usr/bin/env {workers} {folder}/run {built}")
    }
}

/// What a folder's file says; nothing where there is none. `workers` says what PEER_WORKERS counts: `processes` or `threads`.
fn word_of(folder: &Path, file: &str) -> io::Result<String> {
    match fs::read_to_string(folder.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The file `params`: `NAME=VALUE` on each line, where a value that begins with `./` is a file of the folder.
fn params(folder: &Path) -> Result<Vec<(String, String)>, PeerError> {
    let param = |line: &str| {
        let (name, value) = line.split_once('=').ok_or_else(|| declaration("params", line))?;
        let value = match value.strip_prefix("./") {
            Some(file) => folder.join(file).display().to_string(),
            None => value.to_owned(),
        };
        Ok((name.to_owned(), value))
    };
    word_of(folder, "params")?.lines().map(param).collect()
}

/// The file `faults`: what a front end has to put up with.
fn ends_stdout(folder: &Path) -> Result<bool, PeerError> {
    const NO_END_OF_STDOUT: &str = "no end of STDOUT";

    let faults = word_of(folder, "faults")?;
    match faults.lines().find(|fault| *fault != NO_END_OF_STDOUT) {
        Some(unknown) => Err(declaration("faults", unknown)),
        None => Ok(faults.is_empty()),
    }
}

fn declaration(file: &'static str, line: &str) -> PeerError {
    PeerError::Declaration { file, line: line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Mix};
    use fcgi_load::RequestSpec;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    #[test]
    fn a_build_that_does_not_end_is_given_up_and_all_of_it_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (name, path) = ("endless".to_owned(), folder.path().to_owned());
        let source = PeerSource { name, built: path.join("built"), folder: path.clone() };
        // A grandchild, as a compiler is one.
        let script = "#!/bin/sh\n(sleep 1000 & echo $! >\"$1/pid\"; wait) & wait\n";
        fs::write(path.join("build"), script).unwrap();
        fs::set_permissions(path.join("build"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(source.build_within(Duration::from_secs(1)), Err(PeerError::Slow(_))));
        let pid = fs::read_to_string(source.built.join("pid")).unwrap().trim().parse().unwrap();
        // Killed; its new parent may take a moment to reap it.
        let gone = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !process::is_running(pid)
        });
        assert!(gone, "process {pid} was left behind");
    }

    #[test]
    fn every_folder_with_a_build_is_a_peer() {
        let peers = sources().unwrap();
        let names: Vec<&str> = peers.iter().map(PeerSource::name).collect();
        assert!(names.is_sorted() && names.contains(&"php-fpm"), "{names:?}");
        let folder = discover::data_folder().join("peers/php-fpm");
        assert_eq!(word_of(&folder, "workers").unwrap(), "processes\n");
    }

    #[test]
    fn what_is_particular_about_a_peer_stands_in_its_own_folder() {
        let script = "SCRIPT_FILENAME";
        for source in sources().unwrap() {
            let (params, ends_stdout) =
                (params(&source.folder).unwrap(), ends_stdout(&source.folder).unwrap());
            if source.name() == "php-fpm" {
                let [(name, file)] = &params[..] else { panic!("{params:?}") };
                assert!(name == script && Path::new(file).is_absolute() && Path::new(file).is_file());
                assert!(!ends_stdout);
            } else {
                assert!(params.is_empty() && ends_stdout, "{}", source.name());
            }
        }
    }

    #[test]
    fn a_peer_is_asked_as_its_folder_says_and_held_to_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let source = PeerSource { name: "any".into(), built: path.join("built"), folder: path.clone() };
        fs::write(path.join("build"), "#!/bin/sh\necho 1.0\n").unwrap();
        fs::set_permissions(path.join("build"), fs::Permissions::from_mode(0o755)).unwrap();
        let mix: Mix = "/hello,/cpu?us=1,/wait?ms=1,/echo+1,/bytes?n=1,/params".parse().unwrap();
        let requests = || -> Vec<RequestSpec> {
            let entry = Entry::Peer(source.build().unwrap());
            mix.shares(&entry).into_iter().map(|share| share.request).chain([entry.hello()]).collect()
        };
        let plain = requests();
        assert!(plain.iter().all(|request| request.expect.stdout_end));

        fs::write(path.join("params"), "NAME=./file\nOTHER=a=b\n").unwrap();
        fs::write(path.join("faults"), "no end of STDOUT\n").unwrap();
        let particular = requests();
        assert!(particular.iter().all(|request| !request.expect.stdout_end));
        let file = path.join("file").display().to_string();
        for (name, value) in [("NAME", &*file), ("OTHER", "a=b")] {
            let has = |request: &RequestSpec| request.value(name.as_bytes()) == Some(value.as_bytes());
            assert!(particular.iter().all(has) && !plain.iter().any(has), "{name}");
        }
        // The answer to /params lists them, too.
        let lists = |request: &RequestSpec| {
            String::from_utf8_lossy(request.expect.body.as_deref().unwrap()).contains("\nOTHER=a=b\n")
        };
        assert!(lists(&particular[5]) && !lists(&plain[5]));
    }

    #[test]
    fn what_a_folder_says_and_nobody_understands_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("params"), "NAME\n").unwrap();
        fs::write(folder.path().join("faults"), "no end of STDOUT\nno manners\n").unwrap();
        assert!(params(folder.path()).unwrap_err().to_string().contains("\"NAME\""));
        assert!(ends_stdout(folder.path()).unwrap_err().to_string().contains("\"no manners\""));
    }
}
