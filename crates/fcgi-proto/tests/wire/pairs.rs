//! Name-value pairs (spec 3.4): the forms of their lengths, and where they may be cut.

use fcgi_proto::pairs::{self, Pairs};

use crate::dialogue::Step::{Holds, Peer, Reply, Serve};
use crate::dialogue::{SETUP, check, check_whole, vectors};
use crate::literals::{BAD_REQUEST_1, BEGIN_1, PARAMS_END_1, STDIN_END_1, records};

vectors! {
    a_pair_may_straddle_params_records => [
        Peer(BEGIN_1),
        Peer(b"\x01\x04\0\x01\0\x05\x03\0\x06\x05SER\0\0\0\x01\x04\0\x01\0\x08\0\0VERnginx"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"SERVER", b"nginx")], b""),
    ];

    a_name_and_a_value_may_be_empty => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x0c\x05\0\x01\0A\0\x01B\0\0\x01\x01CD"), Peer(b"\0\0\0\0\0"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b""), (b"", b"B"), (b"", b""), (b"C", b"D")], b""),
    ];

    names_and_values_are_binary => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x09\0\0\x03\x04\0\xff=\x80\0\r\n"), Peer(PARAMS_END_1),
        Peer(STDIN_END_1),
        Serve(1, &[(b"\0\xff=", b"\x80\0\r\n")], b""),
    ];

    /// The specification asks for the short form up to 127; a reader loses nothing by taking the long one.
    a_short_length_may_take_four_bytes => [
        Peer(BEGIN_1),
        Peer(b"\x01\x04\0\x01\0\x0a\0\0\x80\0\0\x01\x80\0\0\x01AB"),
        Peer(b"\x01\x04\0\x01\0\x07\0\0\x80\0\0\x01\x01CD"),
        Peer(b"\x01\x04\0\x01\0\x07\0\0\x01\x80\0\0\x01EF"),
        Peer(b"\x01\x04\0\x01\0\x08\0\0\x80\0\0\0\x80\0\0\0"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B"), (b"C", b"D"), (b"E", b"F"), (b"", b"")], b""),
    ];

    of_duplicates_all_are_kept_in_order_and_the_first_counts => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x0e\x01\0\x01\x01AB\x01\x01CD\x01\x03Axyz\0"),
        Peer(PARAMS_END_1), Peer(STDIN_END_1),
        Serve(1, &[(b"A", b"B"), (b"C", b"D"), (b"A", b"xyz")], b""),
        Holds(1, |request| request.params().value(b"A") == Some(b"B")),
        Holds(1, |request| request.params().value(b"C") == Some(b"D")),
        Holds(1, |request| request.params().value(b"a").is_none()),
        Holds(1, |request| request.params().value(b"").is_none()),
    ];

    a_pair_without_its_second_length_is_refused => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x05\0\0\x01\x01AB\x01"), Peer(PARAMS_END_1),
        Reply(BAD_REQUEST_1),
    ];

    a_length_that_lies_is_refused => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x0a\0\0\xff\xff\xff\xff\xff\xff\xff\xffAB"),
        Peer(PARAMS_END_1),
        Reply(BAD_REQUEST_1),
    ];

    a_length_that_lies_by_one_is_refused => [
        Peer(BEGIN_1), Peer(b"\x01\x04\0\x01\0\x06\0\0\x80\0\0\x01\x02B"), Peer(PARAMS_END_1),
        Reply(BAD_REQUEST_1),
    ];
}

/// A pair for each form: 1 + 1, 4 + 1, 1 + 4 and 4 + 4 bytes of lengths, as the specification draws them.
struct Forms {
    stream: Vec<u8>,
    long: [u8; 128],
    longer: [u8; 300],
}

impl Forms {
    fn new() -> Self {
        let (long, longer) = ([b'n'; 128], [b'v'; 300]);
        let stream = [
            b"\x04\x03HOSTabc".as_slice(),
            b"\x80\0\0\x80\x02",
            &long,
            b"ok",
            b"\x02\x80\0\x01\x2cOK",
            &longer,
            b"\x80\0\0\x80\x80\0\x01\x2c",
            &long,
            &longer,
        ]
        .concat();
        Self { stream, long, longer }
    }

    fn pairs(&self) -> [(&[u8], &[u8]); 4] {
        [(b"HOST", b"abc"), (&self.long, b"ok"), (b"OK", &self.longer), (&self.long, &self.longer)]
    }

    fn check(&self, params: &[u8]) {
        let steps = [
            Peer(BEGIN_1),
            Peer(params),
            Peer(PARAMS_END_1),
            Peer(STDIN_END_1),
            Serve(1, &self.pairs(), b""),
        ];
        check(SETUP, &steps);
    }
}

