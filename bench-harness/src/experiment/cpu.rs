//! Processor time and context switches of a pool, told by the kernel without privilege.
//!
//! A process's clock counts nanoseconds over all its threads, those that have ended included. What a process has
//! reaped it keeps in `/proc`, in ticks of 10 ms. So the sum over a tree of processes, own and reaped, only ever
//! grows by what ran, even where workers fork and reap a process for each connection.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::record::Switches;
use crate::process::children_of;

/// What the processes of a pool have used so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage(BTreeMap<u32, Times>);

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// By its own threads, and by the children it has reaped.
    cpu: Duration,
    /// In ticks: by its own threads in user mode and in the kernel, and by the children it has reaped.
    user: u64,
    system: u64,
    reaped: u64,
}

impl Usage {
    /// Of these processes and all that came of them and lives.
    pub(super) fn of(roots: &[u32]) -> Self {
        let mut found = BTreeMap::new();
        let mut open = roots.to_vec();
        while let Some(pid) = open.pop() {
            // One that has ended meanwhile is in its parent's sum.
            if let Some(times) = times(pid) {
                found.insert(pid, times);
                open.extend(children_of(pid));
            }
        }
        Self(found)
    }

    /// The processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    /// All of them together.
    fn total(&self) -> Times {
        self.0.values().fold(Times::default(), |sum, times| Times {
            cpu: sum.cpu + times.cpu,
            user: sum.user + times.user,
            system: sum.system + times.system,
            reaped: sum.reaped + times.reaped,
        })
    }

    /// What was used since then, and the share of it in user mode. Of children that were reaped the kernel does not say
    /// how their time divides: it takes all of it for user time where a process ends before its first tick.
    pub(super) fn since(&self, before: &Self) -> (Duration, Option<f64>) {
        let (from, to) = (before.total(), self.total());
        let [user, system, reaped] =
            [(to.user, from.user), (to.system, from.system), (to.reaped, from.reaped)]
                .map(|(to, from): (u64, u64)| to.saturating_sub(from) as f64);
        let is_known = user + system > 10.0 * reaped;
        (to.cpu.saturating_sub(from.cpu), is_known.then_some(user / (user + system)))
    }

    /// Whether a process has reaped others since then, whose time no clock told before.
    pub(super) fn has_reaped_since(&self, before: &Self) -> bool {
        self.total().reaped > before.total().reaped
    }

    /// What one process used since then.
    pub(super) fn of_process_since(&self, pid: u32, before: &Self) -> Duration {
        let cpu = |usage: &Self| usage.0.get(&pid).map_or(Duration::ZERO, |times| times.cpu);
        cpu(self).saturating_sub(cpu(before))
    }
}

/// The clocks of a pool's processes, to be read often: a system call for each. One whose process has ended tells nothing any
/// more: a pool may have had a process for a connection that is over.
#[derive(Debug)]
pub(super) struct Clocks {
    clocks: Vec<(u32, libc::clockid_t)>,
    /// Before they were found.
    ended: usize,
}

impl Clocks {
    pub(super) fn of(usage: &Usage) -> Self {
        Self::of_processes(&usage.processes())
    }

    /// Of these processes alone: not of what they have started.
    pub(super) fn of_processes(processes: &[u32]) -> Self {
        let clocks: Vec<_> =
            processes.iter().filter_map(|pid| Some((*pid, process_clock(*pid).ok()?))).collect();
        Self { ended: processes.len() - clocks.len(), clocks }
    }

    /// Whether there is no process at all.
    pub(super) fn is_empty(&self) -> bool {
        self.clocks.is_empty() && self.ended == 0
    }

    /// What all their threads have used, of those that live.
    pub(super) fn cpu(&self) -> Duration {
        self.clocks.iter().filter_map(|(_, clock)| read(*clock).ok()).sum()
    }

