//! A bound from knowledge of the future: what no real policy can beat by much.
//!
//! With items of one size this is Belady's optimum: the item whose next use is farthest away goes first. With
//! sizes the optimum is out of reach (the problem is NP-hard); then the largest product of distance and size among
//! a sample of the items goes first, an approximation that real policies do not come near either.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::NONE;
use crate::trace::number::{to_u32, to_usize};
use crate::trace::random::Random;
use crate::trace::request::Request;

/// Items compared at each eviction.
const SAMPLE: usize = 32;
/// Fixes the samples.
const SEED: u64 = 11;

#[derive(Debug)]
pub(crate) struct Belady<'trace> {
    resident: Resident,
    next_uses: &'trace [u32],
    /// When each resident object is used next, a position in the trace.
    next_use: Vec<u32>,
    /// The resident objects in no order, and where each stands.
    members: Vec<u32>,
    places: Vec<u32>,
    random: Random,
}

impl<'trace> Belady<'trace> {
    /// `next_uses` is [`crate::trace::request::Trace::next_uses`] of the trace to be replayed.
    pub(crate) fn new(next_uses: &'trace [u32], objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            next_uses,
            next_use: vec![NONE; objects as usize],
            members: Vec::new(),
            places: vec![NONE; objects as usize],
            random: Random::new(SEED),
        }
    }

    fn evict(&mut self, at: u32) {
        let count = self.members.len();
        let sampled = count > SAMPLE;
        let mut worst = (0, 0);
        for turn in 0..count.min(SAMPLE) {
            let place = if sampled { to_usize(self.random.below(count as u64)) } else { turn };
            let object = self.members[place];
            let distance = u64::from(self.next_use[object as usize].saturating_sub(at).max(1));
            let cost = distance.saturating_mul(self.resident.charge(object));
            worst = worst.max((cost, object));
        }
        self.remove(worst.1);
    }
}

impl Policy for Belady<'_> {
    fn get(&mut self, at: u32, object: u32) -> bool {
        let hit = self.resident.holds(object);
        if hit {
            self.next_use[object as usize] = self.next_uses[at as usize];
        }
        hit
    }

    fn put(&mut self, at: u32, request: &Request) {
        self.remove(request.object);
        let Some(charge) = self.resident.fits(request) else { return };
        if self.next_uses[at as usize] == NONE {
            return;
        }
        while self.resident.lacks(charge) {
            self.evict(at);
        }
        self.resident.insert(request);
        self.next_use[request.object as usize] = self.next_uses[at as usize];
        self.places[request.object as usize] = to_u32(self.members.len());
        self.members.push(request.object);
    }

    fn remove(&mut self, object: u32) {
        if self.resident.holds(object) {
            self.resident.remove(object);
            let place = self.places[object as usize] as usize;
            self.members.swap_remove(place);
            if let Some(&moved) = self.members.get(place) {
                self.places[moved as usize] = to_u32(place);
            }
        }
    }
}
