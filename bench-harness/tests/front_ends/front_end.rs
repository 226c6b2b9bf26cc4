//! The web servers of these tests, and a strategy behind them.

use std::ops::{Deref, DerefMut};

use bench_harness::client::Client;
use bench_harness::front_ends::{FrontEnd, Server, Site};
use bench_harness::{Family, Pool, Strategy};
use fcgi_load::{Address, Mode};
use libtest_mimic::Failed;

/// All of them, each as its configuration stands. What lighttpd spawns has unix sockets.
pub(crate) const ALL: &[Site] = &[
    unix(Server::LighttpdSpawning),
    unix(Server::Lighttpd),
    unix(Server::Nginx),
    unix(Server::HaProxy),
    tcp(Server::Lighttpd),
    tcp(Server::Nginx),
    tcp(Server::HaProxy),
];

/// Those with a pool that the web server did not start.
pub(crate) const POOLS: &[Site] = ALL.split_at(1).1;

pub(crate) const fn unix(server: Server) -> Site {
    site(server, Family::Unix)
}

const fn tcp(server: Server) -> Site {
    site(server, Family::Tcp)
}

const fn site(server: Server, family: Family) -> Site {
    let mode = match server {
        Server::LighttpdSpawning | Server::Lighttpd => Mode::Close,
        Server::Nginx => Mode::Keep,
        Server::HaProxy => Mode::Multiplex,
    };
    Site { server, family, mode, connections: 8, processes: 2 }
}

/// A web server and the pool behind it, which ends after it.
pub(crate) struct Served {
    front_end: FrontEnd,
    _pool: Option<Pool>,
}

impl Served {
    /// The web server, with workers behind it that can hold all connections that it keeps.
    pub(crate) fn start(strategy: &Strategy, site: Site) -> Result<Self, Failed> {
        if site.server == Server::LighttpdSpawning {
            let front_end = FrontEnd::spawning(&strategy.binary().display().to_string(), site)?;
            return Ok(Self { front_end, _pool: None });
        }
        Self::before(launch(strategy, site)?, site)
    }

    /// The web server before this pool.
    pub(crate) fn before(pool: Pool, site: Site) -> Result<Self, Failed> {
        let front_end = FrontEnd::before(pool.address(), suited(site, pool.address())?)?;
        Ok(Self { front_end, _pool: Some(pool) })
    }
}

impl Deref for Served {
    type Target = FrontEnd;

    fn deref(&self) -> &FrontEnd {
        &self.front_end
    }
}

impl DerefMut for Served {
    fn deref_mut(&mut self) -> &mut FrontEnd {
        &mut self.front_end
    }
}

/// A pool for this site.
pub(crate) fn launch(strategy: &Strategy, site: Site) -> Result<Pool, Failed> {
    launch_with(strategy, site, &[])
}

/// A pool that can hold all connections which the web server keeps, and which web servers of other users may connect to.
pub(crate) fn launch_with(strategy: &Strategy, site: Site, options: &[&str]) -> Result<Pool, Failed> {
    let one = Pool::launch(strategy, site.family, &["--processes", "1"])?;
    let held: usize = value(one.address(), "FCGI_MAX_CONNS")?.parse()?;
    let processes = site.connections.div_ceil(held).max(2).to_string();
    let args = [&["--processes", &processes, "--socket-mode", "666"], options].concat();
    Ok(Pool::launch(strategy, site.family, &args)?)
}

/// The site before workers that may not multiplex: what cannot be shared is kept.
pub(crate) fn suited(site: Site, address: &Address) -> Result<Site, Failed> {
    let mode = match site.mode {
        Mode::Multiplex if !multiplexes(address)? => Mode::Keep,
        mode => mode,
    };
    Ok(Site { mode, ..site })
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
