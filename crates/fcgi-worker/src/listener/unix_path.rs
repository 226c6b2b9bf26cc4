//! The socket file: whose a path is, while several servers start and stop there.
//!
//! unix(7) leaves it to us: bind(2) makes the file, close(2) leaves it, and to replace one that nobody listens on takes
//! several calls. Who does that holds a lock on the folder meanwhile, so that a socket which is bound but does not listen
//! yet is not taken for a stale one, and a file is removed by no other server than its own.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::process::umask;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{ListenError, SocketOptions};
use crate::log;

/// Bytes of a socket's path or abstract name at most: sun_path without the NUL.
pub(super) const LONGEST: usize = 107;

/// How long to wait for the lock on the folder, which others hold for some system calls.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same at the end, when signals wait to be obeyed.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);

/// The folder that holds the socket file.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Listens on a new socket file, in place of one that nobody answers on. On failure there is no file.
pub(super) fn bind(path: &Path, options: &SocketOptions) -> Result<(Socket, BoundPath), ListenError> {
    let bytes = path.as_os_str().len();
    if bytes > LONGEST {
        return Err(ListenError::too_long(format!("unix:{}", path.display()), bytes));
    }
    let failed = |error| ListenError::file(path, error);
    let name = SockAddr::unix(path).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    let lock = FolderLock::take(folder(path), PATIENCE)
        .map_err(|_| ListenError::Locked(folder(path).display().to_string()))?;
    remove_stale(path)?;
    bind_closed(&socket, &name).map_err(failed)?;
    let Ok(file) = FileId::of(path) else {
        // Removed in this very moment, by somebody who does not care for locks.
        return Err(ListenError::because(format!("unix:{}", path.display()), "its file has vanished"));
    };
    let bound = BoundPath { path: path.to_owned(), file };
    let listening = open_to_others(&socket, path, options);
    // Before `bound` is dropped, which takes it.
    drop(lock);
    listening.map(|()| (socket, bound))
}

/// Binds with no permission for others, whatever the umask that this process has inherited.
fn bind_closed(socket: &Socket, name: &SockAddr) -> io::Result<()> {
    // The umask is the process's, which has one thread as yet.
    let inherited = umask(Mode::from_raw_mode(0o177));
    let bound = socket.bind(name);
    umask(inherited);
    bound
}

/// In this order nobody can connect who may not.
fn open_to_others(socket: &Socket, path: &Path, options: &SocketOptions) -> Result<(), ListenError> {
    if let Some(owner) = &options.owner {
        lchown(path, owner.user, owner.group).map_err(|error| ListenError::owner(path, owner, error))?;
    }
    let failed = |error| ListenError::file(path, error);
    fs::set_permissions(path, Permissions::from_mode(options.mode)).map_err(failed)?;
    socket.listen(options.backlog.into()).map_err(failed)
}

/// Removes a socket file that nobody answers on.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    // Where this cannot be asked, bind says why.
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let name = path.display().to_string();
    if metadata.is_dir() {
        return Err(ListenError::Folder(name));
    }
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket(name));
    }
    let connected = SockAddr::unix(path).and_then(|address| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&address)
    });
    let Err(error) = connected else { return Err(ListenError::Answered(name)) };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ListenError::file(path, error)),
            _ => Ok(()),
        },
        // A full backlog is a server too, if a slow one, and so is one of datagrams.
        Some(libc::EAGAIN | libc::EPROTOTYPE) => Err(ListenError::Answered(name)),
        Some(libc::ENOENT) => Ok(()),
        Some(libc::EACCES | libc::EPERM) => Err(ListenError::because(
            format!("unix:{name}"),
            "another user's socket is there: stop its server and remove it, or name another path",
        )),
        _ => Err(ListenError::file(path, error)),
    }
}

/// Which file a path leads to: its device and inode. An inode is given to no other file while a socket that is bound to
/// it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        // Not fstat of the socket, whose inode is one of the kernel's own file system of sockets.
        fs::symlink_metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }
}

/// A socket file that is ours to remove when this is dropped, if it is still there.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    file: FileId,
}

impl BoundPath {
    /// Takes over the duty for a file that was bound before an exec.
    pub(super) fn adopt(path: PathBuf, file: FileId) -> Self {
        Self { path, file }
    }

