//! What was sent and what came back, bounded in length however long the case was.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Instant;

use crate::wire::{self, Header};

/// Connections whose exchange is kept: the last ones, since a case ends at its first failure.
const CONNECTIONS: usize = 3;
/// Lines kept of one connection: as many from its beginning and as many from its end.
const LINES: usize = 24;
/// Bytes kept for the hex dump of one direction.
const DUMP: usize = 512;
/// Content bytes shown behind a record's header.
const PREVIEW: usize = 40;

/// The exchange of one case, over all of its connections.
#[derive(Debug)]
pub(crate) struct Transcript {
    started: Instant,
    heard: bool,
    opened: usize,
    connections: VecDeque<Connection>,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Received,
}

#[derive(Debug)]
struct Connection {
    number: usize,
    head: Vec<String>,
    tail: VecDeque<String>,
    left_out: usize,
    sent: Direction,
    received: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    total: usize,
    dump: Vec<u8>,
    records: Decoder,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Transcript { started: Instant::now(), heard: false, opened: 0, connections: VecDeque::new() }
    }

    /// Notes a new connection and gives it a number.
    pub(crate) fn open(&mut self) -> usize {
        self.opened += 1;
        if self.connections.len() == CONNECTIONS {
            self.connections.pop_front();
        }
        self.connections.push_back(Connection {
            number: self.opened,
            head: Vec::new(),
            tail: VecDeque::new(),
            left_out: 0,
            sent: Direction::default(),
            received: Direction::default(),
        });
        self.opened
    }

    pub(crate) fn bytes(&mut self, connection: usize, way: Way, bytes: &[u8]) {
        let at = self.started.elapsed().as_secs_f64();
        self.heard |= way == Way::Received && !bytes.is_empty();
        let Some(connection) = self.find(connection) else { return };
        let (arrow, direction) = match way {
            Way::Sent => ("->", &mut connection.sent),
            Way::Received => ("<-", &mut connection.received),
        };
        direction.total += bytes.len();
        direction.dump.extend_from_slice(&bytes[..bytes.len().min(DUMP - direction.dump.len())]);
        let mut lines = Vec::new();
        direction.records.feed(bytes, &mut |header, preview| {
            lines.push(format!("{at:8.3} s {arrow} {}", describe(&header, preview)));
        });
        lines.into_iter().for_each(|line| connection.line(line));
    }

    pub(crate) fn note(&mut self, connection: usize, text: &str) {
        let at = self.started.elapsed().as_secs_f64();
        if let Some(connection) = self.find(connection) {
            connection.line(format!("{at:8.3} s -- {text}"));
        }
    }

    /// Whether a single byte has come, on any connection.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let left_out = self.opened - self.connections.len();
        if left_out > 0 {
            let _ = writeln!(text, "({left_out} earlier connections are left out)");
        }
        for connection in &self.connections {
            connection.render(&mut text);
        }
        text
    }

    fn find(&mut self, number: usize) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.number == number)
    }
}

impl Connection {
    fn line(&mut self, line: String) {
        if self.head.len() < LINES {
            self.head.push(line);
            return;
        }
        if self.tail.len() == LINES {
            self.tail.pop_front();
            self.left_out += 1;
        }
        self.tail.push_back(line);
    }

    fn render(&self, text: &mut String) {
        let _ = writeln!(text, "connection {}", self.number);
        for line in &self.head {
            let _ = writeln!(text, "  {line}");
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "  ... {} lines are left out", self.left_out);
        }
        for line in &self.tail {
            let _ = writeln!(text, "  {line}");
        }
        for (name, direction) in [("sent", &self.sent), ("received", &self.received)] {
            if let Some(rest) = direction.records.unfinished() {
                let _ = writeln!(text, "  {name}: {rest}");
            }
        }
        for (name, direction) in [("sent", &self.sent), ("received", &self.received)] {
            if direction.total > 0 {
                let _ = writeln!(text, "  {name}, {} bytes:", direction.total);
                hex_dump(text, &direction.dump);
                if direction.total > direction.dump.len() {
                    let _ = writeln!(text, "    ...");
                }
            }
        }
    }
}

fn hex_dump(text: &mut String, bytes: &[u8]) {
    for (row, line) in bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        for byte in line {
            let _ = write!(hex, "{byte:02x} ");
        }
        let _ = writeln!(text, "    {:04x}  {hex:<48} {}", row * 16, printable(line));
    }
}

fn printable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect()
}

