//! SIGHUP: the program as it is on disk now takes over, in the same process, with the same listener.
//!
//! First a rehearsal: it is started with `--check` and the same arguments, so that a program that would not run replaces
//! nothing. Then execve(2): process id, listener and workers stay, and the new program replaces the workers one by one. No
//! connection is refused meanwhile, since the listener is never closed; and what the workers inherit, limits among it, is
//! what the supervisor has then.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsString};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr;

use rustix::fs::{Access, access};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::listener::{FileId, Listener};

/// What the program before left, in the environment: its process id, which is this one's too, and a [`Predecessor`].
const VARIABLE: &str = "FCGI_WORKER_PREDECESSOR";

/// What a program leaves to the one that takes its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pub(crate) listener: RawFd,
    /// The socket file that is to be removed.
    pub(crate) file: Option<FileId>,
    pub(crate) workers: Vec<Pid>,
}

impl Predecessor {
    /// Where this program has taken another's place.
    pub(crate) fn find() -> Option<Self> {
        Self::parse(env::var(VARIABLE).ok()?.as_str(), getpid())
    }

    fn parse(text: &str, process: Pid) -> Option<Self> {
        let mut words = text.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let pid = |number: u64| Pid::from_raw(i32::try_from(number).ok()?);
        // The variable is inherited by children too, which it does not concern.
        if pid(number()?)? != process {
            return None;
        }
        let listener = RawFd::try_from(number()?).ok()?;
        let (device, inode) = (number()?, number()?);
        let workers = words.map_while(|word| pid(word.parse().ok()?)).collect();
        Some(Self { listener, file: (inode != 0).then_some(FileId { device, inode }), workers })
    }
}

/// How to start this program again.
pub(crate) struct Reload {
    program: PathBuf,
    rehearsal: Option<Pid>,
}

impl Reload {
    pub(crate) fn new() -> Self {
        let called = env::args_os().next().map(PathBuf::from).unwrap_or_default();
        Self { program: find_program(called), rehearsal: None }
    }

    /// As a message names it.
    pub(crate) fn program(&self) -> impl Display {
        self.program.display()
    }

    /// Starts the program, to say whether it would run.
    pub(crate) fn rehearse(&mut self) -> io::Result<()> {
        // What is on disk now counts, and a check that does not end must not stand in its way.
        self.end_rehearsal();
        let mut command = Command::new(&self.program);
        command.arg("--check").args(env::args_os().skip(1)).stdin(Stdio::null()).stdout(Stdio::null());
        // The supervisor waits for all its children, this one included.
        self.rehearsal = Pid::from_raw(command.spawn()?.id().cast_signed());
        Ok(())
    }

    /// Ends the program that is being checked, if there is one.
    pub(crate) fn end_rehearsal(&mut self) {
        if let Some(rehearsal) = self.rehearsal.take() {
            // Not reaped yet, so the number is nobody else's.
            let _ = kill_process(rehearsal, Signal::KILL);
        }
    }

    /// Whether the child that has ended was the rehearsal.
    pub(crate) fn is_rehearsal(&mut self, pid: Pid) -> bool {
        self.rehearsal.take_if(|rehearsal| *rehearsal == pid).is_some()
    }

    /// Becomes the program. Returns only where that failed. The signals that are held back stay so, and those that have come
    /// meanwhile are not lost: std's `exec` would let them through before there is somebody to take them.
    pub(crate) fn replace(
        &self,
        listener: &Listener,
        workers: impl Iterator<Item = Pid>,
    ) -> io::Result<Infallible> {
        let file = listener.file().unwrap_or(FileId { device: 0, inode: 0 });
        let descriptor = listener.socket().as_raw_fd();
        let mut left = format!("{} {descriptor} {} {}", getpid(), file.device, file.inode);
        workers.for_each(|worker| left += &format!(" {worker}"));
        let environment = env::vars_os().filter(|(name, _)| name != VARIABLE);
        let environment = environment.chain([(VARIABLE.into(), left.into())]).map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            variable
        });

        let program = CString::new(self.program.as_os_str().as_bytes())?;
        let (arguments, _arguments) = pointers(env::args_os())?;
        let (environment, _environment) = pointers(environment)?;
        let flags = fcntl_getfd(listener.socket())?;
        fcntl_setfd(listener.socket(), FdFlags::empty())?;
        // SAFETY: all strings end with NUL and live on, in the vectors returned beside the lists; both lists end with null.
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let error = io::Error::last_os_error();
        fcntl_setfd(listener.socket(), flags)?;
        Err(error)
    }
}

/// As it was called, so that a symbolic link leads to what it names then. A name alone was found on PATH, where its caller
/// did not invent it.
fn find_program(called: PathBuf) -> PathBuf {
    if called.components().count() > 1 {
        return called;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut on_path = env::split_paths(&path).map(|folder| folder.join(&called));
    let found = on_path.find(|program| access(program, Access::EXEC_OK).is_ok());
    found.or_else(|| env::current_exe().ok()).unwrap_or(called)
}

/// A list as execve(2) takes it, and what its pointers point to.
fn pointers(words: impl Iterator<Item = OsString>) -> io::Result<(Vec<*const libc::c_char>, Vec<CString>)> {
    let words = words.map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let pointers = words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
    Ok((pointers, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_found_by_the_same_process_only() {
        let pid = |number| Pid::from_raw(number).unwrap();
        let left = Predecessor { listener: 3, file: None, workers: vec![pid(78), pid(79)] };
        assert_eq!(Predecessor::parse("77 3 0 0 78 79", pid(77)), Some(left));
        assert_eq!(Predecessor::parse("77 3 0 0 78 79", pid(78)), None);
        for wrong in ["", "77", "77 3", "77 3 1", "77 -1 0 0", "x 3 0 0"] {
            assert_eq!(Predecessor::parse(wrong, pid(77)), None, "{wrong:?}");
        }
    }
}
