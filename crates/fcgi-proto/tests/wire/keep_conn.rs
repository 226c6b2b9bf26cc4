//! FCGI_KEEP_CONN (spec 5.1): who closes the connection, and when.

use fcgi_proto::Connection;

use crate::dialogue::Step::{End, Holds, Is, Not, Peer, Reply, Serve};
use crate::dialogue::vectors;
use crate::literals::{
    ABORT_1, BEGIN_1, BEGIN_1_CLOSE, BEGIN_2, BEGIN_2_CLOSE, PARAMS_END_1, PARAMS_END_2, SERVED_1, SERVED_2,
    STDIN_END_1, STDIN_END_2,
};

vectors! {
    a_kept_connection_never_finishes => [
        Not(Connection::is_finished),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Holds(1, |request| request.keeps_connection()),
        Not(Connection::is_finished),
        End(1, 0),
        Reply(SERVED_1),
        Not(Connection::is_finished),
    ];

    a_connection_that_is_not_kept_finishes_with_the_response => [
        Peer(BEGIN_1_CLOSE), Peer(PARAMS_END_1),
        Not(Connection::is_finished),
        Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Holds(1, |request| !request.keeps_connection()),
        Not(Connection::is_finished),
        End(1, 0),
        Reply(SERVED_1),
        Is(Connection::is_finished),
        Not(Connection::was_answered_early),
    ];

    an_abort_finishes_a_connection_that_is_not_kept => [
        Peer(BEGIN_1_CLOSE), Peer(PARAMS_END_1), Peer(ABORT_1),
        Reply(b"\x01\x06\0\x01\0\0\0\0\x01\x03\0\x01\0\x08\0\0\0\0\0\x01\0\0\0\0"),
        Is(Connection::is_finished),
    ];

    of_mixed_flags_the_one_that_closes_wins_after_the_last_request => [
        Peer(BEGIN_1_CLOSE), Peer(BEGIN_2),
        Peer(PARAMS_END_1), Peer(STDIN_END_1), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(1, &[], b""),
        Serve(2, &[], b""),
        Holds(1, |request| !request.keeps_connection()),
        Holds(2, |request| request.keeps_connection()),
        End(1, 0),
        Reply(SERVED_1),
        Not(Connection::is_finished),
        End(2, 0),
        Reply(SERVED_2),
        Is(Connection::is_finished),
    ];

    a_later_request_may_ask_to_close => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(BEGIN_2_CLOSE), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(2, &[], b""),
        End(2, 0),
        Reply(SERVED_2),
        Not(Connection::is_finished),
        End(1, 0),
        Reply(SERVED_1),
        Is(Connection::is_finished),
    ];
}
