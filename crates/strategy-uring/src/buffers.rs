//! The buffers that receives fill: the kernel takes one when bytes have come, and no connection holds any before.
//!
//! They stand in a ring that both sides see (io_uring_register_buf_ring(3)): what is given back goes to its tail, the
//! kernel takes from its head. They live as long as the process: a worker serves once, and the kernel knows them.

use std::alloc::{Layout, LayoutError, alloc_zeroed, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// How receives name these buffers: there is one group.
pub(crate) const GROUP: u16 = 0;

/// A power of two. Where more receives complete in one turn, the rest is told ENOBUFS and armed again.
const COUNT: u16 = 32;
const BYTES: usize = 32 << 10;

pub(crate) struct Buffers {
    /// `COUNT` entries; the ring's tail lies in the first one, where that has no field of its own.
    ring: NonNull<BufRingEntry>,
    /// `COUNT` times `BYTES`.
    memory: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    /// Allocates the buffers and gives them all to the kernel.
    pub(crate) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let mut buffers =
            Self { ring: allocate(ring_layout()).cast(), memory: allocate(memory_layout()), tail: 0 };
        // SAFETY: the entries are page-aligned, `COUNT` of them, and never freed.
        unsafe {
            submitter.register_buf_ring_with_flags(
                buffers.ring.as_ptr().expose_provenance() as u64,
                COUNT,
                GROUP,
                0,
            )?;
        }
        for id in 0..COUNT {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// What a receive has put into a buffer. It stays until the buffer is given back.
    pub(crate) fn filled(&self, id: u16, length: usize) -> &[u8] {
        assert!(id < COUNT && length <= BYTES, "the kernel names a buffer that it was given");
        // SAFETY: the assertion keeps it inside of the allocation.
        let start = unsafe { self.memory.add(usize::from(id) * BYTES) };
        // SAFETY: the memory is initialised (zeroed at first), and the kernel does not write to a buffer that it has
        // taken from the ring for a receive that is complete. `give_back` takes `&mut self`, so not while this lives.
        unsafe { slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// Lets the kernel fill a buffer again.
    pub(crate) fn give_back(&mut self, id: u16) {
        // SAFETY: `COUNT` entries are allocated, and the index is below it.
        let mut entry = unsafe { self.ring.add(usize::from(self.tail % COUNT)) };
        // SAFETY: the entry is allocated and initialised (zeroed at first); the kernel reads those before the tail
        // only, and of this one it has taken the buffer. The setters leave the first entry's tail alone.
        let entry = unsafe { entry.as_mut() };
        // SAFETY: it stays inside of the allocation.
        let start = unsafe { self.memory.add(usize::from(id) * BYTES) };
        entry.set_addr(start.as_ptr().expose_provenance() as u64);
        entry.set_len(BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the pointer is to the ring's first entry, as is asked for.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: the tail is aligned and lives as long as the ring; both sides access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel sees the entry before it sees the tail behind it.
        tail.store(self.tail, Ordering::Release);
    }
}

fn ring_layout() -> Layout {
    Layout::array::<BufRingEntry>(usize::from(COUNT)).and_then(page_aligned).expect("a size of two pages")
}

fn memory_layout() -> Layout {
    Layout::array::<u8>(usize::from(COUNT) * BYTES).and_then(page_aligned).expect("a size of a mebibyte")
}

fn page_aligned(layout: Layout) -> Result<Layout, LayoutError> {
    layout.align_to(4096)
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: neither layout is of size zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}
