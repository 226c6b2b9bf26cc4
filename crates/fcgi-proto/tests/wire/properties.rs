//! What holds for any bytes, by proptest.

use fcgi_proto::pairs::{self, Pairs};
use fcgi_proto::{
    AppStatus, Connection, Event, Limits, OwnedRequest, ProtocolError, ProtocolStatus, Request, RequestId,
    Spares, Stdout, Values, response,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Miri is some hundred times slower.
fn config(cases: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { 4 } else { cases };
    // It does not let a test look for its source file either.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn pairs_are_decoded_as_they_were_encoded(pairs in vec((a_text(), a_text()), 0..10)) {
        let mut stream = Vec::new();
        for (name, value) in &pairs {
            pairs::push(&mut stream, name, value);
        }
        let mut decoded = Pairs::new(&stream);
        for (name, value) in &pairs {
            prop_assert_eq!(decoded.next(), Some((&name[..], &value[..])));
        }
        prop_assert_eq!(decoded.next(), None);
        prop_assert!(!decoded.is_truncated());
    }

    #[test]
    fn pairs_of_any_bytes_cover_them_or_are_truncated(bytes in vec(any::<u8>(), 0..600)) {
        let mut pairs = Pairs::new(&bytes);
        let decoded = pairs.by_ref().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        prop_assert!(decoded <= bytes.len());
        prop_assert!(pairs.is_truncated() || (decoded == 0) == bytes.is_empty());
    }

    /// However many pairs there are, and whatever the request's memory held before.
    #[test]
    fn a_lookup_finds_the_first_of_its_name(requests in vec(some_pairs(), 1..4)) {
        let values = Values { connections: 1, requests: 1, multiplexes: false };
        let (mut connection, mut spares) = (Connection::new(Limits::default(), values), Spares::new());
        for pairs in requests {
            let mut stream = Vec::new();
            for (name, value) in &pairs {
                pairs::push(&mut stream, name, value);
            }
            let begin = record(1, 1, &[0, 1, 1, 0, 0, 0, 0, 0], 0);
            let params = stream.chunks(200).map(|some| record(4, 1, some, 0)).collect::<Vec<_>>().concat();
            let input = [begin, params, record(4, 1, b"", 0), record(5, 1, b"", 0)].concat();
            let Ok(Some(Event::Request(request))) =
                connection.receive(&mut &input[..], &mut Vec::new(), &mut spares)
            else {
                panic!("no request");
            };
            let params = request.as_request().params();
            for (name, _) in &pairs {
                let first = pairs.iter().find(|(this, _)| this == name);
                prop_assert_eq!(params.value(name), first.map(|(_, value)| &value[..]));
            }
            prop_assert_eq!(params.value(b"absent"), None);
            connection.recycle(request, &mut spares);
        }
    }

    #[test]
    fn how_input_is_cut_changes_nothing(input in a_conversation(), reads in vec(1..40_usize, 1..20)) {
        let all = input.len().max(1);
        for holds in [0, 2] {
            let by_records = trace(&input, &[all], holds, Path::Records);
            for reads in [&[all][..], &[1], &reads] {
                prop_assert_eq!(&trace(&input, reads, holds, Path::WholeFirst), &by_records, "{:?}", reads);
            }
        }
    }

    #[test]
    fn output_is_at_most_five_times_the_input(input in a_conversation()) {
        let trace = trace(&input, &[7], 2, Path::WholeFirst);
        prop_assert!(trace.owed.len() <= 5 * input.len(), "{} for {}", trace.owed.len(), input.len());
    }
}

