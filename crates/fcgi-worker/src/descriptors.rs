//! Descriptors: how many connections a process has them for, known before the first one comes.

use std::fmt;
use std::io::{self, ErrorKind};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::ConnectionLimit;
use crate::descriptor_sets::FD_SETSIZE;
use crate::drain::check;

/// Descriptors that are not for connections: the listener; up to eight that a worker opens for itself (tokio: the drain's
/// pipe twice, its runtime's three, the listener's again); the one that a line on stderr is written to. The others are the
/// application's, which may open a file.
const RESERVE: usize = 16;

/// What each loop on a thread opens for itself: its poll, its timer, and what wakes it.
const OF_A_LOOP: usize = 3;

/// Descriptors that one call of [`open_among`] asks for.
const BATCH: usize = 1024;

/// How many connections a process of a model holds, of those that were asked for, and one line for an operator where these
/// are fewer. From now on this process has as many descriptors as the hard limit gives, and where select(2) is to watch
/// them none that it cannot watch. Some are kept for so many loops on threads.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`]: there is no descriptor for even one connection.
pub(crate) fn hold(
    model: ConnectionLimit,
    asked: usize,
    loops: usize,
) -> io::Result<(usize, Option<String>)> {
    match model {
        ConnectionLimit::Selectable => Descriptors::obtain(asked, loops, Some(FD_SETSIZE)).hold(asked),
        // Each child has descriptors of its own; its parent has the connection until it has forked.
        ConnectionLimit::OnePerChild(_) => Descriptors::obtain(1, loops, None).hold(1).map(|_| (asked, None)),
        ConnectionLimit::One
        | ConnectionLimit::OnePerThread
        | ConnectionLimit::Many
        | ConnectionLimit::AtMost(_) => Descriptors::obtain(asked, loops, None).hold(asked),
    }
}

/// The descriptors that this process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Descriptors {
    /// Those below this number may be opened.
    limit: usize,
    /// How many of them are open, as far as was looked.
    open: usize,
    /// How many of them are not.
    free: usize,
    /// Loops on threads, which take some.
    loops: usize,
    /// Whether the limit is that of select(2), and not this process's.
    is_of_select: bool,
}

impl Descriptors {
    /// Takes as many as the hard limit gives, none from `select` on, and looks for as many free ones as `connections` take.
    fn obtain(connections: usize, loops: usize, select: Option<usize>) -> Self {
        let limit = set_limit(select);
        Self::count(connections, loops, limit, Some(limit) == select)
    }

    fn count(connections: usize, loops: usize, limit: usize, is_of_select: bool) -> Self {
        let (mut open, mut free, mut first) = (0, 0, 0);
        let wanted = connections.saturating_add(RESERVE + OF_A_LOOP * loops);
        while first < limit && free < wanted {
            let count = BATCH.min(limit - first);
            let of_these = open_among(first, count);
            (open, free, first) = (open + of_these, free + count - of_these, first + count);
        }
        Self { limit, open, free, loops, is_of_select }
    }

    fn hold(&self, asked: usize) -> io::Result<(usize, Option<String>)> {
        let free = self.free.saturating_sub(RESERVE);
        // Where there are not enough for all loops, those that are there have one connection each.
        let most = free.saturating_sub(OF_A_LOOP * self.loops).max(free / (OF_A_LOOP + 1));
        let held = asked.min(most);
        match held {
            0 => Err(io::Error::new(
                ErrorKind::Unsupported,
                format!("no descriptor is left for a connection: {self}"),
            )),
            _ if held == asked => Ok((held, None)),
            _ => Ok((held, Some(format!("{held} connections a process, not {asked}: {self}")))),
        }
    }
}

impl fmt::Display for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, open, .. } = self;
        if self.is_of_select {
            write!(
                f,
                "select(2) watches no descriptor from {limit} on, and {open} of those below are open already"
            )
        } else {
            write!(
                f,
                "the limit of open files is {limit} (ulimit -n, LimitNOFILE=), and {open} are open already"
            )
        }
    }
}

/// Sets the soft limit to the hard one, or to `most` where that is less, and returns what it is then.
fn set_limit(most: Option<usize>) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let most = most.map(|most| most as u64);
    limit.current = limit.maximum.into_iter().chain(most).min();
    // Where it fails, the soft limit stays as it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let set = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(set).unwrap_or(usize::MAX)
}

/// How many of `count` descriptors, from `first` on, are open. That poll(2) says, which looks at many of them in a call, and
/// needs no /proc.
fn open_among(first: usize, count: usize) -> usize {
    let numbers = (first..first + count).filter_map(|number| libc::c_int::try_from(number).ok());
    let mut polled: Vec<_> = numbers.map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    // SAFETY: the pointer is to so many live elements.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
    // Where the kernel does not say, they are taken for free, and accept(2) says otherwise.
    if check(result).is_err() {
        return 0;
    }
    polled.iter().filter(|polled| polled.revents & libc::POLLNVAL == 0).count()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const NONE: Descriptors =
        Descriptors { limit: 64, open: 48, free: RESERVE, loops: 0, is_of_select: false };

    #[test]
    fn what_is_held_is_what_is_free_beyond_the_reserve() {
        let some = Descriptors { open: 6, free: 58, ..NONE };
        assert_eq!(some.hold(42).unwrap(), (42, None));
        let cut = "42 connections a process, not 16384: the limit of open files is 64 (ulimit -n, LimitNOFILE=), \
                   and 6 are open already";
        assert_eq!(some.hold(16_384).unwrap(), (42, Some(cut.to_owned())));
    }

    #[test]
    fn each_loop_has_descriptors_of_its_own_and_for_one_connection_at_least() {
        let held = |free, loops| Descriptors { free: RESERVE + free, loops, ..NONE }.hold(100).unwrap().0;
        assert_eq!(held(42, 2), 42 - 2 * OF_A_LOOP);
        for free in OF_A_LOOP + 1..100 {
            for loops in 1..50 {
                let connections = held(free, loops);
                assert!(connections + OF_A_LOOP * loops.min(connections) <= free, "{free} for {loops} loops");
            }
        }
    }

    #[test]
    fn room_for_no_connection_is_an_error_that_says_why() {
        let error = NONE.hold(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let reason = "no descriptor is left for a connection: the limit of open files is 64 (ulimit -n, LimitNOFILE=), \
                      and 48 are open already";
        assert_eq!(error.to_string(), reason);
        let few = Descriptors { limit: 12, open: 4, free: 8, ..NONE };
        assert!(few.hold(1).is_err());
    }

    #[test]
    fn select_has_a_limit_of_its_own() {
        let inherited = Descriptors { limit: 1024, open: 1003, free: 21, loops: 0, is_of_select: true };
        let (held, cut) = inherited.hold(1_000).unwrap();
        assert_eq!(held, 5);
        let cut = cut.unwrap();
        assert!(cut.ends_with(
            "select(2) watches no descriptor from 1024 on, and 1003 of those below are open already"
        ));
    }

    #[test]
    fn those_that_are_open_are_counted_wherever_they_are() {
        let file = File::open("/dev/null").unwrap();
        // Other tests open and close descriptors meanwhile, down there.
        let high = rustix::io::fcntl_dupfd_cloexec(&file, 900).unwrap();
        assert_eq!(open_among(900, 100), 1);
        drop(high);
        assert_eq!(open_among(900, 100), 0);
        assert!(open_among(0, 100) >= 4);
    }

    #[test]
    fn no_more_is_looked_for_than_is_asked_for() {
        let found = Descriptors::count(10, 0, usize::MAX, false);
        assert_eq!(found.open + found.free, BATCH);
    }
}
