//! W-TinyLFU (Einziger, Friedman, Manes, 2017): a small window of new items, and a segmented LRU that an item
//! leaving the window enters only when it was asked for more often than the one it would displace.

use super::resident::Resident;
use super::{Overhead, Policy};
use crate::trace::list::{Links, Queue};
use crate::trace::number::{permille, to_usize};
use crate::trace::random::mix;
use crate::trace::request::Request;

/// The window's share of the memory, in thousandths.
const WINDOW_PERMILLE: u64 = 10;
/// The protected part's share of the memory, in thousandths (80 % of what the window leaves).
const PROTECTED_PERMILLE: u64 = 792;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Window,
    Probation,
    Protected,
}

#[derive(Debug)]
pub(crate) struct WTinyLfu {
    resident: Resident,
    links: Links,
    queues: [Queue; 3],
    parts: Vec<Part>,
    sketch: Sketch,
    count: u64,
}

impl WTinyLfu {
    pub(crate) fn new(objects: u32, limit_bytes: u64, overhead: Overhead) -> Self {
        Self {
            resident: Resident::new(objects, limit_bytes, overhead),
            links: Links::new(objects),
            queues: [Queue::new(); 3],
            parts: vec![Part::Window; objects as usize],
            sketch: Sketch::new(u64::from(objects)),
            count: 0,
        }
    }

    fn place(&mut self, object: u32, part: Part) {
        self.parts[object as usize] = part;
        let charge = self.resident.charge(object);
        self.links.push(&mut self.queues[part as usize], object, charge);
    }

    fn displace(&mut self, object: u32) {
        let charge = self.resident.charge(object);
        let part = self.parts[object as usize];
        self.links.remove(&mut self.queues[part as usize], object, charge);
    }

    fn promote(&mut self, object: u32) {
        self.displace(object);
        self.place(object, Part::Protected);
        let bound = permille(self.resident.limit_bytes(), PROTECTED_PERMILLE);
        while self.queues[Part::Protected as usize].bytes > bound {
            let oldest = self.queues[Part::Protected as usize].oldest();
            self.displace(oldest);
            self.place(oldest, Part::Probation);
        }
    }

    /// Shrinks the window to its share; what leaves it must win against the main part's oldest.
    fn settle(&mut self) {
        let window = permille(self.resident.limit_bytes(), WINDOW_PERMILLE);
        while self.queues[Part::Window as usize].bytes > window {
            let candidate = self.queues[Part::Window as usize].oldest();
            self.displace(candidate);
            self.place(candidate, Part::Probation);
            self.compete(candidate);
        }
        while self.resident.lacks(0) {
            self.remove(self.victim());
        }
    }

    fn compete(&mut self, candidate: u32) {
        while self.resident.lacks(0) {
            let victim = self.victim();
            if victim == candidate || self.sketch.estimate(candidate) <= self.sketch.estimate(victim) {
                return self.remove(candidate);
            }
            self.remove(victim);
        }
    }

    fn victim(&self) -> u32 {
        [Part::Probation, Part::Protected, Part::Window]
            .into_iter()
            .map(|part| self.queues[part as usize])
            .find(|queue| queue.bytes > 0)
            .map_or(0, |queue| queue.oldest())
    }
}

impl Policy for WTinyLfu {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        self.sketch.add(object, self.count);
        let hit = self.resident.holds(object);
        if hit {
            match self.parts[object as usize] {
                Part::Window => self.links.renew(&mut self.queues[Part::Window as usize], object),
                Part::Probation => self.promote(object),
                Part::Protected => self.links.renew(&mut self.queues[Part::Protected as usize], object),
            }
        }
        hit
    }

    fn put(&mut self, at: u32, request: &Request) {
        if self.resident.fits(request).is_none() {
            return self.remove(request.object);
        }
        if self.resident.holds(request.object) {
            self.get(at, request.object);
            self.displace(request.object);
            self.resident.update(request);
            self.place(request.object, self.parts[request.object as usize]);
        } else {
            self.resident.insert(request);
            self.place(request.object, Part::Window);
            self.count += 1;
        }
        self.settle();
    }

    fn remove(&mut self, object: u32) {
        if self.resident.holds(object) {
            self.displace(object);
            self.resident.remove(object);
            self.count -= 1;
        }
    }
}

/// Count-min sketch of four rows whose counters, at most 15, are all halved after ten requests per cached item.
#[derive(Debug)]
struct Sketch {
    rows: [Vec<u8>; 4],
    mask: u64,
    added: u64,
}

impl Sketch {
    fn new(objects: u64) -> Self {
        let width = objects.next_power_of_two().max(64);
        Self { rows: std::array::from_fn(|_| vec![0; to_usize(width)]), mask: width - 1, added: 0 }
    }

    fn slot(&self, object: u32, row: u64) -> usize {
        to_usize(mix(u64::from(object) | (row + 1) << 32) & self.mask)
    }

    fn add(&mut self, object: u32, cached: u64) {
        for row in 0..4 {
            let slot = self.slot(object, row);
            let counter = &mut self.rows[to_usize(row)][slot];
            *counter = (*counter + 1).min(15);
        }
        self.added += 1;
        if self.added >= 10 * cached.max(64) {
            self.added /= 2;
            self.rows.iter_mut().flatten().for_each(|counter| *counter /= 2);
        }
    }

    fn estimate(&self, object: u32) -> u8 {
        (0..4).map(|row| self.rows[to_usize(row)][self.slot(object, row)]).min().unwrap_or(0)
    }
}
