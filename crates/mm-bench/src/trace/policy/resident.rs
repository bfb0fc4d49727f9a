//! What every item-wise policy knows of its items: which are there and what each takes.

use crate::trace::policy::Overhead;
use crate::trace::request::Request;

/// The items in the cache and their sum against the limit.
#[derive(Debug)]
pub(crate) struct Resident {
    charges: Vec<u32>,
    used_bytes: u64,
    limit_bytes: u64,
    overhead: Overhead,
}

impl Resident {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self { charges: vec![0; objects as usize], used_bytes: 0, limit_bytes, overhead }
    }

    pub(crate) fn holds(&self, object: u32) -> bool {
        self.charges[object as usize] != 0
    }

    /// What the item takes, 0 when it is not there.
    pub(crate) fn charge(&self, object: u32) -> u64 {
        u64::from(self.charges[object as usize])
    }

    pub(crate) const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What the item of this request would take; `None` when that is more than the whole cache.
    pub(crate) fn fits(&self, request: &Request) -> Option<u64> {
        let charge = u64::from(self.overhead.charge(request));
        (charge <= self.limit_bytes).then_some(charge)
    }

    /// Whether something must go before `bytes` more can come.
    pub(crate) const fn lacks(&self, bytes: u64) -> bool {
        self.used_bytes + bytes > self.limit_bytes
    }

    pub(crate) fn insert(&mut self, request: &Request) {
        let charge = self.overhead.charge(request);
        self.charges[request.object as usize] = charge;
        self.used_bytes += u64::from(charge);
    }

    /// Overwrites an item that is there; the old and the new charge.
    pub(crate) fn update(&mut self, request: &Request) -> (u64, u64) {
        let old = self.remove(request.object);
        self.insert(request);
        (old, self.charge(request.object))
    }

    /// Takes the item out and returns what it took.
    pub(crate) fn remove(&mut self, object: u32) -> u64 {
        let charge = u64::from(std::mem::take(&mut self.charges[object as usize]));
        self.used_bytes -= charge;
        charge
    }
}
