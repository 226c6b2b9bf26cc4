//! What a process holds, as the kernel tells it.

use std::fs;
use std::io;

use serde::Serialize;

/// What one worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Its process id.
    pub pid: u32,
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// The same, with what it shares counted in shares.
    pub pss_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: u64,
}

/// Of a process that runs.
pub(crate) fn of(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Usage {
        pid,
        rss_kib: number(&memory, "Rss:")?,
        pss_kib: number(&memory, "Pss:")?,
        peak_kib: number(&status, "VmHWM:")?,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        threads: number(&status, "Threads:")?,
    })
}

/// The number behind a name at a line's beginning.
fn number(text: &str, name: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {name} of a process")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_something() {
        let usage = of(std::process::id()).unwrap();
        // No more: the three come of different files and moments, and the kernel counts pages per processor.
        assert!(usage.rss_kib > 0 && usage.pss_kib > 0 && usage.peak_kib > 0);
        assert!(usage.descriptors >= 3 && usage.threads >= 1);
    }
}
