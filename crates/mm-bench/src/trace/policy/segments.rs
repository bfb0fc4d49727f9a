//! Eviction over segments, as the store does it: S3-FIFO whose queues are made of segments.
//!
//! Items are appended to segments and never change; what is overwritten, deleted or expired leaves a hole. New items go
//! to the small queue, those whose key was dropped from it lately to main. When memory runs out,
//!
//! 1. a segment that is mostly holes gives them back: its live items are copied to the new end of its queue;
//! 2. else the small queue's oldest segment goes if that queue has its share: what was read enough is copied to main,
//!    the rest is dropped and remembered as ghosts;
//! 3. else main's oldest segment goes: what was read since its last copy is copied to main's new end, the rest dropped.
//!
//! "Enough" depends on size: small items survive with fewer reads, because they cost less to keep per hit. The small
//! queue's share grows when items dropped from it come back soon, and shrinks when items dropped from main do.

use super::ghost::Ghosts;
use super::{Overhead, Policy};
use crate::trace::number::{permille, real, to_u32, to_usize};
use crate::trace::random::Random;
use crate::trace::request::Request;
use log::{Log, Queue};
use settings::{Decay, Settings};

mod log;
pub(crate) mod settings;

/// A segment is never larger.
const SEGMENT_MAX_BYTES: u64 = 2 << 20;
/// And never smaller: less than a store would use, because traces are smaller than caches.
const SEGMENT_MIN_BYTES: u64 = 2 << 10;
/// Free segments kept back, so that eviction has room for what it copies.
const RESERVE_SEGMENTS: u64 = 2;
/// Item header, and the unit that items are rounded up to.
const HEADER_BYTES: u32 = 6;
const GRANULE_BYTES: u32 = 4;
/// Index bytes per live item and per ghost, in tenths.
const INDEX_TENTHS: u64 = 79;
const GHOST_TENTHS: u64 = 22;
/// Ghosts younger than these thousandths of the live items tell which queue deserves more.
const YOUNG_PERMILLE: u64 = 50;
/// The small queue's share stays between these.
const SMALL_PERMILLE: (u64, u64) = (10, 600);
/// Unused permission to copy is kept for at most so many segments.
const CREDIT_SEGMENTS: u64 = 4;
/// Fixes the choices by chance.
const SEED: u64 = 5;
/// Below this share of promotions the small queue is taken to see a loop or a scan; the share to begin with.
const LOOP_BELOW: f64 = 0.003;
const PROMOTED_AT_FIRST: f64 = 0.01;
/// How fast the share of promotions follows.
const PROMOTED_WEIGHT: f64 = 0.002;
/// Times to live below this are the first group; each further group reaches four times as far.
const TTL_GROUP_S: u32 = 60;

/// The model of our store.
#[derive(Debug)]
pub(crate) struct Segments {
    settings: Settings,
    limit_bytes: u64,
    log: Log,
    frequency: Vec<u8>,
    group: Vec<u8>,
    small_ghosts: Ghosts,
    main_ghosts: Ghosts,
    small_target_bytes: u64,
    /// Bytes that may still be copied out of segments with few holes; below 0 when those with many took more.
    credit_bytes: i64,
    copied_bytes: u64,
    /// Share of the items leaving the small queue that earned their way to main, the latest weighing most.
    promoted: f64,
    random: Random,
}

impl Segments {
    pub(crate) fn new(objects: u32, limit_bytes: u64, settings: Settings) -> Self {
        let segment_bytes = (limit_bytes / settings.segments).clamp(SEGMENT_MIN_BYTES, SEGMENT_MAX_BYTES);
        Self {
            limit_bytes,
            log: Log::new(objects, segment_bytes, settings.ttl_groups),
            frequency: vec![0; objects as usize],
            group: vec![0; objects as usize],
            small_ghosts: Ghosts::new(objects),
            main_ghosts: Ghosts::new(objects),
            small_target_bytes: permille(limit_bytes, settings.small_permille),
            credit_bytes: 0,
            copied_bytes: 0,
            promoted: PROMOTED_AT_FIRST,
            random: Random::new(SEED),
            settings,
        }
    }

