//! The workload's paths.

use bench_harness::{Family, Pool, Strategy, check};

use crate::Test;
use crate::support::Outcome;

pub(crate) const TESTS: &[(&str, Test)] = &[("every_path_of_the_workload_is_answered", every_path)];

fn every_path(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    check(pool.address())?;
    Ok(())
}
