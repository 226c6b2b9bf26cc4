//! The machine, and what is measured on it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::record::{Machine, Plan, Versions};
use crate::discover::harness_folder;

impl Machine {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let kernel = ["ostype", "osrelease"].map(|name| line(format!("/proc/sys/kernel/{name}")));
        Self {
            host: host(),
            kernel: format!("{} {}", kernel.join(" "), std::env::consts::ARCH),
            cpu: value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_kib: value("/proc/meminfo", "MemTotal")
                .and_then(|size| size.split_whitespace().next()?.parse().ok())
                .unwrap_or(0),
            load_average: line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

impl Versions {
    /// Of the working tree that the strategies are built from.
    pub(crate) fn here() -> Self {
        let status = said("git", &["status", "--porcelain", "--untracked-files=no"]);
        Self {
            commit: said("git", &["rev-parse", "HEAD"]),
            modified: status.is_none_or(|files| !files.is_empty()),
            rustc: said("rustc", &["--version"]).unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// The time in UTC, as 2007-12-31T23:59:59Z.
pub(crate) fn date() -> String {
    said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The day in UTC, as 2007-12-31.
pub fn today() -> String {
    date().chars().take(10).collect()
}

fn host() -> String {
    line("/proc/sys/kernel/hostname")
}

/// A name for what is measured from now on: the time in UTC, to the second, the machine and the regime.
pub fn name_now(plan: &Plan) -> String {
    let date: String = date().chars().filter(|c| !matches!(c, ':' | 'Z')).collect();
    format!("{date}-{}-{}", host(), plan.regime)
}

/// What a program of the system prints; none where it is missing or fails.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(harness_folder()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_kernel_memory_and_a_date() {
        let machine = Machine::here();
        assert!(machine.kernel.starts_with("Linux ") && machine.memory_kib > 0, "{machine:?}");
        assert_eq!(date().len(), "2007-12-31T23:59:59Z".len());
    }
}
