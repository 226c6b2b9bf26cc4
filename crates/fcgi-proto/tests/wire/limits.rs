//! Limits: what exceeding one costs, and that it costs nothing else.

use fcgi_proto::{Connection, Limits, Spares, Values};

use crate::dialogue::Step::{End, Is, Not, Peer, Reply, Serve};
use crate::dialogue::{SETUP, Setup, vectors};
use crate::literals::{
    BEGIN_1, BEGIN_2, BEGIN_3, CANNOT_MULTIPLEX_2, OVERLOADED_2, PARAMS_END_1, PARAMS_END_2, PARAMS_END_3,
    PARAMS_TOO_LARGE_1, SERVED_1, SERVED_2, STDIN_END_1, STDIN_END_2, TOO_LARGE_1, records,
};

const fn limited(params_bytes: usize, body_bytes: usize, connection_bytes: usize, requests: usize) -> Setup {
    Setup { limits: Limits { params_bytes, body_bytes, connection_bytes, requests }, ..SETUP }
}

const PARAMS_8: Setup = limited(8, 8, 64, 2);
const CONNECTION_8: Setup = limited(64, 64, 8, 4);
const REQUESTS_1: Setup = limited(64, 64, 64, 1);
const SINGLE: Setup = Setup { values: Values { multiplexes: false, ..SETUP.values }, ..REQUESTS_1 };