/// One record in one line.
fn describe(header: &Header, preview: &[u8]) -> String {
    let mut line =
        format!("{} id {} length {}", wire::kind_name(header.kind), header.id, header.content_length);
    if header.padding_length > 0 {
        let _ = write!(line, " padding {}", header.padding_length);
    }
    match (header.kind, preview) {
        (_, []) => {}
        (wire::BEGIN_REQUEST, [r1, r0, flags, ..]) => {
            let _ = write!(line, ": role {}, flags {flags}", u16::from_be_bytes([*r1, *r0]));
        }
        (wire::END_REQUEST, [a3, a2, a1, a0, status, ..]) => {
            let app = u32::from_be_bytes([*a3, *a2, *a1, *a0]);
            let _ = write!(line, ": appStatus {app}, {}", wire::status_name(*status));
        }
        (wire::UNKNOWN_TYPE, [kind, ..]) => {
            let _ = write!(line, ": type {kind}");
        }
        _ => {
            let more = if preview.len() < usize::from(header.content_length) { "..." } else { "" };
            let _ = write!(line, ": \"{}{more}\"", preview.escape_ascii());
        }
    }
    line
}

/// Finds the records in a stream of bytes that arrives in pieces, keeping only the start of their content.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    head: Vec<u8>,
    current: Option<(Header, Vec<u8>, usize)>,
    lost: usize,
}

impl Decoder {
    /// Calls `found` for every record that these bytes complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Header, &[u8])) {
        while !bytes.is_empty() {
            if self.lost > 0 {
                self.lost += bytes.len();
                return;
            }
            if self.current.is_none() && !self.header(&mut bytes) {
                return;
            }
            let Some((header, preview, left)) = &mut self.current else { continue };
            let taken = bytes.len().min(*left);
            // The content comes first, the padding after it.
            let seen = header.rest() - *left;
            let content = usize::from(header.content_length).saturating_sub(seen).min(taken);
            let shown = content.min(PREVIEW - preview.len().min(PREVIEW));
            preview.extend_from_slice(&bytes[..shown]);
            *left -= taken;
            bytes = &bytes[taken..];
            if *left == 0 {
                found(*header, preview);
                self.current = None;
            }
        }
    }

    /// Takes header bytes; true when a record has begun. A record of nothing is left for the caller to finish.
    fn header(&mut self, bytes: &mut &[u8]) -> bool {
        let taken = bytes.len().min(8 - self.head.len());
        self.head.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        let Some(header) = self.head.first_chunk().map(Header::read) else { return false };
        if header.version != wire::VERSION_1 {
            self.lost = self.head.len() + bytes.len();
            return false;
        }
        self.head.clear();
        self.current = Some((header, Vec::new(), header.rest()));
        true
    }

    fn unfinished(&self) -> Option<String> {
        if self.lost > 0 {
            return Some(format!("{} bytes at the end are no records of version 1", self.lost));
        }
        if let Some((header, _, left)) = &self.current {
            return Some(format!("{} is cut off: {left} bytes are missing", describe(header, &[])));
        }
        (!self.head.is_empty()).then(|| format!("{} bytes of a record's header", self.head.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{STDIN, begin_request, record};

    fn decode(bytes: &[u8], size: usize) -> Vec<(u8, Vec<u8>)> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for part in bytes.chunks(size) {
            decoder.feed(part, &mut |header, preview| found.push((header.kind, preview.to_vec())));
        }
        found
    }

    #[test]
    fn records_are_found_however_the_bytes_are_cut() {
        let mut bytes = begin_request(1, 1, 0);
        bytes.extend(record(STDIN, 1, b"hello", 11));
        bytes.extend(record(STDIN, 1, b"", 0));
        bytes.extend(record(STDIN, 1, b"", 3));
        let expected =
            [(1, vec![0, 1, 0, 0, 0, 0, 0, 0]), (STDIN, b"hello".to_vec()), (STDIN, vec![]), (STDIN, vec![])];
        for size in 1..=bytes.len() {
            assert_eq!(decode(&bytes, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_long_exchange_stays_short() {
        let mut transcript = Transcript::new();
        for _ in 0..100 {
            let number = transcript.open();
            for _ in 0..1000 {
                transcript.bytes(number, Way::Sent, &record(STDIN, 1, &[b'x'; 1000], 0));
            }
        }
        let text = transcript.render();
        assert!(text.len() < 40_000, "{} bytes", text.len());
        assert!(text.contains("97 earlier connections"), "{text}");
        assert!(text.contains("STDIN id 1 length 1000: \"xxx"), "{text}");
    }
}
