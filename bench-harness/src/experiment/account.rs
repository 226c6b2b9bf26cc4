//! An account for a pool: a control group, which counts what all its processes use, those that end while nobody looks included.
//!
//! It is needed where a process is started for each connection. No clock tells the time of such a child before it is reaped,
//! and then only in ticks of 10 ms; `cpu.stat` of a control group (v2) tells it in microseconds. It can be had where the harness
//! may make a group below its own: as root, or where systemd has delegated it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cpu::Usage;

/// Of a pool, and gone when dropped: the pool has to be gone by then.
#[derive(Debug)]
pub(super) struct Account {
    group: PathBuf,
}

impl Account {
    /// For these processes, and all that come of them and live.
    ///
    /// # Errors
    ///
    /// The kernel has no control groups of version 2, or none may be made here.
    pub(super) fn open(roots: &[u32]) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let group = own_group()?.join(format!("fcgi-lab-{}-{number}", std::process::id()));
        fs::create_dir(&group)?;
        let account = Self { group };
        // Whoever is started during the first pass by a process that has not been moved yet is moved in the second.
        for _ in 0..2 {
            for pid in Usage::of(roots).processes() {
                match fs::write(account.group.join("cgroup.procs"), pid.to_string()) {
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    moved => moved?,
                }
            }
        }
        account.cpu()?;
        Ok(account)
    }

    /// What all processes that were ever in it have used since they were.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(self.group.join("cpu.stat"))?;
        let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        micros.map(Duration::from_micros).ok_or_else(|| io::Error::other("cpu.stat has no usage_usec"))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Whoever is left in it keeps it.
        let _ = fs::remove_dir(&self.group);
    }
}

/// The control group of version 2 that this process is in.
fn own_group() -> io::Result<PathBuf> {
    let missing = || io::Error::from(ErrorKind::NotFound);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mount = mounts.lines().find_map(mount_of_groups).ok_or_else(missing)?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or_else(missing)?;
    Ok(Path::new(mount).join(own))
}

/// Where a line of mountinfo says that control groups of version 2 are: proc(5).
fn mount_of_groups(line: &str) -> Option<&str> {
    let (mount, filesystem) = line.split_once(" - ")?;
    filesystem.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4)).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that starts another one for each line that it reads, which works and ends.
    fn pool() -> Child {
        let script =
            "while read line; do sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'; echo; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn children_that_have_ended_are_in_the_account() {
        let mut pool = pool();
        let mut stdin = pool.stdin.take().unwrap();
        match Account::open(&[pool.id()]) {
            Err(error) => eprintln!("no control group can be made here: {error}"),
            Ok(account) => {
                let before = account.cpu().unwrap();
                io::Write::write_all(&mut stdin, b"\n").unwrap();
                io::Read::read_exact(pool.stdout.as_mut().unwrap(), &mut [0]).unwrap();
                assert!(account.cpu().unwrap() > before);
                drop(stdin);
                pool.wait().unwrap();
                let group = account.group.clone();
                drop(account);
                assert!(!group.exists());
            }
        }
    }

    #[test]
    fn the_mount_is_found_among_others() {
        let lines = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(lines.lines().find_map(mount_of_groups), Some("/sys/fs/cgroup/unified"));
    }
}
