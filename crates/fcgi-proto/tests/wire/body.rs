//! The body and CONTENT_LENGTH (spec 6.2): no more than that belongs to it, and less is not served.

use fcgi_proto::{Connection, Limits};

use crate::dialogue::Step::{End, Is, Not, Peer, Reply, Serve};
use crate::dialogue::{SETUP, Setup, vectors};
use crate::literals::{BAD_REQUEST_1, BEGIN_1, PARAMS_END_1, SERVED_1, STDIN_END_1, TOO_LARGE_1};

/// CONTENT_LENGTH=5 in one PARAMS record.
const LENGTH_5: &[u8] = b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH5";

const SMALL: Setup =
    Setup { limits: Limits { body_bytes: 8, connection_bytes: 64, ..SETUP.limits }, ..SETUP };

vectors! {
    a_body_of_its_declared_length_is_served => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x05\0\0hello"),
        Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"5")], b"hello"),
    ];

    what_exceeds_content_length_is_cut_off => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x03\0\0hel\x01\x05\0\x01\0\x06\0\0lo you"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"5")], b"hello"),
    ];

    what_exceeds_content_length_0_is_cut_off => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH0"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0no"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"0")], b""),
    ];

    /// Half a body is not to be taken for a whole one: "an updating application" aborts there.
    a_body_shorter_than_declared_is_refused => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x04\0\0hell"),
        Peer(STDIN_END_1),
        Reply(BAD_REQUEST_1),
        Is(Connection::is_idle),
        Not(Connection::was_answered_early),
    ];

    no_body_where_one_is_declared_is_refused => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(PARAMS_END_1),
        Reply(b""),
        Peer(STDIN_END_1),
        Reply(BAD_REQUEST_1),
    ];

    a_short_body_is_refused_though_it_came_before_the_params => [
        Peer(BEGIN_1), Peer(b"\x01\x05\0\x01\0\x04\0\0hell"), Peer(STDIN_END_1), Peer(LENGTH_5),
        Peer(PARAMS_END_1),
        Reply(BAD_REQUEST_1),
        Not(Connection::was_answered_early),
    ];

    without_content_length_all_of_stdin_is_the_body => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT-LENGTH1"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT-LENGTH", b"1")], b"hello"),
    ];

    /// As nginx sends it with a GET.
    an_empty_content_length_is_none => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x10\0\0\x0e\0CONTENT_LENGTH"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"")], b"hello"),
    ];

    a_content_length_that_is_no_number_is_none => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x12\0\0\x0e\x02CONTENT_LENGTH-1"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"-1")], b"hello"),
        End(1, 0),
        Reply(SERVED_1),
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x12\0\0\x0e\x02CONTENT_LENGTH1k"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"1k")], b"hello"),
    ];

    the_first_of_two_content_lengths_counts => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH1"),
        Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"5"), (b"CONTENT_LENGTH", b"1")], b"hello"),
    ];

    leading_zeros_mean_nothing with SMALL => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x1a\0\0\x0e\x0aCONTENT_LENGTH0000000005"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x05\0\0hello"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"0000000005")], b"hello"),
    ];

    /// Before any of it has been sent: it may never be.
    a_declared_length_over_the_limit_is_refused_at_the_end_of_params with SMALL => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH9"),
        Reply(b""),
        Peer(PARAMS_END_1),
        Reply(TOO_LARGE_1),
        Is(Connection::was_answered_early),
        Peer(b"\x01\x05\0\x01\0\x09\0\0much more"), Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    /// 2^64 + 5, and 200 digits.
    a_declared_length_beyond_all_numbers_is_refused => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x24\0\0\x0e\x14CONTENT_LENGTH18446744073709551621"),
        Peer(PARAMS_END_1),
        Reply(TOO_LARGE_1),
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\xdb\0\0\x0e\x80\0\0\xc8CONTENT_LENGTH"), Peer(&[b'9'; 200]),
        Peer(PARAMS_END_1),
        Reply(TOO_LARGE_1),
    ];

    a_body_of_the_limit_is_served with SMALL => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x11\0\0\x0e\x01CONTENT_LENGTH8"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x08\0\0just fit"), Peer(STDIN_END_1),
        Serve(1, &[(b"CONTENT_LENGTH", b"8")], b"just fit"),
    ];

    an_undeclared_body_over_the_limit_is_refused with SMALL => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x08\0\0just fit"),
        Reply(b""),
        Peer(b"\x01\x05\0\x01\0\x01\0\0s"),
        Reply(TOO_LARGE_1),
        Is(Connection::was_answered_early),
    ];

    a_body_over_the_limit_and_its_declaration_is_refused with SMALL => [
        Peer(BEGIN_1), Peer(LENGTH_5), Peer(PARAMS_END_1), Peer(b"\x01\x05\0\x01\0\x0c\0\0hello, world"),
        Reply(TOO_LARGE_1),
        Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    /// No STDOUT before PARAMS end (spec 6.2).
    a_body_over_the_limit_is_refused_at_the_end_of_params with SMALL => [
        Peer(BEGIN_1), Peer(b"\x01\x05\0\x01\0\x09\0\0much more"),
        Reply(b""),
        Peer(b"\x01\x05\0\x01\0\x09\0\0much more"), Peer(STDIN_END_1),
        Reply(b""),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(PARAMS_END_1),
        Reply(TOO_LARGE_1),
        Not(Connection::was_answered_early),
        Is(Connection::is_idle),
    ];
}
