//! Pools on three hosts: each has a network namespace of its own, and so has the web server with its clients. Nobody else sees
//! these networks, and the kernel takes them away with the last process that is in them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::discover::data_folder;
use bench_harness::front_ends::{FrontEnd, Server, Site};
use bench_harness::process::{Process, children_of, is_running, kill};
use bench_harness::{Family, Strategy};
use fcgi_load::{Address, Generator, Mode, Options, Protocol, Report, RequestSpec, Share, Until, capacity};
use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::support::{Outcome, programs};

/// HTTP connections, with a request at a time on each.
const CLIENTS: usize = 32;
/// How long what is started here may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the load runs before something happens to a host.
const BEFORE: Duration = Duration::from_millis(500);
/// How long it runs altogether: until the front end has noticed.
const RUN: Duration = Duration::from_millis(2_500);
/// What a host that takes its share of a run has been sent at least.
const SHARE: u64 = 100_000;

/// Those of the strategy which the configurations name.
pub(crate) fn trials(strategy: &Strategy) -> Vec<Trial> {
    let sites =
        [(Server::Nginx, Mode::Keep, "nginx-hosts.conf"), (Server::HaProxy, Mode::Keep, "haproxy-hosts.cfg")];
    let named = |config: &str| {
        let text = fs::read_to_string(data_folder().join("front-ends").join(config)).unwrap_or_default();
        text.contains(&format!(" strategy-{} --listen", strategy.name()))
    };
    let sites = sites.into_iter().filter(|(_, _, config)| named(config));
    sites.map(|(server, mode, _)| trial(strategy.clone(), server, mode)).collect()
}

fn trial(strategy: Strategy, server: Server, mode: Mode) -> Trial {
    let name = format!(
        "{}::{server}::hosts::one_that_drains_loses_nothing_and_one_that_dies_what_it_has",
        strategy.name()
    );
    let site = Site { server, family: Family::Tcp, mode, connections: CLIENTS, processes: 1 };
    Trial::ignorable_test(name, move || {
        if let Some(missing) =
            [server.program(), "ip", "unshare", "nsenter"].into_iter().find_map(programs::missing)
        {
            return missing;
        }
        // A thread's network is its own, and that of the processes it starts.
        let test = || match own_network() {
            Ok(()) => drain_and_kill(&strategy, site).map(|()| Completion::Completed),
            Err(error) => {
                let why = error.message().unwrap_or("not allowed").to_owned();
                Ok(Completion::ignored_with(format!("no network of its own: {why}")))
            }
        };
        thread::scope(|scope| scope.spawn(test).join().unwrap_or_else(|_| Err("it panicked".into())))
    })
}

