//! Records and streams (spec 3.3): headers, padding, borders that mean nothing, types that are not for us.

use fcgi_proto::{Connection, Event, ProtocolError, Spares};

use crate::dialogue::Step::{Fails, Peer, Reply, Serve};
use crate::dialogue::{SETUP, check, vectors};
use crate::literals::{BEGIN_1, PARAMS_END_1, SERVED_1, STDIN_END_1, records};

vectors! {
    padding_is_skipped_whatever_it_holds => [
        // It looks like records: an abort, an unknown type, a wrong version.
        Peer(b"\x01\x01\0\x01\0\x08\x08\0\0\x01\x01\0\0\0\0\0\x01\x02\0\x01\0\0\0\0"),
        Peer(b"\x01\x04\0\x01\0\x04\x07\0\x01\x01AB\x01\x63\0\0\0\0\0"),
        Peer(b"\x01\x04\0\x01\0\0\x01\0\xff"),
        Peer(b"\x01\x05\0\x01\0\x02\x10\0hi\x09\x09\x09\x09\x09\x09\x09\x09\x02\x01\0\x01\0\0\0\0"),
        Peer(b"\x01\x05\0\x01\0\0\x03\0xyz"),
        Serve(1, &[(b"A", b"B")], b"hi"),
    ];

    padding_of_255_bytes_is_skipped => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x04\xff\0\x01\x01AB"), Peer(&[0x01; 255]),
        Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\0\xff\0"), Peer(&[0xff; 255]),
        Serve(1, &[(b"A", b"B")], b""),
        Peer(b"\x01\x09\0\0\0\0\0\0"),
        Reply(b"\x01\x0a\0\0\0\0\0\0"),
    ];

    /// The request is complete before its last record's padding has come.
    padding_is_not_waited_for => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\0\x02\0"),
        Serve(1, &[], b""),
        Peer(b"\x01"), Peer(b"\x01\x01\x0b\0\0\0\0\0\0"),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\x0b\0\0\0\0\0\0\0"),
    ];

    the_reserved_byte_means_nothing => [
        Peer(b"\x01\x01\0\x01\0\x08\0\xaa\0\x01\x01\0\0\0\0\0"),
        Peer(b"\x01\x04\0\x01\0\0\0\xaa\x01\x05\0\x01\0\0\0\x01"),
        Serve(1, &[], b""),
    ];

    a_stream_may_come_in_records_of_one_byte => [
        Peer(BEGIN_1),
        Peer(b"\x01\x04\0\x01\0\x01\0\0\x01\x01\x04\0\x01\0\x01\0\0\x01"),
        Peer(b"\x01\x04\0\x01\0\x01\0\0A\x01\x04\0\x01\0\x01\0\0B"),
        Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x01\0\0h\x01\x05\0\x01\0\x01\x01\0i\0"),
        Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B")], b"hi"),
    ];

    a_body_is_binary => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x06\0\0\0\x01\x80\xff\r\n"),
        Peer(STDIN_END_1),
        Serve(1, &[], b"\0\x01\x80\xff\r\n"),
    ];

    streams_of_one_request_may_interleave => [
        Peer(BEGIN_1),
        Peer(b"\x01\x05\0\x01\0\x01\0\0h"),
        Peer(b"\x01\x04\0\x01\0\x03\0\0\x01\x01A"),
        Peer(b"\x01\x05\0\x01\0\x01\0\0i"),
        Peer(b"\x01\x04\0\x01\0\x01\0\0B"),
        Peer(STDIN_END_1), Peer(PARAMS_END_1),
        Serve(1, &[(b"A", b"B")], b"hi"),
    ];

    a_request_waits_for_the_end_of_stdin => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x02\0\0hi"),
        Reply(b""),
        Peer(STDIN_END_1),
        Serve(1, &[], b"hi"),
    ];

    a_request_waits_for_the_end_of_params => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(STDIN_END_1),
        Reply(b""),
        Peer(PARAMS_END_1),
        Serve(1, &[(b"A", b"B")], b""),
    ];

    what_follows_the_end_of_a_stream_is_not_of_it => [
        Peer(BEGIN_1), Peer(PARAMS_END_1),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0hi"), Peer(STDIN_END_1),
        Serve(1, &[], b"hi"),
        Peer(b"\x01\x05\0\x01\0\x02\0\0no"), Peer(STDIN_END_1),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01CD"), Peer(PARAMS_END_1),
    ];

    what_follows_the_end_of_stdin_is_not_of_it_before_params_end => [
        Peer(BEGIN_1), Peer(b"\x01\x05\0\x01\0\x02\0\0hi"), Peer(STDIN_END_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0no"), Peer(PARAMS_END_1),
        Serve(1, &[], b"hi"),
    ];

    /// END_REQUEST, STDOUT, STDERR: ours to send. DATA: a filter's.
    types_that_a_responder_does_not_receive_are_ignored => [
        Peer(BEGIN_1),
        Peer(b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0"),
        Peer(b"\x01\x06\0\x01\0\x02\0\0no\x01\x07\0\x01\0\x02\0\0no\x01\x08\0\x01\0\x02\0\0no\x01\x08\0\x01\0\0\0\0"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    /// With id 0 they would be answered; with another they are no management records (spec 4).
    unknown_types_of_a_request_are_ignored => [
        Peer(BEGIN_1),
        Peer(b"\x01\0\0\x01\0\0\0\0\x01\x0c\0\x01\0\x02\0\0no\x01\xff\0\x01\0\x02\x06\0no\x01\x01\x01\x01\x01\x01"),
        Peer(b"\x01\x09\0\x01\0\x0f\0\0\x0d\0FCGI_MAX_REQS\x01\x0a\0\x01\0\0\0\0\x01\x0b\0\x01\0\0\0\0"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    an_unknown_version_fails => [
        Peer(b"\x02\x01\0\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0"),
        Fails(ProtocolError::Version(2)),
    ];

    version_0_fails_in_the_middle_of_a_request => [
        Peer(BEGIN_1), Peer(b"\0\x04\0\x01\0\0\0\0"),
        Fails(ProtocolError::Version(0)),
    ];

    an_unknown_version_fails_for_inactive_ids_and_management_records_too => [
        Peer(b"\x01\x63\0\0\0\0\0\0\xff\x09\0\0\0\0\0\0"),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\x63\0\0\0\0\0\0\0"),
        Fails(ProtocolError::Version(255)),
    ];
}

#[test]
fn a_record_holds_up_to_65535_bytes() {
    let body = (0..65_535_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let stdin = records(5, 1, &[&body, b""]);
    assert_eq!(stdin[..8], *b"\x01\x05\0\x01\xff\xff\0\0");
    check(SETUP, &[Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(&stdin), Serve(1, &[], &body)]);
}

#[test]
fn a_body_of_a_mebibyte_comes_whole() {
    let bytes = if cfg!(miri) { 1 << 17 } else { 1 << 20 };
    let body = (0..bytes).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let mut contents = body.chunks(65_528).collect::<Vec<_>>();
    contents.push(b"");
    let stdin = records(5, 1, &contents);
    check(SETUP, &[Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(&stdin), Serve(1, &[], &body)]);
}

#[test]
fn input_is_left_from_where_a_request_is_complete() {
    let bytes = [BEGIN_1, PARAMS_END_1, STDIN_END_1, b"\x01\x63\0\0\0\0\0\0"].concat();
    let mut connection = Connection::new(SETUP.limits, SETUP.values);
    let (mut input, mut out, mut spares) = (&bytes[..], Vec::new(), Spares::new());
    let event = connection.receive(&mut input, &mut out, &mut spares);
    assert!(matches!(event, Ok(Some(Event::Request(_)))));
    assert_eq!(input, b"\x01\x63\0\0\0\0\0\0");
    assert_eq!(out, b"");
}

#[test]
fn a_whole_request_is_served_from_the_input() {
    let params = b"\x01\x04\0\x01\0\x04\x04\0\x01\x01AB\0\0\0\0";
    let bytes = [BEGIN_1, params, PARAMS_END_1, STDIN_END_1, b"\x01"].concat();
    let mut connection = Connection::new(SETUP.limits, SETUP.values);
    let mut input = &bytes[..];
    let request = connection.receive_whole(&mut input).expect("a request");
    let value = request.params().value(b"A").expect("a value");
    assert_eq!(value, b"B");
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()), "a copy");
    assert_eq!(input, b"\x01");
    assert!(connection.is_idle());
}

#[test]
fn a_request_that_is_held_is_active_until_it_is_recycled() {
    let bytes = [BEGIN_1, b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB", PARAMS_END_1, STDIN_END_1].concat();
    let mut connection = Connection::new(SETUP.limits, SETUP.values);
    let mut spares = Spares::new();
    let request = connection.receive_whole(&mut &bytes[..]).expect("a request");
    let held = connection.hold(request, &mut spares);
    assert!(!connection.is_idle());
    assert!(connection.receive_whole(&mut &bytes[..]).is_none(), "an id that is active");
    assert_eq!(held.as_request().params().value(b"A"), Some(&b"B"[..]));
    connection.recycle(held, &mut spares);
    assert!(connection.is_idle());
    assert!(connection.receive_whole(&mut &bytes[..]).is_some());
}

#[test]
fn a_failed_connection_does_not_panic() {
    let failures: [&[u8]; 3] = [
        b"\x09\x04\0\x01\xff\xff\0\0",
        b"\x01\x01\0\x01\0\x07\0\0",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0",
    ];
    for failure in failures {
        let bytes = [BEGIN_1, PARAMS_END_1, failure, &[1; 200], BEGIN_1, STDIN_END_1].concat();
        let mut connection = Connection::new(SETUP.limits, SETUP.values);
        let (mut input, mut out, mut spares) = (&bytes[..], Vec::new(), Spares::new());
        let mut errors = 0;
        while !input.is_empty() {
            errors += usize::from(connection.receive(&mut input, &mut out, &mut spares).is_err());
        }
        assert!(errors > 0);
    }
}

#[test]
fn requests_may_follow_one_another_in_one_read() {
    let request = [BEGIN_1, PARAMS_END_1, STDIN_END_1].concat();
    let bytes = request.repeat(3);
    let mut connection = Connection::new(SETUP.limits, SETUP.values);
    let (mut input, mut out, mut spares) = (&bytes[..], Vec::new(), Spares::new());
    let mut served = 0;
    while let Some(event) = connection.receive(&mut input, &mut out, &mut spares).expect("no failure") {
        let Event::Request(request) = event else { panic!("{event:?}") };
        out.extend_from_slice(SERVED_1);
        connection.recycle(request, &mut spares);
        served += 1;
    }
    assert_eq!(served, 3);
    assert_eq!(out, SERVED_1.repeat(3));
}
