//! Descriptors as select(2) takes them and gives them back. The call is the strategy's.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use rustix::event::{FdSetElement, FdSetIter, fd_set_bound, fd_set_insert};

/// The descriptors below this number are those that select(2) can watch. The kernel may know more; the call's own type,
/// `fd_set`, does not. A model on select(2) is not given any from there on ([`crate::ConnectionLimit::Selectable`]).
pub(crate) const FD_SETSIZE: usize = 1024;

/// Descriptors of one element.
const BITS: usize = 8 * size_of::<FdSetElement>();

type Set = [FdSetElement; FD_SETSIZE / BITS];

/// What is to be watched for input and for room to write; after the call, what has it.
#[derive(Clone, Default)]
pub struct DescriptorSets {
    readable: Set,
    writable: Set,
}

impl DescriptorSets {
    /// A descriptor's number. Err: it is not below FD_SETSIZE, 1024, so that the sets cannot hold it.
    fn number(descriptor: &impl AsRawFd) -> io::Result<RawFd> {
        let number = descriptor.as_raw_fd();
        match usize::try_from(number) {
            Ok(0..FD_SETSIZE) => Ok(number),
            _ => Err(io::Error::other(format!("select(2) watches no descriptor from {FD_SETSIZE} on"))),
        }
    }

    /// Adds a descriptor to those that are readable, or to be. Err: it is not below FD_SETSIZE, 1024.
    pub fn add_readable(&mut self, descriptor: &impl AsRawFd) -> io::Result<()> {
        fd_set_insert(&mut self.readable, Self::number(descriptor)?);
        Ok(())
    }

    /// Adds a descriptor to those that are writable, or to be. Err: it is not below FD_SETSIZE, 1024.
    pub fn add_writable(&mut self, descriptor: &impl AsRawFd) -> io::Result<()> {
        fd_set_insert(&mut self.writable, Self::number(descriptor)?);
        Ok(())
    }

    /// Whether a descriptor is among those that are readable, or to be.
    pub fn is_readable(&self, descriptor: &impl AsRawFd) -> bool {
        contains(&self.readable, descriptor)
    }

    /// Whether a descriptor is among those that are writable, or to be.
    pub fn is_writable(&self, descriptor: &impl AsRawFd) -> bool {
        contains(&self.writable, descriptor)
    }

    /// Those that are readable, in ascending order.
    pub fn readable(&self) -> impl Iterator<Item = RawFd> {
        FdSetIter::new(&self.readable)
    }

    /// Those that are writable, in ascending order.
    pub fn writable(&self) -> impl Iterator<Item = RawFd> {
        FdSetIter::new(&self.writable)
    }

    /// One more than the highest of them all, as select(2) asks for it; those to be readable; those to be writable.
    pub fn for_select(&mut self) -> (RawFd, &mut [FdSetElement], &mut [FdSetElement]) {
        let bound = fd_set_bound(&self.readable).max(fd_set_bound(&self.writable));
        (bound, &mut self.readable, &mut self.writable)
    }
}

fn contains(set: &Set, descriptor: &impl AsRawFd) -> bool {
    let Ok(number) = usize::try_from(descriptor.as_raw_fd()) else { return false };
    set.get(number / BITS..=number / BITS)
        .is_some_and(|element| FdSetIter::new(element).any(|bit| bit as usize == number % BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_hold_descriptors_up_to_the_limit() {
        let mut sets = DescriptorSets::default();
        for descriptor in [1023, 64, 0] {
            sets.add_readable(&descriptor).unwrap();
        }
        sets.add_writable(&63).unwrap();
        assert_eq!(sets.readable().collect::<Vec<_>>(), [0, 64, 1023]);
        assert_eq!(sets.writable().collect::<Vec<_>>(), [63]);
        assert_eq!(sets.for_select().0, 1024);
        assert!(sets.is_readable(&64) && sets.is_readable(&1023) && sets.is_writable(&63));
        for absent in [-1, 1, 63, 65, 128, 1022, 1024] {
            assert!(!sets.is_readable(&absent), "{absent}");
        }
        assert!(!sets.is_writable(&64));
    }

    #[test]
    fn a_descriptor_beyond_the_limit_is_refused() {
        let mut sets = DescriptorSets::default();
        for descriptor in [1024, RawFd::MAX, -1] {
            let error = sets.add_readable(&descriptor).unwrap_err();
            assert_eq!(error.to_string(), "select(2) watches no descriptor from 1024 on");
            assert!(sets.add_writable(&descriptor).is_err());
        }
        assert_eq!((sets.readable().count(), sets.for_select().0), (0, 0));
    }
}
