//! Other implementations answer what is asked of them, as the harness starts and asks them.

use std::time::Duration;

use bench_harness::{Entry, Family, Mix, peers};
use fcgi_load::{Generator, Options, Until};

#[test]
#[ignore = "builds other implementations, which takes minutes and the network"]
fn every_peer_that_is_installed_answers_rightly_what_peers_are_asked_for() {
    for source in peers::sources().unwrap() {
        let entry = match source.build() {
            Ok(peer) => Entry::Peer(peer),
            Err(why) => {
                eprintln!("{} takes no part: {why}", source.name());
                continue;
            }
        };
        for text in ["/hello", "/echo+65536", "/wait?ms=0", "/wait?ms=1000", "9x/hello,1x/wait?ms=5"] {
            let mix: Mix = text.parse().unwrap();
            assert!(entry.kind().answers(&mix), "{text}");
            // Of a model with a connection for each process there are as many as connections.
            let pool = entry.launch(Family::Unix, 2).unwrap();
            let options = Options {
                connections: 2,
                timeout: Duration::from_secs(10),
                requests: mix.shares(&entry),
                ..Options::new(pool.address().clone(), entry.hello())
            };
            let report = Generator::new(options).unwrap().run(Until::Requests(20)).unwrap();
            assert!(report.is_clean(), "{}, {text}: {:?}", entry.name(), report.errors);
            entry.end(pool).unwrap();
        }
    }
}
