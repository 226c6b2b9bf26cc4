//! Threads and processes, of which there may be fewer than were asked for: by RLIMIT_NPROC, or the pids of a cgroup.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::log;

/// Starts so many threads, or, with a line on stderr, as many as can be had. They are named `NAME-0` and so on.
///
/// # Errors
///
/// Not one can be had.
pub fn start<T: FnOnce() -> io::Result<()> + Send + 'static>(
    name: &str,
    count: usize,
    thread: impl Fn() -> T,
) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let mut threads = Vec::with_capacity(count);
    while threads.len() < count {
        let builder = thread::Builder::new().name(format!("{name}-{}", threads.len()));
        match builder.spawn(thread()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                let lack = format!("{} of {count} threads: {}", threads.len(), Lack(&error));
                if threads.is_empty() {
                    return Err(io::Error::other(lack));
                }
                log::say(lack);
                break;
            }
        }
    }
    Ok(threads)
}

/// The kernel counts a thread for a moment after it has ended.
const LEAVING: Duration = Duration::from_millis(10);

/// How many of so many threads can be had, with a line on stderr where that is fewer: for a runtime that starts its
/// own, and does not put up with fewer than it is told. They are started, and ended again.
///
/// # Errors
///
/// Not one can be had.
pub fn count(most: usize) -> io::Result<usize> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let threads = start("count", most, || {
        let gate = Arc::clone(&gate);
        // Poisoned or not, it is open.
        move || gate.lock().map_or(Ok(()), |_| Ok(()))
    });
    drop(closed);
    let threads = threads?;
    let had = threads.len();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    if had < most {
        thread::sleep(LEAVING);
    }
    Ok(had)
}

/// Why there is no thread, or no process, and which limits say so.
#[derive(Debug)]
pub struct Lack<'e>(pub &'e io::Error);

impl std::fmt::Display for Lack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.raw_os_error() {
            Some(libc::EAGAIN) => f.write_str("Resource temporarily unavailable (ulimit -u, TasksMax=)"),
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_threads_names_the_limits() {
        let eagain = io::Error::from_raw_os_error(libc::EAGAIN);
        assert_eq!(Lack(&eagain).to_string(), "Resource temporarily unavailable (ulimit -u, TasksMax=)");
        let enomem = io::Error::from_raw_os_error(libc::ENOMEM);
        assert_eq!(Lack(&enomem).to_string(), "Cannot allocate memory (os error 12)");
    }

    #[test]
    fn all_are_started_where_all_can_be_had() {
        let threads = start("serve", 3, || || Ok(())).unwrap();
        let names: Vec<_> = threads.iter().map(|thread| thread.thread().name().unwrap().to_owned()).collect();
        assert_eq!(names, ["serve-0", "serve-1", "serve-2"]);
    }

    #[test]
    fn those_that_can_be_had_are_counted() {
        assert_eq!(count(3).unwrap(), 3);
    }
}
