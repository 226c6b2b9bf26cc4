//! What /proc says of the server's process and of those it started: memory, descriptors, life.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Whether the process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    !matches!(state_and_parent(pid), None | Some(('Z' | 'X', _)))
}

/// Resident bytes of the process and its descendants.
pub(crate) fn resident(pid: u32) -> u64 {
    tree(pid).into_iter().filter_map(resident_of).sum()
}

/// Open descriptors of the process and its descendants.
pub(crate) fn descriptors(pid: u32) -> usize {
    tree(pid).into_iter().map(descriptors_of).sum()
}

/// The process and its descendants, as `/proc` shows them at this moment; the process alone where there is no `/proc`.
pub fn tree(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, state_and_parent(pid)?.1))).collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

/// Makes sure that this process may open `count` descriptors, raising its soft limit where that is allowed.
pub(crate) fn allow_descriptors(count: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum.map_or(Some(count), Some), ..limit })
        .ok()
        .filter(|()| limit.maximum.is_none_or(|maximum| maximum >= count))
        .ok_or_else(|| format!("{count} descriptors are needed here, {:?} are allowed", limit.maximum))
}

/// Lowers the number of descriptors that the processes may have to `spare` above what they have; restored on drop.
pub(crate) struct FewDescriptors(Vec<(Pid, Rlimit)>);

impl FewDescriptors {
    pub(crate) fn impose(root: u32, spare: usize) -> Result<Self, String> {
        let mut guard = FewDescriptors(Vec::new());
        for pid in tree(root) {
            let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
            // The limit is on the highest number, not on the count: leave room above the highest one.
            let highest = descriptor_numbers(pid).max().unwrap_or(2);
            let maximum = hard_limit(pid);
            let limit = Rlimit { current: Some((highest + 1 + spare) as u64), maximum };
            let before = match prlimit(Some(id), Resource::Nofile, limit) {
                Ok(before) => before,
                // One of those it started, for a connection perhaps, has just ended.
                Err(Errno::SRCH) if pid != root => continue,
                Err(error) => {
                    return Err(format!("the descriptor limit of process {pid} cannot be changed: {error}"));
                }
            };
            guard.0.push((id, before));
        }
        Ok(guard)
    }
}

impl Drop for FewDescriptors {
    fn drop(&mut self) {
        for (pid, before) in self.0.drain(..) {
            // It fails only if the process is gone.
            let _ = prlimit(Some(pid), Resource::Nofile, before);
        }
    }
}

fn resident_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

fn descriptors_of(pid: u32) -> usize {
    descriptor_numbers(pid).count()
}

fn descriptor_numbers(pid: u32) -> impl Iterator<Item = usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The hard limit of descriptors; `None` is unlimited.
fn hard_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The command's name may hold spaces and parentheses: the fields begin after the last one.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_holds_memory_and_descriptors() {
        let me = std::process::id();
        assert!(is_alive(me) && !is_alive(u32::MAX));
        assert!(resident(me) > 100_000);
        assert!(descriptors(me) >= 3);
    }
}
