//! Management records (spec 4): those of id 0, which may come at any time.

use fcgi_proto::{Connection, Values};

use crate::dialogue::Step::{End, Is, Not, Peer, Reply, Serve};
use crate::dialogue::{SETUP, Setup, check, vectors};
use crate::literals::{BEGIN_1, PARAMS_END_1, SERVED_1, STDIN_END_1, records};

/// GET_VALUES for all three names, as HAProxy asks, padded to 8 bytes.
const ASK_ALL: &[u8] = b"\x01\x09\0\0\0\x30\0\0\x0e\0FCGI_MAX_CONNS\x0d\0FCGI_MAX_REQS\x0f\0FCGI_MPXS_CONNS";
/// Their values in `SETUP`: 7, 350 and 1.
const ALL: &[u8] = b"\x01\x0a\0\0\0\x35\x03\0\
    \x0e\x01FCGI_MAX_CONNS7\x0d\x03FCGI_MAX_REQS350\x0f\x01FCGI_MPXS_CONNS1\0\0\0";

const SINGLE: Setup = Setup { values: Values { connections: 16, requests: 16, multiplexes: false }, ..SETUP };

const LARGE: Setup =
    Setup { values: Values { connections: 0, requests: 0xffff_ffff, multiplexes: true }, ..SETUP };

vectors! {
    get_values_is_answered => [
        Peer(ASK_ALL),
        Reply(ALL),
        Is(Connection::is_idle),
        Not(Connection::is_finished),
    ];

    get_values_says_where_an_application_does_not_multiplex with SINGLE => [
        Peer(b"\x01\x09\0\0\0\x11\x07\0\x0f\0FCGI_MPXS_CONNS\0\0\0\0\0\0\0"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0f\x01FCGI_MPXS_CONNS0\0\0\0\0\0\0"),
    ];

    numbers_may_be_as_large_as_they_are with LARGE => [
        Peer(ASK_ALL),
        Reply(b"\x01\x0a\0\0\0\x3c\x04\0\x0e\x01FCGI_MAX_CONNS0\x0d\x0aFCGI_MAX_REQS4294967295"),
        Reply(b"\x0f\x01FCGI_MPXS_CONNS1\0\0\0\0"),
    ];

    only_what_was_asked_is_answered => [
        Peer(b"\x01\x09\0\0\0\x0f\0\0\x0d\0FCGI_MAX_REQS"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    unknown_names_are_left_out => [
        Peer(b"\x01\x09\0\0\0\x2d\0\0\x0d\0FCGI_MAX_FUNS\x0d\0FCGI_MAX_REQS\x0d\0fcgi_max_reqs"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    get_values_for_nothing_known_is_answered_by_nothing => [
        Peer(b"\x01\x09\0\0\0\x07\x01\0\x05\0HELLO\0"),
        Reply(b"\x01\x0a\0\0\0\0\0\0"),
    ];

    get_values_for_nothing_is_answered_by_nothing => [
        Peer(b"\x01\x09\0\0\0\0\0\0"),
        Reply(b"\x01\x0a\0\0\0\0\0\0"),
    ];

    a_name_asked_for_twice_is_answered_once => [
        Peer(b"\x01\x09\0\0\0\x1e\0\0\x0d\0FCGI_MAX_REQS\x0d\0FCGI_MAX_REQS"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    /// Values should be empty there (spec 4.1); nothing is lost by not insisting.
    values_in_get_values_mean_nothing => [
        Peer(b"\x01\x09\0\0\0\x12\0\0\x0d\x03FCGI_MAX_REQS999"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    a_name_of_get_values_may_have_a_length_of_four_bytes => [
        Peer(b"\x01\x09\0\0\0\x15\0\0\x80\0\0\x0d\x80\0\0\0FCGI_MAX_REQS"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    names_before_a_truncated_one_are_answered => [
        Peer(b"\x01\x09\0\0\0\x14\0\0\x0d\0FCGI_MAX_REQS\x0e\0FCG"),
        Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
    ];

    get_values_may_come_twice => [
        Peer(b"\x01\x09\0\0\0\x07\0\0\x05\0HELLO"), Peer(ASK_ALL), Peer(b"\x01\x09\0\0\0\0\0\0"),
        Reply(b"\x01\x0a\0\0\0\0\0\0"),
        Reply(ALL),
        Reply(b"\x01\x0a\0\0\0\0\0\0"),
    ];

    get_values_may_come_between_requests => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        End(1, 0),
        Reply(SERVED_1),
        Peer(ASK_ALL),
        Reply(ALL),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    get_values_may_come_in_the_middle_of_a_request => [
        Peer(BEGIN_1), Peer(ASK_ALL), Peer(b"\x01\x04\0\x01\0\x02\0\0\x01\x01"), Peer(ASK_ALL),
        Peer(b"\x01\x04\0\x01\0\x02\0\0AB"), Peer(PARAMS_END_1), Peer(ASK_ALL),
        Peer(b"\x01\x05\0\x01\0\x01\0\0h"), Peer(ASK_ALL), Peer(b"\x01\x05\0\x01\0\x01\0\0i"),
        Peer(STDIN_END_1),
        Reply(ALL), Reply(ALL), Reply(ALL), Reply(ALL),
        Serve(1, &[(b"A", b"B")], b"hi"),
        Peer(ASK_ALL),
        Reply(ALL),
    ];

    an_unknown_management_type_is_answered_by_its_number => [
        Peer(b"\x01\x63\0\0\0\x03\x05\0abc\x01\x01\x01\x01\x01"),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\x63\0\0\0\0\0\0\0"),
        Is(Connection::is_idle),
        Peer(BEGIN_1), Peer(b"\x01\xff\0\0\0\0\0\0"), Peer(PARAMS_END_1), Peer(b"\x01\0\0\0\0\0\0\0"),
        Peer(STDIN_END_1),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\xff\0\0\0\0\0\0\0"),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\0\0\0\0\0\0\0\0"),
        Serve(1, &[], b""),
    ];

    /// An application record of id 0 belongs to no request: it is a management record of a type that is none.
    types_of_requests_are_unknown_as_management_types => [
        Peer(b"\x01\x01\0\0\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x05\0\0\0\0\0\0"),
        Reply(b"\x01\x0b\0\0\0\x08\0\0\x01\0\0\0\0\0\0\0\x01\x0b\0\0\0\x08\0\0\x05\0\0\0\0\0\0\0"),
        Is(Connection::is_idle),
    ];
}

#[test]
fn get_values_may_be_65535_bytes_long() {
    let mut content = b"\x03\0WHY".repeat(13_104);
    content.extend_from_slice(b"\x0d\0FCGI_MAX_REQS");
    check(
        SETUP,
        &[
            Peer(&records(9, 0, &[&content])),
            Reply(b"\x01\x0a\0\0\0\x12\x06\0\x0d\x03FCGI_MAX_REQS350\0\0\0\0\0\0"),
        ],
    );
}