fn drain_and_kill(strategy: &Strategy, site: Site) -> Outcome {
    let mut hosts =
        [1, 2, 3].map(|number| Host::start(strategy, number)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<String> = hosts.iter().map(|host| host.address.clone()).collect();
    let addresses: [String; 3] = addresses.try_into().map_err(|_| "not three hosts")?;
    let front_end = FrontEnd::before_hosts(&addresses, site)?;

    announced(strategy, &front_end, &mut hosts)?;
    unannounced(&front_end, &mut hosts)?;
    killed(&front_end, &mut hosts)?;

    let received = received_by(&hosts)?;
    let report = load(&front_end, Until::Requests(2_000), any, || Ok(()))?;
    ensure!(report.is_clean() && report.completed == 2_000, "with one host: {}", words(&report, &front_end));
    let shares = shares(&received, &received_by(&hosts)?);
    ensure!(
        shares[2] > SHARE && shares[0] < SHARE && shares[1] < SHARE,
        "the hosts were sent {shares:?} bytes"
    );
    Ok(())
}

/// A host is taken out as the configuration says, and is brought back: nothing is lost, whatever was asked.
fn announced(strategy: &Strategy, front_end: &FrontEnd, hosts: &mut [Host]) -> Outcome {
    let received = received_by(hosts)?;
    let operator = Operator::of(front_end, &hosts[0])?;
    let report = load(front_end, Until::Duration(RUN), any, || {
        operator.take_out()?;
        Ok(hosts[0].pool.signal(Signal::TERM)?)
    })?;
    ensure!(report.is_clean(), "while a host was taken out: {}", words(&report, front_end));
    let shares = shares(&received, &received_by(hosts)?);
    ensure!(shares.iter().all(|share| *share > SHARE), "the hosts were sent {shares:?} bytes");
    hosts[0].drained()?;

    hosts[0].start_pool(strategy)?;
    operator.bring_back()?;
    let received = hosts[0].received()?;
    wait_until("it is asked again", || {
        let report = load(front_end, Until::Requests(500), any, || Ok(()))?;
        ensure!(report.is_clean(), "while a host came back: {}", words(&report, front_end));
        Ok(hosts[0].received()? > received + SHARE)
    })
}

/// A pool drains, and the front end finds out by itself: nothing is lost that may be sent again.
fn unannounced(front_end: &FrontEnd, hosts: &mut [Host]) -> Outcome {
    let report =
        load(front_end, Until::Duration(RUN), changes_nothing, || Ok(hosts[0].pool.signal(Signal::TERM)?))?;
    ensure!(report.is_clean(), "while a pool drained: {}", words(&report, front_end));
    hosts[0].drained()
}

/// Each client has one request in flight at a time, so all hosts have so many at most.
fn killed(front_end: &FrontEnd, hosts: &mut [Host]) -> Outcome {
    let supervisor = hosts[1].pool.pid();
    let report = load(front_end, Until::Duration(RUN), any, || {
        kill_all(supervisor);
        Ok(())
    })?;
    let lost = report.errors.total() + report.refused;
    ensure!(lost <= CLIENTS as u64, "{lost} lost with a host that died: {}", words(&report, front_end));
    ensure!(report.connects_failed == 0 && report.completed > 0, "{}", words(&report, front_end));
    Ok(())
}

fn words(report: &Report, front_end: &FrontEnd) -> String {
    format!("{:?}; it said: {}", report.errors, front_end.stderr())
}

/// Whoever tells the front end that the first host is to be left alone.
enum Operator {
    /// By HAProxy's socket.
    Socket(PathBuf),
    /// By nginx's configuration: its file, the host's line there, and the process that reads it again.
    File { config: PathBuf, line: String, pid: u32 },
}

impl Operator {
    fn of(front_end: &FrontEnd, host: &Host) -> Result<Self, Failed> {
        let folder = front_end.folder().to_owned();
        match front_end.site().server {
            Server::HaProxy => Ok(Self::Socket(folder.join("haproxy.sock"))),
            Server::Nginx => Ok(Self::File {
                config: folder.join("nginx-hosts.conf"),
                line: format!("server {} ", host.address),
                pid: front_end.pids()[0],
            }),
            other => Err(format!("{other} knows no hosts").into()),
        }
    }

    /// It is asked nothing more, and all that it was asked is answered.
    fn take_out(&self) -> Outcome {
        match self {
            Self::Socket(path) => {
                ask(path, "set server workers/one state drain")?;
                wait_until("its sessions end", || {
                    Ok(sessions(&ask(path, "show stat workers 4 -1")?) == Some(0))
                })
            }
            Self::File { config, line, pid } => {
                let before = children_of(*pid);
                edit(config, line, &format!("{line}down "))?;
                reload(*pid)?;
                wait_until("the old processes end", || Ok(!before.iter().any(|pid| is_running(*pid))))
            }
        }
    }

    fn bring_back(&self) -> Outcome {
        match self {
            Self::Socket(path) => ask(path, "set server workers/one state ready").map(drop),
            Self::File { config, line, pid } => {
                edit(config, &format!("{line}down "), line)?;
                reload(*pid)
            }
        }
    }
}

/// What HAProxy answers to a command.
fn ask(socket: &Path, command: &str) -> Result<String, Failed> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// How many sessions the first server has, of a table with commas.
fn sessions(table: &str) -> Option<u32> {
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next()?;
    let column = |name: &str| head.iter().position(|column| column.trim_start_matches("# ") == name);
    let (server, sessions) = (column("svname")?, column("scur")?);
    let line = lines.find(|line| line.get(server) == Some(&"one"))?;
    line.get(sessions)?.parse().ok()
}

fn edit(config: &Path, from: &str, to: &str) -> Outcome {
    let text = fs::read_to_string(config)?;
    ensure!(text.contains(from), "no {from:?} in {text}");
    Ok(fs::write(config, text.replace(from, to))?)
}

fn reload(pid: u32) -> Outcome {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process")?;
    Ok(kill_process(pid, Signal::HUP)?)
}

/// A load, and what happens to a host amid it.
fn load(
    front_end: &FrontEnd,
    until: Until,
    asked: fn(&RequestSpec) -> bool,
    event: impl FnOnce() -> Outcome + Send,
) -> Result<Report, Failed> {
    let body = vec![b'x'; 4 << 10];
    let requests = [
        (4, RequestSpec::get("/hello").expect_body("Hello, world\n")),
        (2, RequestSpec::get("/wait?ms=5").expect_body("waited 5 ms\n")),
        (1, RequestSpec::post("/echo", body.clone()).expect_body(body)),
    ];
    let share = |(weight, request)| Share { request, weight };
    let mut generator = Generator::new(Options {
        protocol: Protocol::Http,
        connections: CLIENTS,
        requests: requests.into_iter().filter(|(_, request)| asked(request)).map(share).collect(),
        // nginx that reads its configuration again closes the connections of its clients, who ask again. Of HAProxy the
        // same is a sign that it has lost a request.
        retry_closed: front_end.site().server == Server::Nginx,
        ..Options::new(front_end.address(), RequestSpec::get("/hello"))
    })?;
    thread::scope(|scope| {
        let event = scope.spawn(|| {
            thread::sleep(BEFORE);
            event()
        });
        let report = generator.run(until);
        event.join().unwrap_or_else(|_| Err("it panicked".into()))?;
        Ok(report?)
    })
}

/// The supervisor first: it would replace the others.
fn kill_all(supervisor: u32) {
    let workers = children_of(supervisor);
    kill(supervisor);
    workers.into_iter().for_each(kill);
}

/// Everything is asked.
fn any(_: &RequestSpec) -> bool {
    true
}

/// What changes nothing is asked, and may be sent again.
fn changes_nothing(request: &RequestSpec) -> bool {
    request.value(b"REQUEST_METHOD") == Some(b"GET")
}

/// A pool that is reached by a network alone.
struct Host {
    address: String,
    pool: Process,
    /// Keeps the namespace, and tells what goes on in it.
    keeper: Process,
}

impl Host {
    /// The addresses are of a network for tests of network devices (RFC 2544, RFC 5735).
    fn start(strategy: &Strategy, number: u8) -> Result<Self, Failed> {
        let mut sleep = command("unshare")?;
        sleep.args(["--net", "sleep", "infinity"]);
        let keeper = Process::spawn(sleep)?;
        let pid = keeper.pid();
        let here = fs::read_link("/proc/thread-self/ns/net")?;
        wait_until("it has a network", || Ok(fs::read_link(format!("/proc/{pid}/ns/net"))? != here))?;

        run("ip", &format!("link add host{number} type veth peer name eth0 netns {pid}"))?;
        run("ip", &format!("address add 198.18.{number}.1/30 dev host{number}"))?;
        run("ip", &format!("link set host{number} up"))?;
        run("nsenter", &format!("{} ip address add 198.18.{number}.2/30 dev eth0", within(pid)))?;
        run("nsenter", &format!("{} ip link set eth0 up", within(pid)))?;

        let address = format!("198.18.{number}.2:9000");
        let pool = pool(strategy, pid, &address)?;
        Ok(Self { address, pool, keeper })
    }

    /// Starts a pool where one has ended.
    fn start_pool(&mut self, strategy: &Strategy) -> Outcome {
        self.pool = pool(strategy, self.keeper.pid(), &self.address)?;
        Ok(())
    }

    /// The pool that was told to drain has done so.
    fn drained(&mut self) -> Outcome {
        let status = self.pool.wait(LIMIT)?;
        ensure!(status.success(), "the pool that drained ended with {status}: {}", self.pool.stderr());
        Ok(())
    }

    /// Bytes that have come by its network.
    fn received(&self) -> Result<u64, Failed> {
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.keeper.pid()))?;
        let line = devices.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
        let bytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no device eth0")?;
        Ok(bytes.parse()?)
    }
}

