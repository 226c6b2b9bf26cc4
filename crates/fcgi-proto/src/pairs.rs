//! Name-value pairs (spec 3.4): the content of PARAMS, GET_VALUES and GET_VALUES_RESULT.

use alloc::vec::Vec;

/// Iterates over the pairs of a complete stream. Where that breaks off inside a pair, it ends before that one.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// The pairs of `content`.
    pub fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    /// What stands behind the last pair.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether the stream broke off inside a pair: there are no more, though something is left.
    pub fn is_truncated(&self) -> bool {
        !self.rest.is_empty() && self.clone().next().is_none()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (name, value, rest) = match *self.rest {
            // Both lengths in one byte is what nearly every pair looks like.
            [name, value, ref rest @ ..] if (name | value) & 0x80 == 0 => {
                split(rest, usize::from(name), usize::from(value))
            }
            [] => None,
            _ => split_long(self.rest),
        }?;
        self.rest = rest;
        Some((name, value))
    }
}

/// A pair whose lengths are known, from the front of `bytes`, and what stands behind it.
#[inline]
fn split(bytes: &[u8], name: usize, value: usize) -> Option<(&[u8], &[u8], &[u8])> {
    // Two lengths of 31 bits: no overflow in 64 bits, a check in 32.
    let (pair, rest) = bytes.split_at_checked(name.checked_add(value)?)?;
    let (name, value) = pair.split_at(name);
    Some((name, value, rest))
}

#[cold]
fn split_long(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, bytes) = length(bytes)?;
    let (value, bytes) = length(bytes)?;
    split(bytes, name, value)
}

/// One length, and what stands behind it: a byte up to 127, or four with the high bit set (31 bits).
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [short, ref rest @ ..] if short & 0x80 == 0 => Some((usize::from(short), rest)),
        [b3, b2, b1, b0, ref rest @ ..] => Some((u32::from_be_bytes([b3 & 0x7f, b2, b1, b0]) as usize, rest)),
        _ => None,
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
