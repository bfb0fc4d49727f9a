//! Remembers which objects were evicted lately, without their data.

/// The last evictions, each object with the number of its own.
///
/// An object is a ghost while fewer than a bound of evictions have followed its own; the bound is given at each
/// question because it follows the size of the cache. An engine keeps fingerprints in a small table instead.
#[derive(Debug)]
pub(crate) struct Ghosts {
    evicted: Vec<u32>,
    count: u32,
}

impl Ghosts {
    pub(crate) fn new(objects: u32) -> Self {
        Self { evicted: vec![0; objects as usize], count: 0 }
    }

    /// Notes the eviction of an object.
    pub(crate) fn remember(&mut self, object: u32) {
        self.count += 1;
        self.evicted[object as usize] = self.count;
    }

    /// Whether the object was among the last `bound` evictions.
    pub(crate) fn holds(&self, object: u32, bound: u32) -> bool {
        let evicted = self.evicted[object as usize];
        evicted != 0 && self.count - evicted < bound
    }

    /// Forgets the object and tells whether it was among the last `bound` evictions.
    pub(crate) fn recall(&mut self, object: u32, bound: u32) -> bool {
        let held = self.holds(object, bound);
        self.evicted[object as usize] = 0;
        held
    }
}