vectors! {
    params_of_the_limit_are_served with PARAMS_8 => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x08\0\0\x01\x01AB\x01\x01CD"), Peer(PARAMS_END_1),
        Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B"), (b"C", b"D")], b""),
    ];

    params_over_the_limit_are_refused_at_their_end with PARAMS_8 => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x09\0\0\x01\x01AB\x01\x01CDE"),
        Reply(b""),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"),
        Reply(b""),
        Peer(PARAMS_END_1),
        Reply(PARAMS_TOO_LARGE_1),
        Is(Connection::was_answered_early),
        Not(Connection::is_finished),
        Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    params_over_the_limit_cost_no_other_request with PARAMS_8 => [
        Peer(BEGIN_2), Peer(BEGIN_1), Peer(b"\x01\x04\0\x02\0\x04\0\0\x01\x01AB"),
        Peer(b"\x01\x04\0\x01\0\x10\0\0sixteen bytes it"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Reply(PARAMS_TOO_LARGE_1),
        Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(2, &[(b"A", b"B")], b""),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    a_request_that_wants_more_than_the_connection_has_is_refused with CONNECTION_8 => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"),
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x04\0\0\x01\x01CD"), Peer(PARAMS_END_2),
        Reply(b""),
        Peer(b"\x01\x05\0\x02\0\x01\0\0x"),
        Reply(OVERLOADED_2),
        Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x04\0\0fits"), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B")], b"fits"),
    ];

    params_that_want_more_than_the_connection_has_are_refused_at_their_end with CONNECTION_8 => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x06\0\0\x01\x03Abcd"),
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x04\0\0\x01\x01CD"),
        Reply(b""),
        Peer(PARAMS_END_2),
        Reply(OVERLOADED_2),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"bcd")], b""),
    ];

    what_the_application_holds_counts_until_it_has_ended with CONNECTION_8 => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x08\0\0all of 8"), Peer(STDIN_END_1),
        Serve(1, &[], b"all of 8"),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(b"\x01\x05\0\x02\0\x01\0\0x"),
        Reply(OVERLOADED_2),
        Peer(STDIN_END_2),
        End(1, 0),
        Reply(SERVED_1),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(b"\x01\x05\0\x02\0\x08\0\0in order"), Peer(STDIN_END_2),
        Serve(2, &[], b"in order"),
    ];

    what_was_cut_off_a_body_is_not_held with limited(64, 64, 25, 4) => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH1"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x08\0\0xxxxxxxx"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"1")], b"x"),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(b"\x01\x05\0\x02\0\x07\0\0seven o"), Peer(STDIN_END_2),
        Serve(2, &[], b"seven o"),
    ];

    what_a_refused_request_held_is_free_again with limited(64, 6, 8, 4) => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x06\0\0six of\x01\x05\0\x01\0\x01\0\0x"),
        Reply(TOO_LARGE_1),
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x04\0\0\x01\x01CD"), Peer(PARAMS_END_2),
        Peer(b"\x01\x05\0\x02\0\x04\0\0four"), Peer(STDIN_END_2),
        Serve(2, &[(b"C", b"D")], b"four"),
    ];

    /// Reads of a few bytes reach the connection's limit first, and one of all bytes exceeds both at once.
    of_two_limits_exceeded_the_nearer_one_is_named with limited(64, 16, 12, 4) => [
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(b"\x01\x05\0\x02\0\x16\0\0more than twelve of it"),
        Reply(OVERLOADED_2),
    ];

    of_two_limits_exceeded_the_requests_own_is_named_where_it_is_nearer with limited(64, 10, 12, 4) => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x10\0\0more than twelve"),
        Reply(TOO_LARGE_1),
    ];

    of_two_limits_of_params_exceeded_the_nearer_one_is_named with limited(16, 64, 12, 4) => [
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x16\0\0more than twelve of it"), Peer(PARAMS_END_2),
        Reply(OVERLOADED_2),
    ];

    a_request_too_many_is_refused_at_the_end_of_its_params with REQUESTS_1 => [
        Peer(BEGIN_1),
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x04\0\0\x01\x01AB"),
        Reply(b""),
        Peer(PARAMS_END_2),
        Reply(OVERLOADED_2),
        Is(Connection::was_answered_early),
        Peer(b"\x01\x05\0\x02\0\x02\0\0hi"), Peer(STDIN_END_2),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        End(1, 0),
        Reply(SERVED_1),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(2, &[], b""),
        End(2, 0),
        Reply(SERVED_2),
    ];

    a_request_counts_until_it_has_ended with REQUESTS_1 => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Reply(OVERLOADED_2),
    ];

    a_second_request_cannot_be_multiplexed_where_the_application_does_not with SINGLE => [
        Peer(BEGIN_1), Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Reply(CANNOT_MULTIPLEX_2),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    /// Those that are refused wait for the end of their PARAMS, and there is room for as many as are served.
    one_that_is_refused_beyond_all_room_is_refused_at_once with REQUESTS_1 => [
        Peer(BEGIN_1), Peer(BEGIN_2),
        Reply(b""),
        Peer(BEGIN_3),
        Reply(b"\x01\x03\0\x03\0\x08\0\0\0\0\0\0\x02\0\0\0"),
        Peer(PARAMS_END_3), Peer(PARAMS_END_2),
        Reply(OVERLOADED_2),
    ];

    one_that_is_refused_beyond_all_room_cannot_be_multiplexed with SINGLE => [
        Peer(BEGIN_1), Peer(BEGIN_2), Peer(BEGIN_3),
        Reply(b"\x01\x03\0\x03\0\x08\0\0\0\0\0\0\x01\0\0\0"),
        Is(Connection::was_answered_early),
    ];

    /// However it came to be refused: each of these gave up its place among those that are served.
    requests_refused_for_their_params_are_bounded_too with limited(0, 8, 64, 1) => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x01\0\0x"),
        Peer(BEGIN_2), Peer(b"\x01\x04\0\x02\0\x01\0\0x"),
        Reply(b""),
        Peer(BEGIN_3),
        Reply(b"\x01\x03\0\x03\0\x08\0\0\0\0\0\0\x02\0\0\0"),
        Peer(PARAMS_END_1),
        Reply(PARAMS_TOO_LARGE_1),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    no_request_is_served_where_none_may_be with limited(8, 8, 8, 0) => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Reply(b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x02\0\0\0"),
        Is(Connection::is_idle),
    ];
}

/// 65,535 requests, none of which ends: one is served, one waits to be refused, the others are refused at once, by
/// 16 bytes for the 16 that they are.
#[test]
fn a_flood_of_requests_is_bounded() {
    let mut connection = Connection::new(REQUESTS_1.limits, REQUESTS_1.values);
    let (mut out, mut spares) = (Vec::new(), Spares::new());
    let last = if cfg!(miri) { 300 } else { u16::MAX };
    for id in 1..=last {
        let begin = records(1, id, &[b"\0\x01\x01\0\0\0\0\0"]);
        let event = connection.receive(&mut &begin[..], &mut out, &mut spares);
        assert!(matches!(event, Ok(None)));
    }
    let [last1, last0] = last.to_be_bytes();
    assert_eq!(out.len(), 16 * (usize::from(last) - 2));
    assert!(out.starts_with(b"\x01\x03\0\x03\0\x08\0\0\0\0\0\0\x02\0\0\0"));
    assert!(out.ends_with(&[1, 3, last1, last0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]));
}
