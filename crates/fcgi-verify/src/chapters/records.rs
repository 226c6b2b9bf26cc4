//! Records: headers, padding, content of every length, and writes cut anywhere (section 3.3).

use std::time::Duration;

use super::Run;
use crate::case::Level::{ImplementationDefined, Recommended, Required};
use crate::case::{Case, Stop};
use crate::context::{Context, failed, passed, reported};
use crate::peer::Next;
use crate::request::Request;
use crate::wire::{self, BEGIN_REQUEST, PARAMS, STDIN, abort_request, padded_record, record, stream};

/// Between two writes, so that the server reads them one by one.
const PAUSE: Duration = Duration::from_micros(500);

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a-plain-request-is-answered",
        "6.2",
        Required,
        "A request of the responder role is answered by STDOUT and END_REQUEST with REQUEST_COMPLETE",
        |cx| {
            cx.serve_plain()?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "the-workload-says-hello",
        "workload",
        Required,
        "/hello is answered by status 200, Content-Type text/plain and \"Hello, world\\n\"",
        |cx| {
            let response = cx.serve(&cx.get("/hello"))?;
            response.expect_body(b"Hello, world\n")?.expect_app_status(0)?;
            match response.header("content-type") {
                Some(kind) if kind.starts_with("text/plain") => passed(),
                other => failed(format!("Content-Type is {other:?}, expected text/plain")),
            }
        },
    )
    .workload()
    .quick(),
    Case::new(
        "a-request-with-a-body-is-answered",
        "6.2",
        Required,
        "A POST with a body on STDIN is answered",
        |cx| {
            cx.serve(&cx.plain().body("a=1&b=2"))?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "padding-of-every-length-is-skipped",
        "3.3",
        Required,
        "Receivers interpret paddingLength and skip the padding: 0 to 255 bytes on every record of a request",
        |cx| {
            for length in 0..=255 {
                let request = cx.plain().body("some body");
                let mut peer = cx.open()?;
                peer.send(&padded(&request, &vec![0; length]))?;
                peer.response(1)?.expect_complete()?;
            }
            passed()
        },
    )
    .patience(3),
    Case::new(
        "padding-that-looks-like-records-is-skipped",
        "3.3",
        Required,
        "The padding's bytes are ignored, here ABORT_REQUEST and BEGIN_REQUEST records",
        |cx| {
            let padding = [abort_request(1), wire::begin_request(2, 1, 1), abort_request(1)].concat();
            let mut peer = cx.open()?;
            peer.send(&padded(&cx.plain().body("some body"), &padding))?;
            peer.response(1)?.expect_complete()?;
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "padding-is-no-part-of-params",
        "3.3",
        Required,
        "The PARAMS stream is the contents alone, whatever the padding",
        |cx| {
            for length in [0, 1, 7, 8, 9, 127, 128, 254, 255] {
                let request = cx.get("/params");
                let mut peer = cx.open()?;
                peer.send(&padded(&request, &vec![0xff; length]))?;
                peer.response(1)?.expect_body(&request.params_as_text())?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "padding-is-no-part-of-the-body",
        "3.3",
        Required,
        "The STDIN stream is the contents alone, whatever the padding",
        |cx| {
            for length in 0..=255 {
                let request = cx.get("/echo").body("the body");
                let mut peer = cx.open()?;
                peer.send(&padded(&request, &vec![b'!'; length]))?;
                peer.response(1)?.expect_body(b"the body")?;
            }
            passed()
        },
    )
    .workload()
    .patience(3),
    Case::new(
        "an-empty-record-with-padding-ends-a-stream",
        "3.3",
        Required,
        "A record of length 0 ends the stream even if it is padded",
        |cx| {
            let request = cx.get("/echo").body("x");
            let bytes = [
                request.begin_bytes(),
                record(PARAMS, 1, &request.pairs(), 5),
                record(PARAMS, 1, &[], 255),
                record(STDIN, 1, b"x", 7),
                record(STDIN, 1, &[], 255),
            ];
            let mut peer = cx.open()?;
            peer.send(&bytes.concat())?;
            peer.response(1)?.expect_body(b"x")?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-stdin-record-of-65535-bytes-is-read",
        "3.3",
        Required,
        "contentData has up to 65535 bytes",
        |cx| {
            for padding in [0, 1, 255] {
                let body = pattern(65_535);
                let request = cx.get("/echo").body(&body);
                let stdin = [record(STDIN, 1, &body, padding), record(STDIN, 1, &[], 0)].concat();
                let mut peer = cx.open()?;
                peer.send(&[request.begin_bytes(), request.params_bytes(), stdin].concat())?;
                peer.response(1)?.expect_body(&body)?;
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-stdin-record-of-65535-bytes-does-no-harm",
        "3.3",
        Required,
        "contentData has up to 65535 bytes; the request is answered whether or not its application reads the body",
        |cx| {
            let body = pattern(65_535);
            let request = cx.plain().body(&body);
            let stdin = [record(STDIN, 1, &body, 1), record(STDIN, 1, &[], 0)].concat();
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), request.params_bytes(), stdin].concat())?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "a-large-params-record-is-read",
        "3.3",
        Required,
        "One PARAMS record may carry a value of 60,000 bytes",
        |cx| {
            let request = cx.get("/params").param("HTTP_X_LARGE", pattern(60_000));
            let params = [record(PARAMS, 1, &request.pairs(), 0), record(PARAMS, 1, &[], 0)].concat();
            let mut peer = cx.open()?;
            peer.send(&request.bytes_with_params(&params))?;
            peer.response(1)?.expect_body(&request.params_as_text())?;
            passed()
        },
    )
    .workload(),
    Case::new(
        "a-body-in-records-of-one-byte-is-whole",
        "3.3",
        Required,
        "A stream's value is independent of how its bytes are divided among records",
        |cx| body_in_records_of(cx, 5_000, &[1]),
    )
    .workload(),
    Case::new(
        "a-body-in-records-of-mixed-lengths-is-whole",
        "3.3",
        Required,
        "A stream's value is independent of how its bytes are divided among records",
        |cx| body_in_records_of(cx, 300_000, &[1, 65_535, 7, 8, 9, 1_024, 65_528, 3, 32_768, 255, 256]),
    )
    .workload()
    .quick(),
    Case::new(
        "many-records-in-one-write-are-read",
        "3.3",
        Required,
        "A request's records may all arrive at once, here 3,000 of them",
        |cx| {
            let request = cx.plain().body(pattern(3_000));
            let bytes =
                [request.begin_bytes(), request.params_bytes(), stream(STDIN, 1, request.content(), 1)]
                    .concat();
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    ),
    Case::new(
        "a-request-in-two-writes-cut-anywhere-is-read",
        "3.3",
        Required,
        "The transport is a stream of bytes: a record may arrive in two pieces, cut at any byte",
        |cx| {
            let bytes = cx.plain().body("body").bytes();
            for cut in 1..bytes.len() {
                let mut peer = cx.open()?;
                peer.send_slowly(&bytes[..cut], cut, PAUSE)?;
                peer.send(&bytes[cut..])?;
                peer.response(1)?.expect_complete()?;
            }
            passed()
        },
    )
    .patience(4),
    Case::new(
        "a-cut-anywhere-changes-no-byte",
        "3.3",
        Required,
        "Parameters and body arrive the same wherever the bytes of the request are cut",
        |cx| {
            let request = cx.get("/echo").body(pattern(64)).keep();
            let bytes = request.bytes();
            let mut peer = cx.open()?;
            for cut in 1..bytes.len() {
                peer.send_slowly(&bytes[..cut], cut, PAUSE)?;
                peer.send(&bytes[cut..])?;
                peer.response(1)?.expect_body(request.content())?;
            }
            passed()
        },
    )
    .workload()
    .patience(4),
    Case::new(
        "a-request-sent-byte-by-byte-is-read",
        "3.3",
        Required,
        "The transport is a stream of bytes: a request may arrive one byte at a time",
        |cx| {
            let bytes = padded(&cx.plain().body("some body"), &[0; 3]);
            let mut peer = cx.open()?;
            peer.send_slowly(&bytes, 1, PAUSE)?;
            peer.response(1)?.expect_complete()?;
            passed()
        },
    )
    .quick(),
    Case::new(
        "bodies-around-every-record-border-are-whole",
        "3.3",
        Required,
        "A STDIN stream of N bytes arrives whole for N around the borders of records and buffers",
        |cx| {
            for size in sizes() {
                let body = pattern(size);
                cx.serve(&cx.get("/echo").body(&body))?.expect_body(&body)?;
            }
            passed()
        },
    )
    .workload()
    .patience(2),
    Case::new(
        "answers-around-every-record-border-are-whole",
        "3.3",
        Required,
        "A STDOUT stream of N bytes arrives whole for N around the borders of records and buffers",
        |cx| {
            for size in sizes() {
                cx.serve(&cx.get(&format!("/bytes?n={size}")))?.expect_body(&pattern(size))?;
            }
            passed()
        },
    )
    .workload()
    .patience(2)
    .quick(),
    Case::new(
        "an-answer-of-5-million-bytes-is-whole",
        "3.3",
        Required,
        "A STDOUT stream is cut into as many records as it takes",
        |cx| {
            cx.serve(&cx.get("/bytes?n=5000000"))?.expect_body(&pattern(5_000_000))?;
            passed()
        },
    )
    .workload()
    .patience(2),
    Case::new(
        "an-answer-holds-well-formed-records-only",
        "3.3",
        Required,
        "Every record has version 1, a type that applications send, and the id of the request",
        |cx| {
            for id in [1, 2] {
                // The connection checks every record that comes.
                cx.serve(&cx.plain().id(id))?.expect_complete()?;
            }
            passed()
        },
    ),
    Case::new(
        "records-are-placed-on-8-byte-boundaries",
        "3.3",
        Recommended,
        "We recommend that records be placed on boundaries that are multiples of eight bytes",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().bytes())?;
            while !peer.has_ended(1) {
                let Next::Record(record) = peer.observe(cx.target().timeout)? else {
                    return failed("the answer did not end");
                };
                if record.header.rest() % 8 != 0 {
                    return failed(format!(
                        "{} has {} bytes of content and {} of padding",
                        wire::kind_name(record.header.kind),
                        record.header.content_length,
                        record.header.padding_length
                    ));
                }
            }
            passed()
        },
    ),
    Case::new(
        "the-reserved-byte-of-a-header",
        "3.3",
        ImplementationDefined,
        "The header's last byte is reserved; the specification does not say what a receiver makes of it",
        |cx| {
            let mut bytes = cx.plain().bytes();
            bytes[7] = 0xff;
            let mut peer = cx.open()?;
            peer.send(&bytes)?;
            match peer.response(1) {
                Ok(_) => reported("a reserved byte that is not 0 is ignored"),
                Err(Stop::Failed(why)) => {
                    reported(format!("a reserved byte that is not 0 is refused: {why}"))
                }
                Err(stop) => Err(stop),
            }
        },
    ),
    Case::new(
        "a-record-of-another-version",
        "3.3",
        ImplementationDefined,
        "Only version 1 is defined; what another version gets is left open",
        |cx| {
            let mut answers = Vec::new();
            for version in [0, 2, 255] {
                answers.push(format!("version {version}: {}", answer_to_version(cx, version)?));
            }
            reported(answers.join("; "))
        },
    ),
    Case::new(
        "the-workload-servers-close-on-another-version",
        "workload",
        Required,
        "A record of another version closes the connection, since nothing after it can be understood",
        |cx| {
            for version in [0, 2, 255] {
                if !answer_to_version(cx, version)?.starts_with("closed") {
                    return failed(format!("a record of version {version} did not close the connection"));
                }
            }
            passed()
        },
    )
    .workload(),
    Case::new(
        "reserved-bytes-of-begin-request",
        "5.1",
        ImplementationDefined,
        "The last five bytes of the body of BEGIN_REQUEST are reserved",
        |cx| {
            let request = cx.plain();
            let begin = record(BEGIN_REQUEST, 1, &[0, 1, 0, 1, 2, 3, 4, 5], 0);
            let mut peer = cx.open()?;
            peer.send(&[begin, request.params_bytes(), request.stdin_bytes()].concat())?;
            match peer.response(1) {
                Ok(_) => reported("reserved bytes that are not 0 are ignored"),
                Err(Stop::Failed(why)) => {
                    reported(format!("reserved bytes that are not 0 are refused: {why}"))
                }
                Err(stop) => Err(stop),
            }
        },
    ),
];

/// The bytes that the workload's `/bytes` answers.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let mut bytes = DIGITS.repeat(count / DIGITS.len() + 1);
    bytes.truncate(count);
    bytes
}

/// Lengths around the borders of padding, records and usual buffers.
fn sizes() -> [usize; 17] {
    [0, 1, 7, 8, 9, 127, 128, 8_191, 8_192, 8_193, 65_527, 65_528, 65_535, 65_536, 65_537, 131_070, 131_071]
}

/// A request with the same padding behind every record.
fn padded(request: &Request, padding: &[u8]) -> Vec<u8> {
    let begin = request.begin_bytes();
    let id = request.id;
    let mut records = vec![
        padded_record(BEGIN_REQUEST, id, &begin[8..], padding),
        padded_record(PARAMS, id, &request.pairs(), padding),
        padded_record(PARAMS, id, &[], padding),
    ];
    if !request.content().is_empty() {
        records.push(padded_record(STDIN, id, request.content(), padding));
    }
    records.push(padded_record(STDIN, id, &[], padding));
    records.concat()
}

fn body_in_records_of(cx: &mut Context<'_>, size: usize, lengths: &[usize]) -> Run {
    let body = pattern(size);
    let request = cx.get("/echo").body(&body);
    let mut bytes = [request.begin_bytes(), request.params_bytes()].concat();
    let mut rest = &body[..];
    for length in lengths.iter().cycle() {
        let (part, after) = rest.split_at(rest.len().min(*length));
        bytes.extend(record(STDIN, 1, part, 0));
        if part.is_empty() {
            break;
        }
        rest = after;
    }
    let mut peer = cx.open()?;
    peer.send(&bytes)?;
    peer.response(1)?.expect_body(&body)?;
    passed()
}

/// Sends a whole request of another version and says what comes.
fn answer_to_version(cx: &mut Context<'_>, version: u8) -> Result<String, Stop> {
    let mut request = cx.plain().keep().bytes();
    request[0] = version;
    let mut peer = cx.open()?.lenient();
    peer.send(&request)?;
    Ok(match peer.observe(Duration::from_secs(1))? {
        Next::Ended(_) => "closed".to_owned(),
        Next::Silence => "nothing within a second".to_owned(),
        Next::Record(record) => format!("answered by {}", wire::kind_name(record.header.kind)),
    })
}
