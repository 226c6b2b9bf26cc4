//! Any writes of any lengths: what they encode to is decoded again, independently, and is identity.
//!
//! The first four bytes are the request's id and the application's status; then three bytes for each write: its
//! kind, and its length.

#![no_main]

use fcgi_fuzz::wire;
use fcgi_proto::{AppStatus, ProtocolStatus, Stdout, response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [id1, id0, status1, status0, writes @ ..] = data else {
        return;
    };
    let id = u16::from(*id1) << 8 | u16::from(*id0);
    let status = u32::from(*status1) << 24 | u32::from(*status0);

    let mut out = Vec::new();
    let mut content = Vec::new();
    // A writer for each step of an application, with room as its first byte says.
    for step in writes.chunks(15).take(8) {
        let room = usize::from(step[0]) << 4;
        let mut limit = out.len() + room;
        let mut stdout = Stdout::new(&mut out, id, room);
        for write in step.chunks_exact(3) {
            let length = usize::from(write[1]) << 8 | usize::from(write[2]);
            let bytes = &pattern(content.len())[..length];
            let before = stdout.room();
            let taken = match write[0] & 1 {
                0 => {
                    stdout.write(bytes);
                    limit += length;
                    length
                }
                _ => stdout.write_some(bytes),
            };
            assert!(taken == length || taken == before);
            content.extend_from_slice(&bytes[..taken]);
        }
        drop(stdout);
        // Beside content there are at most seven headers of 8 bytes, and the last one's padding.
        assert!(out.len() <= limit + 64);
        assert_eq!(out.len() % 8, 0);
    }
    response::end(&mut out, id, AppStatus(status), ProtocolStatus::Overloaded);

    let mut decoded = Vec::new();
    let mut records = wire::records(&out);
    for record in records.by_ref().take_while(|record| !record.content.is_empty()) {
        assert_eq!((record.number, record.id), (6, id));
        assert_eq!((record.content.len() + record.padding) % 8, 0);
        assert!(record.padding < 8);
        decoded.extend_from_slice(record.content);
    }
    assert!(decoded == content, "{} bytes decoded of {}", decoded.len(), content.len());
    let end = records.next().expect("END_REQUEST");
    assert_eq!((end.number, end.id, end.padding), (3, id, 0));
    assert_eq!(end.content, [*status1, 0, 0, *status0, 2, 0, 0, 0]);
    assert!(records.rest.is_empty());
});

/// Bytes that differ by where in the content they stand.
fn pattern(at: usize) -> &'static [u8] {
    static PATTERN: [u8; 65_536 + 251] = {
        let mut pattern = [0; 65_536 + 251];
        let mut at = 0;
        while at < pattern.len() {
            pattern[at] = (at % 251) as u8;
            at += 1;
        }
        pattern
    };
    &PATTERN[at % 251..]
}