const LONGEST: usize = if cfg!(miri) { 70_000 } else { 300_000 };

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn content_is_the_same_however_it_is_written(length in 0..LONGEST, writes in vec(1..100_000_usize, 1..10)) {
        let content = (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
        let mut out = Vec::new();
        let mut stdout = Stdout::new(&mut out, 7, usize::MAX);
        let mut rest = &content[..];
        for length in writes.iter().cycle() {
            let (some, later) = rest.split_at(rest.len().min(*length));
            stdout.write(some);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        drop(stdout);
        let mut decoded = Vec::new();
        let mut records = &out[..];
        while let [1, 6, 0, 7, length1, length0, padding, 0, after @ ..] = records {
            let length = usize::from(*length1) << 8 | usize::from(*length0);
            prop_assert_ne!(length, 0);
            prop_assert_eq!((length + usize::from(*padding)) % 8, 0);
            decoded.extend_from_slice(&after[..length]);
            records = &after[length + usize::from(*padding)..];
        }
        prop_assert!(records.is_empty());
        prop_assert!(decoded == content);
    }
}

/// Of a length that takes one byte, or four.
fn a_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => vec(any::<u8>(), 0..128), 1 => vec(any::<u8>(), 128..700)]
}

/// More than a request commonly has, of few names, nearly all of them short.
fn some_pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let text = |short| prop_oneof![60 => short, 1 => vec(0..2_u8, 126..130)];
    vec((text(vec(0..3_u8, 0..4).boxed()), text(vec(any::<u8>(), 0..6).boxed())), 0..80)
}

/// Records of a few ids, most of them such as may come, with lengths, paddings and bytes that may not, and whole requests
/// among them.
fn a_conversation() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![4 => a_record(), 1 => a_whole_request()];
    vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// As most come, but for what may be wrong with it.
fn a_whole_request() -> impl Strategy<Value = Vec<u8>> {
    (1..6_u16, a_role(), 0..3_u8, some_params(), a_padding()).prop_map(
        |(id, role, flags, params, padding)| {
            let begin = record(1, id, &[0, role, flags, 0, 0, 0, 0, 0], 0);
            [begin, record(4, id, &params, padding), record(4, id, b"", 0), record(5, id, b"", 0)].concat()
        },
    )
}

fn a_record() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![20 => 1..6_u16, 1 => any::<u16>()];
    prop_oneof![
        20 => (id.clone(), a_role(), 0..3_u8, a_padding())
            .prop_map(|(id, role, flags, padding)| record(1, id, &[0, role, flags, 0, 0, 0, 0, 0], padding)),
        20 => (id.clone(), some_params(), a_padding()).prop_map(|(id, params, padding)| record(4, id, &params, padding)),
        20 => (id.clone(), a_padding()).prop_map(|(id, padding)| record(4, id, b"", padding)),
        15 => (id.clone(), vec(any::<u8>(), 0..40), a_padding()).prop_map(|(id, body, padding)| record(5, id, &body, padding)),
        20 => (id.clone(), a_padding()).prop_map(|(id, padding)| record(5, id, b"", padding)),
        8 => (id.clone(), a_padding()).prop_map(|(id, padding)| record(2, id, b"", padding)),
        3 => a_padding().prop_map(|padding| record(9, 0, b"\x0d\0FCGI_MAX_REQS\x03\0WHY", padding)),
        3 => (any::<u8>(), id, vec(any::<u8>(), 0..20), a_padding())
            .prop_map(|(number, id, content, padding)| record(number, id, &content, padding)),
        2 => (any::<u8>(), vec(any::<u8>(), 0..20), a_padding())
            .prop_map(|(number, content, padding)| record(number, 0, &content, padding)),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn a_role() -> impl Strategy<Value = u8> {
    prop_oneof![15 => Just(1), 1 => any::<u8>()]
}

fn a_padding() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0..8_u8, 1 => any::<u8>()]
}

fn some_params() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\x01\x01AB".to_vec()),
        Just(b"\x01\x01AB\0\0".to_vec()),
        Just(b"\x0e\x01CONTENT_LENGTH0".to_vec()),
        Just(b"\x0e\x01CONTENT_LENGTH9".to_vec()),
        Just(b"\x0e\x02CONTENT_LENGTH99".to_vec()),
        Just(b"\x03\x80\0\0\x10NAMsixteen bytes it".to_vec()),
        vec(any::<u8>(), 0..30),
        // Within the limit, and over it.
        (30..60_u8).prop_map(|length| [&[1, length, b'A'][..], &vec![b'B'; length.into()]].concat()),
    ]
}

