//! System calls per request, in a pass of its own: what counts them makes a server several times slower.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::Until;
use rustix::process::Signal;

use super::asked::Asked;
use super::load::Load;
use super::record::{Plan, SystemCalls};
use super::regime::Cores;
use super::schedule::Contender;
use crate::entry::Entry;
use crate::process::Process;

/// Enough for a stable ratio.
const REQUESTS: u64 = 2_000;
/// Answered before the counting begins.
const WARM_UP: u64 = 200;
/// How long strace may take to attach, and to write its table.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts the system calls of a pool while it answers; says why where that is impossible here.
pub(super) fn count(plan: &Plan, cores: &Cores, entry: &Entry, contender: &Contender) -> SystemCalls {
    let (counted_by, requests, calls) = match strace(plan, cores, entry, contender) {
        Ok((requests, calls)) => (Ok("strace".to_owned()), requests, calls),
        Err(why) => (Err(format!("{why:#}")), 0, Vec::new()),
    };
    SystemCalls { entry: contender.name.clone(), mode: contender.ask.mode, counted_by, requests, calls }
}

fn strace(
    plan: &Plan,
    cores: &Cores,
    entry: &Entry,
    contender: &Contender,
) -> anyhow::Result<(u64, Vec<(String, u64)>)> {
    let asked = Asked::start(cores.during(&contender.ask), plan, entry, contender)?;
    let mut load = Load::new(&asked, entry, contender, None, 1)?;
    load.run(Until::Requests(WARM_UP))?;

    let traced = super::cpu::Usage::of(&asked.roots()).processes();
    let table = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-q", "-o"]).arg(table.path()).stdin(Stdio::null());
    for pid in &traced {
        command.args(["-p", &pid.to_string()]);
    }
    let mut strace = Process::spawn(command).context("strace")?;
    attached(&mut strace, &traced)?;
    let answered = load.run(Until::Requests(REQUESTS));
    strace.signal(Signal::INT)?;
    strace.wait(PATIENCE).context("strace")?;

    let answered = answered?;
    drop(load);
    asked.end(entry)?;
    Ok((answered.requests, read_table(&fs::read_to_string(table.path())?)))
}

/// Waits until all threads of these processes are traced.
fn attached(strace: &mut Process, pids: &[u32]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !pids.iter().all(|pid| is_traced(*pid).unwrap_or(true)) {
        if strace.exited()?.is_some() {
            bail!("strace: {}", strace.stderr().lines().next().unwrap_or("it ended at once"));
        }
        if Instant::now() >= deadline {
            bail!("strace does not attach: {}", strace.stderr());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_traced(pid: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        if status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() == "0")) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `% time  seconds  usecs/call  calls  errors  syscall`, where a row without errors has one column less.
fn read_table(table: &str) -> Vec<(String, u64)> {
    let mut calls = BTreeMap::new();
    for line in table.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, count, .., name] = columns[..] else { continue };
        if let (Ok(count), false) = (count.parse::<u64>(), name == "total") {
            *calls.entry(name.to_owned()).or_default() += count;
        }
    }
    let mut calls: Vec<(String, u64)> = calls.into_iter().collect();
    calls.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straces_table_is_read_with_and_without_errors() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 63.64    0.000007           3         2           write
 36.36    0.000004           1        40        15 accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.000011           5        42        15 total
";
        assert_eq!(read_table(table), [("accept4".to_owned(), 40), ("write".to_owned(), 2)]);
        assert_eq!(read_table(""), []);
    }
}
