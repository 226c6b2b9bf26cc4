//! Management records: `FCGI_GET_VALUES` and unknown types, before, between and inside requests (section 4).

use std::time::Duration;

use super::Run;
use crate::case::Level::{ImplementationDefined, Recommended, Required, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, failed, passed, reported};
use crate::peer::{Next, Peer};
use crate::wire::{
    self, ABORT_REQUEST, BEGIN_REQUEST, GET_VALUES, GET_VALUES_RESULT, PARAMS, STDIN, UNKNOWN_TYPE,
    get_values, record,
};

/// The variables that section 4.1 defines.
const KNOWN: [&str; 3] = ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"];

pub(super) const CASES: &[Case] = &[
    Case::new(
        "get-values-is-answered",
        "4.1",
        Required,
        "The application responds to GET_VALUES by GET_VALUES_RESULT with id 0",
        |cx| {
            let mut peer = cx.open()?;
            ask(&mut peer, &KNOWN)?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "the-values-are-what-their-names-say",
        "4.1",
        Required,
        "FCGI_MAX_CONNS and FCGI_MAX_REQS are decimal numbers, FCGI_MPXS_CONNS is \"0\" or \"1\"",
        |cx| {
            let mut peer = cx.open()?;
            for (name, value) in ask(&mut peer, &KNOWN)? {
                let fits = match &name[..] {
                    "FCGI_MPXS_CONNS" => value == "0" || value == "1",
                    _ => value.parse::<u64>().is_ok_and(|number| number > 0),
                };
                if !fits {
                    return failed(format!("{name} is {value:?}"));
                }
            }
            passed()
        },
    ),
    Case::new(
        "the-three-defined-variables-are-known",
        "4.1",
        Recommended,
        "FCGI_MAX_CONNS, FCGI_MAX_REQS and FCGI_MPXS_CONNS are the initial set that helps a server to manage connections",
        |cx| {
            let mut peer = cx.open()?;
            let values = ask(&mut peer, &KNOWN)?;
            let missing: Vec<&str> =
                KNOWN.into_iter().filter(|name| !values.iter().any(|(known, _)| known == name)).collect();
            if missing.is_empty() { passed() } else { failed(format!("left out: {}", missing.join(", "))) }
        },
    ),
    Case::new(
        "only-names-that-were-asked-are-answered",
        "4.1",
        Required,
        "The response supplies values to the query: a query for one name is not answered by others",
        |cx| {
            for name in KNOWN {
                let mut peer = cx.open()?;
                // `ask` refuses every name that was not in the query.
                ask(&mut peer, &[name])?;
            }
            passed()
        },
    ),
    Case::new(
        "unknown-names-are-left-out",
        "4.1",
        Required,
        "If the application doesn't understand a variable name, it omits that name from the response",
        |cx| {
            let long = "X".repeat(300);
            let names = ["FCGI_UNHEARD_OF", KNOWN[0], "", "fcgi_max_conns", KNOWN[2], &long];
            let mut peer = cx.open()?;
            for (name, value) in ask(&mut peer, &names)? {
                if !KNOWN.contains(&&name[..]) {
                    return failed(format!("the unknown name {name:?} was answered with {value:?}"));
                }
            }
            passed()
        },
    ),
    Case::new(
        "a-query-of-unknown-names-is-answered-by-an-empty-result",
        "4.1",
        Required,
        "The application responds by GET_VALUES_RESULT and omits what it does not understand",
        |cx| {
            let mut peer = cx.open()?;
            let values = ask(&mut peer, &["FCGI_UNHEARD_OF"])?;
            if values.is_empty() { passed() } else { failed(format!("the result is {values:?}")) }
        },
    ),
    Case::new(
        "a-query-of-no-names-is-answered",
        "4.1",
        Recommended,
        "A GET_VALUES record without a pair is a query all the same",
        |cx| {
            let mut peer = cx.open()?;
            ask(&mut peer, &[])?;
            passed()
        },
    ),
    Case::new(
        "a-name-that-is-asked-twice",
        "4.1",
        ImplementationDefined,
        "Nothing is said about a name that comes twice in a query",
        |cx| {
            let mut peer = cx.open()?;
            let values = ask(&mut peer, &[KNOWN[2], KNOWN[2]])?;
            reported(format!("asked twice, FCGI_MPXS_CONNS is answered {} times", values.len()))
        },
    ),
    Case::new(
        "a-query-with-values",
        "4.1",
        ImplementationDefined,
        "The values of a query are empty; what others get is left open",
        |cx| {
            let content =
                [wire::pair(KNOWN[2].as_bytes(), b"7"), wire::pair(KNOWN[0].as_bytes(), b"x")].concat();
            let mut peer = cx.open()?;
            peer.send(&record(GET_VALUES, 0, &content, 0))?;
            match result(&mut peer, &KNOWN) {
                Ok(values) => reported(format!("values in the query are ignored: {values:?}")),
                Err(Stop::Failed(why)) => reported(why),
                Err(stop) => Err(stop),
            }
        },
    ),
    Case::new(
        "lengths-of-four-bytes-are-read-in-a-query",
        "3.4",
        Required,
        "A length may take four bytes in GET_VALUES as in PARAMS",
        |cx| {
            let name = KNOWN[2].as_bytes();
            let content = [&wire::length(name.len(), true)[..], &wire::length(0, true), name].concat();
            let mut peer = cx.open()?;
            peer.send(&record(GET_VALUES, 0, &content, 0))?;
            let with_four = result(&mut peer, &KNOWN)?;
            drop(peer);
            let mut peer = cx.open()?;
            let with_one = ask(&mut peer, &[KNOWN[2]])?;
            if with_four == with_one {
                passed()
            } else {
                failed(format!("{with_four:?} instead of {with_one:?}"))
            }
        },
    ),
    Case::new(
        "get-values-with-padding-is-answered",
        "3.3",
        Required,
        "Padding is skipped in management records as well",
        |cx| {
            for padding in [1, 8, 255] {
                let query = get_values(&KNOWN);
                let mut peer = cx.open()?;
                peer.send(&record(GET_VALUES, 0, &query[8..], padding))?;
                result(&mut peer, &KNOWN)?;
            }
            passed()
        },
    ),
    Case::new(
        "get-values-cut-anywhere-is-answered",
        "3.3",
        Required,
        "The transport is a stream of bytes: a management record may arrive in two pieces",
        |cx| {
            let query = get_values(&KNOWN);
            for cut in 1..query.len() {
                let mut peer = cx.open()?;
                peer.send_slowly(&query[..cut], cut, Duration::from_micros(500))?;
                peer.send(&query[cut..])?;
                result(&mut peer, &KNOWN)?;
            }
            passed()
        },
    ),
    Case::new(
        "get-values-leaves-the-connection-open",
        "3.5",
        Required,
        "The web server controls the lifetime of connections: the application closes only at the end of a request that says so",
        |cx| {
            let mut peer = cx.open()?;
            ask(&mut peer, &KNOWN)?;
            peer.expect_quiet(Duration::from_millis(300))?;
            passed()
        },
    ),
    Case::new(
        "a-request-is-served-after-get-values",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here as the first record of a connection",
        |cx| {
            let mut peer = cx.open()?;
            ask(&mut peer, &KNOWN)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "get-values-and-a-request-in-one-write-are-both-answered",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here in one write with a request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&[get_values(&KNOWN), cx.plain().keep().bytes()].concat())?;
            result(&mut peer, &KNOWN)?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "get-values-is-answered-between-requests",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here between two requests on a kept connection",
        |cx| {
            let mut peer = cx.open()?;
            cx.serve_on(&mut peer, 1)?;
            ask(&mut peer, &KNOWN)?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "get-values-is-answered-after-begin-request",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here between BEGIN_REQUEST and PARAMS",
        |cx| within_a_request(cx, 1, &get_values(&KNOWN), GET_VALUES_RESULT),
    ),
    Case::new(
        "get-values-is-answered-within-params",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here between two PARAMS records",
        |cx| within_a_request(cx, 2, &get_values(&KNOWN), GET_VALUES_RESULT),
    ),
    Case::new(
        "get-values-is-answered-before-stdin",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here between PARAMS and STDIN",
        |cx| within_a_request(cx, 4, &get_values(&KNOWN), GET_VALUES_RESULT),
    ),
    Case::new(
        "get-values-is-answered-within-stdin",
        "4.1",
        Required,
        "GET_VALUES may come at any time, here between two STDIN records",
        |cx| within_a_request(cx, 5, &get_values(&KNOWN), GET_VALUES_RESULT),
    ),
    Case::new(
        "get-values-is-answered-while-a-request-waits",
        "4.1",
        Recommended,
        "The response does not involve the application, so a request that takes long does not delay it",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get(&cx.long_wait()).keep().bytes())?;
            std::thread::sleep(Duration::from_millis(50));
            ask(&mut peer, &KNOWN)?;
            if peer.has_ended(1) { failed("the request did not wait") } else { passed() }
        },
    )
    .aborting(),
    Case::new(
        "a-hundred-get-values-in-one-write-are-all-answered",
        "4.1",
        Required,
        "Every query is answered",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&get_values(&KNOWN).repeat(100))?;
            let first = sorted(result(&mut peer, &KNOWN)?);
            for _ in 1..100 {
                let next = sorted(result(&mut peer, &KNOWN)?);
                if next != first {
                    return failed(format!("{next:?} and {first:?} answer the same query"));
                }
            }
            passed()
        },
    ),
    Case::new(
        "a-query-that-is-no-pairs-is-survived",
        "4.1",
        Robustness,
        "A GET_VALUES record whose lengths lie does no harm to the server",
        |cx| {
            for content in
                [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x0e", b"\x80\0", b"\x7f\x7fabc", b"\0"]
            {
                let mut peer = cx.open()?.lenient();
                peer.send(&record(GET_VALUES, 0, content, 0))?;
                peer.half_close();
                peer.drain(Duration::from_millis(100));
            }
            passed()
        },
    ),
    Case::new(
        "unknown-management-types-are-answered-by-unknown-type",
        "4.2",
        Required,
        "A management record of a type T that is not understood is answered by {FCGI_UNKNOWN_TYPE, 0, {T}}",
        |cx| {
            for kind in [12, 13, 42, 100, 127, 128, 200, 254, 255] {
                let mut peer = cx.open()?;
                peer.send(&record(kind, 0, &[], 0))?;
                unknown(&mut peer, kind)?;
            }
            passed()
        },
    )
    .quick(),
    Case::new(
        "the-content-of-an-unknown-type-is-skipped",
        "4.2",
        Required,
        "A record of an unknown type has content and padding like every other",
        |cx| {
            for (content, padding) in [(1, 7), (8, 255), (65_535, 1)] {
                let mut peer = cx.open()?;
                peer.send(&record(99, 0, &vec![1; content], padding))?;
                unknown(&mut peer, 99)?;
                cx.serve_on(&mut peer, 1)?;
            }
            passed()
        },
    ),
    Case::new(
        "an-unknown-type-leaves-the-connection-open",
        "3.5",
        Required,
        "The web server controls the lifetime of connections: the application closes only at the end of a request that says so",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&record(99, 0, &[], 0))?;
            unknown(&mut peer, 99)?;
            peer.expect_quiet(Duration::from_millis(300))?;
            cx.serve_on(&mut peer, 1)?;
            passed()
        },
    ),
    Case::new(
        "unknown-types-are-answered-within-a-request",
        "4.2",
        Required,
        "A management record may come between any two records of a request",
        |cx| {
            for place in 0..=6 {
                within_a_request(cx, place, &record(77, 0, b"content", 1), UNKNOWN_TYPE)?;
            }
            passed()
        },
    ),
    Case::new(
        "type-0-as-a-management-record",
        "4.2",
        ImplementationDefined,
        "No type is 0; whether it counts as an unknown one is left open",
        |cx| report_answer(cx, &record(0, 0, &[], 0)),
    ),
    Case::new(
        "application-types-with-id-0",
        "3.3",
        ImplementationDefined,
        "Application records have an id other than 0; what others get is left open",
        |cx| {
            let mut answers = Vec::new();
            for (kind, content) in [
                (BEGIN_REQUEST, &[0, 1, 1, 0, 0, 0, 0, 0][..]),
                (PARAMS, &[]),
                (STDIN, &[]),
                (ABORT_REQUEST, &[]),
            ] {
                answers.push(format!(
                    "{}: {}",
                    wire::kind_name(kind),
                    answer(cx, &record(kind, 0, content, 0))?
                ));
            }
            reported(answers.join("; "))
        },
    ),
    Case::new(
        "types-that-only-applications-send",
        "4",
        ImplementationDefined,
        "What GET_VALUES_RESULT and UNKNOWN_TYPE get from an application is left open",
        |cx| {
            let results = answer(cx, &record(GET_VALUES_RESULT, 0, &[], 0))?;
            let unknown = answer(cx, &record(UNKNOWN_TYPE, 0, &[0; 8], 0))?;
            reported(format!("GET_VALUES_RESULT: {results}; UNKNOWN_TYPE: {unknown}"))
        },
    ),
    Case::new(
        "get-values-with-an-id-other-than-0",
        "3.3",
        ImplementationDefined,
        "Management records have id 0; what another id gets is left open",
        |cx| {
            let query = get_values(&KNOWN);
            report_answer(cx, &record(GET_VALUES, 1, &query[8..], 0))
        },
    ),
];

