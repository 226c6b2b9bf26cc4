//! Request ids (spec 3.3): a connection's own, active from BEGIN_REQUEST to END_REQUEST, and used again.

use fcgi_proto::Connection;

use crate::dialogue::Step::{End, Is, Peer, Reply, Serve};
use crate::dialogue::vectors;
use crate::literals::{
    BEGIN_1, BEGIN_2, BEGIN_3, PARAMS_END_1, PARAMS_END_2, PARAMS_END_3, SERVED_1, SERVED_2, SERVED_3,
    STDIN_END_1, STDIN_END_2, STDIN_END_3,
};

vectors! {
    id_32767_is_served => [
        Peer(b"\x01\x01\x7f\xff\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x04\x7f\xff\0\0\0\0\x01\x05\x7f\xff\0\0\0\0"),
        Serve(32_767, &[], b""),
        End(32_767, 0),
        Reply(b"\x01\x06\x7f\xff\0\0\0\0\x01\x03\x7f\xff\0\x08\0\0\0\0\0\0\0\0\0\0"),
    ];

    id_65535_is_served => [
        Peer(b"\x01\x01\xff\xff\0\x08\0\0\0\x01\x01\0\0\0\0\0\x01\x04\xff\xff\0\0\0\0\x01\x05\xff\xff\0\0\0\0"),
        Serve(65_535, &[], b""),
        End(65_535, 0),
        Reply(b"\x01\x06\xff\xff\0\0\0\0\x01\x03\xff\xff\0\x08\0\0\0\0\0\0\0\0\0\0"),
    ];

    ids_are_big_endian => [
        Peer(b"\x01\x01\x01\x02\0\x08\0\0\0\x01\x01\0\0\0\0\0"),
        Peer(b"\x01\x01\x02\x01\0\x08\0\0\0\x01\x01\0\0\0\0\0"),
        Peer(b"\x01\x04\x01\x02\0\0\0\0\x01\x05\x01\x02\0\x01\0\0x\x01\x05\x01\x02\0\0\0\0"),
        Serve(0x0102, &[], b"x"),
        End(0x0102, 0),
        Reply(b"\x01\x06\x01\x02\0\0\0\0\x01\x03\x01\x02\0\x08\0\0\0\0\0\0\0\0\0\0"),
        Peer(b"\x01\x04\x02\x01\0\0\0\0\x01\x05\x02\x01\0\0\0\0"),
        Serve(0x0201, &[], b""),
    ];

    an_id_may_be_used_again_and_remembers_nothing => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0hi"), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B")], b"hi"),
        End(1, 0),
        Reply(SERVED_1),
        Is(Connection::is_idle),
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        End(1, 0),
        Reply(SERVED_1),
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01CD"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"C", b"D")], b""),
    ];

    records_of_ids_that_were_never_begun_are_ignored => [
        Peer(b"\x01\x02\0\x09\0\0\0\0\x01\x04\0\x09\0\x04\0\0\x01\x01AB\x01\x04\0\x09\0\0\0\0"),
        Peer(b"\x01\x05\0\x09\0\x02\0\0hi\x01\x05\0\x09\0\0\0\0\x01\x08\0\x09\0\0\0\0"),
        Is(Connection::is_idle),
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x09\0\x04\0\0\x01\x01AB\x01\x04\0\x09\0\0\0\0"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x09\0\x02\0\0hi\x01\x05\0\x09\0\0\0\0"), Peer(STDIN_END_1),
        Serve(1, &[], b""),
    ];

    records_of_ids_that_have_ended_are_ignored => [
        Peer(BEGIN_1), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[], b""),
        End(1, 0),
        Reply(SERVED_1),
        Peer(b"\x01\x04\0\x01\0\x04\0\0\x01\x01AB"), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x02\0\0hi"), Peer(STDIN_END_1),
        Is(Connection::is_idle),
    ];

    requests_may_interleave_record_by_record => [
        Peer(BEGIN_1), Peer(BEGIN_2),
        Peer(b"\x01\x04\0\x01\0\x03\0\0\x01\x01A"), Peer(b"\x01\x04\0\x02\0\x03\0\0\x01\x01C"),
        Peer(BEGIN_3),
        Peer(b"\x01\x04\0\x02\0\x01\0\0D"), Peer(b"\x01\x04\0\x01\0\x01\0\0B"),
        Peer(PARAMS_END_2), Peer(PARAMS_END_3), Peer(PARAMS_END_1),
        Peer(b"\x01\x05\0\x01\0\x03\0\0one\x01\x05\0\x03\0\x05\0\0three\x01\x05\0\x02\0\x03\0\0two"),
        Peer(STDIN_END_3), Peer(STDIN_END_1), Peer(STDIN_END_2),
        Serve(3, &[], b"three"),
        Serve(1, &[(b"A", b"B")], b"one"),
        Serve(2, &[(b"C", b"D")], b"two"),
        End(1, 0),
        Reply(SERVED_1),
        End(2, 0),
        Reply(SERVED_2),
        End(3, 0),
        Reply(SERVED_3),
        Is(Connection::is_idle),
    ];

    a_request_may_begin_and_end_inside_another => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x02\0\0\x01\x01"),
        Peer(BEGIN_2), Peer(PARAMS_END_2), Peer(STDIN_END_2),
        Serve(2, &[], b""),
        End(2, 0),
        Reply(SERVED_2),
        Peer(b"\x01\x04\0\x01\0\x02\0\0AB"), Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B")], b""),
    ];
}
