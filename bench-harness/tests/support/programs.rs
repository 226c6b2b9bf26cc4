//! Programs that tests run and that are not ours.

use std::env;
use std::path::PathBuf;

use libtest_mimic::{Completion, Failed};

/// Where servers are, though not on every user's PATH.
const SERVER_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// How a test ends that needs a program which is not installed; `None` where it is. Where everything is to be there
/// (CI=true) it fails.
pub(crate) fn missing(program: &str) -> Option<Result<Completion, Failed>> {
    if find(program).is_some() {
        return None;
    }
    let message = format!("{program} not installed, run scripts/setup");
    let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    Some(if is_ci { Err(message.into()) } else { Ok(Completion::ignored_with(message)) })
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}
