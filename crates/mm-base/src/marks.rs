//! Marks at rare paths: how often a simulation has reached each of them.
//!
//! [`mark!`](crate::mark) is nothing at all unless the feature `marks` is on, which only simulations ask for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A place in the code that carries a mark.
#[derive(Debug)]
pub struct Site {
    name: &'static str,
    reached: AtomicU64,
}

/// The sites that were reached so far.
static REACHED: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

impl Site {
    /// A site of this name; several may have the same.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, reached: AtomicU64::new(0) }
    }

    /// Counts one more.
    pub fn reach(&'static self) {
        if self.reached.fetch_add(1, Ordering::Relaxed) == 0 {
            REACHED.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }
}

/// How often the mark of a name was reached in this process, by all threads.
#[must_use]
pub fn reached(name: &str) -> u64 {
    let sites = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    sites.iter().filter(|site| site.name == name).map(|site| site.reached.load(Ordering::Relaxed)).sum()
}

/// Marks a rare path. Without the feature `marks` of this crate it is nothing.
#[cfg(feature = "marks")]
#[macro_export]
macro_rules! mark {
    ($name:literal) => {{
        static SITE: $crate::marks::Site = $crate::marks::Site::new($name);
        SITE.reach();
    }};
}

/// Marks a rare path. Without the feature `marks` of this crate it is nothing.
#[cfg(not(feature = "marks"))]
#[macro_export]
macro_rules! mark {
    ($name:literal) => {{}};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_of_one_name_are_counted_together() {
        static FIRST: Site = Site::new("a test");
        static SECOND: Site = Site::new("a test");
        assert_eq!(reached("a test"), 0);
        FIRST.reach();
        FIRST.reach();
        SECOND.reach();
        assert_eq!(reached("a test"), 3);
    }
}