/// A pool in the network of a process, when it answers.
fn pool(strategy: &Strategy, pid: u32, address: &str) -> Result<Process, Failed> {
    let mut worker = command("nsenter")?;
    worker.arg(within(pid)).arg(strategy.binary());
    worker.args(["--listen", &format!("tcp:{address}"), "--processes", "2"]);
    let pool = Process::spawn(worker)?;
    let address = Address::Tcp(address.to_owned());
    wait_until("it answers", || Ok(capacity(&address, LIMIT).is_ok()))?;
    Ok(pool)
}

fn received_by(hosts: &[Host]) -> Result<Vec<u64>, Failed> {
    hosts.iter().map(Host::received).collect()
}

fn shares(before: &[u64], after: &[u64]) -> Vec<u64> {
    before.iter().zip(after).map(|(before, after)| after - before).collect()
}

/// Takes this thread, and no other, into a network of its own, with a loopback interface.
fn own_network() -> Outcome {
    // SAFETY: the namespace of the network is no memory and no descriptor; no other thread's is changed.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    run("ip", "link set lo up")
}

/// nsenter's option for the network of a process.
fn within(pid: u32) -> String {
    format!("--net=/proc/{pid}/ns/net")
}

fn command(program: &str) -> Result<Command, Failed> {
    Ok(Command::new(programs::find(program).ok_or_else(|| format!("no {program}"))?))
}

fn run(program: &str, args: &str) -> Outcome {
    let output = command(program)?.args(args.split(' ')).output()?;
    ensure!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool, Failed>) -> Outcome {
    let deadline = Instant::now() + LIMIT;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
