//! The web servers, and how they are run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use fcgi_load::Mode;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::programs;

/// A web server and the way it gets at workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// lighttpd that starts the workers itself, each with a unix socket of its own.
    LighttpdSpawning,
    /// lighttpd before a pool.
    Lighttpd,
    /// nginx before a pool.
    Nginx,
    /// HAProxy before a pool.
    #[serde(rename = "haproxy")]
    HaProxy,
}

/// The text names no web server that is known here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is no front end: write lighttpd-spawning, lighttpd, nginx or haproxy")]
pub struct ServerError(String);

impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LighttpdSpawning, Self::Lighttpd, Self::Nginx, Self::HaProxy];

    /// Its program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::LighttpdSpawning | Self::Lighttpd => "lighttpd",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    /// Where its program is, if it is installed.
    pub fn find(self) -> Option<PathBuf> {
        programs::find(self.program())
    }

    /// How it can use its connections to the workers.
    pub fn modes(self) -> &'static [Mode] {
        match self {
            Self::LighttpdSpawning | Self::Lighttpd => &[Mode::Close],
            Self::Nginx => &[Mode::Close, Mode::Keep],
            Self::HaProxy => &[Mode::Close, Mode::Keep, Mode::Multiplex],
        }
    }

    /// What runs it in the foreground.
    pub(super) fn command(self, program: &Path, config: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::LighttpdSpawning | Self::Lighttpd => command.arg("-D").arg("-f").arg(config),
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(config),
            Self::HaProxy => command.arg("-db").arg("-f").arg(config),
        };
        command.stdin(Stdio::null());
        command
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let server = Self::ALL.into_iter().find(|server| server.to_string() == text);
        server.ok_or_else(|| ServerError(text.to_owned()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LighttpdSpawning => "lighttpd-spawning",
            Self::Lighttpd => "lighttpd",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_reads_back_as_it_is_written_in_text_and_in_records() {
        for server in Server::ALL {
            assert_eq!(server.to_string().parse(), Ok(server));
            assert_eq!(serde_json::to_string(&server).unwrap(), format!("\"{server}\""));
        }
        let message = "apache".parse::<Server>().unwrap_err().to_string();
        assert!(message.contains("apache") && message.contains("haproxy"), "{message}");
    }
}
