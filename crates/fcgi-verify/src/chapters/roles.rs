//! Roles: the responder, those that may not be offered, and those that do not exist (sections 5.1, 5.5 and 6).

use std::time::Duration;

use crate::case::Level::{ImplementationDefined, Recommended, Required};
use crate::case::{Case, Stop};
use crate::context::{Context, QUIET, passed, reported};
use crate::wire::{self, AUTHORIZER, DATA, FILTER, UNKNOWN_ROLE, stream};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "an-unknown-role-is-refused",
        "5.5",
        Required,
        "A role that is unknown to the application is rejected by UNKNOWN_ROLE",
        |cx| {
            for role in [0, 4, 99, 255, 65_535] {
                cx.serve(&cx.plain().role(role))?.expect_protocol_status(UNKNOWN_ROLE)?;
            }
            passed()
        },
    )
    .quick(),
    Case::new(
        "a-role-has-two-bytes",
        "5.1",
        Required,
        "roleB1 is the high byte: 257 and 513 are not the responder",
        |cx| {
            for role in [257, 513, 256, 65_281] {
                cx.serve(&cx.plain().role(role))?.expect_protocol_status(UNKNOWN_ROLE)?;
            }
            passed()
        },
    ),
    Case::new(
        "begin-request-alone-is-enough-to-refuse-a-role",
        "5.5",
        Recommended,
        "The role stands in BEGIN_REQUEST: it can be rejected before PARAMS and STDIN have come",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().role(99).keep().begin_bytes())?;
            peer.response(1)?.expect_protocol_status(UNKNOWN_ROLE)?;
            passed()
        },
    ),
    Case::new(
        "a-refused-role-keeps-the-connection",
        "5.1",
        Required,
        "FCGI_KEEP_CONN: the application does not close the connection after rejecting the request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().role(99).keep().bytes())?;
            peer.response(1)?.expect_protocol_status(UNKNOWN_ROLE)?;
            peer.expect_quiet(Duration::from_millis(300))?;
            passed()
        },
    ),
    Case::new(
        "a-refused-role-without-keep-conn-closes",
        "5.1",
        Required,
        "Without FCGI_KEEP_CONN the application closes the connection after rejecting the request",
        |cx| {
            let mut peer = cx.open()?;
            peer.send(&cx.plain().role(99).bytes())?;
            peer.response(1)?.expect_protocol_status(UNKNOWN_ROLE)?;
            peer.expect_closed()?;
            passed()
        },
    ),
    Case::new(
        "the-rest-of-a-refused-request-is-ignored",
        "3.3",
        Required,
        "END_REQUEST makes the id inactive: PARAMS and STDIN that follow are ignored, and the next request is served",
        |cx| {
            let refused = cx.plain().role(99).keep().body("the body of a refused request");
            let mut peer = cx.open()?;
            peer.send(&refused.bytes())?;
            peer.response(1)?.expect_protocol_status(UNKNOWN_ROLE)?;
            peer.expect_quiet(QUIET)?;
            cx.serve_on(&mut peer, 1)?;
            cx.serve_on(&mut peer, 2)?;
            passed()
        },
    ),
    Case::new(
        "a-refused-role-does-not-touch-its-neighbours",
        "5.5",
        Required,
        "A request that is active goes on while another is rejected",
        |cx| {
            let request = cx.get("/echo").keep().id(1).body("one");
            let mut peer = cx.open()?;
            peer.send(&[request.begin_bytes(), request.params_bytes()].concat())?;
            peer.send(&cx.plain().role(99).keep().id(2).bytes())?;
            peer.response(2)?.expect_protocol_status(UNKNOWN_ROLE)?;
            peer.send(&request.stdin_bytes())?;
            peer.response(1)?.expect_body(b"one")?;
            passed()
        },
    )
    .workload()
    .multiplexing(),
    Case::new(
        "the-role-authorizer",
        "6.3",
        ImplementationDefined,
        "An application may play the authorizer, or reject it by UNKNOWN_ROLE",
        |cx| reported(answer_as(cx, AUTHORIZER)?),
    ),
    Case::new(
        "the-role-filter",
        "6.4",
        ImplementationDefined,
        "An application may play the filter, or reject it by UNKNOWN_ROLE",
        |cx| reported(answer_as(cx, FILTER)?),
    ),
    Case::new(
        "data-records-for-a-responder",
        "6.2",
        ImplementationDefined,
        "A responder is sent no DATA stream; what it makes of one is left open",
        |cx| {
            let request = cx.plain();
            let data = stream(DATA, 1, b"some data", 4);
            let mut peer = cx.open()?.lenient();
            peer.send(
                &[request.begin_bytes(), request.params_bytes(), data, request.stdin_bytes()].concat(),
            )?;
            match peer.response(1) {
                Ok(response) => {
                    reported(format!("answered with {}", wire::status_name(response.protocol_status)))
                }
                Err(Stop::Failed(why)) => reported(why),
                Err(stop) => Err(stop),
            }
        },
    ),
];

/// A request of another role, with everything that such a request has; what comes, in words.
fn answer_as(cx: &mut Context<'_>, role: u16) -> Result<String, Stop> {
    let request = cx.plain().role(role).param("FCGI_DATA_LAST_MOD", "0").param("FCGI_DATA_LENGTH", "4");
    let mut bytes = request.bytes();
    if role == FILTER {
        bytes.extend(stream(DATA, 1, b"data", 4));
    }
    let mut peer = cx.open()?;
    peer.send(&bytes)?;
    match peer.response(1) {
        Ok(response) => Ok(match response.protocol_status {
            UNKNOWN_ROLE => "not offered: UNKNOWN_ROLE".to_owned(),
            status => format!("answered with {} and status {}", wire::status_name(status), response.status()),
        }),
        Err(Stop::Failed(why)) => Ok(why),
        Err(stop) => Err(stop),
    }
}
