//! BEGIN_REQUEST (spec 5.1): its body, and when an id may be begun.

use fcgi_proto::{Connection, ProtocolError};

use crate::dialogue::Step::{Abort, Fails, Holds, Is, Not, Peer, Reply, Serve};
use crate::dialogue::vectors;
use crate::literals::{ABORT_1, ABORTED_EARLY_1, BEGIN_1, BEGIN_1_CLOSE, PARAMS_END_1, STDIN_END_1};

vectors! {
    /// The shortest request there is.
    a_request_may_be_empty => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    reserved_bytes_of_begin_mean_nothing => [
        Peer(b"\x01\x01\0\x01\0\x08\0\xff\0\x01\x01\xff\xff\xff\xff\xff"), Peer(PARAMS_END_1),
        Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    /// Only the lowest bit of the flags has a meaning.
    unknown_flags_mean_nothing => [
        Peer(b"\x01\x01\0\x01\0\x08\0\0\0\x01\xfe\0\0\0\0\0"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Holds(1, |request| !request.keeps_connection()),
    ];

    bytes_beyond_the_body_of_begin_mean_nothing => [
        Peer(b"\x01\x01\0\x01\0\x0c\x04\0\0\x01\x01\0\0\0\0\0\x01\x01\0\x01\xff\xff\xff\xff"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    begin_without_a_body_fails => [
        Peer(b"\x01\x01\0\x01\0\0\0\0"),
        Fails(ProtocolError::ShortBegin(0)),
    ];

    begin_of_seven_bytes_fails => [
        Peer(b"\x01\x01\0\x01\0\x07\x01\0\0\x01\x01\0\0\0\0\0"),
        Fails(ProtocolError::ShortBegin(7)),
    ];

    begin_of_an_id_that_is_being_received_fails => [
        Peer(BEGIN_1), Peer(BEGIN_1),
        Fails(ProtocolError::ActiveId(1)),
    ];

    begin_of_an_id_whose_params_have_ended_fails => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(BEGIN_1_CLOSE),
        Fails(ProtocolError::ActiveId(1)),
    ];

    begin_of_an_id_that_is_being_served_fails => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(BEGIN_1),
        Fails(ProtocolError::ActiveId(1)),
    ];

    /// Its END_REQUEST has not been sent (spec 3.3).
    begin_of_an_id_that_was_told_to_abort_fails => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(ABORT_1),
        Abort(1),
        Peer(BEGIN_1),
        Fails(ProtocolError::ActiveId(1)),
    ];

    begin_of_an_id_that_has_ended_by_an_abort_does_not_fail => [
        Peer(BEGIN_1), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    a_connection_is_idle_until_a_record_begins => [
        Is(Connection::is_idle),
        Peer(b"\x01"),
        Not(Connection::is_idle),
        Peer(b"\x01\0\x01\0\x08\0\0"),
        Not(Connection::is_idle),
        Peer(b"\0\x01\x01\0\0\0\0"),
        Not(Connection::is_idle),
        Peer(b"\0"),
        Not(Connection::is_idle),
        Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Is(Connection::is_idle),
    ];

    a_connection_is_not_idle_inside_a_record_that_means_nothing => [
        Peer(b"\x01\x05\0\x01\0\x02\0\0x"),
        Not(Connection::is_idle),
        Peer(b"y"),
        Is(Connection::is_idle),
    ];
}