/// Asks for these names; the pairs of the answer.
pub(super) fn ask(peer: &mut Peer, names: &[&str]) -> Result<Vec<(String, String)>, Stop> {
    peer.send(&get_values(names))?;
    result(peer, names)
}

/// The next management record is a `FCGI_GET_VALUES_RESULT` with nothing but these names.
fn result(peer: &mut Peer, names: &[&str]) -> Result<Vec<(String, String)>, Stop> {
    let record = peer.management("FCGI_GET_VALUES_RESULT")?;
    if record.header.kind != GET_VALUES_RESULT {
        return failed(format!("{} instead of GET_VALUES_RESULT", wire::kind_name(record.header.kind)));
    }
    let pairs = wire::read_pairs(&record.content)
        .map_err(|why| Stop::Failed(format!("the result holds no name-value pairs: {why}")))?;
    let mut values = Vec::new();
    for (name, value) in pairs {
        let name = String::from_utf8_lossy(&name).into_owned();
        if !names.contains(&&name[..]) {
            return failed(format!("the result holds {name:?}, which was not asked"));
        }
        values.push((name, String::from_utf8_lossy(&value).into_owned()));
    }
    Ok(values)
}

/// The order of a result's pairs is the server's to choose, anew for every query.
fn sorted(mut values: Vec<(String, String)>) -> Vec<(String, String)> {
    values.sort();
    values
}

