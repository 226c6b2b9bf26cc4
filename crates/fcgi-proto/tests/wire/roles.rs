//! Roles (spec 6): a responder is what is offered, the others are refused.

use fcgi_proto::Connection;

use crate::dialogue::Step::{Is, Not, Peer, Reply, Serve};
use crate::dialogue::vectors;
use crate::literals::{BEGIN_1, PARAMS_END_1, STDIN_END_1};

/// END_REQUEST 1 with FCGI_UNKNOWN_ROLE, and no STDOUT before PARAMS end (spec 6.2).
const UNKNOWN_ROLE_1: &[u8] = b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\x03\0\0\0";

vectors! {
    an_authorizer_is_refused => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\x02\x01\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
    ];

    a_filter_is_refused => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\x03\x01\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
    ];

    role_0_is_refused => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\0\x01\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
    ];

    roles_are_big_endian => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\x01\0\x01\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
        Peer(b"\x01\x01\0\x01\0\x08\0\0\x01\x01\x01\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
    ];

    the_rest_of_a_refused_request_is_ignored_and_its_id_is_free => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\x03\x01\0\0\0\0\0"),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Peer(b"\x01\x08\0\x01\0\x02\0\0hi\x01\x08\0\x01\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
        Is(Connection::is_idle),
        Is(Connection::was_answered_early),
        Not(Connection::is_finished),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    a_refused_role_ends_a_connection_that_is_not_kept => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\x02\0\0\0\0\0\0"),
        Reply(UNKNOWN_ROLE_1),
        Is(Connection::is_finished),
        Is(Connection::was_answered_early),
    ];
}
