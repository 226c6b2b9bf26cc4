//! Responses (spec 3.3, 5.5, 6.1): STDOUT records on borders of 8 bytes, and the end.

use fcgi_proto::record::{self, Header};
use fcgi_proto::{AppStatus, ProtocolStatus, RecordType, Stdout, response};

fn written(write: impl FnOnce(&mut Stdout<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Stdout::new(&mut out, 1, 1 << 20));
    out
}

#[test]
fn a_short_response_is_one_record_on_a_border_of_8_bytes() {
    let cases: [(&[u8], &[u8]); 9] = [
        (b"1", b"\x01\x06\0\x01\0\x01\x07\x001\0\0\0\0\0\0\0"),
        (b"12", b"\x01\x06\0\x01\0\x02\x06\x0012\0\0\0\0\0\0"),
        (b"123", b"\x01\x06\0\x01\0\x03\x05\x00123\0\0\0\0\0"),
        (b"1234", b"\x01\x06\0\x01\0\x04\x04\x001234\0\0\0\0"),
        (b"12345", b"\x01\x06\0\x01\0\x05\x03\x0012345\0\0\0"),
        (b"123456", b"\x01\x06\0\x01\0\x06\x02\x00123456\0\0"),
        (b"1234567", b"\x01\x06\0\x01\0\x07\x01\x001234567\0"),
        (b"12345678", b"\x01\x06\0\x01\0\x08\0\x0012345678"),
        (b"123456789", b"\x01\x06\0\x01\0\x09\x07\x00123456789\0\0\0\0\0\0\0"),
    ];
    for (content, expected) in cases {
        assert_eq!(written(|stdout| stdout.write(content)), expected);
    }
}

#[test]
fn many_writes_are_one_record() {
    let out = written(|stdout| {
        stdout.write(b"Status: 200 OK\r\n");
        stdout.write(b"");
        stdout.write(b"\r\n");
        assert_eq!(stdout.write_some(b"hello"), 5);
    });
    assert_eq!(out, b"\x01\x06\0\x01\0\x17\x01\0Status: 200 OK\r\n\r\nhello\0");
}

/// An empty record would end the stream.
#[test]
fn nothing_written_is_no_record() {
    assert_eq!(written(|_| {}), b"");
    assert_eq!(written(|stdout| stdout.write(b"")), b"");
    assert_eq!(written(|stdout| assert_eq!(stdout.write_some(b""), 0)), b"");
}

#[test]
fn a_record_holds_65528_bytes_and_needs_no_padding_then() {
    let content = vec![b'x'; 65_528];
    let out = written(|stdout| stdout.write(&content));
    assert!(out == [&b"\x01\x06\0\x01\xff\xf8\0\0"[..], &content].concat());
}

#[test]
fn a_longer_response_is_split_after_65528_bytes() {
    let expected = [
        &b"\x01\x06\0\x01\xff\xf8\0\0"[..],
        &[b'x'; 65_528],
        b"\x01\x06\0\x01\xff\xf8\0\0",
        &[b'x'; 65_528],
        b"\x01\x06\0\x01\0\x01\x07\0x\0\0\0\0\0\0\0",
    ]
    .concat();
    let content = vec![b'x'; 2 * 65_528 + 1];
    assert!(written(|stdout| stdout.write(&content)) == expected, "one write");
    let by_write = written(|stdout| content.chunks(1000).for_each(|some| stdout.write(some)));
    assert!(by_write == expected, "many writes");
}

#[test]
fn records_are_appended_to_what_is_there() {
    let mut out = b"before".to_vec();
    Stdout::new(&mut out, 0xabcd, 100).write(b"12345678");
    Stdout::new(&mut out, 0x0102, 100).write(b"x");
    assert_eq!(out, b"before\x01\x06\xab\xcd\0\x08\0\x0012345678\x01\x06\x01\x02\0\x01\x07\0x\0\0\0\0\0\0\0");
}

#[test]
fn write_some_takes_what_there_is_room_for() {
    let mut out = vec![b'o'; 90];
    let mut stdout = Stdout::new(&mut out, 1, 12);
    assert_eq!(stdout.room(), 12);
    assert_eq!(stdout.write_some(b"hi"), 2);
    // A header of 8 bytes stands before it.
    assert_eq!(stdout.room(), 2);
    assert_eq!(stdout.write_some(b"hello"), 2);
    assert_eq!(stdout.room(), 0);
    assert_eq!(stdout.write_some(b"llo"), 0);
    drop(stdout);
    assert_eq!(out[90..], *b"\x01\x06\0\x01\0\x04\x04\0hihe\0\0\0\0");
}

#[test]
fn without_room_write_some_writes_nothing_and_write_all() {
    let mut out = Vec::new();
    let mut stdout = Stdout::new(&mut out, 1, 0);
    assert_eq!(stdout.write_some(b"body"), 0);
    stdout.write(b"head");
    assert_eq!(stdout.write_some(b"body"), 0);
    drop(stdout);
    assert_eq!(out, b"\x01\x06\0\x01\0\x04\x04\0head\0\0\0\0");
}

#[test]
fn room_may_be_endless() {
    let mut out = vec![0; 8];
    let stdout = Stdout::new(&mut out, 1, usize::MAX);
    assert_eq!(stdout.room(), usize::MAX - 8);
}

#[test]
fn the_end_is_an_empty_stdout_record_and_then_end_request() {
    let mut out = b"before".to_vec();
    response::end(&mut out, 0x0102, AppStatus(0x0a0b_0c0d), ProtocolStatus::RequestComplete);
    assert_eq!(out, b"before\x01\x06\x01\x02\0\0\0\0\x01\x03\x01\x02\0\x08\0\0\x0a\x0b\x0c\x0d\0\0\0\0");
}

#[test]
fn the_end_says_the_protocol_status() {
    let cases = [
        (ProtocolStatus::RequestComplete, 0),
        (ProtocolStatus::CantMpxConn, 1),
        (ProtocolStatus::Overloaded, 2),
        (ProtocolStatus::UnknownRole, 3),
    ];
    for (status, number) in cases {
        let mut out = Vec::new();
        response::end(&mut out, 1, AppStatus::SUCCESS, status);
        assert_eq!(out[16..], [0, 0, 0, 0, number, 0, 0, 0]);
    }
}

#[test]
fn a_header_is_read_as_it_is_written() {
    let bytes = *b"\x01\x06\x12\x34\x56\x78\x9a\0";
    let header = Header {
        version: 1,
        record_type: RecordType::STDOUT,
        id: 0x1234,
        content_length: 0x5678,
        padding_length: 0x9a,
    };
    assert_eq!(Header::decode(bytes), header);
    assert_eq!(header.encode(), bytes);
}

#[test]
fn content_beyond_one_record_is_cut_off() {
    let mut out = Vec::new();
    record::push(&mut out, RecordType::STDERR, 1, &[b'e'; 70_000]);
    assert_eq!(out[..8], *b"\x01\x07\0\x01\xff\xff\x01\0");
    assert_eq!(out.len(), 8 + 65_535 + 1);
}
