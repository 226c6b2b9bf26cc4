//! What several tests do with a pool: wait for its workers, load it, have a request in flight.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::Pool;
use bench_harness::client::{Client, Reply, ReplyBuilder, Request};
use bench_harness::process::is_running;
use fcgi_load::{Address, Generator, Options, Report, RequestSpec, Until};
use libtest_mimic::Failed;

use crate::support::Outcome;
use crate::trial::wait_until;

/// The workers, once there are so many of them.
pub(crate) fn workers(pool: &Pool, count: usize) -> Result<BTreeSet<u32>, Failed> {
    let mut workers = BTreeSet::new();
    let are_there = wait_until("the workers are there", || {
        workers = pool.worker_pids().into_iter().filter(|pid| is_running(*pid)).collect();
        workers.len() == count
    });
    match are_there {
        Ok(()) => Ok(workers),
        Err(_) => Err(format!("{count} workers expected, there are {workers:?}: {}", pool.stderr()).into()),
    }
}

/// Whether none of them runs. That it is no child any more would not say so: the kernel's list may leave one out for a moment.
pub(crate) fn have_ended(workers: &BTreeSet<u32>) -> bool {
    !workers.iter().any(|pid| is_running(*pid))
}

/// Waits until one of two workers, as `workers` lists them, was replaced by another.
pub(crate) fn is_replaced(victim: u32, workers: impl Fn() -> Vec<u32>) -> Outcome {
    wait_until("a worker is replaced", || {
        let workers = workers();
        workers.len() == 2 && !workers.contains(&victim)
    })
}

/// What comes of a load for so long, while something happens once `after` requests were answered.
pub(crate) fn load_while(
    address: &Address,
    time: Duration,
    how: impl FnOnce(&mut Options),
    after: u64,
    happens: impl FnOnce() + Send,
) -> Result<Report, Failed> {
    let request = RequestSpec::get("/wait?ms=2").expect_body("waited 2 ms\n");
    let mut options = Options::new(address.clone(), request);
    options.connections = 4;
    how(&mut options);
    let mut generator = Generator::new(options)?;
    let progress = generator.progress();
    let report = thread::scope(|scope| {
        scope.spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(10);
            while progress.completed() < after && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            happens();
        });
        generator.run(Until::Duration(time))
    })?;
    Ok(report)
}

/// A request whose answer has begun, and comes in two parts with some time between.
pub(crate) struct InFlight {
    pub(crate) client: Client,
    reply: ReplyBuilder,
}

impl InFlight {
    pub(crate) fn begin(address: &Address, milliseconds: u32) -> Result<Self, Failed> {
        let mut client = Client::connect(address)?;
        let request = Request::get(&format!("/stream?chunks=2&ms={milliseconds}")).closing();
        client.send(&request.encode())?;
        let mut reply = ReplyBuilder::default();
        let first = client.record()?.ok_or("closed before the first chunk")?;
        ensure!(reply.add(first)?.is_none(), "it is answered at once");
        Ok(Self { client, reply })
    }

    /// The rest of the answer comes, whole, and then the connection is closed.
    pub(crate) fn finish(mut self) -> Outcome {
        let reply = self.rest()?;
        ensure!(reply.body == b"chunk 0\nchunk 1\n", "{reply:?}");
        let next = self.client.record()?;
        ensure!(next.is_none(), "a close expected, {next:?} came");
        Ok(())
    }

    fn rest(&mut self) -> io::Result<Reply> {
        loop {
            let record = self.client.record()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some(reply) = self.reply.add(record)? {
                return Ok(reply);
            }
        }
    }
}
