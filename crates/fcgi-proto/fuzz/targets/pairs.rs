//! Any bytes as name-value pairs.
//!
//! - Decoding does not panic, and yields what stands there.
//! - Encoding what was decoded and decoding it again is identity, and no longer than what came.
//! - A connection that is sent the same bytes as PARAMS comes to the same pairs, or refuses them where they are
//!   truncated.

#![no_main]

use fcgi_fuzz::wire;
use fcgi_proto::pairs::{self, Pairs};
use fcgi_proto::{Connection, Event, Limits, Spares, Values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // One record's content at most.
    let data = &data[..data.len().min(65_535)];
    let mut decoded = Pairs::new(data);
    let list = decoded.by_ref().collect::<Vec<_>>();

    let mut encoded = Vec::new();
    for (name, value) in &list {
        pairs::push(&mut encoded, name, value);
    }
    assert!(encoded.len() <= data.len());
    let mut again = Pairs::new(&encoded);
    assert!(again.by_ref().eq(list.iter().copied()));
    assert!(!again.is_truncated());

    let mut input = Vec::new();
    wire::push(&mut input, 1, 1, b"\0\x01\x01\0\0\0\0\0");
    if !data.is_empty() {
        wire::push(&mut input, 4, 1, data);
    }
    wire::push(&mut input, 4, 1, b"");
    wire::push(&mut input, 5, 1, b"");
    let values = Values { connections: 1, requests: 1, multiplexes: true };
    let mut connection = Connection::new(Limits::default(), values);
    let mut out = Vec::new();
    let received = connection.receive(&mut &input[..], &mut out, &mut Spares::new());
    match received.expect("no failure") {
        Some(Event::Request(request)) => {
            assert!(!decoded.is_truncated());
            let params = request.as_request().params();
            assert!(params.iter().eq(list.iter().copied()));
            for (name, _) in &list {
                let first = list.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| *value);
                assert_eq!(params.value(name), first);
            }
        }
        // A CONTENT_LENGTH that the empty body does not have is refused as well.
        None => {
            let declares = list.iter().any(|(name, _)| *name == b"CONTENT_LENGTH");
            assert!(decoded.is_truncated() || declares);
            assert!(!out.is_empty());
        }
        Some(Event::Abort(_)) => unreachable!("nothing was aborted"),
    }
});
