//! The bytes of a request, encoded once and then only copied.

mod http;

use crate::options::OptionsError;
use crate::request::RequestSpec;

pub(crate) use http::head as http_head;

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const ROLE_RESPONDER: u8 = 1;
const KEEP_CONN: u8 = 1;

/// The longest content we put into a record: the largest multiple of eight the 16-bit length allows, so that a full
/// record needs no padding to end on the 8-byte border that section 3.3 recommends.
const MAX_CONTENT: usize = 65_528;

/// A whole request as it goes over the wire, and the places where its id stands.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where each record's two bytes of request id are, rising.
    ids: Vec<usize>,
    /// The request under the ids 1, 2, 3 and so on, one after the other; empty where that would take too much.
    ready: Vec<u8>,
}

impl Template {
    /// The request under all ids is kept ready side by side if together that is no longer than `ready_limit`. All
    /// connections send from the same copy, so it stays in the cache.
    pub(crate) fn new(request: &RequestSpec, keep_conn: bool, streams: u16, ready_limit: usize) -> Self {
        let mut template = Self { bytes: Vec::new(), ids: Vec::new(), ready: Vec::new() };
        let flags = if keep_conn { KEEP_CONN } else { 0 };
        template.record(BEGIN_REQUEST, &[0, ROLE_RESPONDER, flags, 0, 0, 0, 0, 0]);
        template.stream(PARAMS, &encode_pairs(&request.params));
        template.stream(STDIN, &request.body);
        if streams == 1 || template.len() * usize::from(streams) <= ready_limit {
            let mut ready = Vec::with_capacity(template.len() * usize::from(streams));
            for id in 1..=streams {
                template.copy(0, template.len(), id, &mut ready);
            }
            template.ready = ready;
        }
        template
    }

    /// A request in HTTP, which has no id.
    pub(crate) fn http(request: &RequestSpec, keep: bool) -> Result<Self, OptionsError> {
        let mut bytes = http::head(request, keep)?;
        bytes.extend_from_slice(&request.body);
        Ok(Self { ready: bytes.clone(), bytes, ids: Vec::new() })
    }

    /// The requests with the ids `first + 1` to `end`, in one piece, if they are kept ready.
    #[inline]
    pub(crate) fn ready(&self, first: u16, end: u16) -> Option<&[u8]> {
        self.ready.get(usize::from(first) * self.len()..usize::from(end) * self.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends at most `limit` bytes of the request, from `from` on, under this id. Returns where it stopped.
    #[inline]
    pub(crate) fn copy(&self, from: usize, limit: usize, id: u16, out: &mut Vec<u8>) -> usize {
        let to = self.bytes.len().min(from + limit);
        let base = out.len();
        out.extend_from_slice(&self.bytes[from..to]);
        let out = &mut out[base..];
        let [high, low] = id.to_be_bytes();
        // A piece may begin or end between the two bytes of an id.
        let first = if from == 0 { 0 } else { self.ids.partition_point(|&at| at + 1 < from) };
        for &at in &self.ids[first..] {
            if at >= to {
                break;
            }
            if at >= from {
                out[at - from] = high;
            }
            if at + 1 < to {
                out[at + 1 - from] = low;
            }
        }
        to
    }

    /// Section 3.3: a stream is records with content, and then one without.
    fn stream(&mut self, kind: u8, content: &[u8]) {
        for chunk in content.chunks(MAX_CONTENT) {
            self.record(kind, chunk);
        }
        self.record(kind, &[]);
    }

    fn record(&mut self, kind: u8, content: &[u8]) {
        let length = u16::try_from(content.len()).expect("a chunk fits a record").to_be_bytes();
        let padding = content.len().next_multiple_of(8) - content.len();
        self.ids.push(self.bytes.len() + 2);
        self.bytes.extend([VERSION, kind, 0, 0, length[0], length[1], padding as u8, 0]);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len() + padding, 0);
    }
}

/// Section 3.4: lengths up to 127 take one byte, longer ones four with the highest bit set.
pub(crate) fn encode_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        let (name, value) = (name.as_ref(), value.as_ref());
        for length in [name.len(), value.len()] {
            match u8::try_from(length) {
                Ok(short @ ..=127) => out.push(short),
                _ => out.extend((length as u32 | 1 << 31).to_be_bytes()),
            }
        }
        out.extend(name);
        out.extend(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Expect;

    const READY_LIMIT: usize = 4096;

    fn spec(params: &[(&str, &str)], body: &[u8]) -> RequestSpec {
        let params = params.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        RequestSpec { params, body: body.into(), expect: Expect::default() }
    }

    fn whole(template: &Template, id: u16) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(template.copy(0, usize::MAX >> 1, id, &mut out), template.len());
        out
    }

