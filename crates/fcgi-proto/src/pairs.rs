//! Name-value pairs (spec 3.4): the content of PARAMS, GET_VALUES and GET_VALUES_RESULT.

use alloc::vec::Vec;

/// The first value under `name` in a complete stream. A pair whose name is of another length is stepped over.
#[inline]
pub(crate) fn find<'a>(mut bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    loop {
        let (name_length, value_length, used) = lengths(bytes)?;
        if name_length == name.len() && bytes.get(used..used + name_length)? == name {
            return bytes.get(used + name_length..)?.get(..value_length);
        }
        bytes = bytes.get(used + name_length + value_length..)?;
    }
}

/// Whether the stream `bytes` breaks off inside a pair.
#[inline]
pub(crate) fn is_truncated(mut bytes: &[u8]) -> bool {
    while let Some((name, value, used)) = lengths(bytes)
        && let Some(rest) = bytes.get(used + name + value..)
    {
        bytes = rest;
    }
    !bytes.is_empty()
}

/// The lengths of a pair's name and value, and the bytes that said so, read from the front of `bytes`. `None` where the
/// lengths themselves are cut short, or are more together than can be there; nothing says that the pair is.
#[inline]
fn lengths(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    match *bytes {
        // Both in one byte is what nearly every pair looks like.
        [name, value, ..] if (name | value) & 0x80 == 0 => Some((usize::from(name), usize::from(value), 2)),
        _ => long_lengths(bytes),
    }
}

#[cold]
fn long_lengths(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    let (name, used) = length(bytes)?;
    let (value, more) = length(&bytes[used..])?;
    // Two lengths of 31 bits: no overflow in 64 bits, a check in 32.
    name.checked_add(value)?.checked_add(used + more)?;
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
