//! Web servers, started with the configurations that users read.

use std::fmt;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::Client;
use bench_harness::discover::harness_folder;
use bench_harness::ports::ReservedPort;
use bench_harness::process::Process;
use bench_harness::{Family, Pool, Strategy};
use fcgi_load::Address;
use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::support::programs;

/// How long a web server may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A web server and the way it is connected to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LighttpdSpawning,
    Lighttpd,
    Nginx,
    HaProxy,
}

/// A web server and the kind of socket between it and the workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) family: Family,
}

impl Kind {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::LighttpdSpawning | Self::Lighttpd => "lighttpd",
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::LighttpdSpawning => "lighttpd-spawning.conf",
            Self::Lighttpd => "lighttpd.conf",
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
        }
    }

    /// The configuration's text for a unix socket, and the one that stands for it with TCP.
    fn on_tcp(self, host_and_port: &str) -> (&'static str, String) {
        match self {
            Self::LighttpdSpawning => ("", String::new()),
            Self::Lighttpd => {
                let (host, port) = host_and_port.split_once(':').unwrap_or_default();
                (r#""socket" => "__SOCKET__""#, format!(r#""host" => "{host}", "port" => {port}"#))
            }
            Self::Nginx => ("unix:__SOCKET__", host_and_port.to_owned()),
            Self::HaProxy => ("unix@__SOCKET__", host_and_port.to_owned()),
        }
    }
}

impl Site {
    /// All of them. What lighttpd spawns has unix sockets.
    pub(crate) const ALL: &[Self] = &[
        Self::unix(Kind::LighttpdSpawning),
        Self::unix(Kind::Lighttpd),
        Self::unix(Kind::Nginx),
        Self::unix(Kind::HaProxy),
        Self::tcp(Kind::Lighttpd),
        Self::tcp(Kind::Nginx),
        Self::tcp(Kind::HaProxy),
    ];

    /// Those with a pool that the web server did not start.
    pub(crate) const POOLS: &[Self] = Self::ALL.split_at(1).1;

    pub(crate) const fn unix(kind: Kind) -> Self {
        Self { kind, family: Family::Unix }
    }

    const fn tcp(kind: Kind) -> Self {
        Self { kind, family: Family::Tcp }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::LighttpdSpawning => "lighttpd-spawning",
            other => other.program(),
        };
        write!(f, "{name}::{}", self.family)
    }
}

/// A web server that runs. It, its folder and its workers are gone when this is dropped.
pub(crate) struct FrontEnd {
    process: Process,
    port: ReservedPort,
    _folder: TempDir,
    _pool: Option<Pool>,
}

impl FrontEnd {
    /// The web server, with workers behind it that can hold eight connections of it.
    pub(crate) fn start(strategy: &Strategy, site: Site) -> Result<Self, Failed> {
        if site.kind == Kind::LighttpdSpawning {
            let worker = strategy.binary().display().to_string();
            return Self::launch(site, &[("__WORKER__", worker)], None);
        }
        Self::start_before(Pool::launch(strategy, site.family, &pool_args(strategy, site.family)?)?, site)
    }

    /// The web server before this pool.
    pub(crate) fn start_before(pool: Pool, site: Site) -> Result<Self, Failed> {
        let address = pool.address().clone();
        Self::start_before_address(&address, Some(pool), site)
    }

    /// The web server before whatever answers at this address; `pool` is kept as long as the web server runs.
    pub(crate) fn start_before_address(
        address: &Address,
        pool: Option<Pool>,
        site: Site,
    ) -> Result<Self, Failed> {
        let mut replacements = Vec::new();
        if !multiplexes(address)? {
            replacements.push(("    option mpxs-conns\n", String::new()));
            replacements.push(("    option max-reqs 50\n", String::new()));
        }
        replacements.push(match address {
            Address::Unix(path) => ("__SOCKET__", path.display().to_string()),
            Address::Tcp(host_and_port) => site.kind.on_tcp(host_and_port),
            Address::Abstract(_) => return Err("front ends know no abstract names".into()),
        });
        Self::launch(site, &replacements, pool)
    }

    fn launch(site: Site, replacements: &[(&str, String)], pool: Option<Pool>) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("fcgi-lab-").tempdir()?;
        // nginx's workers run as another user where this runs as root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let port = ReservedPort::any()?;

        let mut config = fs::read_to_string(configs().join(site.kind.config()))?;
        for (placeholder, value) in replacements {
            config = config.replace(placeholder, value);
        }
        config = config.replace("__FOLDER__", &folder.path().display().to_string());
        config = config.replace("__PORT__", &port.number().to_string());
        let path = folder.path().join(site.kind.config());
        fs::write(&path, config)?;

        let process = Process::spawn(command(site.kind, &path, folder.path())?)?;
        let mut front_end = Self { process, port, _folder: folder, _pool: pool };
        front_end.wait_until_it_answers()?;
        Ok(front_end)
    }

    fn wait_until_it_answers(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address()).is_err() {
            if let Some(status) = self.process.exited()? {
                return Err(format!("it ended with {status}: {}", self.stderr()).into());
            }
            ensure!(Instant::now() < deadline, "it does not answer: {}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// `HOST:PORT`, for HTTP clients.
    pub(crate) fn address(&self) -> String {
        self.port.host_and_port()
    }

    /// What it has written to stderr.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// The web server's process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A pool that can hold eight connections at a time, which web servers of other users may connect to.
pub(crate) fn pool_args(strategy: &Strategy, family: Family) -> Result<[&'static str; 4], Failed> {
    let one = Pool::launch(strategy, family, &["--processes", "1"])?;
    let held: usize = value(one.address(), "FCGI_MAX_CONNS")?.parse()?;
    Ok(["--processes", if held < 8 { "8" } else { "2" }, "--socket-mode", "666"])
}

/// Whether the workers say that one connection may carry several requests at a time.
pub(crate) fn multiplexes(address: &Address) -> Result<bool, Failed> {
    Ok(value(address, "FCGI_MPXS_CONNS")? == "1")
}

fn value(address: &Address, name: &str) -> Result<String, Failed> {
    let values = Client::connect(address)?.values()?;
    let value = values.into_iter().find(|(known, _)| known == name).map(|(_, value)| value);
    value.ok_or_else(|| format!("{name} is not announced").into())
}

fn command(kind: Kind, config: &Path, folder: &Path) -> io::Result<Command> {
    let program = programs::find(kind.program()).ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    match kind {
        Kind::LighttpdSpawning | Kind::Lighttpd => command.arg("-D").arg("-f").arg(config),
        Kind::Nginx => command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(config),
        Kind::HaProxy => command.arg("-db").arg("-f").arg(config),
    };
    command.stdin(Stdio::null());
    Ok(command)
}

fn configs() -> std::path::PathBuf {
    harness_folder().join("../data/front-ends")
}
