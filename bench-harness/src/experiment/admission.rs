//! Who takes part: what fcgi-verify says of an entry before it is timed, and what it can hold.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::Address;
use fcgi_verify::{Outcome, cases, run_case};

use super::cpu::Usage;
use super::record::{Participant, Verified};
use crate::entry::{Entry, Holds, Kind};
use crate::launch::{Family, Pool};

/// Processes that it is verified with: a model of one connection per process then holds several.
const PROCESSES: usize = 4;
/// How long an idle pool is watched.
const IDLE: Duration = Duration::from_millis(400);

/// Verifies an entry and asks what it holds. A strategy that fails a binding case is not admitted; what is not ours is, and its
/// failures are told with its figures. A floor can answer nothing but what is timed.
pub(super) fn admit(entry: &Entry, family: Family) -> anyhow::Result<Participant> {
    let mut verified = Verified::default();
    if entry.kind() != Kind::Floor {
        let pool = entry.launch(family, PROCESSES)?;
        verified = verify(entry, &pool).with_context(|| "fcgi-verify")?;
        entry.end(pool)?;
    }
    if entry.kind() == Kind::Strategy && !verified.failed.is_empty() {
        bail!("fcgi-verify: it fails {}", verified.failed.join(", "));
    }
    let pool = entry.launch(family, 1)?;
    let Holds { connections, multiplexes } = entry.holds(&pool)?;
    let idle_share = idle_share(&pool);
    entry.end(pool)?;
    Ok(Participant {
        name: entry.name().to_owned(),
        kind: entry.kind(),
        version: entry.version().map(str::to_owned),
        address: entry.address().map(Address::to_string),
        connections,
        multiplexes,
        wakes_all: entry.wakes_all(),
        has_thread_per_core: entry.has_thread_per_core(),
        is_form: entry.is_form(),
        idle_share,
        verified,
    })
}

/// What a pool takes that nobody asks, as a share of a core; none where nobody here knows its processes.
fn idle_share(pool: &Pool) -> Option<f64> {
    if pool.started_pids().is_empty() {
        return None;
    }
    // What it still has to do after it was asked is no idleness.
    thread::sleep(IDLE / 2);
    let (begun, before) = (Instant::now(), Usage::of(&pool.started_pids()));
    thread::sleep(IDLE);
    let (used, _) = Usage::of(&pool.started_pids()).since(&before);
    Some(used.as_secs_f64() / begun.elapsed().as_secs_f64())
}

fn verify(entry: &Entry, pool: &Pool) -> anyhow::Result<Verified> {
    let target = entry.probe(pool)?;
    let mut verified = Verified::default();
    for case in cases().iter().filter(|case| case.quick) {
        match run_case(&target, case).outcome {
            Outcome::Passed | Outcome::Reported(_) => verified.passed += 1,
            Outcome::NotApplicable(_) => verified.not_applicable += 1,
            Outcome::Failed(_) if case.level.is_binding() => verified.failed.push(case.path()),
            Outcome::Failed(_) => {}
        }
    }
    Ok(verified)
}
