//! memcached's segmented LRU: slab classes, each with a hot, a warm and a cold queue, and a page mover.
//!
//! The rules are those of memcached 1.6 with its defaults: classes grow by 1.25, a page holds chunks of one class,
//! new items are hot; the second read of an item marks it active; at the old end of hot and warm an active item goes
//! to warm and another to cold; an active item in cold is taken to warm; cold's oldest goes first. Hot is kept to
//! 20 % and warm to 40 % of a class.
//!
//! Where the model departs from the program it does so in memcached's favour: expired items vanish at once, the hash
//! table is charged by its load and not by powers of two, pages shrink with the limit below 64 MiB, and the mover
//! acts at once (every [`MOVE_EVERY`] writes) instead of once in some seconds.

use super::Policy;
use crate::trace::list::{Links, NONE, Queue};
use crate::trace::number::permille;
use crate::trace::request::Request;

/// Header with CAS 56, the key's terminator 1, the value's line end 2.
const HEADER_BYTES: u64 = 59;
/// Hash table per item at its mean load (8-byte pointers, load 0.75 to 1.5).
const HASH_BYTES: u64 = 8;
/// The smallest chunk.
const CHUNK_MIN_BYTES: u64 = 96;
/// Page size, halved until a limit has at least [`PAGES_MIN`] of them.
const PAGE_BYTES: u64 = 1 << 20;
const PAGES_MIN: u64 = 64;
/// Hot's and warm's share of their class, in thousandths.
const HOT_PERMILLE: u64 = 200;
const WARM_PERMILLE: u64 = 400;
/// Writes between two decisions of the page mover.
const MOVE_EVERY: u32 = 1000;

/// One item's place and marks.
#[derive(Debug, Clone, Copy)]
struct Item {
    class: u8,
    part: Part,
    fetched: bool,
    active: bool,
    chunks: u32,
    written_at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Absent,
    Hot,
    Warm,
    Cold,
}

/// A slab class: its queues count chunks.
#[derive(Debug, Clone)]
struct Class {
    chunk_bytes: u64,
    per_page: u64,
    pages: u64,
    queues: [Queue; 4],
    used: u64,
    evicted: u64,
}

impl Class {
    const fn free(&self) -> u64 {
        (self.pages * self.per_page).saturating_sub(self.used)
    }
}

#[derive(Debug)]
pub(crate) struct Memcached {
    limit_bytes: u64,
    page_bytes: u64,
    classes: Vec<Class>,
    items: Vec<Item>,
    links: Links,
    count: u64,
    pages: u64,
    writes: u32,
}

impl Memcached {
    pub(crate) fn new(objects: u32, limit_bytes: u64) -> Self {
        let mut page_bytes = PAGE_BYTES;
        while limit_bytes / page_bytes < PAGES_MIN && page_bytes > 4096 {
            page_bytes /= 2;
        }
        let absent =
            Item { class: 0, part: Part::Absent, fetched: false, active: false, chunks: 0, written_at: 0 };
        Self {
            limit_bytes,
            page_bytes,
            classes: classes(page_bytes),
            items: vec![absent; objects as usize],
            links: Links::new(objects),
            count: 0,
            pages: 0,
            writes: 0,
        }
    }

    /// The class and the number of chunks for an item of so many bytes; large ones are chains of the largest chunk.
    fn fit(&self, bytes: u64) -> (usize, u32) {
        let class = self.classes.partition_point(|class| class.chunk_bytes < bytes);
        if class < self.classes.len() {
            return (class, 1);
        }
        let largest = self.classes.len() - 1;
        (largest, u32::try_from(bytes.div_ceil(self.classes[largest].chunk_bytes)).unwrap_or(u32::MAX))
    }

    fn queue_push(&mut self, object: u32, part: Part) {
        let item = &mut self.items[object as usize];
        item.part = part;
        let queue = &mut self.classes[usize::from(item.class)].queues[part as usize];
        self.links.push(queue, object, u64::from(item.chunks));
    }

    fn queue_remove(&mut self, object: u32) {
        let item = self.items[object as usize];
        let queue = &mut self.classes[usize::from(item.class)].queues[item.part as usize];
        self.links.remove(queue, object, u64::from(item.chunks));
    }

    /// What the LRU maintainer does: hot and warm give up what is above their share.
    fn balance(&mut self, class: usize) {
        let total = self.classes[class].used;
        for (part, share) in [(Part::Hot, HOT_PERMILLE), (Part::Warm, WARM_PERMILLE)] {
            let mut tries = 0;
            while self.classes[class].queues[part as usize].bytes > permille(total, share) && tries < 100 {
                let oldest = self.classes[class].queues[part as usize].oldest();
                let active = std::mem::take(&mut self.items[oldest as usize].active);
                self.queue_remove(oldest);
                self.queue_push(oldest, if active { Part::Warm } else { Part::Cold });
                tries += 1;
            }
        }
    }

    /// Drops one item of the class; false when it has none.
    fn evict(&mut self, class: usize) -> bool {
        self.balance(class);
        for part in [Part::Cold, Part::Hot, Part::Warm] {
            let oldest = self.classes[class].queues[part as usize].oldest();
            if oldest != NONE {
                self.classes[class].evicted += 1;
                self.remove(oldest);
                return true;
            }
        }
        false
    }

