//! Lines on stderr for an operator: program, pid, and what happened to whom.
//!
//! A line may be lost, but is never waited for: a pipe that nobody reads must not stop a process that has signals to
//! obey. And nothing depends on stderr, which may be closed or broken (spec 2.2).

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic;
use std::process;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::net::{SendFlags, send};

static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// What a pipe takes whole or not at all (POSIX: at least 512, 4,096 on Linux).
const LONGEST: usize = 4_096;

/// Writes `PROGRAM[PID]: EVENT` as one line, of at most 4,096 bytes.
pub fn say(event: impl Display) {
    let program = PROGRAM.get().copied().unwrap_or(env!("CARGO_PKG_NAME"));
    // In one write: other processes of the pool may have the same to say. Control characters come from names of files.
    let mut line =
        format!("{program}[{}]: {event}", process::id()).replace(char::is_control, " ").into_bytes();
    line.truncate(LONGEST - 1);
    line.push(b'\n');
    let _ = write_now(io::stderr().as_fd(), &line);
}

/// Names the program in every line from now on, those about panics included.
pub(crate) fn install(program: &'static str) {
    PROGRAM.get_or_init(|| program);
    panic::set_hook(Box::new(|panic| say(panic)));
}

/// Writes without waiting, whatever stderr is. O_NONBLOCK is not set on it: that is shared with whoever else has it.
fn write_now(stderr: BorrowedFd<'_>, line: &[u8]) -> io::Result<()> {
    match FileType::from_raw_mode(fstat(stderr)?.st_mode) {
        FileType::Socket => {
            send(stderr, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        }
        FileType::Fifo | FileType::CharacterDevice => match reopen(stderr) {
            Ok(own) => {
                rustix::io::write(own, line)?;
            }
            // As where it was opened by another user. Then a writer that is faster can still make this one wait.
            Err(_) => {
                let mut writable = [PollFd::new(&stderr, PollFlags::OUT)];
                if poll(&mut writable, Some(&Timespec::default()))? > 0 {
                    rustix::io::write(stderr, line)?;
                }
            }
        },
        // A file does not wait for a reader.
        _ => {
            rustix::io::write(stderr, line)?;
        }
    }
    Ok(())
}

/// The same pipe or terminal, as an open file description of our own, which does not block.
fn reopen(stderr: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", stderr.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn a_full_pipe_loses_the_line() {
        let (reader, writer) = pipe().unwrap();
        let mut lines = 0;
        // Were it to wait, this would not come to its end: a pipe holds 64 KiB.
        for _ in 0..100 {
            lines += usize::from(write_now(writer.as_fd(), &[b'x'; LONGEST]).is_ok());
        }
        assert!((1..100).contains(&lines), "{lines} lines were taken");
        drop(writer);
        let mut read = Vec::new();
        std::fs::File::from(reader).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), lines * LONGEST, "a line is written whole or not at all");
    }

    #[test]
    fn a_full_socket_loses_the_line() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!((0..10_000).any(|_| write_now(one.as_fd(), &[b'x'; LONGEST]).is_err()));
    }

    #[test]
    fn a_file_keeps_what_others_wrote() {
        let file = tempfile::tempfile().unwrap();
        write_now(file.as_fd(), b"first\n").unwrap();
        write_now(file.as_fd(), b"second\n").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 13);
    }
}