    #[test]
    fn a_small_request_is_these_bytes() {
        let template = Template::new(&spec(&[("A", "bc"), ("D", "")], b"xyz"), true, 1, READY_LIMIT);
        #[rustfmt::skip]
        let expected = [
            1, 1, 0x12, 0x34, 0, 8, 0, 0,   0, 1, 1, 0, 0, 0, 0, 0,             // BEGIN_REQUEST, responder, KEEP_CONN
            1, 4, 0x12, 0x34, 0, 8, 0, 0,   1, 2, b'A', b'b', b'c', 1, 0, b'D', // PARAMS
            1, 4, 0x12, 0x34, 0, 0, 0, 0,
            1, 5, 0x12, 0x34, 0, 3, 5, 0,   b'x', b'y', b'z', 0, 0, 0, 0, 0,    // STDIN, padded to eight
            1, 5, 0x12, 0x34, 0, 0, 0, 0,
        ];
        assert_eq!(whole(&template, 0x1234), expected);
    }

    #[test]
    fn close_mode_clears_the_keep_conn_flag_and_an_empty_body_is_one_empty_record() {
        let template = Template::new(&spec(&[], b""), false, 1, READY_LIMIT);
        #[rustfmt::skip]
        let expected = [
            1, 1, 0, 1, 0, 8, 0, 0,   0, 1, 0, 0, 0, 0, 0, 0,
            1, 4, 0, 1, 0, 0, 0, 0,
            1, 5, 0, 1, 0, 0, 0, 0,
        ];
        assert_eq!(whole(&template, 1), expected);
    }

    #[test]
    fn lengths_over_127_take_four_bytes_in_all_four_combinations() {
        let (short, long) = ("s".repeat(127), "l".repeat(128));
        let lengths = |name: &str, value: &str| {
            let mut bytes = encode_pairs(&[(name, value)]);
            bytes.truncate(bytes.len() - name.len() - value.len());
            bytes
        };
        assert_eq!(lengths(&short, &short), [127, 127]);
        assert_eq!(lengths(&short, &long), [127, 0x80, 0, 0, 128]);
        assert_eq!(lengths(&long, &short), [0x80, 0, 0, 128, 127]);
        assert_eq!(lengths(&long, &long), [0x80, 0, 0, 128, 0x80, 0, 0, 128]);
    }

    #[test]
    fn a_long_body_is_cut_into_records_with_the_id_in_each() {
        let template = Template::new(&spec(&[], &vec![7; MAX_CONTENT + 1]), true, 1, READY_LIMIT);
        let bytes = whole(&template, 0xabcd);
        let stdin = 16 + 8;
        assert_eq!(bytes[stdin..stdin + 8], [1, 5, 0xab, 0xcd, 0xff, 0xf8, 0, 0]);
        let second = stdin + 8 + MAX_CONTENT;
        assert_eq!(bytes[second..second + 8], [1, 5, 0xab, 0xcd, 0, 1, 7, 0]);
        assert_eq!(bytes[second + 16..], [1, 5, 0xab, 0xcd, 0, 0, 0, 0]);
    }

    #[test]
    fn copied_in_pieces_of_any_length_it_is_the_same_request() {
        let template = Template::new(&spec(&[("NAME", "value")], b"body"), true, 3, READY_LIMIT);
        let expected = whole(&template, 0xabcd);
        for piece in 1..template.len() {
            let mut bytes = Vec::new();
            let mut at = 0;
            while at < template.len() {
                at = template.copy(at, piece, 0xabcd, &mut bytes);
            }
            assert_eq!(bytes, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn requests_kept_ready_are_those_that_are_copied() {
        let template = Template::new(&spec(&[("NAME", "value")], b"body"), true, 3, READY_LIMIT);
        let one_by_one: Vec<u8> = (1..=3).flat_map(|id| whole(&template, id)).collect();
        assert_eq!(template.ready(0, 3), Some(&one_by_one[..]));
        assert_eq!(template.ready(1, 2), Some(&whole(&template, 2)[..]));
    }

    #[test]
    fn long_requests_are_kept_ready_only_where_there_is_but_one_id() {
        let long = spec(&[], &vec![0; READY_LIMIT]);
        assert!(Template::new(&long, true, 1, READY_LIMIT).ready(0, 1).is_some());
        assert!(Template::new(&long, true, 2, READY_LIMIT).ready(0, 1).is_none());
    }
}