    fn is_full(&self) -> bool {
        let ghosts = permille(self.log.live_items(), self.settings.ghosts_permille + YOUNG_PERMILLE);
        let index_bytes = (self.log.live_items() * INDEX_TENTHS + ghosts * GHOST_TENTHS) / 10;
        let reserve_bytes = RESERVE_SEGMENTS * self.log.segment_bytes();
        self.log.used_bytes() + reserve_bytes + index_bytes > self.limit_bytes
    }

    /// Empties one segment.
    fn evict(&mut self) {
        if let Some(id) = self.worth_compacting() {
            return self.compact(id);
        }
        let small = self.log.sealed(Queue::Small).next();
        let main = self.log.sealed(Queue::Main).next();
        let small_has_its_share = self.log.queue_bytes(Queue::Small) >= self.small_target_bytes;
        match (small, main) {
            (Some(id), None) => self.evict_small(id),
            (Some(id), Some(_)) if small_has_its_share => self.evict_small(id),
            (_, Some(oldest)) => {
                let id = self.least_to_keep().unwrap_or(oldest);
                self.evict_main(id);
            }
            (None, None) => self.log.seal_all(),
        }
    }

    /// A segment with so many holes that copying its live items is better than dropping any.
    fn worth_compacting(&self) -> Option<u32> {
        let (id, dead_permille) = self.log.deadest()?;
        let affordable = self.credit_bytes > 0 && dead_permille > Settings::DEAD_MIN_PERMILLE;
        (dead_permille > self.settings.dead_permille || affordable).then_some(id)
    }

    fn compact(&mut self, id: u32) {
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(self.log.live_bytes(id));
        let queue = self.log.queue_of(id);
        for object in self.begin(id) {
            self.copy(object, queue);
        }
        self.log.free(id);
    }

    fn evict_small(&mut self, id: u32) {
        let settings = &self.settings;
        let lenient_bytes = settings.lenient_above * self.small_target_bytes;
        let lenient = settings.lenient_above > 0 && self.log.queue_bytes(Queue::Small) > lenient_bytes;
        let need = if lenient { 1 } else { settings.promote_at };
        for object in self.begin(id) {
            let earned = self.worth(object) >= f64::from(need);
            let result = if earned { 1.0 } else { 0.0 };
            self.promoted += PROMOTED_WEIGHT * (result - self.promoted);
            if earned || self.is_lucky() {
                self.frequency[object as usize] = 0;
                self.copy(object, Queue::Main);
            } else {
                self.log.remove(object);
                self.small_ghosts.remember(object);
            }
        }
        self.log.free(id);
    }

    /// In a loop longer than the cache nothing is read before it goes; then any part that stays is better than none.
    fn is_lucky(&mut self) -> bool {
        let chance = real(self.settings.chance_permille) / 1000.0;
        self.promoted < LOOP_BELOW && chance > 0.0 && self.random.chance(chance)
    }

    fn evict_main(&mut self, id: u32) {
        let mut objects = self.begin(id);
        let mut room_bytes = u64::MAX;
        if self.settings.kept_permille < 1000 {
            objects.sort_by(|&one, &other| self.worth(other).total_cmp(&self.worth(one)));
            room_bytes = permille(self.log.segment_bytes(), self.settings.kept_permille);
        }
        for object in objects {
            let bytes = u64::from(self.log.bytes(object));
            if self.worth(object) >= 1.0 && bytes <= room_bytes {
                room_bytes -= bytes;
                let frequency = &mut self.frequency[object as usize];
                *frequency = match self.settings.decay {
                    Decay::Step => *frequency - 1,
                    Decay::Halve => *frequency / 2,
                    Decay::Clear => 0,
                };
                self.copy(object, Queue::Main);
            } else {
                self.log.remove(object);
                self.main_ghosts.remember(object);
            }
        }
        self.log.free(id);
    }

