//! A list of things to be woken, filled by any thread and emptied by one.
//!
//! Each thing carries its own [`Link`], so putting it on the list allocates nothing and cannot fail, and it is on the
//! list at most once: the number of things bounds the list. Many put in (Treiber's stack); the owner takes all at
//! once, which leaves no room for the ABA problem, and gets them in the order in which they were put in.

#![expect(unsafe_code, reason = "an intrusive list of shared nodes")]

use crate::primitive::{AtomicBool, AtomicPtr, Ordering};
use std::ptr::{self, NonNull};

/// The list of one owner.
#[derive(Debug)]
pub struct WakeList {
    newest: AtomicPtr<Link>,
}

/// What a thing carries to be put on a [`WakeList`].
#[derive(Debug)]
pub struct Link {
    older: AtomicPtr<Self>,
    listed: AtomicBool,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// A link that is on no list.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { older: AtomicPtr::new(ptr::null_mut()), listed: AtomicBool::new(false) }
    }

    /// A link that is on no list.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { older: AtomicPtr::new(ptr::null_mut()), listed: AtomicBool::new(false) }
    }
}

impl Default for WakeList {
    fn default() -> Self {
        Self::new()
    }
}

impl WakeList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Whether nothing is on the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }

    /// Marks the link as listed and says whether it was not yet: then, and only then, the caller owes a
    /// [`push`](Self::push). What the caller wrote before is seen by the owner after it has taken the link.
    #[must_use]
    pub fn claim(link: &Link) -> bool {
        // AcqRel also when it was listed: the owner's swap in `next` reads from this one or a later one, and so sees
        // what every waker wrote before it found the link listed.
        !link.listed.swap(true, Ordering::AcqRel)
    }

    /// Puts a claimed link on the list.
    ///
    /// # Safety
    /// - [`claim`](Self::claim) gave true for this link, and no push has followed it yet.
    /// - The link stays allocated until the owner has got it from [`take`](Self::take).
    pub unsafe fn push(&self, link: NonNull<Link>) {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller keeps the link allocated; `older` is atomic.
            unsafe { link.as_ref() }.older.store(newest, Ordering::Relaxed);
            // Release: who takes the list sees `older` and what was written before the push.
            let pushed = self.newest.compare_exchange_weak(
                newest,
                link.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match pushed {
                Ok(_) => return,
                Err(found) => newest = found,
            }
        }
    }

    /// Takes all links off the list, to be walked from the oldest to the newest. Links that are not walked stay
    /// marked as listed and are lost, so walk them all. One owner calls this.
    pub fn take(&self) -> Taken {
        let mut newer = ptr::null_mut();
        let mut link = if self.is_empty() {
            ptr::null_mut()
        } else {
            self.newest.swap(ptr::null_mut(), Ordering::Acquire)
        };
        while let Some(this) = NonNull::new(link) {
            // SAFETY: the link was pushed, so it is allocated until it is handed out below; `older` is atomic, and
            // nobody else touches it while the link is listed.
            link = unsafe { this.as_ref() }.older.load(Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { this.as_ref() }.older.store(newer, Ordering::Relaxed);
            newer = this.as_ptr();
        }
        Taken { oldest: newer }
    }
}

/// The links taken off a list, from the oldest to the newest.
#[derive(Debug)]
pub struct Taken {
    oldest: *mut Link,
}

impl Iterator for Taken {
    type Item = NonNull<Link>;

    fn next(&mut self) -> Option<NonNull<Link>> {
        let link = NonNull::new(self.oldest)?;
        // SAFETY: the link is allocated until it is handed out, which is here; `older` was turned round by `take`.
        self.oldest = unsafe { link.as_ref() }.older.load(Ordering::Relaxed);
        // From here on the link may be pushed again. AcqRel: pairs with the swap in `claim`.
        // SAFETY: as above.
        unsafe { link.as_ref() }.listed.swap(false, Ordering::AcqRel);
        Some(link)
    }
}