    /// Whether a process has ended, so that [`Self::cpu`] has not counted all that was used.
    pub(super) fn have_lost(&self) -> bool {
        self.ended > 0 || self.clocks.iter().any(|(_, clock)| read(*clock).is_err())
    }

    /// For how many nanoseconds their threads could have run and waited for a processor; none where the kernel does not say.
    pub(super) fn run_delay(&self) -> Option<u64> {
        self.clocks.iter().map(|(pid, _)| run_delay(*pid)).sum()
    }

    /// Sends a signal to each.
    pub(super) fn signal(&self, signal: Signal) {
        for pid in self.clocks.iter().filter_map(|(pid, _)| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // One that has ended needs none.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The second figure of each thread's schedstat: nanoseconds on a run queue.
fn run_delay(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let delay = |thread: io::Result<fs::DirEntry>| {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    // A thread that has ended meanwhile waits for nothing.
    let delays: Vec<u64> = threads.filter_map(delay).collect();
    (!delays.is_empty()).then(|| delays.iter().sum())
}

fn times(pid: u32) -> Option<Times> {
    let own = process_clock(pid).and_then(read).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything. From the third field on: proc(5).
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<u64>().ok());
    let (user, system, reaped_user, reaped_system) = (ticks(14)?, ticks(15)?, ticks(16)?, ticks(17)?);
    Some(Times {
        cpu: own + tick() * u32::try_from(reaped_user + reaped_system).ok()?,
        user,
        system,
        reaped: reaped_user + reaped_system,
    })
}

/// How long a tick is in `/proc`: the same on every Linux that Rust knows.
fn tick() -> Duration {
    Duration::from_millis(10)
}

fn process_clock(pid: u32) -> io::Result<libc::clockid_t> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: the pointer is to a live integer.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(clock)
}

fn read(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Voluntary and involuntary context switches of all children that this process has reaped, and of all that those had.
pub(super) fn reaped_switches() -> io::Result<(u64, u64)> {
    // SAFETY: rusage is plain data, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live rusage.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((usage.ru_nvcsw as u64, usage.ru_nivcsw as u64))
}

/// What a pool switched, by two readings of [`reaped_switches`] around its end.
pub(super) fn switches(
    before: io::Result<(u64, u64)>,
    after: io::Result<(u64, u64)>,
    requests: u64,
) -> Option<Switches> {
    let ((voluntary, involuntary), (all_voluntary, all_involuntary)) = (before.ok()?, after.ok()?);
    Some(Switches {
        voluntary: all_voluntary.saturating_sub(voluntary),
        involuntary: all_involuntary.saturating_sub(involuntary),
        requests,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_process_that_ends_meanwhile_takes_only_its_own_clock_with_it() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pool = [std::process::id(), child.id()];
        let usage = Usage(pool.map(|pid| (pid, times(pid).unwrap())).into());
        let found_before = Clocks::of(&usage);
        assert!(!found_before.have_lost());
        child.kill().unwrap();
        child.wait().unwrap();
        for clocks in [found_before, Clocks::of(&usage)] {
            assert!(clocks.cpu() > Duration::ZERO && clocks.have_lost());
        }
    }

    #[test]
    fn what_runs_in_this_process_is_counted() {
        let pid = std::process::id();
        let before = Usage::of(&[pid]);
        let end = Instant::now() + Duration::from_millis(50);
        let mut work = 0_u64;
        while Instant::now() < end {
            work = std::hint::black_box(work + 1);
        }
        let after = Usage::of(&[pid]);
        assert!(after.since(&before).0 > Duration::ZERO);
        assert!(after.of_process_since(pid, &before) > Duration::ZERO);
    }

    #[test]
    fn what_a_reaped_grandchild_used_stays_in_the_sum() {
        // The inner shell works and is reaped by the outer one, which then waits for its stdin to end.
        let script = "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; echo done; read line";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let times = times(child.id()).unwrap();
        let own = process_clock(child.id()).and_then(read).unwrap();
        assert!(times.cpu > own, "{times:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