#[test]
fn lengths_have_four_forms() {
    let forms = Forms::new();
    forms.check(&records(4, 1, &[&forms.stream]));
}

/// Inside the four bytes of a length too: borders of records mean nothing (spec 3.3).
#[test]
fn pairs_may_straddle_records_at_every_offset() {
    let forms = Forms::new();
    let step = if cfg!(miri) { 97 } else { 1 };
    for at in (1..forms.stream.len()).step_by(step) {
        let (first, second) = forms.stream.split_at(at);
        let params = records(4, 1, &[first, second]);
        let steps = [
            Peer(BEGIN_1),
            Peer(&params),
            Peer(PARAMS_END_1),
            Peer(STDIN_END_1),
            Serve(1, &forms.pairs(), b""),
        ];
        check_whole(SETUP, &steps);
    }
}

#[test]
fn pairs_may_come_a_byte_a_record() {
    let forms = Forms::new();
    let contents = forms.stream.chunks(1).collect::<Vec<_>>();
    forms.check(&records(4, 1, &contents));
}

#[test]
fn pairs_may_come_in_records_of_three_bytes() {
    let forms = Forms::new();
    let contents = forms.stream.chunks(3).collect::<Vec<_>>();
    forms.check(&records(4, 1, &contents));
}

#[test]
fn params_that_break_off_anywhere_inside_a_pair_are_refused() {
    let forms = Forms::new();
    let borders = [0, 9, 144, 451, forms.stream.len()];
    let step = if cfg!(miri) { 97 } else { 1 };
    for at in (1..forms.stream.len()).step_by(step).filter(|at| !borders.contains(at)) {
        let params = records(4, 1, &[&forms.stream[..at]]);
        let steps = [Peer(BEGIN_1), Peer(&params), Peer(PARAMS_END_1), Reply(BAD_REQUEST_1)];
        check_whole(SETUP, &steps);
    }
    for at in borders {
        let whole = Pairs::new(&forms.stream[..at]).collect::<Vec<_>>();
        assert!(forms.pairs().starts_with(&whole), "{at}");
    }
}

#[test]
fn pairs_iterates_in_order() {
    let forms = Forms::new();
    let mut pairs = Pairs::new(&forms.stream);
    assert_eq!(pairs.by_ref().collect::<Vec<_>>(), forms.pairs());
    assert!(!pairs.is_truncated());
    assert_eq!(pairs.next(), None);
}

#[test]
fn pairs_ends_where_the_stream_breaks_off() {
    for truncated in
        [&b"\x01\x01AB\x01"[..], b"\x01\x01AB\x80\0\0", b"\x01\x01AB\x01\x80\0\0\x01", b"\x01\x01AB\x01\x01C"]
    {
        let mut pairs = Pairs::new(truncated);
        assert!(!pairs.is_truncated());
        assert_eq!(pairs.next(), Some((&b"A"[..], &b"B"[..])));
        assert_eq!(pairs.next(), None, "{truncated:?}");
        assert!(pairs.is_truncated(), "{truncated:?}");
        assert_eq!(pairs.next(), None);
    }
}

/// Each of the four bytes counts: 65,537 and 16,777,217 bytes.
#[test]
fn lengths_have_31_bits() {
    for (lengths, value) in [(b"\x01\x80\x01\0\x01", 0x1_0001), (b"\x01\x81\0\0\x01", 0x100_0001)] {
        let value = vec![b'v'; value];
        let stream = [&lengths[..], b"A", &value, b"\x01\x01CD"].concat();
        let mut pairs = Pairs::new(&stream);
        assert!(pairs.next() == Some((&b"A"[..], &value[..])), "{lengths:?}");
        assert_eq!(pairs.next(), Some((&b"C"[..], &b"D"[..])));
        assert_eq!(pairs.next(), None);
    }
}

#[test]
fn push_writes_the_shortest_lengths() {
    let cases: [(usize, usize, &[u8]); 7] = [
        (0, 0, b"\0\0"),
        (1, 127, b"\x01\x7f"),
        (127, 1, b"\x7f\x01"),
        (128, 1, b"\x80\0\0\x80\x01"),
        (1, 128, b"\x01\x80\0\0\x80"),
        (255, 256, b"\x80\0\0\xff\x80\0\x01\0"),
        (65_536, 0, b"\x80\x01\0\0\0"),
    ];
    for (name, value, lengths) in cases {
        let (name, value) = (vec![b'n'; name], vec![b'v'; value]);
        let mut out = b"before".to_vec();
        pairs::push(&mut out, &name, &value);
        assert!(out == [b"before", lengths, &name, &value].concat(), "{lengths:?}");
    }
}
