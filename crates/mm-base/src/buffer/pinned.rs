//! Ranges of memory that are sent from where they lie.

#![expect(unsafe_code, reason = "a pinned range outlives the borrow it was made under; see `Pinned::new`")]

use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

/// An owner of memory that pins ranges of it, such as the store with its large values.
pub trait PinOwner {
    /// The range of `token` is no longer pinned.
    ///
    /// # Safety
    /// Called once for each pin, when nobody uses its bytes any more. [`Pinned`] does that when it is dropped.
    unsafe fn release(&self, token: u64);
}

/// A range of bytes that stays in place and unchanged as long as this lives.
pub struct Pinned(Kind);

enum Kind {
    Owned { bytes: NonNull<[u8]>, owner: Rc<dyn PinOwner>, token: u64 },
    Shared(Rc<dyn AsRef<[u8]>>),
}

impl Pinned {
    /// A range in memory of `owner`, which knows it as `token`. Costs no allocation.
    ///
    /// # Safety
    /// Until `owner.release(token)` is called, `bytes` can be read and nobody writes them.
    #[must_use]
    pub unsafe fn new(bytes: NonNull<[u8]>, owner: Rc<dyn PinOwner>, token: u64) -> Self {
        Self(Kind::Owned { bytes, owner, token })
    }

    /// All bytes of something shared, which must give the same ones each time.
    #[must_use]
    pub fn shared(bytes: Rc<dyn AsRef<[u8]>>) -> Self {
        Self(Kind::Shared(bytes))
    }

    /// The range.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the owner keeps them readable and unchanged until the release, which comes with the drop; the
            // slice borrows `self`.
            Kind::Owned { bytes, .. } => unsafe { bytes.as_ref() },
            Kind::Shared(bytes) => (**bytes).as_ref(),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Kind::Owned { owner, token, .. } = &self.0 {
            // SAFETY: slices of the range borrow `self`, so none is left, and a value is dropped once.
            unsafe { owner.release(*token) };
        }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("len", &self.bytes().len()).finish()
    }
}
