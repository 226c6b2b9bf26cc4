//! Name-value pairs: both forms of a length, pairs across records, lengths that lie (sections 3.4 and 5.2).

use super::Run;
use crate::case::Level::{ImplementationDefined, Recommended, Required, Robustness};
use crate::case::{Case, Stop};
use crate::context::{Context, failed, passed, reported};
use crate::process;
use crate::request::Request;
use crate::response::Response;
use crate::wire::{self, PARAMS, length, record, stream};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "all-four-forms-of-lengths-are-read",
        "3.4",
        Required,
        "Lengths up to 127 take one byte, longer ones four with the high bit set, in all four combinations",
        |cx| {
            let (long_name, long_value) = (vec![b'N'; 300], vec![b'v'; 700]);
            let request = cx
                .get("/params")
                .param("SHORT_SHORT", "v")
                .param("SHORT_LONG", &long_value)
                .param(&long_name, "v")
                .param([&long_name[..], b"2"].concat(), &long_value);
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload()
    .quick(),
    Case::new(
        "lengths-around-127-are-read",
        "3.4",
        Required,
        "127 is the longest length in one byte, 128 the shortest that takes four",
        |cx| {
            let mut request = cx.get("/params");
            for name in [126, 127, 128, 129] {
                for value in [0, 126, 127, 128, 129, 255, 256] {
                    let start = format!("N{value}_");
                    request = request.param(format!("{start:N<name$}"), vec![b'v'; value]);
                }
            }
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-short-length-in-four-bytes-is-read",
        "3.4",
        Required,
        "Lengths of 127 bytes and less can be encoded in one byte: four bytes are allowed too",
        |cx| {
            let request = cx.get("/params");
            let pairs: Vec<u8> = request
                .params()
                .iter()
                .flat_map(|(name, value)| {
                    [&length(name.len(), true)[..], &length(value.len(), true), name, value].concat()
                })
                .collect();
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&stream(PARAMS, 1, &pairs, 65_535)))?;
            peer.response(1)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-pair-may-straddle-params-records",
        "3.3",
        Required,
        "The value of a stream is independent of its division into records: two records, cut at every offset",
        |cx| {
            let request = with_every_form(cx.get("/params").keep());
            let pairs = request.pairs();
            let mut peer = cx.open()?;
            for cut in 1..pairs.len() {
                peer.send(&request.bytes_with_params(&cut_params(&pairs, cut)))?;
                let response = peer.response(1)?;
                at_cut(cut, response.expect_body(&request.params_as_text()))?;
            }
            passed()
        },
    )
    .workload()
    .patience(3)
    .quick(),
    Case::new(
        "a-straddling-pair-changes-nothing-for-any-responder",
        "3.3",
        Required,
        "The answer to a request is the same wherever its PARAMS stream is cut into records",
        |cx| {
            let request = cx.plain();
            let expected = stable_status(cx, &request)?;
            let pairs = request.pairs();
            for cut in 1..pairs.len() {
                let mut peer = cx.open()?;
                peer.send(&request.bytes_with_params(&cut_params(&pairs, cut)))?;
                let response = peer.response(1);
                at_cut(cut, like(response, expected))?;
            }
            passed()
        },
    )
    .patience(3),
    Case::new(
        "params-in-records-of-one-byte-are-read",
        "3.3",
        Required,
        "The value of a stream is independent of its division into records: one byte per record",
        |cx| {
            let request = with_every_form(cx.get("/params"));
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&stream(PARAMS, 1, &request.pairs(), 1)))?;
            peer.response(1)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "params-in-records-of-one-byte-change-nothing-for-any-responder",
        "3.3",
        Required,
        "The answer to a request is the same with one byte of PARAMS per record",
        |cx| {
            let request = cx.plain();
            let expected = stable_status(cx, &request)?;
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&stream(PARAMS, 1, &request.pairs(), 1)))?;
            like(peer.response(1), expected)?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "one-pair-per-record-is-read",
        "3.3",
        Required,
        "The value of a stream is independent of its division into records: a record for every pair",
        |cx| {
            let request = cx.plain();
            let expected = stable_status(cx, &request)?;
            let mut params: Vec<u8> = Vec::new();
            for (name, value) in request.params() {
                params.extend(record(PARAMS, 1, &wire::pair(name, value), 3));
            }
            params.extend(record(PARAMS, 1, &[], 0));
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&params))?;
            like(peer.response(1), expected)?;
            passed()
        },
    ),
    Case::new(
        "an-empty-value-is-a-value",
        "3.4",
        Required,
        "A value of length 0 is a value; the pairs after it are read as well",
        |cx| {
            let request =
                cx.get("/params").param("EMPTY", "").param("HTTP_AFTER", "x").param("LAST_EMPTY", "");
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "an-empty-name-is-a-name",
        "3.4",
        Recommended,
        "A name of length 0 can be encoded; it is not the end of the pairs",
        |cx| {
            let request = cx.get("/params").param("", "nameless").param("HTTP_AFTER", "x");
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "values-are-binary",
        "3.4",
        Required,
        "The format allows to transmit binary values without additional encoding: every byte from 0 to 255",
        |cx| {
            let all: Vec<u8> = (0..=255).collect();
            let request = cx.get("/params").param("BINARY", &all).param("HTTP_AFTER", "=\n=");
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-thousand-pairs-are-read",
        "3.4",
        Required,
        "A sequence of pairs may be of any length",
        |cx| {
            let mut request = cx.get("/params");
            for number in 0..1_000 {
                request = request.param(format!("HTTP_X_{number}"), number.to_string());
            }
            cx.serve(&request)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "the-order-of-pairs-does-not-matter",
        "5.2",
        Required,
        "Pairs are sent in no specified order",
        |cx| {
            let request = cx.get("/params");
            let pairs: Vec<u8> =
                request.params().iter().rev().flat_map(|(name, value)| wire::pair(name, value)).collect();
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&stream(PARAMS, 1, &pairs, 65_535)))?;
            peer.response(1)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-name-that-comes-twice",
        "5.2",
        ImplementationDefined,
        "Nothing is said about a name that comes twice",
        |cx| {
            let request = cx.get("/params");
            let mut pairs = request.pairs();
            pairs.extend(wire::pair(b"HTTP_TWICE", b"first"));
            pairs.extend(wire::pair(b"HTTP_TWICE", b"second"));
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&stream(PARAMS, 1, &pairs, 65_535)))?;
            let response = peer.response(1)?;
            let has = |line: &[u8]| response.body().windows(line.len()).any(|part| part == line);
            reported(match (has(b"HTTP_TWICE=first\n"), has(b"HTTP_TWICE=second\n")) {
                (true, true) => "both values are kept",
                (true, false) => "the first value is kept",
                (false, true) => "the last value is kept",
                (false, false) => "no value is kept",
            })
        },
    )
    .workload(),
    Case::new(
        "no-parameters-at-all",
        "5.2",
        ImplementationDefined,
        "An empty PARAMS stream is well-formed; what an application makes of it is its own",
        |cx| {
            let request = cx.plain();
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&record(PARAMS, 1, &[], 0)))?;
            match peer.response(1) {
                Ok(response) => reported(format!("answered with status {}", response.status())),
                Err(Stop::Failed(why)) => reported(why),
                Err(stop) => Err(stop),
            }
        },
    ),
    Case::new(
        "a-truncated-pair-is-survived",
        "3.4",
        Robustness,
        "A PARAMS stream that ends within a pair does no harm to the server",
        |cx| {
            for content in truncated() {
                let _any_answer_will_do = send_params(cx, &content)?;
            }
            passed()
        },
    ),
    Case::new(
        "a-truncated-pair",
        "3.4",
        ImplementationDefined,
        "Nothing is said about a PARAMS stream that ends within a pair",
        |cx| {
            let answer = send_params(cx, b"\x0b\x02SERVER_PO")?;
            reported(match answer {
                Ok(response) => {
                    format!("status {}, {}", response.status(), wire::status_name(response.protocol_status))
                }
                Err(why) => why,
            })
        },
    ),
    Case::new(
        "the-workload-answers-a-truncated-pair-by-400",
        "workload",
        Required,
        "A PARAMS stream that ends within a pair is answered by status 400",
        |cx| {
            for content in truncated() {
                match send_params(cx, &content)? {
                    Ok(response) => response.expect_complete()?.expect_status(400)?,
                    Err(why) => return failed(why),
                };
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-length-of-2-GiB-that-lies-is-survived",
        "3.4",
        Robustness,
        "A pair may announce 31 bits of length and bring a few bytes: nothing is allocated for what has not come",
        |cx| {
            let before = cx.target().pid.map(process::resident);
            for content in lies() {
                let _any_answer_will_do = send_params(cx, &content)?;
            }
            if let (Some(pid), Some(before)) = (cx.target().pid, before) {
                let grown = process::resident(pid).saturating_sub(before);
                if grown > 256 << 20 {
                    return failed(format!("the server's resident memory has grown by {} MiB", grown >> 20));
                }
            }
            passed()
        },
    ),
    Case::new(
        "the-workload-refuses-a-length-that-lies",
        "workload",
        Required,
        "A length beyond the limit or the stream's end is answered by status 400 or 431",
        |cx| {
            for content in lies() {
                match send_params(cx, &content)? {
                    Ok(response) if matches!(response.status(), 400 | 431) => {}
                    Ok(response) => return failed(format!("the answer's status is {}", response.status())),
                    Err(why) => return failed(why),
                }
            }
            passed()
        },
    )
    .workload(),
];

/// A request with a pair of every form.
fn with_every_form(request: Request) -> Request {
    request
        .param("HTTP_X", "short")
        .param("HTTP_LONG", vec![b'l'; 200])
        .param(vec![b'N'; 130], "value")
        .param(vec![b'M'; 140], vec![b'm'; 150])
        .param("HTTP_EMPTY", "")
}

/// The pairs in two PARAMS records, and the end of the stream.
fn cut_params(pairs: &[u8], cut: usize) -> Vec<u8> {
    [record(PARAMS, 1, &pairs[..cut], 0), record(PARAMS, 1, &pairs[cut..], 0), record(PARAMS, 1, &[], 0)]
        .concat()
}

fn at_cut<T>(cut: usize, result: Result<T, Stop>) -> Result<T, Stop> {
    result.map_err(|stop| match stop {
        Stop::Failed(why) => Stop::Failed(format!("PARAMS cut after {cut} bytes: {why}")),
        other => other,
    })
}

/// The status of the answer to a request, if it is the same twice.
fn stable_status(cx: &mut Context<'_>, request: &Request) -> Result<u16, Stop> {
    let first = cx.serve(request)?.expect_complete()?.status();
    let second = cx.serve(request)?.expect_complete()?.status();
    if first == second {
        Ok(first)
    } else {
        Err(Stop::NotApplicable(format!("the same request was answered by {first} and then by {second}")))
    }
}

/// The answer is complete and has the status of the undivided request.
fn like(response: Result<Response, Stop>, expected: u16) -> Run {
    response?.expect_complete()?.expect_status(expected)?;
    passed()
}

/// PARAMS contents that end within a pair: in a length, in the name, in the value.
fn truncated() -> Vec<Vec<u8>> {
    let whole = wire::pair(b"REQUEST_METHOD", b"GET");
    let cut = |end: usize| [&whole[..], &whole[..end]].concat();
    vec![
        cut(1),
        cut(2),
        cut(5),
        cut(whole.len() - 1),
        b"\x80".to_vec(),
        b"\x80\0\0".to_vec(),
        b"\x80\0\0\x05\x80\0".to_vec(),
        b"\x7f\x7fshort".to_vec(),
    ]
}

/// PARAMS contents that announce up to 31 bits and bring little. Without their highest bits, the last two would be whole.
fn lies() -> Vec<Vec<u8>> {
    vec![
        b"\xff\xff\xff\xff\xff\xff\xff\xffshort".to_vec(),
        b"\xff\xff\xff\xff\x01x".to_vec(),
        b"\x01\xff\xff\xff\xffxy".to_vec(),
        b"\xc0\0\0\0\x80\0\0\x01name".to_vec(),
        b"\x81\0\0\0\x81\0\0\0sixteen million".to_vec(),
        b"\x80\x01\0\x04\x80\x01\0\x05namevalue".to_vec(),
        b"\xc0\0\0\x04\xc0\0\0\x05namevalue".to_vec(),
    ]
}

/// Sends these PARAMS contents and a whole rest; the answer, or in words why there is none.
fn send_params(cx: &mut Context<'_>, content: &[u8]) -> Result<Result<Response, String>, Stop> {
    let request = cx.plain();
    let mut peer = cx.open()?;
    peer.send(&request.bytes_with_params(&stream(PARAMS, 1, content, 65_535)))?;
    match peer.response(1) {
        Ok(response) => Ok(Ok(response)),
        Err(Stop::Failed(why)) => Ok(Err(why)),
        Err(stop) => Err(stop),
    }
}
