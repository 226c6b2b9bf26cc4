//! A child process that cannot be left behind.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

/// A running child: killed with all that it has started when dropped, and asked to end by the kernel when the thread that
/// started it ends in any way, an interrupted harness included.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stderr: File,
    /// Known once it has been waited for.
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`, its stdout thrown away and its stderr kept for [`Self::stderr`].
    pub fn spawn(command: Command) -> io::Result<Self> {
        Self::spawn_with(command, Stdio::null())
    }

    fn spawn_with(mut command: Command, stdout: Stdio) -> io::Result<Self> {
        let stderr = temporary_file()?;
        command.stdout(stdout).stderr(stderr.try_clone()?);
        let parent = getpid();
        // SAFETY: between fork and exec the closure makes two system calls: it allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::TERM))?;
                // The parent may have died before the line above.
                if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
            });
        }
        Ok(Self { child: command.spawn()?, stderr, status: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes it has forked and not reaped.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.exited()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for its end. Where that takes longer than `limit`: `TimedOut`, and it still runs.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let problem = format!("process {} still runs after {limit:?}", self.pid());
                return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// All it has written to stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&all_of(&self.stderr)).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        kill_tree(self.pid());
        let _ = self.child.wait();
    }
}

/// Runs a command to its end. Where that takes longer than `limit`: `TimedOut`, and it is killed with all that it started.
pub(crate) fn run(command: Command, limit: Duration) -> io::Result<Output> {
    // Files, for a pipe is not over before the last process that has it.
    let stdout = temporary_file()?;
    let mut process = Process::spawn_with(command, stdout.try_clone()?.into())?;
    let status = process.wait(limit)?;
    Ok(Output { status, stdout: all_of(&stdout), stderr: all_of(&process.stderr) })
}

fn all_of(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    // By position: the child writes at the place of the descriptor, which it shares with this one.
    while let Ok(read @ 1..) = file.read_at(&mut chunk, bytes.len() as u64) {
        bytes.extend_from_slice(&chunk[..read]);
    }
    bytes
}

/// A file without a name, so that nothing of it stays in the file system.
pub(crate) fn temporary_file() -> io::Result<File> {
    tempfile::tempfile().map_err(|error| {
        let folder = env::temp_dir();
        let words = format!(
            "no file can be made in {}: {error}; set TMPDIR to a folder where it can",
            folder.display()
        );
        io::Error::new(error.kind(), words)
    })
}

/// Kills a process without asking it.
pub fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills a process and all that it has started. Each is stopped first: it then neither starts others nor reaps those that
/// are killed, so that their numbers stay theirs.
fn kill_tree(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::STOP);
    }
    for child in children_of(pid) {
        kill_tree(child);
    }
    kill(pid);
}

/// Whether a process exists and has not ended.
pub fn is_running(pid: u32) -> bool {
    // One that has ended and was not reaped yet is in state Z. The state follows the name, which is in parentheses.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The executable that a process runs, if it runs.
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The children of a process: the kernel keeps a list for each of its threads.
pub fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_takes_its_children_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo ready >&2; wait"]);
        let process = Process::spawn(command).unwrap();
        while process.children().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        let child = process.children()[0];
        drop(process);
        let deadline = Instant::now() + Duration::from_secs(5);
        // Killed at once; its new parent may take a moment to reap it.
        while is_running(child) {
            assert!(Instant::now() < deadline, "process {child} was left behind");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
