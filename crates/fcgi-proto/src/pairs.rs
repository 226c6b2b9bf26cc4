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

    /// Whether the stream broke off inside a pair: there are no more, though something is left.
    pub fn is_truncated(&self) -> bool {
        !self.rest.is_empty() && self.clone().next().is_none()
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&[name, value], rest) = self.rest.split_first_chunk()?;
        // Both lengths in one byte is what nearly every pair looks like.
        let (name, value, rest) = if (name | value) & 0x80 == 0 {
            split(rest, usize::from(name), usize::from(value))
        } else {
            split_long(self.rest)
        }?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Which names a stream may have: more than it has, never less. A name is told from others by its length and first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(u64);

impl Names {
    /// Walks once over the lengths of all pairs. None: the stream breaks off inside a pair.
    #[inline(always)]
    pub(crate) fn of(content: &[u8]) -> Option<Self> {
        let (mut found, mut all_lengths, mut rest) = (Self(0), 0, content);
        while let [name, value, first, ..] = *rest {
            found.insert(name, first);
            all_lengths |= name | value;
            let Some(behind) = rest.get(2 + usize::from(name) + usize::from(value)..) else {
                return Self::of_long(content);
            };
            rest = behind;
        }
        match rest {
            // The last pair may have neither name nor value.
            [] | [0, 0] if all_lengths & 0x80 == 0 => Some(found),
            _ => Self::of_long(content),
        }
    }

    /// The same for pairs of any length, and where a pair is cut off.
    #[cold]
    fn of_long(content: &[u8]) -> Option<Self> {
        let (mut pairs, mut found) = (Pairs::new(content), Self(0));
        for (name, _) in pairs.by_ref() {
            found.insert(name.len() as u8, name.first().copied().unwrap_or_default());
        }
        (!pairs.is_truncated()).then_some(found)
    }

    #[inline]
    fn insert(&mut self, length: u8, first: u8) {
        self.0 |= Self::bit(length, first);
    }

    /// One of 64, by the low bits of the name's length.
    #[inline]
    fn bit(length: u8, first: u8) -> u64 {
        1 << ((u32::from(length) * 5 + u32::from(first)) % 64)
    }

    /// False: nobody sent this name.
    #[inline]
    pub(crate) fn may_hold(self, name: &[u8]) -> bool {
        name.first().is_none_or(|first| self.0 & Self::bit(name.len() as u8, *first) != 0)
    }
}

/// The first value under `name`. Of the pairs before it, the lengths alone are looked at. Inlined, so that a
/// name that is known when this is compiled is compared without a call.
#[inline(always)]
pub(crate) fn value<'a>(content: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = content;
    while let [name_length, value_length, behind @ ..] = rest {
        if (name_length | value_length) & 0x80 != 0 {
            return Pairs::new(rest).find_map(|(this, value)| (this == name).then_some(value));
        }
        let name_length = usize::from(*name_length);
        let (pair, next) = behind.split_at_checked(name_length + usize::from(*value_length))?;
        if name_length == name.len()
            && let Some(value) = pair.strip_prefix(name)
        {
            return Some(value);
        }
        rest = next;
    }
    None
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