fn record(record_type: u8, id: RequestId, content: &[u8], padding: u8) -> Vec<u8> {
    let header = [1, record_type, (id >> 8) as u8, id as u8, 0, content.len() as u8, padding, 0];
    // Padding of any content, and such as would be noticed.
    [&header, content, &vec![padding; usize::from(padding)]].concat()
}

/// All that a conversation came to.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    events: Vec<Heard>,
    out: Vec<u8>,
    /// Of `out`, what the connection said of its own accord.
    owed: Vec<u8>,
    error: Option<ProtocolError>,
    is_finished: bool,
    is_idle: bool,
    was_answered_early: bool,
    incomplete: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Request(RequestId, bool, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>),
    Abort(RequestId),
}

/// Limits that short conversations reach.
const LIMITS: Limits = Limits { params_bytes: 48, body_bytes: 32, connection_bytes: 100, requests: 3 };
const VALUES: Values = Values { connections: 1, requests: 3, multiplexes: true };

/// How a request is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Record by record.
    Records,
    /// From the input, if it lies there whole.
    WholeFirst,
}

/// Cuts `input` into reads of these lengths, over and over. The application holds so many requests at most: then it
/// answers the oldest one. One that is aborted it ends at once.
fn trace(input: &[u8], reads: &[usize], holds: usize, path: Path) -> Trace {
    let mut connection = Connection::new(LIMITS, VALUES);
    let mut spares = Spares::new();
    let (mut out, mut owed, mut events, mut error) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut held = Vec::<OwnedRequest>::new();
    let mut rest = input;
    let mut lengths = reads.iter().cycle();
    while !rest.is_empty() && error.is_none() {
        let (mut read, later) = rest.split_at(rest.len().min(*lengths.next().expect("a length")));
        rest = later;
        loop {
            if path == Path::WholeFirst
                && let Some(request) = connection.receive_whole(&mut read)
            {
                events.push(heard(request));
                if holds == 0 {
                    response::end(
                        &mut out,
                        request.id(),
                        AppStatus::SUCCESS,
                        ProtocolStatus::RequestComplete,
                    );
                } else {
                    held.push(connection.hold(request, &mut spares));
                    if held.len() > holds {
                        end(held.remove(0), &mut connection, &mut out, &mut spares);
                    }
                }
                continue;
            }
            let before = out.len();
            let received = connection.receive(&mut read, &mut out, &mut spares);
            owed.extend_from_slice(&out[before..]);
            let ended = match received {
                Ok(Some(Event::Request(request))) => {
                    events.push(heard(request.as_request()));
                    held.push(request);
                    (held.len() > holds).then(|| held.remove(0))
                }
                Ok(Some(Event::Abort(id))) => {
                    events.push(Heard::Abort(id));
                    let at = held.iter().position(|request| request.id() == id).expect("a held request");
                    Some(held.remove(at))
                }
                Ok(None) => break,
                Err(failure) => {
                    error = Some(failure);
                    break;
                }
            };
            if let Some(request) = ended {
                end(request, &mut connection, &mut out, &mut spares);
            }
        }
    }
    let (is_finished, is_idle) = (connection.is_finished(), connection.is_idle());
    let was_answered_early = connection.was_answered_early();
    let incomplete = connection.incomplete();
    Trace { events, out, owed, error, is_finished, is_idle, was_answered_early, incomplete }
}

fn end(request: OwnedRequest, connection: &mut Connection, out: &mut Vec<u8>, spares: &mut Spares) {
    response::end(out, request.id(), AppStatus::SUCCESS, ProtocolStatus::RequestComplete);
    connection.recycle(request, spares);
}

fn heard(request: Request<'_>) -> Heard {
    let params = request.params().iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Heard::Request(request.id(), request.keeps_connection(), params, request.body().to_vec())
}
