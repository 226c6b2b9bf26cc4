//! Peers that do not read: they cost a bounded amount, and others are served.

use std::time::Duration;

use bench_harness::client::{Client, Request, kind, push_record};
use bench_harness::{Family, Pool, Strategy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::kernel;
use crate::support::Outcome;
use crate::trial::{Needs, Test, pool_for_two};

pub(crate) const TESTS: &[Test] = &[
    Test::new("a_reader_that_stalls_holds_up_no_other_connection", stalled_reader).needs(Needs::Multiplexing),
    Test::new("unread_answers_to_unknown_types_are_bounded", unknown_types),
    Test::new("unread_answers_to_get_values_are_bounded", values),
    Test::new("unread_refusals_of_roles_are_bounded", refused_roles),
];

/// How long somebody else waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a worker may take from a peer that does not read, beside what the kernel holds.
const BOUND: usize = 2 << 20;

/// As many large answers as one connection may have under way.
fn stalled_reader(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "1"])?;
    let mut stalled = Client::connect(pool.address())?;
    stalled.set_patience(PATIENCE)?;
    for id in 1..=128 {
        stalled.send(&Request::get("/bytes?n=10000000").id(id).encode())?;
    }
    // Their answers have filled what there is room for.
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..3 {
        serves(&pool)?;
    }
    Ok(())
}

fn unknown_types(strategy: &Strategy, family: Family) -> Outcome {
    let mut record = Vec::new();
    push_record(&mut record, 99, 0, &[]);
    unread(strategy, family, &record)
}

fn values(strategy: &Strategy, family: Family) -> Outcome {
    // The value asked for is empty, the one that comes is not: the answer is longer than the question.
    let mut record = Vec::new();
    push_record(&mut record, kind::GET_VALUES, 0, b"\x0e\x00FCGI_MAX_CONNS");
    unread(strategy, family, &record)
}

/// The role is none of spec 6's, so each request has ended when the next one begins.
fn refused_roles(strategy: &Strategy, family: Family) -> Outcome {
    let mut record = Vec::new();
    push_record(&mut record, kind::BEGIN_REQUEST, 1, &[0, 77, 1, 0, 0, 0, 0, 0]);
    unread(strategy, family, &record)
}

/// Sends the record over and over, as long as it is taken, and reads none of the answers. Each is at least as long as
/// the record: what was taken beyond what is under way is what the worker holds.
fn unread(strategy: &Strategy, family: Family, record: &[u8]) -> Outcome {
    let pool = pool_for_two(strategy, family, &[])?;
    let records = record.repeat(64 << 10);
    let mut client = Client::connect(pool.address())?;
    let mut sent = 0;
    while sent < 64 << 20 {
        let taken = client.send_now(&records[sent % record.len()..])?;
        sent += taken;
        if taken == 0 && !has_room(&client)? {
            break;
        }
    }
    serves(&pool)?;
    let held = sent.saturating_sub(kernel::under_way(&client)?);
    ensure!(held <= BOUND, "{sent} bytes were sent, and {held} of them the worker has taken for nothing");
    serves(&pool)
}

/// Whether there is room to send within half a second.
fn has_room(client: &Client) -> Result<bool, rustix::io::Errno> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    Ok(poll(&mut [PollFd::new(client, PollFlags::OUT)], Some(&timeout))? > 0)
}

fn serves(pool: &Pool) -> Outcome {
    let mut other = Client::connect(pool.address())?;
    other.set_patience(PATIENCE)?;
    let reply = other.request(&Request::get("/hello")).map_err(|error| format!("somebody else: {error}"))?;
    ensure!(reply.body == b"Hello, world\n", "{reply:?}");
    Ok(())
}