    pub(super) fn file(&self) -> FileId {
        self.file
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        let Ok(_lock) = FolderLock::take(folder(&self.path), LAST_PATIENCE) else {
            // To remove it without might remove another server's; who binds here next replaces it.
            let (path, folder) = (self.path.display(), folder(&self.path).display());
            return log::say(format_args!("{path} is left behind: {folder} is locked by another process"));
        };
        // Another's, or none: there is nothing to do.
        if FileId::of(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::say(format_args!("{} is left behind: {error}", self.path.display()));
        }
    }
}

/// An exclusive lock on a folder (flock(2)): it leaves no file, and goes with the process.
struct FolderLock(#[allow(dead_code, reason = "closed when dropped, which unlocks")] Option<File>);

/// Somebody else has had the lock all the time.
#[derive(Debug)]
struct StillLocked;

impl FolderLock {
    /// Where a folder cannot be opened (one may make files where one may not look) or its file system has no locks, it goes
    /// on without: that is no less than there would be otherwise, and no reason not to serve.
    fn take(folder: &Path, patience: Duration) -> Result<Self, StillLocked> {
        let opened = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(folder);
        let Ok(folder) = opened else { return Ok(Self(None)) };
        let deadline = Instant::now() + patience;
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(Some(folder))),
                Err(Errno::WOULDBLOCK) if Instant::now() >= deadline => return Err(StillLocked),
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(PAUSE),
                Err(_) => return Ok(Self(None)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tempfile::TempDir;

    use super::*;

    /// The umask is common to all tests here.
    static UMASK: Mutex<()> = Mutex::new(());

    fn place() -> (MutexGuard<'static, ()>, TempDir, PathBuf) {
        let guard = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        (guard, folder, path)
    }

    fn options() -> SocketOptions {
        SocketOptions { backlog: 4, mode: 0o660, owner: None }
    }

    #[test]
    fn another_servers_socket_is_not_removed() {
        let (_guard, _folder, path) = place();
        let (first_socket, first) = bind(&path, &options()).unwrap();
        fs::remove_file(&path).unwrap();
        let (second_socket, second) = bind(&path, &options()).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
        drop((first_socket, second_socket));
    }

    #[test]
    fn the_duty_to_remove_the_path_can_be_handed_over() {
        let (_guard, _folder, path) = place();
        let (_socket, bound) = bind(&path, &options()).unwrap();
        let file = bound.file();
        std::mem::forget(bound);
        drop(BoundPath::adopt(path.clone(), FileId { inode: file.inode + 1, ..file }));
        assert!(path.exists());
        drop(BoundPath::adopt(path.clone(), file));
        assert!(!path.exists());
    }

    #[test]
    fn who_binds_waits_for_the_lock_on_the_folder() {
        let (_guard, folder, path) = place();
        let lock = FolderLock::take(folder.path(), PATIENCE).unwrap();
        assert!(FolderLock::take(folder.path(), Duration::ZERO).is_err());
        let binding = thread::spawn({
            let path = path.clone();
            move || bind(&path, &options()).map(|(_, bound)| drop(bound))
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!path.exists());
        drop(lock);
        binding.join().unwrap().unwrap();
    }

    #[test]
    fn a_folder_that_nobody_can_lock_is_no_obstacle() {
        let missing = FolderLock::take(Path::new("/no/such/folder"), Duration::ZERO).unwrap();
        assert!(missing.0.is_none());
    }

    #[test]
    fn permissions_do_not_depend_on_the_umask() {
        let (_guard, _folder, path) = place();
        for (inherited, mode) in [(0o000, 0o600), (0o777, 0o666)] {
            let before = umask(Mode::from_raw_mode(inherited));
            let (_socket, _bound) = bind(&path, &SocketOptions { mode, ..options() }).unwrap();
            assert_eq!(umask(before).as_raw_mode(), inherited, "it is the application's afterwards");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn nobody_can_connect_before_the_permissions_are_set() {
        let (_guard, _folder, path) = place();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        bind_closed(&socket, &SockAddr::unix(&path).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_of_107_bytes_is_the_longest() {
        let (_guard, folder, _) = place();
        let fill = |bytes: usize| folder.path().join("x".repeat(bytes - folder.path().as_os_str().len() - 1));
        assert!(bind(&fill(107), &options()).is_ok());
        let error = bind(&fill(108), &options()).unwrap_err().to_string();
        assert!(error.contains("108 bytes are too long"), "{error}");
    }
}