/// The next management record says that this type is unknown.
fn unknown(peer: &mut Peer, kind: u8) -> Result<(), Stop> {
    let record = peer.management(&format!("FCGI_UNKNOWN_TYPE for type {kind}"))?;
    if record.header.kind != UNKNOWN_TYPE {
        return failed(format!("{} instead of UNKNOWN_TYPE", wire::kind_name(record.header.kind)));
    }
    match record.content.first() {
        Some(said) if *said == kind => Ok(()),
        said => failed(format!("UNKNOWN_TYPE says {said:?}, expected {kind}")),
    }
}

/// Sends a request with `inserted` after `place` of its six pieces; both are answered, in either order.
///
/// In either order, since an application that reads only as much as it needs comes to a late record after its answer.
fn within_a_request(cx: &mut Context<'_>, place: usize, inserted: &[u8], expected: u8) -> Run {
    let request = cx.plain().keep().body("0123456789");
    let [first, second] = request.pairs_in_halves();
    let mut pieces = vec![
        request.begin_bytes(),
        record(PARAMS, 1, &first, 0),
        record(PARAMS, 1, &second, 0),
        record(PARAMS, 1, &[], 0),
        record(STDIN, 1, b"01234", 0),
        [record(STDIN, 1, b"56789", 0), record(STDIN, 1, &[], 0)].concat(),
    ];
    pieces.insert(place, inserted.to_vec());
    let mut peer = cx.open()?;
    peer.send(&pieces.concat())?;
    peer.response(1)?.expect_complete()?;
    let record = peer.management(&format!("{} inside of a request", wire::kind_name(expected)))?;
    if record.header.kind != expected {
        return failed(format!(
            "{} instead of {}",
            wire::kind_name(record.header.kind),
            wire::kind_name(expected)
        ));
    }
    // Neither has cost the connection.
    cx.serve_on(&mut peer, 1)?;
    passed()
}

/// What a lone record gets, in words.
fn answer(cx: &mut Context<'_>, bytes: &[u8]) -> Result<String, Stop> {
    let mut peer = cx.open()?.lenient();
    peer.send(bytes)?;
    Ok(match peer.observe(Duration::from_millis(300)) {
        Ok(Next::Record(record)) => format!("answered by {}", wire::kind_name(record.header.kind)),
        Ok(Next::Ended(_)) => "closes the connection".to_owned(),
        Ok(Next::Silence) => "ignored".to_owned(),
        Err(Stop::Failed(why)) => why,
        Err(stop) => return Err(stop),
    })
}

fn report_answer(cx: &mut Context<'_>, bytes: &[u8]) -> Run {
    reported(answer(cx, bytes)?)
}
