//! Runs of the program, and what they leave behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long something that has to happen is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// In the environment of a run, and so in that of all processes that descend from it.
const MARK: &str = "FCGI_VERIFY_TEST_MARK";

/// Signals are as by default: where the tests run in the background, a shell has SIGINT ignored for them and their children.
pub(crate) fn program() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(env!("CARGO_BIN_EXE_fcgi-verify"));
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !is() {
        assert!(Instant::now() < limit, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// A run whose processes can be told from all others, and with a folder for temporary files of its own.
pub(crate) struct Marked {
    mark: String,
    folder: TempDir,
}

impl Marked {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);

        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let mark = format!("{MARK}={}-{number}", std::process::id());
        Marked { mark, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        let (name, value) = self.mark.split_once('=').unwrap();
        command.env(name, value).env("TMPDIR", self.folder.path());
        command
    }

    /// The ids of its processes whose name is one of these; all of them, if none is named.
    pub(crate) fn processes(&self, names: &[&str]) -> Vec<u32> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is_one_of_its(*pid, names)).collect()
    }

    fn is_one_of_its(&self, pid: u32, names: &[&str]) -> bool {
        let file =
            |name: &str| fs::read(Path::new("/proc").join(pid.to_string()).join(name)).unwrap_or_default();
        // A zombie has no environment any more.
        let marked = file("environ").split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes());
        marked && (names.is_empty() || names.contains(&text(&file("comm")).trim_end()))
    }

    /// Files and folders that are left.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

/// Ends a run that a failing test has left.
impl Drop for Marked {
    fn drop(&mut self) {
        for pid in self.processes(&[]) {
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
    }
}

/// What a run that was started says, once it has ended.
pub(crate) fn outcome(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
