//! Records as spec 3.3 draws them, read independently of fcgi-proto.

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its type.
    pub number: u8,
    /// The request it belongs to.
    pub id: u16,
    /// Its content.
    pub content: &'a [u8],
    /// The length of its padding.
    pub padding: usize,
}

/// Reads records from the front of `bytes`, up to the first whose content is cut short, or of another version than 1.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    /// What is left.
    pub rest: &'a [u8],
}

/// The records in `bytes`.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let [1, number, id1, id0, length1, length0, padding, _, after @ ..] = self.rest else {
            return None;
        };
        let length = usize::from(*length1) << 8 | usize::from(*length0);
        let (content, after) = after.split_at_checked(length)?;
        let padding = usize::from(*padding);
        // Padding that is still to come tells nothing.
        self.rest = after.get(padding..).unwrap_or_default();
        Some(Record { number: *number, id: u16::from(*id1) << 8 | u16::from(*id0), content, padding })
    }
}

/// Appends one record without padding.
pub fn push(out: &mut Vec<u8>, number: u8, id: u16, content: &[u8]) {
    let length = content.len() as u16;
    out.extend_from_slice(&[1, number, (id >> 8) as u8, id as u8, (length >> 8) as u8, length as u8, 0, 0]);
    out.extend_from_slice(content);
}
