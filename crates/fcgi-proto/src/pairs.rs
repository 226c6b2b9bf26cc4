//! Name-value pairs (spec 3.4): the content of PARAMS, GET_VALUES and GET_VALUES_RESULT.

use alloc::vec::Vec;

/// The lengths of a pair's name and value, and the bytes that said so, read from the front of `bytes`.
/// `None` where the lengths themselves are cut short. Nothing says that the name and the value are there.
#[inline]
pub(crate) fn lengths(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    // Both in one byte is what nearly every pair looks like.
    if let [name, value, ..] = *bytes
        && (name | value) & 0x80 == 0
    {
        return Some((usize::from(name), usize::from(value), 2));
    }
    let (name, used) = length(bytes)?;
    let (value, more) = length(&bytes[used..])?;
    Some((name, value, used + more))
}

/// One length: a byte up to 127, or four with the high bit set (31 bits).
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [short, ..] if short & 0x80 == 0 => Some((usize::from(short), 1)),
        [b3, b2, b1, b0, ..] => Some((u32::from_be_bytes([b3 & 0x7f, b2, b1, b0]) as usize, 4)),
        _ => None,
    }
}

/// Iterates over the pairs of a complete stream; ends early, after [`Pairs::is_truncated`] has turned true, where
/// the stream breaks off inside a pair.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    truncated: bool,
}

impl<'a> Pairs<'a> {
    /// The pairs of `content`.
    pub fn new(content: &'a [u8]) -> Self {
        Self { rest: content, truncated: false }
    }

    /// Whether the stream broke off inside a pair.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.truncated {
            return None;
        }
        let pair = lengths(self.rest).and_then(|(name, value, used)| {
            let (name, rest) = self.rest[used..].split_at_checked(name)?;
            let (value, rest) = rest.split_at_checked(value)?;
            self.rest = rest;
            Some((name, value))
        });
        self.truncated = pair.is_none();
        pair
    }
}

/// Appends one pair. Lengths have 31 bits (3.4); a longer name or value is cut off there.
pub fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let name = &name[..name.len().min(0x7fff_ffff)];
    let value = &value[..value.len().min(0x7fff_ffff)];
    for length in [name.len(), value.len()] {
        match length {
            0..=127 => out.push(length as u8),
            _ => out.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}
