//! ABORT_REQUEST (spec 5.4): ended as soon as possible, and once, whatever phase the request is in.

use fcgi_proto::{Connection, Limits};

use crate::dialogue::Step::{Abort, End, Is, Not, Peer, Reply, Serve};
use crate::dialogue::{SETUP, Setup, vectors};
use crate::literals::{
    ABORT_1, ABORT_2, ABORTED_1, ABORTED_EARLY_1, BEGIN_1, BEGIN_2, PARAMS_END_1, PARAMS_END_2, SERVED_1,
    STDIN_END_1, STDIN_END_2,
};

const ONE_REQUEST: Setup = Setup { limits: Limits { requests: 1, ..SETUP.limits }, ..SETUP };

vectors! {
    an_abort_right_after_begin_is_answered_without_stdout => [
        Peer(BEGIN_1), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Is(Connection::is_idle),
    ];

    an_abort_inside_params_is_answered_without_stdout => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x03\0\0\x01\x01A"), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Peer(b"\x01\x04\0\x01\0\x01\0\0B"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    an_abort_after_the_end_of_stdin_but_not_of_params_is_answered_without_stdout => [
        Peer(BEGIN_1), Peer(STDIN_END_1), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
    ];

    an_abort_during_stdin_ends_the_request => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x02\0\0hi"), Peer(ABORT_1),
        Reply(ABORTED_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0no"), Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    an_abort_of_a_request_that_is_being_served_is_the_applications_to_answer => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(ABORT_1),
        Abort(1),
        Not(Connection::is_idle),
        End(1, 1),
        Reply(ABORTED_1),
        Is(Connection::is_idle),
    ];

    /// The application answers it once; END_REQUEST is its alone.
    an_abort_may_come_twice => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(ABORT_1), Peer(ABORT_1),
        Abort(1),
        Abort(1),
        End(1, 1),
        Reply(ABORTED_1),
    ];

    a_second_abort_of_a_request_that_is_being_received_is_ignored => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(ABORT_1), Peer(ABORT_1),
        Reply(ABORTED_1),
        Is(Connection::is_idle),
    ];

    /// It crossed END_REQUEST on the wire.
    an_abort_after_the_end_is_ignored => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        End(1, 0),
        Reply(SERVED_1),
        Peer(ABORT_1),
        Is(Connection::is_idle),
    ];

    an_abort_of_an_id_that_was_never_begun_is_ignored => [
        Peer(ABORT_2),
        Is(Connection::is_idle),
        Peer(BEGIN_1), Peer(ABORT_2), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        Peer(ABORT_2),
    ];

    an_abort_leaves_the_other_requests_alone => [
        Peer(BEGIN_1), Peer(BEGIN_2), Peer(PARAMS_END_1), Peer(b"\x01\x04\0\x02\0\x03\0\0\x01\x01A"),
        Peer(b"\x01\x05\0\x02\0\x02\0\0hi"),
        Peer(ABORT_1),
        Reply(ABORTED_1),
        Peer(b"\x01\x04\0\x02\0\x01\0\0B"), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(2, &[(b"A", b"B")], b"hi"),
        Peer(BEGIN_1), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Peer(ABORT_2),
        Abort(2),
    ];

    /// Its end says why it would have been refused.
    an_abort_of_a_refused_request_ends_it_at_once with ONE_REQUEST => [
        Peer(BEGIN_1), Peer(BEGIN_2),
        Reply(b""),
        Peer(ABORT_2),
        Reply(b"\x01\x03\0\x02\0\x08\0\0\0\0\0\0\x02\0\0\0"),
        Peer(PARAMS_END_2), Peer(STDIN_END_2), Peer(ABORT_2),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    content_and_padding_of_an_abort_mean_nothing => [
        Peer(BEGIN_1), Peer(b"\x01\x02\0\x01\0\x02\x03\0\x01\x02\x01\x02\0"),
        Reply(ABORTED_EARLY_1),
        Is(Connection::is_idle),
    ];

    what_an_aborted_request_held_is_free_again with
        Setup { limits: Limits { connection_bytes: 4, requests: 1, ..SETUP.limits }, ..SETUP } =>
    [
        Peer(BEGIN_1), Peer(b"\x01\x05\0\x01\0\x04\0\0long"), Peer(ABORT_1),
        Reply(ABORTED_EARLY_1),
        Peer(BEGIN_1), Peer(b"\x01\x05\0\x01\0\x04\0\0wide"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b"wide"),
    ];
}
