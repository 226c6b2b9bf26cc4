//! A peer that sends without a pause gets its share, and no more.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::client::{Client, Request};
use bench_harness::{Family, Pool, Strategy};
use libtest_mimic::Failed;

use crate::kernel::{self, processes, sockets};
use crate::support::Outcome;
use crate::trial::{Needs, Test, pool_for_two};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_neighbour_of_a_peer_that_pipelines_small_requests_is_served", small_requests),
    Test::new("a_neighbour_of_a_peer_that_pipelines_costly_requests_is_served", costly_requests),
    Test::new("connections_are_shared_among_processes", shared_among_processes).needs(Needs::FairAccept(200)),
];

/// How long the neighbour waits for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many of the busy peer's requests may be served meanwhile.
const MEANWHILE: usize = 2_000;

fn small_requests(strategy: &Strategy, family: Family) -> Outcome {
    neighbours(strategy, family, "/cpu?us=20")
}

fn costly_requests(strategy: &Strategy, family: Family) -> Outcome {
    neighbours(strategy, family, "/cpu?us=200")
}

/// Three that come one after the other.
fn neighbours(strategy: &Strategy, family: Family, uri: &str) -> Outcome {
    let pool = pool_for_two(strategy, family, &[])?;
    let busy = Busy::connect(&pool)?;
    // So many that no id is in use when it comes again. Made before anybody waits for anything: it takes a while.
    let requests: Vec<u8> = (1..=10_000).flat_map(|id| Request::get(uri).id(id).encode()).collect();
    thread::scope(|scope| {
        scope.spawn(|| busy.send(&requests));
        scope.spawn(|| busy.receive());
        let outcome =
            busy.wait_for(50).and_then(|()| (1..=3).try_for_each(|number| newcomer(&pool, &busy, number)));
        // Ends its two threads.
        busy.client.disconnect()?;
        outcome
    })
}

fn newcomer(pool: &Pool, busy: &Busy, number: usize) -> Outcome {
    let before = busy.served();
    let mut client = Client::connect(pool.address())?;
    client.set_patience(PATIENCE)?;
    let reply = client.request(&Request::get("/hello"));
    let meanwhile = busy.served().saturating_sub(before);
    let reply = reply.map_err(|error| {
        format!("newcomer {number} is not answered, and {meanwhile} requests of the busy peer were: {error}")
    })?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    ensure!(
        meanwhile <= MEANWHILE,
        "{meanwhile} requests of the busy peer were served before newcomer {number} was"
    );
    Ok(())
}

/// A peer that sends requests without a pause, in one thread, and takes their answers in another.
struct Busy {
    client: Client,
    /// END_REQUEST records of requests that were served, among what was read so far.
    ended: AtomicUsize,
    bytes: AtomicUsize,
}

impl Busy {
    fn connect(pool: &Pool) -> Result<Self, Failed> {
        let client = Client::connect(pool.address())?;
        Ok(Self { client, ended: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
    }

    /// Until the connection ends.
    fn send(&self, requests: &[u8]) {
        let Ok(mut client) = self.client.try_clone() else { return };
        while client.send(requests).is_ok() {}
    }

    /// Until the connection ends.
    fn receive(&self) {
        const END_REQUEST: u8 = 3;

        let Ok(mut client) = self.client.try_clone() else { return };
        let mut chunk = [0; 16 << 10];
        let mut rest = Vec::new();
        while let Ok(read @ 1..) = client.read(&mut chunk) {
            rest.extend_from_slice(&chunk[..read]);
            let mut bytes = &rest[..];
            while let [1, kind, _, _, length1, length0, padding, _, content @ ..] = bytes {
                let length = usize::from(u16::from_be_bytes([*length1, *length0]));
                let Some(next) = content.get(length + usize::from(*padding)..) else { break };
                // One that was refused has another protocol status than 0.
                if *kind == END_REQUEST && content[4] == 0 {
                    self.ended.fetch_add(1, Relaxed);
                }
                bytes = next;
            }
            let used = rest.len() - bytes.len();
            rest.drain(..used);
            self.bytes.fetch_add(read, Relaxed);
        }
    }

    /// How many requests have been served: those whose answers are still in the socket are counted by their size.
    fn served(&self) -> usize {
        let (ended, bytes) = (self.ended.load(Relaxed), self.bytes.load(Relaxed));
        ended + kernel::unread(&self.client) as usize * ended / bytes.max(1)
    }

    fn wait_for(&self, count: usize) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.served() < count {
            ensure!(
                Instant::now() < deadline,
                "only {} requests of the busy peer were served",
                self.served()
            );
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Opened one after the other and kept: what several processes are for is that none of them has all the work.
fn shared_among_processes(strategy: &Strategy, family: Family) -> Outcome {
    const CONNECTIONS: usize = 200;

    kernel::allow_descriptors(1_000)?;
    let pool = Pool::launch(strategy, family, &["--processes", "4"])?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.worker_pids().len() < 4 {
        ensure!(Instant::now() < deadline, "there are {:?}", pool.worker_pids());
        thread::sleep(Duration::from_millis(2));
    }
    // The workers have begun to accept.
    thread::sleep(Duration::from_millis(100));
    let workers = pool.worker_pids();
    let before: Vec<usize> = workers.iter().map(|worker| sockets(*worker)).collect();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(pool.address())?;
        client.request(&Request::get("/hello"))?;
        clients.push(client);
    }
    // A worker may serve in processes of its own, and hold no connection itself.
    let children = processes(&pool).len() > workers.len();
    let held: Vec<usize> = workers
        .iter()
        .zip(before)
        .map(|(worker, before)| match children {
            true => bench_harness::process::children_of(*worker).len(),
            false => sockets(*worker).saturating_sub(before),
        })
        .collect();
    ensure!(held.iter().sum::<usize>() == CONNECTIONS, "they hold {held:?}");
    ensure!(held.iter().all(|count| (10..=120).contains(count)), "they hold {held:?}");
    Ok(())
}
