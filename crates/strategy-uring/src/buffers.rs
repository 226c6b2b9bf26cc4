//! The buffers that receives fill: the kernel takes one when bytes have come, and no connection holds any before.
//!
//! They stand in a ring that both sides see (io_uring_register_buf_ring(3)): what is given back goes to its tail, the
//! kernel takes from its head. They live as long as the process: a worker serves once, and the kernel knows them.

use std::io;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// How receives name these buffers: there is one group.
pub(crate) const GROUP: u16 = 0;

/// A power of two. Where more receives complete in one turn, the rest is told ENOBUFS and armed again.
pub(crate) const COUNT: u16 = 16;
/// What a connection sends at once had better lie in one: the rest of it waits for another turn. More bytes in all would leave
/// the cache, since the kernel takes the buffers in turn.
const BYTES: usize = 64 << 10;

pub(crate) struct Buffers {
    /// `COUNT` entries; the ring's tail lies in the first one, where that has no field of its own. Behind them, from one
    /// buffer's size on, are the buffers.
    ring: *mut BufRingEntry,
    tail: u16,
}

impl Buffers {
    /// Maps the buffers and gives them all to the kernel.
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let bytes = (usize::from(COUNT) + 1) * BYTES;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a mapping at an address of the kernel's choice changes no other.
        let memory = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE)? };
        // SAFETY: the entries are page-aligned, `COUNT` of them, and never unmapped.
        unsafe {
            submitter.register_buf_ring_with_flags(memory.expose_provenance() as u64, COUNT, GROUP, 0)?
        };
        let mut buffers = Self { ring: memory.cast(), tail: 0 };
        (0..COUNT).for_each(|id| buffers.give_back(id));
        Ok(buffers)
    }

    /// What a receive has put into a buffer. It stays until the buffer is given back.
    pub(crate) fn filled(&self, id: u16, length: usize) -> &[u8] {
        assert!(length <= BYTES, "the kernel fills what it was given");
        // SAFETY: the memory is initialised (zeroed at first), and the kernel does not write to a buffer that it has
        // taken from the ring for a receive that is complete. `give_back` takes `&mut self`, so not while this lives.
        unsafe { slice::from_raw_parts(self.start(id), length) }
    }

    /// Lets the kernel fill a buffer again.
    pub(crate) fn give_back(&mut self, id: u16) {
        // SAFETY: `COUNT` entries are mapped, and the index is below it.
        let entry = unsafe { self.ring.add(usize::from(self.tail % COUNT)) };
        // SAFETY: the entry is mapped and initialised (zeroed at first); the kernel reads those before the tail only,
        // and of this one it has taken the buffer. The setters leave the first entry's tail alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.start(id).expose_provenance() as u64);
        entry.set_len(BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the pointer is to the ring's first entry, as is asked for.
        let tail = unsafe { BufRingEntry::tail(self.ring) };
        // SAFETY: the tail is aligned and lives as long as the ring; both sides access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel sees the entry before it sees the tail behind it.
        tail.store(self.tail, Ordering::Release);
    }

    fn start(&self, id: u16) -> *const u8 {
        assert!(id < COUNT, "the kernel names a buffer that it was given");
        // SAFETY: the assertion keeps it inside of the mapping, which has room for one buffer more.
        unsafe { self.ring.cast::<u8>().add((usize::from(id) + 1) * BYTES) }
    }
}
