//! The life of a request: ids, its one end, its streams, interleaving (sections 3.3, 5.5 and 6).

use std::time::Duration;

use super::records::pattern;
use crate::case::Level::{ImplementationDefined, Recommended, Required};
use crate::case::{Case, Stop};
use crate::context::{Context, QUIET, failed, passed, reported};
use crate::peer::Next;
use crate::request::Request;
use crate::wire::{self, PARAMS, STDIN, record, stream};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "every-id-is-served",
        "3.3",
        Required,
        "A request id is any number from 1 to 65535",
        |cx| {
            for id in [1, 2, 127, 128, 255, 256, 257, 511, 512, 32_767, 32_768, 65_534, 65_535] {
                let request = cx.plain().id(id);
                cx.serve(&request)?.expect_complete()?;
            }
            passed()
        },
    )
    .quick(),
    Case::new(
        "an-id-is-used-again-after-its-end",
        "3.3",
        Required,
        "The web server re-uses request ids; END_REQUEST makes an id free",
        |cx| {
            let mut peer = cx.open()?;
            for _ in 0..20 {
                cx.serve_on(&mut peer, 7)?;
            }
            passed()
        },
    ),
    Case::new(
        "ids-on-one-connection-come-in-any-order",
        "3.3",
        Required,
        "Nothing orders the ids of successive requests",
        |cx| {
            let mut peer = cx.open()?;
            for id in [1, 3, 2, 65_535, 1, 32_767, 256, 257, 65_535, 5] {
                cx.serve_on(&mut peer, id)?;
            }
            passed()
        },
    ),
    Case::new(
        "odd-rising-ids-are-served",
        "3.3",
        Required,
        "HAProxy counts odd ids upwards on a kept connection; here from 1 to 799",
        |cx| {
            let mut peer = cx.open()?;
            for id in (1..800).step_by(2) {
                cx.serve_on(&mut peer, id)?;
            }
            passed()
        },
    )
    .patience(3),
    Case::new(
        "a-request-ends-exactly-once",
        "3.3",
        Required,
        "END_REQUEST makes the id inactive; nothing more is sent for it",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().keep().bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_quiet(QUIET * 2)?;
            drop(peer);
            let mut peer = cx.open()?;
            peer.send(&cx.plain().bytes())?;
            peer.response(1)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "stdout-ends-with-an-empty-record",
        "3.3",
        Required,
        "A stream is a series of non-empty records followed by an empty one; STDOUT always has at least one record (6.1)",
        |cx| {
            let response = cx.serve(&cx.plain())?;
            response.expect_complete()?;
            match response.stdout_ends {
                1 => passed(),
                0 => failed("END_REQUEST came without an empty STDOUT record before it"),
                more => failed(format!("STDOUT was ended {more} times")),
            }
        },
    )
    .quick(),
    Case::new(
        "stderr-is-ended-if-it-is-used",
        "6.1",
        Required,
        "An application sends no STDERR records, or a STDERR stream that ends with an empty record",
        |cx| {
            let response = cx.serve(&cx.plain())?;
            match (response.stderr.len(), response.stderr_ends) {
                (0, 0 | 1) | (1.., 1) => passed(),
                (length, ends) => failed(format!("STDERR has {length} bytes and was ended {ends} times")),
            }
        },
    ),
    Case::new(
        "the-app-status-is-what-the-application-returned",
        "6.2",
        Required,
        "appStatus is the status code that the CGI program would have returned by exit",
        |cx| {
            for status in [0, 1, 42, 127, 128, 255] {
                let response = cx.serve(&cx.get(&format!("/exit?status={status}")))?;
                response.expect_complete()?.expect_app_status(status)?;
            }
            passed()
        },
    )
    .workload()
    .quick(),
    Case::new(
        "the-app-status-has-four-bytes",
        "5.5",
        Required,
        "appStatus has 32 bits, big-endian",
        |cx| {
            for status in [256, 65_536, 16_909_060, 0x7fff_ffff] {
                let response = cx.serve(&cx.get(&format!("/exit?status={status}")))?;
                response.expect_complete()?.expect_app_status(status)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "output-waits-for-the-end-of-params",
        "6.2",
        Required,
        "The application must finish reading PARAMS before it begins writing STDOUT and STDERR",
        |cx| {
            let request = cx.plain();
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), record(PARAMS, 1, &request.pairs(), 0)].concat())?;
            peer.expect_quiet(QUIET)?;
            peer.send(&[record(PARAMS, 1, &[], 0), request.stdin_bytes()].concat())?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "output-before-the-end-of-stdin",
        "6.2",
        ImplementationDefined,
        "The application needn't finish reading STDIN before it begins to write",
        |cx| {
            let request = cx.plain().body("0123456789");
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), request.params_bytes(), record(STDIN, 1, b"01234", 0)].concat())?;
            let early = peer.observe(Duration::from_millis(300))?;
            peer.send(&[record(STDIN, 1, b"56789", 0), record(STDIN, 1, &[], 0)].concat())?;
            peer.response(1)?;
            reported(match early {
                Next::Record(_) => "output begins before STDIN ends",
                _ => "output begins after STDIN has ended",
            })
        },
    ),
    Case::new(
        "a-request-without-a-body-is-served",
        "6.2",
        Required,
        "A GET has an empty STDIN stream and no CONTENT_LENGTH",
        |cx| {
            let response = cx.serve(&cx.get("/echo"))?;
            response.expect_body(b"")?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "an-empty-content-length-is-none",
        "6.2",
        Required,
        "nginx sends CONTENT_LENGTH with an empty value on every GET",
        |cx| {
            cx.serve(&cx.get("/hello").param("CONTENT_LENGTH", ""))?.expect_body(b"Hello, world\n")?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "an-unknown-path-is-answered-by-404",
        "workload",
        Required,
        "The workload answers an unknown path by status 404, and the request is complete",
        |cx| {
            for path in ["/", "/unknown", "/hello/", "/Hello", "/hell", "/helloo"] {
                cx.serve(&cx.get(path))?.expect_complete()?.expect_status(404)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-status-is-sent-as-a-header",
        "6.1",
        Required,
        "FastCGI applications set the response status by the Status header",
        |cx| {
            for code in [200, 204, 404, 418, 500, 503] {
                cx.serve(&cx.get(&format!("/status?code={code}")))?.expect_complete()?.expect_status(code)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "head-is-answered-without-a-body",
        "workload",
        Required,
        "To HEAD the workload answers the status that GET has and no body (RFC 3875 4.3.3)",
        |cx| {
            let targets = ["/hello", "/bytes?n=200000", "/params", "/stream?chunks=2&ms=1", "/status?code=404", "/unknown"];
            for target in targets {
                let status = cx.serve(&cx.get(target))?.status();
                let head = cx.serve(&cx.get(target).param("REQUEST_METHOD", "HEAD"))?;
                head.expect_complete()?.expect_status(status)?;
                if !head.body().is_empty() {
                    return failed(format!("{target}: a body of {} bytes came", head.body().len()));
                }
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "the-path-is-script-name-and-path-info",
        "workload",
        Required,
        "The path is SCRIPT_NAME + PATH_INFO, and REQUEST_URI where both are missing",
        |cx| {
            let split = cx.get("/hel").param("PATH_INFO", "lo");
            cx.serve(&split)?.expect_body(b"Hello, world\n")?;
            let info = cx.get("").param("PATH_INFO", "/hello");
            cx.serve(&info)?.expect_body(b"Hello, world\n")?;
            let kept = cx.get("/hello?a=b");
            let pairs: Vec<u8> = kept
                .params()
                .iter()
                .filter(|(name, _)| name != b"SCRIPT_NAME")
                .flat_map(|(name, value)| wire::pair(name, value))
                .collect();
            let mut peer = cx.open()?;
            peer.send(&kept.bytes_with_params(&stream(PARAMS, 1, &pairs, 65_535)))?;
            peer.response(1)?.expect_body(b"Hello, world\n")?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "waiting-cpu-and-streaming-requests-are-answered",
        "workload",
        Required,
        "/wait, /cpu and /stream answer what the workload says",
        |cx| {
            cx.serve(&cx.get("/wait?ms=30"))?.expect_body(b"waited 30 ms\n")?;
            cx.serve(&cx.get("/cpu?us=500"))?.expect_complete()?.expect_status(200)?;
            let chunks: String = (0..5).map(|number| format!("chunk {number}\n")).collect();
            cx.serve(&cx.get("/stream?chunks=5&ms=5"))?.expect_body(chunks.as_bytes())?;
            passed()
        },
    )
    .workload()
    .quick(),
    Case::new(
        "no-more-than-content-length-is-the-body",
        "6.2",
        Required,
        "The application receives at most CONTENT_LENGTH bytes from STDIN",
        |cx| {
            let request = cx.get("/echo").body("0123456789").param("CONTENT_LENGTH", "4");
            cx.serve(&request)?.expect_body(b"0123")?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-body-shorter-than-content-length-is-refused",
        "6.2",
        Required,
        "Where STDIN and CONTENT_LENGTH differ, an update is aborted: the workload answers 400",
        |cx| {
            for (body, said) in [("", "1"), ("0123", "5"), ("0123", "1000000")] {
                let request = cx.get("/echo").body(body).param("CONTENT_LENGTH", said);
                cx.serve(&request)?.expect_complete()?.expect_status(400)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "three-hundred-requests-one-after-the-other",
        "3.5",
        Required,
        "A connection for every request",
        |cx| {
            for _ in 0..300 {
                cx.serve_plain()?;
            }
            passed()
        },
    )
    .patience(3),
    Case::new(
        "a-begin-request-for-an-active-id",
        "3.3",
        ImplementationDefined,
        "Nothing is said about BEGIN_REQUEST for an id that is active",
        |cx| reported(begin_twice(cx, &cx.plain().keep().begin_bytes())?),
    ),
    Case::new(
        "the-workload-servers-close-on-begin-request-for-an-active-id",
        "workload",
        Required,
        "BEGIN_REQUEST for an active id closes the connection, since the two sides disagree about its state",
        |cx| {
            let request = cx.plain().keep();
            // However much of the second request comes with its beginning.
            for second in [request.begin_bytes(), request.bytes()] {
                let answer = begin_twice(cx, &second)?;
                if answer != "closes the connection" {
                    return failed(answer);
                }
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-begin-request-body-of-a-wrong-length",
        "5.1",
        ImplementationDefined,
        "The body of BEGIN_REQUEST has 8 bytes; what another length gets is left open",
        |cx| {
            let mut answers = Vec::new();
            for length in [0, 7, 9, 16] {
                let request = cx.plain();
                let body: Vec<u8> = [0, 1].into_iter().chain(std::iter::repeat(0)).take(length).collect();
                let begin = record(wire::BEGIN_REQUEST, 1, &body, 0);
                let mut peer = cx.open()?.lenient();
                peer.send(&[begin, request.params_bytes(), request.stdin_bytes()].concat())?;
                answers.push(match peer.observe(Duration::from_millis(300)) {
                    Ok(Next::Record(_)) => format!("{length} bytes: answered"),
                    Ok(Next::Ended(_)) => format!("{length} bytes: closes the connection"),
                    Ok(Next::Silence) => format!("{length} bytes: ignored"),
                    Err(_) => format!("{length} bytes: answered by something else than a record"),
                });
            }
            reported(answers.join("; "))
        },
    ),
    Case::new(
        "two-requests-interleave-in-every-order",
        "3.3",
        Required,
        "With multiplexing the records of two requests interleave in any order; each ends once",
        |cx| {
            let mut peer = cx.open()?;
            for order in interleavings(3, 3) {
                let pieces = [1, 2].map(|id| pieces(&cx.plain().keep().id(id)));
                peer.send(&interleave(&pieces, &order))?;
                for id in [1, 2] {
                    peer.response(id)?.expect_complete()?;
                }
            }
            passed()
        },
    )
    .multiplexing(),
    Case::new(
        "interleaved-requests-get-their-own-answers",
        "3.3",
        Required,
        "Parameters and bodies of interleaved requests do not mix, in any of the 20 orders",
        |cx| {
            let mut peer = cx.open()?;
            for order in interleavings(3, 3) {
                let bodies = ["the body of the one", "and the body of the other"];
                let requests = [1, 65_535].map(|id| cx.get("/echo").keep().id(id));
                let requests: Vec<Request> =
                    requests.into_iter().zip(bodies).map(|(request, body)| request.body(body)).collect();
                let pieces = [pieces(&requests[0]), pieces(&requests[1])];
                peer.send(&interleave(&pieces, &order))?;
                for (request, body) in requests.iter().zip(bodies) {
                    peer.response(request.id)?.expect_body(body.as_bytes())?;
                }
            }
            passed()
        },
    )
    .workload()
    .multiplexing()
    .quick(),
    Case::new(
        "three-requests-end-in-every-order",
        "3.3",
        Required,
        "Three requests whose STDIN ends in each of the six orders each get their own answer",
        |cx| {
            let mut peer = cx.open()?;
            for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
                let mut bytes = Vec::new();
                for id in [1, 2, 3] {
                    let request = cx.get("/echo").keep().id(id).body(body_of(id));
                    bytes.extend([request.begin_bytes(), request.params_bytes()].concat());
                    bytes.extend(record(STDIN, id, &body_of(id), 0));
                }
                peer.send(&bytes)?;
                for id in order {
                    peer.send(&record(STDIN, id, &[], 0))?;
                    peer.response(id)?.expect_body(&body_of(id))?;
                }
            }
            passed()
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "params-of-interleaved-requests-do-not-mix",
        "3.3",
        Required,
        "PARAMS records of four requests interleave byte by byte, and each gets its own parameters",
        |cx| {
            let requests: Vec<Request> = (1..=4_u16)
                .map(|id| cx.get("/params").keep().id(id * 256).param("HTTP_X_ID", id.to_string()))
                .collect();
            let pairs: Vec<Vec<u8>> = requests.iter().map(Request::pairs).collect();
            let mut bytes: Vec<u8> = requests.iter().flat_map(Request::begin_bytes).collect();
            for at in 0..pairs.iter().map(Vec::len).max().unwrap_or(0) {
                for (request, pairs) in requests.iter().zip(&pairs) {
                    if let Some(byte) = pairs.get(at) {
                        bytes.extend(record(PARAMS, request.id, &[*byte], 0));
                    }
                }
            }
            for request in &requests {
                bytes.extend(record(PARAMS, request.id, &[], 0));
                bytes.extend(request.stdin_bytes());
            }
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            for request in &requests {
                peer.response(request.id)?.expect_body(&request.params_as_text())?;
            }
            passed()
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "ids-that-differ-in-their-high-byte-are-different",
        "3.3",
        Required,
        "A request id has 16 bits: 1, 257 and 65281 are three requests",
        |cx| {
            let ids = [1, 257, 65_281];
            let mut bytes = Vec::new();
            for id in ids {
                let request = cx.get("/echo").keep().id(id).body(body_of(id));
                bytes.extend([request.begin_bytes(), request.params_bytes()].concat());
            }
            for id in ids {
                bytes.extend(stream(STDIN, id, &body_of(id), 3));
            }
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            for id in ids {
                peer.response(id)?.expect_body(&body_of(id))?;
            }
            passed()
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "requests-sent-in-one-write-are-all-served",
        "3.3",
        Required,
        "With multiplexing eight whole requests may arrive in one write",
        |cx| {
            let count = cx.target().capacity.max_reqs.unwrap_or(8).min(8);
            let mut bytes = Vec::new();
            for id in (1..).take(usize::try_from(count).unwrap_or(8)) {
                bytes.extend(cx.plain().keep().id(id).bytes());
            }
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            for _ in 0..count {
                peer.any_response()?.expect_complete()?;
            }
            peer.expect_quiet(QUIET)?;
            passed()
        },
    )
    .multiplexing(),
    Case::new(
        "a-slow-request-does-not-hold-up-a-fast-one",
        "1",
        Recommended,
        "Multiplexing is for concurrent requests: a request that waits does not delay its neighbour",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get(&cx.long_wait()).keep().id(1).bytes())?;
            peer.send(&cx.get("/hello").keep().id(2).bytes())?;
            peer.response(2)?.expect_body(b"Hello, world\n")?;
            if peer.has_ended(1) { failed("the request did not wait") } else { passed() }
        },
    )
    .workload()
    .multiplexing()
    .quick(),
    Case::new(
        "a-long-answer-does-not-hold-up-a-short-one",
        "1",
        Recommended,
        "Multiplexing is for concurrent requests: a connection is read while a long answer is sent over it",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.get("/bytes?n=1000000000").keep().id(1).bytes())?;
            peer.first_output(1)?;
            peer.send(&cx.get("/hello").keep().id(2).bytes())?;
            peer.response(2)?.expect_body(b"Hello, world\n")?;
            if peer.has_ended(1) { failed("the short answer came after the long one") } else { passed() }
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "answers-of-several-records-interleave-whole",
        "3.3",
        Required,
        "Records of several answers may interleave, and no answer loses or gains a byte",
        |cx| {
            let sizes = [1_000_000, 10, 300_000, 65_536, 0, 700_001];
            let mut bytes = Vec::new();
            for (id, size) in (1..).zip(sizes) {
                bytes.extend(cx.get(&format!("/bytes?n={size}")).keep().id(id).bytes());
            }
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            for (id, size) in (1..).zip(sizes) {
                peer.response(id)?.expect_body(&pattern(size))?;
            }
            passed()
        },
    )
    .workload()
    .multiplexing()
    .patience(2),
];

fn body_of(id: u16) -> Vec<u8> {
    format!("the body of request {id}").into_bytes()
}

/// A second request for an id, or its beginning, while the first one's PARAMS are on their way; what comes, in words.
fn begin_twice(cx: &mut Context<'_>, second: &[u8]) -> Result<String, Stop> {
    let request = cx.plain().keep();
    let pairs = request.pairs();
    let mut peer = cx.open()?.lenient();
    peer.send(&[request.begin_bytes(), record(PARAMS, 1, &pairs, 0)].concat())?;
    // The second comes in a read of its own.
    peer.expect_quiet(QUIET)?;
    peer.send(second)?;
    let first = peer.observe(Duration::from_millis(500));
    Ok(match first {
        Ok(Next::Ended(_)) => "closes the connection".to_owned(),
        Ok(Next::Record(record)) => format!("answered by {}", wire::kind_name(record.header.kind)),
        Ok(Next::Silence) => {
            peer.send(&[record(PARAMS, 1, &[], 0), request.stdin_bytes()].concat())?;
            match peer.observe(cx.target().timeout) {
                Ok(Next::Record(_)) => "the second is ignored or replaces the first".to_owned(),
                Ok(_) => "closes the connection once the request is complete".to_owned(),
                Err(_) => "answered by something else than a record".to_owned(),
            }
        }
        Err(_) => "answered by something else than a record".to_owned(),
    })
}

/// A request in three pieces: BEGIN_REQUEST, PARAMS, STDIN.
fn pieces(request: &Request) -> [Vec<u8>; 3] {
    [request.begin_bytes(), request.params_bytes(), request.stdin_bytes()]
}

/// Every order in which `left` pieces of one and `right` pieces of another may follow each other.
fn interleavings(left: usize, right: usize) -> Vec<Vec<usize>> {
    if left == 0 && right == 0 {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for (side, available, rest) in
        [(0, left, (left.wrapping_sub(1), right)), (1, right, (left, right.wrapping_sub(1)))]
    {
        if available > 0 {
            orders.extend(interleavings(rest.0, rest.1).into_iter().map(|tail| [vec![side], tail].concat()));
        }
    }
    orders
}

fn interleave(pieces: &[[Vec<u8>; 3]; 2], order: &[usize]) -> Vec<u8> {
    let mut next = [0, 0];
    let mut bytes = Vec::new();
    for side in order {
        bytes.extend_from_slice(&pieces[*side][next[*side]]);
        next[*side] += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_and_three_pieces_interleave_in_twenty_orders() {
        let orders = interleavings(3, 3);
        assert_eq!(orders.len(), 20);
        assert!(orders.iter().all(|order| order.iter().sum::<usize>() == 3 && order.len() == 6));
    }

    #[test]
    fn an_interleaving_holds_the_pieces_in_their_order() {
        let one = [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        let other = [b"1".to_vec(), b"2".to_vec(), b"3".to_vec()];
        assert_eq!(interleave(&[one, other], &[0, 1, 1, 0, 0, 1]), b"a12bc3");
    }
}
