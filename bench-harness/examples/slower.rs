//! strategy-mio with a slow-down of a known size, for `scripts/resolution`: a measurement that does not find it resolves less
//! than it says. Called `slower-5`, it burns 5 % of the processor time that it would take without; called `slower`, none.

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fcgi_worker::{Error, Handler, Request, Response, Step};
use fcgi_workload::Workload;
use rustix::time::{ClockId, clock_gettime};

/// So many steps between two looks at the clock, which costs time itself.
const STEPS: u64 = 64;

/// A handler that takes longer than its own by a share of the process's time.
struct Slower {
    handler: Workload,
    share: f64,
    steps: AtomicU64,
    burned: AtomicU64,
}

impl Handler for Slower {
    type Job = <Workload as Handler>::Job;

    fn start(&self, request: Request<'_>) -> Self::Job {
        self.handler.start(request)
    }

    fn step(
        &self,
        request: Request<'_>,
        job: &mut Self::Job,
        response: &mut Response<'_>,
    ) -> Result<Step, Error> {
        if self.share > 0.0 && self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(STEPS) {
            self.burn();
        }
        self.handler.step(request, job, response)
    }
}

impl Slower {
    /// What is still to be burned of the time used so far.
    fn burn(&self) {
        let (cpu, burned) = (thread_cpu(), Duration::from_nanos(self.burned.load(Ordering::Relaxed)));
        let due = cpu.saturating_sub(burned).mul_f64(self.share).saturating_sub(burned);
        while thread_cpu() < cpu + due {}
        self.burned.fetch_add(thread_cpu().saturating_sub(cpu).as_nanos() as u64, Ordering::Relaxed);
    }
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn percent() -> f64 {
    let name = env::args().next().unwrap_or_default();
    name.rsplit_once('-').and_then(|(_, percent)| percent.parse().ok()).unwrap_or(0.0)
}

fn main() -> ExitCode {
    fcgi_workload::run("slower", strategy_mio::CAPACITY, |listener, handler, config| {
        let (share, steps, burned) = (percent() / 100.0, AtomicU64::new(0), AtomicU64::new(0));
        strategy_mio::serve(listener, Slower { handler, share, steps, burned }, config)
    })
}
