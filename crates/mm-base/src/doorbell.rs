//! Waking a shard only when it sleeps.
//!
//! Whoever leaves work for a shard rings its doorbell; a shard that is running looks for work by itself before it
//! sleeps, so the ring costs a fence and a load then, and a system call only when the shard sleeps. Both sides write,
//! pass a sequentially consistent fence, and read what the other wrote (Dekker): the ringer its work, then whether
//! the shard sleeps; the shard that it sleeps, then whether there is work. At least one of them sees the other, so no
//! work is left lying beside a sleeping shard.

use crate::primitive::{AtomicBool, Ordering, fence};
use std::fmt;

/// One shard's doorbell, shared by all who leave work for the shard.
pub struct Doorbell {
    asleep: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

impl Doorbell {
    /// A doorbell whose `wake` makes the shard's present or next wait for events return (an eventfd write, say).
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { asleep: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Wakes the shard if it sleeps, and says whether it did. Call it after the work has been published.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The swap lets one of several ringers make the system call.
        let sleeps = self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel);
        if sleeps {
            (self.wake)();
        }
        sleeps
    }

    /// The shard's side: announces sleep, then asks `idle` whether there is truly nothing to do. True: wait for
    /// events, then call [`awake`](Self::awake). False: there is work, the announcement has been taken back.
    pub fn try_sleep(&self, idle: impl FnOnce() -> bool) -> bool {
        // A swap, not a store: it comes after a late ringer's swap in the order of all, whatever the model of memory.
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        let sleeps = idle();
        if !sleeps {
            self.awake();
        }
        sleeps
    }

    /// The shard's side: it runs again, nobody need wake it.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_a_sleeping_shard_is_woken_and_only_once() {
        let woken = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&woken);
        let doorbell = Doorbell::new(move || assert!(!seen.swap(true, Ordering::Relaxed), "woken twice"));
        assert!(!doorbell.ring());
        assert!(doorbell.try_sleep(|| true));
        assert!(doorbell.ring());
        assert!(!doorbell.ring());
        assert!(woken.load(Ordering::Relaxed));
    }

    #[test]
    fn a_shard_with_work_does_not_sleep() {
        let doorbell = Doorbell::new(|| unreachable!("nobody sleeps"));
        assert!(!doorbell.try_sleep(|| false));
        assert!(!doorbell.ring());
    }
}
