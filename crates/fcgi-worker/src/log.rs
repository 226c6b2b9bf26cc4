//! Lines on stderr for an operator: program, pid, and what happened to whom.
//!
//! A line may be lost, but is never waited for: a pipe that nobody reads must not stop a process that has signals to
//! obey. And nothing depends on stderr, which may be closed or broken (spec 2.2).

use std::ffi::CStr;
use std::fmt::Display;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic;
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// What a pipe takes whole or not at all (POSIX: at least 512, 4,096 on Linux).
const LONGEST: usize = 4_096;

/// Writes `PROGRAM[PID]: EVENT` as one line, of at most 4,096 bytes.
pub fn say(event: impl Display) {
    write_line(&line(event));
}

/// Events of one kind that may come in any number, as where a peer makes them: the first is said at once; of those that
/// come within a second after a line, one line says how many they were, when it is over.
#[derive(Debug, Default)]
pub struct Flood {
    /// When the next line may be said.
    next: Option<Instant>,
    /// Events that no line has told of.
    untold: usize,
    last: String,
}

impl Flood {
    /// The least time between two lines.
    const PAUSE: Duration = Duration::from_secs(1);

    /// Says that this happened, or counts it.
    pub fn say(&mut self, event: impl Display, now: Instant) {
        if let Some(line) = self.event(event, now) {
            say(line);
        }
    }

    /// Says what was counted, if it is time to. To be called when [`Self::due`] says so, or once a second.
    pub fn settle(&mut self, now: Instant) {
        if let Some(line) = self.counted(now) {
            say(line);
        }
    }

    /// When to call [`Self::settle`]; `None` where nothing was counted.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.untold > 0)
    }

    fn event(&mut self, event: impl Display, now: Instant) -> Option<String> {
        self.untold += 1;
        self.last = event.to_string();
        self.counted(now)
    }

    fn counted(&mut self, now: Instant) -> Option<String> {
        if self.untold == 0 || self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = now.checked_add(Self::PAUSE);
        let last = mem::take(&mut self.last);
        Some(match mem::take(&mut self.untold) {
            1 => last,
            count => format!("{count} more of a kind, the last of them: {last}"),
        })
    }
}

impl Drop for Flood {
    /// What was counted is said, though it be early.
    fn drop(&mut self) {
        self.next = None;
        self.settle(Instant::now());
    }
}

/// Names the program in every line from now on, those about panics included. A panic is the process's end, in every model and
/// whatever its profile says: one that unwinds would cost a pool one of its threads for good, and a loop everything.
pub(crate) fn install(program: &'static str) {
    PROGRAM.get_or_init(|| program);
    panic::set_hook(Box::new(|panic| {
        say(panic);
        process::abort();
    }));
}

/// What [`say`] would write.
pub(crate) fn line(event: impl Display) -> Vec<u8> {
    let program = PROGRAM.get().copied().unwrap_or(env!("CARGO_PKG_NAME"));
    // Control characters come from names of files.
    let mut line =
        format!("{program}[{}]: {event}", process::id()).replace(char::is_control, " ").into_bytes();
    line.truncate(LONGEST - 1);
    line.push(b'\n');
    line
}

/// Writes a line at once or not at all. Calls only what is async-signal-safe.
pub(crate) fn write_line(line: &[u8]) {
    let _ = write_now(io::stderr().as_fd(), c"/proc/self/fd/2", line);
}

/// In one write: other processes of the pool may have the same to say. O_NONBLOCK is not set on the descriptor, whose
/// other owners it would concern too: the same pipe or terminal is opened anew, and that does not block.
fn write_now(stderr: BorrowedFd<'_>, path: &CStr, line: &[u8]) -> Result<(), Errno> {
    match FileType::from_raw_mode(fstat(stderr)?.st_mode) {
        FileType::Socket => return send(stderr, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop),
        FileType::Fifo | FileType::CharacterDevice => {}
        // A file waits for no reader.
        _ => return rustix::io::write(stderr, line).map(drop),
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(own) => rustix::io::write(own, line).map(drop),
        // As where another user has opened it. A writer that is faster can still make this one wait.
        Err(_) => {
            let mut writable = [PollFd::new(&stderr, PollFlags::OUT)];
            if poll(&mut writable, Some(&Timespec::default()))? == 0 {
                return Err(Errno::AGAIN);
            }
            rustix::io::write(stderr, line).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use std::ffi::CString;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use rustix::pipe::pipe;

    use super::*;

    fn is_written(stderr: &(impl AsFd + AsRawFd), line: &[u8]) -> bool {
        let path = CString::new(format!("/proc/self/fd/{}", stderr.as_raw_fd())).unwrap();
        write_now(stderr.as_fd(), &path, line).is_ok()
    }

    #[test]
    fn a_full_pipe_loses_the_line() {
        let (reader, writer) = pipe().unwrap();
        let mut lines = 0;
        // Were it to wait, this would not come to its end: a pipe holds 64 KiB.
        for _ in 0..100 {
            lines += usize::from(is_written(&writer, &[b'x'; LONGEST]));
        }
        assert!((1..100).contains(&lines), "{lines} lines were taken");
        drop(writer);
        let mut read = Vec::new();
        File::from(reader).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), lines * LONGEST, "a line is written whole or not at all");
    }

    #[test]
    fn a_full_socket_loses_the_line() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!((0..10_000).any(|_| !is_written(&one, &[b'x'; LONGEST])));
    }

    #[test]
    fn a_file_keeps_what_others_wrote() {
        let file = tempfile::tempfile().unwrap();
        assert!(is_written(&file, b"first\n") && is_written(&file, b"second\n"));
        assert_eq!(file.metadata().unwrap().len(), 13);
    }

    #[test]
    fn a_flood_is_a_line_a_second_and_the_numbers_add_up() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(flood.event("1 fell", at(0)).as_deref(), Some("1 fell"));
        for number in 2..=1_500 {
            assert_eq!(flood.event(format_args!("{number} fell"), at(999)), None);
        }
        assert_eq!(flood.due(), Some(at(1_000)));
        assert_eq!(flood.counted(at(999)), None);
        let more = "1499 more of a kind, the last of them: 1500 fell";
        assert_eq!(flood.counted(at(1_000)).as_deref(), Some(more));
        assert_eq!((flood.counted(at(5_000)), flood.due()), (None, None));
    }

    #[test]
    fn a_single_one_that_was_put_off_is_said_as_it_is() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(flood.event("first", at(0)).is_some());
        assert!(flood.event("second", at(10)).is_none());
        assert_eq!(flood.counted(at(1_100)).as_deref(), Some("second"));
        assert!(flood.event("third", at(1_200)).is_none(), "a line a second, whatever came before");
        assert_eq!(
            flood.event("fourth", at(2_100)).as_deref(),
            Some("2 more of a kind, the last of them: fourth")
        );
        assert_eq!(flood.event("fifth", at(9_000)).as_deref(), Some("fifth"), "it was quiet for long");
    }
}
