//! The floors do no protocol work, so no other test is for them. What they are measured with they answer, on both kinds
//! of socket, however connections are used.

use std::error::Error;
use std::time::Duration;

use bench_harness::{Family, Pool, builds, discover};
use fcgi_load::{Generator, Mode, Options, RequestSpec, Until};

#[test]
fn every_floor_gives_the_generator_the_answers_it_expects() -> Result<(), Box<dyn Error>> {
    let floors: Vec<_> = discover::sources()?.into_iter().filter(|source| source.is_floor()).collect();
    assert!(!floors.is_empty(), "there is no floor");
    for source in floors {
        let floor = builds::build(&source)?;
        assert!(floor.is_floor() && floor.name().starts_with("floor-"));
        for family in Family::ALL {
            for (mode, connections, streams) in
                [(Mode::Close, 8, 1), (Mode::Keep, 8, 1), (Mode::Multiplex, 3, 100)]
            {
                let pool = Pool::launch(&floor, family, &["--processes", "2"])?;
                let request = RequestSpec::get("/hello").expect_body("Hello, world\n");
                let options = Options {
                    mode,
                    connections,
                    streams,
                    timeout: Duration::from_secs(10),
                    ..Options::new(pool.address().clone(), request)
                };
                let mut generator = Generator::new(options)?;
                for _ in 0..2 {
                    let report = generator.run(Until::Requests(3_000))?;
                    let name = floor.name();
                    assert!(report.is_clean(), "{name}, {family}, {mode}: {:?}", report.errors);
                    assert_eq!(report.completed, 3_000, "{name}, {family}, {mode}");
                }
                // Kept connections are open, and idle.
                pool.drain()?;
            }
        }
    }
    Ok(())
}
