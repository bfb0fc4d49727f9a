//! Memory of finished tasks, kept for new ones: connections come and go, and so do their tasks.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

use crate::limits::{TASK_MEMORY_BYTES_MAX, TASK_MEMORY_CLASSES, TASK_MEMORY_STEP_BYTES};

/// Which memory a task of some type lies in.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A block of a size that is kept: this many steps.
    Kept(usize),
    /// Too large or too strictly aligned to be kept.
    Own(Layout),
}

/// All kept blocks are aligned so.
const ALIGN: usize = 16;

/// The common allocators put a word of their own before each block and align what follows it: blocks that are a word
/// short of a multiple of the alignment leave nothing between them.
const WORD_BYTES: usize = size_of::<usize>();

impl Kind {
    pub(super) const fn of(layout: Layout) -> Self {
        let steps = (layout.size() + WORD_BYTES).div_ceil(TASK_MEMORY_STEP_BYTES);
        if layout.align() <= ALIGN && steps < TASK_MEMORY_CLASSES {
            Self::Kept(steps)
        } else {
            Self::Own(layout)
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::Own(layout) => layout,
            Self::Kept(steps) => {
                let size = steps * TASK_MEMORY_STEP_BYTES - WORD_BYTES;
                // SAFETY: the alignment is a power of two, and the size is far below `isize::MAX`.
                unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
            }
        }
    }

    /// Takes memory from the allocator.
    fn allocate(self) -> NonNull<u8> {
        let layout = self.layout();
        // SAFETY: the size is not zero: a task has a header.
        let memory = unsafe { alloc(layout) };
        NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// Gives memory back to the allocator.
    ///
    /// # Safety
    /// It was allocated for this kind, and nobody uses it any more.
    pub(super) unsafe fn free(self, memory: NonNull<u8>) {
        // SAFETY: see the contract.
        unsafe { dealloc(memory.as_ptr(), self.layout()) };
    }
}

/// A block that nobody uses: in its first bytes, where the next one is.
struct Unused {
    next: Option<NonNull<Self>>,
}

/// The kept blocks of one executor.
#[derive(Debug)]
pub(crate) struct Memory {
    /// By their size in steps.
    unused: [Cell<Option<NonNull<Unused>>>; TASK_MEMORY_CLASSES],
    bytes: Cell<usize>,
}

impl std::fmt::Debug for Unused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unused")
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { unused: [const { Cell::new(None) }; TASK_MEMORY_CLASSES], bytes: Cell::new(0) }
    }
}

impl Memory {
    /// A block, kept or new. Nothing has been written to it that means anything.
    #[inline]
    pub(super) fn take(&self, kind: Kind) -> NonNull<u8> {
        if let Kind::Kept(steps) = kind
            && let Some(block) = self.unused[steps].get()
        {
            // SAFETY: a block of the list is allocated, begins with an `Unused`, and is nobody's.
            self.unused[steps].set(unsafe { block.as_ref() }.next);
            self.bytes.set(self.bytes.get() - steps * TASK_MEMORY_STEP_BYTES);
            return block.cast();
        }
        kind.allocate()
    }

    /// Keeps a block, or gives it back to the allocator if enough is kept.
    ///
    /// # Safety
    /// It was allocated for this kind, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn put(&self, kind: Kind, memory: NonNull<u8>) {
        match kind {
            Kind::Kept(steps) if self.bytes.get() < TASK_MEMORY_BYTES_MAX => {
                let block = memory.cast::<Unused>();
                // SAFETY: the block has room for an `Unused`, its alignment, and no user.
                unsafe { block.write(Unused { next: self.unused[steps].get() }) };
                self.unused[steps].set(Some(block));
                self.bytes.set(self.bytes.get() + steps * TASK_MEMORY_STEP_BYTES);
            }
            // SAFETY: the caller's promise.
            _ => unsafe { kind.free(memory) },
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (steps, unused) in self.unused.iter().enumerate() {
            while let Some(block) = unused.get() {
                // SAFETY: as in `take`.
                unused.set(unsafe { block.as_ref() }.next);
                // SAFETY: it was allocated for this kind, and is off the list.
                unsafe { Kind::Kept(steps).free(block.cast()) };
            }
        }
    }
}
