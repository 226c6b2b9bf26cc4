//! What the kernel tells of a pool's processes and sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bench_harness::Pool;
use bench_harness::client::Client;
use bench_harness::process::children_of;
use libtest_mimic::Failed;
use rustix::io::ioctl_fionread;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

/// The worker processes of a pool, and those that they serve in.
pub(crate) fn processes(pool: &Pool) -> Vec<u32> {
    let workers = pool.worker_pids();
    let children: Vec<u32> = workers.iter().flat_map(|worker| children_of(*worker)).collect();
    [workers, children].concat()
}

/// CPU time of all threads of these processes. A process that has ended counts as none.
pub(crate) fn cpu_time(pids: &[u32]) -> Duration {
    let of_thread = |thread: &Path| {
        let text = fs::read_to_string(thread.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(sum_of_threads(pids, of_thread))
}

/// How often the threads of these processes have given up their processor, willingly or not.
pub(crate) fn context_switches(pids: &[u32]) -> u64 {
    sum_of_threads(pids, |thread| {
        let status = fs::read_to_string(thread.join("status")).ok()?;
        Some(number(&status, "voluntary_ctxt_switches:")? + number(&status, "nonvoluntary_ctxt_switches:")?)
    })
}

fn sum_of_threads(pids: &[u32], of_thread: impl Fn(&Path) -> Option<u64>) -> u64 {
    let threads = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
    threads.flatten().filter_map(|thread| of_thread(&thread.path())).sum()
}

/// Memory that a process alone has and has written to, in KiB.
pub(crate) fn private_dirty(pid: u32) -> Result<u64, Failed> {
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    number(&memory, "Private_Dirty:").ok_or_else(|| "the kernel does not tell Private_Dirty".into())
}

/// How many sockets a process has open.
pub(crate) fn sockets(pid: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Bytes that have come to this client and that it has not read.
pub(crate) fn unread(client: &Client) -> u64 {
    ioctl_fionread(client).unwrap_or(0)
}

/// Bytes that are under way on a connection, in both directions: sent, and not yet read at the other end.
pub(crate) fn under_way(client: &Client) -> Result<usize, Failed> {
    let socket = SockRef::from(client);
    let (Some(local), Some(peer)) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket())
    else {
        // A unix socket: what comes can be counted, and what goes is as much as its buffer holds, at most.
        return Ok(unread(client) as usize + socket.send_buffer_size()?);
    };
    let table = fs::read_to_string("/proc/net/tcp")?;
    let ends = [(local, peer), (peer, local)].map(|(one, other)| format!("{} {}", hex(one), hex(other)));
    let lines = table.lines().filter(|line| ends.iter().any(|end| line.contains(end)));
    Ok(lines.filter_map(queues).sum())
}

/// An address as /proc/net/tcp writes it.
fn hex(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { return address.to_string() };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

/// What stands in both queues of a line of /proc/net/tcp.
fn queues(line: &str) -> Option<usize> {
    let (sent, received) = line.split_whitespace().nth(4)?.split_once(':')?;
    Some(usize::from_str_radix(sent, 16).ok()? + usize::from_str_radix(received, 16).ok()?)
}

/// Lets this process, and the pools that it starts from now on, have as many descriptors as it may.
pub(crate) fn allow_descriptors(count: u64) -> Result<(), Failed> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < count) {
        return Err(format!("{count} descriptors are needed, ulimit -Hn is {:?}", limit.maximum).into());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// The number behind a name at a line's beginning.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