    /// Among the oldest of main the segment with the fewest bytes to copy.
    fn least_to_keep(&self) -> Option<u32> {
        let kept = |&id: &u32| -> u64 {
            let stays = self.log.live(id).filter(|&object| self.worth(object) >= 1.0);
            stays.map(|object| u64::from(self.log.bytes(object))).sum()
        };
        if self.settings.candidates < 2 {
            return None;
        }
        self.log.sealed(Queue::Main).take(self.settings.candidates).min_by_key(kept)
    }

    /// Takes a segment out of its queue and lists what lives in it.
    fn begin(&mut self, id: u32) -> Vec<u32> {
        self.log.take(id);
        self.log.live(id).collect()
    }

    fn copy(&mut self, object: u32, queue: Queue) {
        let bytes = self.log.bytes(object);
        self.log.remove(object);
        self.log.append(queue, self.group[object as usize], object, bytes);
        self.copied_bytes += u64::from(bytes);
    }

    /// The frequency of the item, more for a small one and less for a large one.
    fn worth(&self, object: u32) -> f64 {
        let frequency = f64::from(self.frequency[object as usize]);
        if self.settings.size_power == 0.0 || frequency == 0.0 {
            return frequency;
        }
        let mean = real(self.log.used_bytes()) / real(self.log.live_items().max(1));
        frequency * (mean / f64::from(self.log.bytes(object))).powf(self.settings.size_power)
    }

    /// Where a new item goes; what the ghosts know moves the small queue's share.
    fn admit(&mut self, object: u32, bytes: u64) -> Queue {
        let live = self.log.live_items().max(16);
        let count = |share| to_u32(to_usize(permille(live, share)));
        let young = count(YOUNG_PERMILLE);
        if self.settings.adapts {
            let bounds = SMALL_PERMILLE;
            if self.small_ghosts.holds(object, young) {
                let max = permille(self.limit_bytes, bounds.1);
                self.small_target_bytes = (self.small_target_bytes + bytes).min(max);
            } else if self.main_ghosts.holds(object, young) {
                let min = permille(self.limit_bytes, bounds.0);
                self.small_target_bytes = self.small_target_bytes.saturating_sub(bytes).max(min);
            }
        }
        self.main_ghosts.recall(object, young);
        let ghost = self.small_ghosts.recall(object, count(self.settings.ghosts_permille));
        if ghost { Queue::Main } else { Queue::Small }
    }

    fn ttl_group(&self, ttl_s: u32) -> u8 {
        if ttl_s == 0 {
            return 0;
        }
        let steps = (ttl_s / TTL_GROUP_S).checked_ilog2().map_or(0, |log| log / 2 + 1);
        u8::try_from(steps + 1).unwrap_or(u8::MAX).min(self.settings.ttl_groups - 1)
    }
}

impl Policy for Segments {
    fn get(&mut self, _at: u32, object: u32) -> bool {
        let hit = self.log.holds(object);
        if hit {
            let frequency = &mut self.frequency[object as usize];
            *frequency = (*frequency + 1).min(self.settings.frequency_max);
        }
        hit
    }

    fn put(&mut self, at: u32, request: &Request) {
        let ttl_bytes = if request.ttl_s == 0 { 0 } else { Overhead::MAIN_MEMORY.ttl_bytes };
        let bytes = (request.bytes + HEADER_BYTES + ttl_bytes).next_multiple_of(GRANULE_BYTES);
        let object = request.object;
        let queue = if self.get(at, object) {
            let queue = self.log.queue(object);
            self.log.remove(object);
            queue
        } else {
            self.frequency[object as usize] = 0;
            self.admit(object, u64::from(bytes))
        };
        if u64::from(bytes) * 4 > self.limit_bytes {
            return;
        }
        let earned = permille(u64::from(bytes), self.settings.copy_permille);
        let most = (CREDIT_SEGMENTS * self.log.segment_bytes()).cast_signed();
        self.credit_bytes = self.credit_bytes.saturating_add_unsigned(earned).min(most);
        self.group[object as usize] = self.ttl_group(request.ttl_s);
        self.log.append(queue, self.group[object as usize], object, bytes);
        while self.is_full() {
            self.evict();
        }
    }

    fn remove(&mut self, object: u32) {
        if self.log.holds(object) {
            self.log.remove(object);
        }
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}

#[cfg(test)]
mod tests;