    /// Gives the class one page: a new one while the limit allows, else another class's.
    fn add_page(&mut self, class: usize) -> bool {
        let hash_bytes = self.count * HASH_BYTES;
        if (self.pages + 1) * self.page_bytes + hash_bytes <= self.limit_bytes {
            self.pages += 1;
            self.classes[class].pages += 1;
            return true;
        }
        false
    }

    /// When the oldest cold item of each class was written; the class with pages to spare has the smallest.
    fn tail_written_at(&self, class: &Class) -> Option<u32> {
        let oldest = class.queues[Part::Cold as usize].oldest();
        (oldest != NONE).then(|| self.items[oldest as usize].written_at)
    }

    /// The page mover: a page goes from the class whose oldest item is oldest to an evicting one whose oldest item is
    /// younger by a fifth or more.
    fn move_page(&mut self, at: u32) {
        let age = |class: &Class| self.tail_written_at(class).map_or(0, |written_at| at - written_at);
        let giver = (0..self.classes.len())
            .filter(|&c| self.classes[c].pages > 1)
            .max_by_key(|&c| age(&self.classes[c]));
        let taker = (0..self.classes.len())
            .filter(|&c| self.classes[c].evicted > 0)
            .min_by_key(|&c| age(&self.classes[c]));
        if let (Some(giver), Some(taker)) = (giver, taker)
            && u64::from(age(&self.classes[taker])) * 5 < u64::from(age(&self.classes[giver])) * 4
        {
            self.take_page(giver);
            self.classes[taker].pages += 1;
        }
        for class in &mut self.classes {
            class.evicted = 0;
        }
    }

    fn take_page(&mut self, class: usize) {
        while self.classes[class].free() < self.classes[class].per_page && self.evict(class) {}
        self.classes[class].pages -= 1;
    }

    /// Makes room for so many chunks in the class; false when that is impossible.
    fn reserve(&mut self, class: usize, chunks: u64) -> bool {
        while self.classes[class].free() < chunks {
            if self.add_page(class) || self.evict(class) {
                continue;
            }
            let richest = (0..self.classes.len()).max_by_key(|&c| self.classes[c].pages).unwrap_or(0);
            if richest == class || self.classes[richest].pages == 0 {
                return false;
            }
            self.take_page(richest);
            self.classes[class].pages += 1;
        }
        true
    }
}

impl Policy for Memcached {
    fn get(&mut self, at: u32, object: u32) -> bool {
        let item = &mut self.items[object as usize];
        if item.part == Part::Absent {
            return false;
        }
        if !item.fetched {
            item.fetched = true;
        } else if !item.active {
            item.active = true;
            item.written_at = at;
            if item.part == Part::Cold {
                item.active = false;
                self.queue_remove(object);
                self.queue_push(object, Part::Warm);
            }
        }
        true
    }

    fn put(&mut self, at: u32, request: &Request) {
        self.remove(request.object);
        let (class, chunks) = self.fit(u64::from(request.bytes) + HEADER_BYTES);
        if !self.reserve(class, u64::from(chunks)) {
            return;
        }
        self.classes[class].used += u64::from(chunks);
        self.count += 1;
        self.items[request.object as usize] = Item {
            class: u8::try_from(class).unwrap_or(u8::MAX),
            part: Part::Hot,
            fetched: false,
            active: false,
            chunks,
            written_at: at,
        };
        self.queue_push(request.object, Part::Hot);
        self.balance(class);
        self.writes += 1;
        if self.writes.is_multiple_of(MOVE_EVERY) {
            self.move_page(at);
        }
        while self.pages > 1 && self.pages * self.page_bytes + self.count * HASH_BYTES > self.limit_bytes {
            let richest = (0..self.classes.len()).max_by_key(|&c| self.classes[c].pages).unwrap_or(0);
            self.take_page(richest);
            self.pages -= 1;
        }
    }

    fn remove(&mut self, object: u32) {
        let item = self.items[object as usize];
        if item.part != Part::Absent {
            self.queue_remove(object);
            self.items[object as usize].part = Part::Absent;
            self.classes[usize::from(item.class)].used -= u64::from(item.chunks);
            self.count -= 1;
        }
    }
}

/// Chunk sizes from the smallest by steps of 1.25, aligned to 8, up to half a page.
fn classes(page_bytes: u64) -> Vec<Class> {
    let largest = page_bytes / 2;
    let sizes = std::iter::successors(Some(CHUNK_MIN_BYTES), |size| Some((size * 5 / 4).next_multiple_of(8)));
    let sizes = sizes.take_while(|&size| size < largest * 4 / 5).chain([largest]);
    sizes
        .map(|chunk_bytes| Class {
            chunk_bytes,
            per_page: page_bytes / chunk_bytes,
            pages: 0,
            queues: [Queue::new(); 4],
            used: 0,
            evicted: 0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_memcached_s() {
        let sizes: Vec<u64> = classes(1 << 20).iter().map(|class| class.chunk_bytes).collect();
        assert_eq!(sizes[..6], [96, 120, 152, 192, 240, 304]);
        assert_eq!(sizes.len(), 39);
        assert_eq!(sizes.last(), Some(&524_288));
    }
}
