//! Opening a store in memory that outlives it, and what it leaves there.

use crate::primitive::{AtomicU64, Ordering};
use std::io;
use std::os::unix::fs::FileExt;

use super::core::Core;
use crate::config::{Config, Sizes};
use crate::hash::KeyHasher;
use crate::kept::{Kept, KeptError, Leave, Reading, Refused, Writing};
use crate::limits::{RESERVE_FACTOR, RESERVE_FROM_BYTES};
use crate::memory::{EXTENT_HEADER_BYTES, GHOSTS, Ground, SLOTS, digest};
use crate::segment::{QUEUES, TTL_GROUPS};
use crate::sharing::Sharing;

/// Stands for everything that the bytes of a store depend on, besides the sizes that follow from its limit.
fn layout() -> u64 {
    let sizes = [SLOTS, GHOSTS, QUEUES, TTL_GROUPS, EXTENT_HEADER_BYTES];
    let mut bytes: Vec<u8> = sizes.iter().flat_map(|size| (*size as u64).to_le_bytes()).collect();
    let hash = KeyHasher::new(0).hash(b"a key");
    for part in [hash.first(), hash.second(), u64::from(hash.tag())] {
        bytes.extend_from_slice(&part.to_le_bytes());
    }
    digest(&bytes)
}

/// The sizes that two stores must have in common.
fn numbers(sizes: &Sizes) -> [u64; 5] {
    [sizes.segment_bytes, sizes.granule_bytes, sizes.reserved_bytes, sizes.segments as usize, sizes.items_max]
        .map(|size| size as u64)
}

impl<S: Sharing> Core<S> {
    /// Opens a store in kept memory: the one that was left there, or an empty one where there was none.
    pub(super) fn open_kept(config: &Config, shards: usize, kept: &Kept) -> Result<Self, KeptError> {
        let mut core = match kept.take_found() {
            Some(book) => match Self::restored(config, shards, kept, &book) {
                Err(error @ KeptError::System(_)) => {
                    kept.put_found(book);
                    return Err(error);
                }
                restored => restored?,
            },
            None if kept.moves() => Self::open(config, shards)?,
            None => {
                kept.file().set_len(0)?;
                let factor = if reserves(config) { RESERVE_FACTOR } else { 1 };
                let sizes = Sizes::new(config.limit_bytes, factor);
                Self::open_with(config, sizes, shards, &mut Ground::of(kept.file()))?
            }
        };
        if let Some(totals) = kept.take_totals() {
            core.counters[0].go_on_from(totals);
        }
        core.kept = Some(kept.clone());
        Ok(core)
    }

    fn restored(config: &Config, shards: usize, kept: &Kept, book: &[u8]) -> Result<Self, KeptError> {
        let (mut reading, mark) = Reading::new(book, layout())?;
        let limit_bytes = reading.take()?;
        let mut found = [0; 5];
        for number in &mut found {
            *number = reading.take()?;
        }
        let file_len = reading.take()?;
        let factors = if reserves(config) { [RESERVE_FACTOR, 1] } else { [1, 1] };
        let fits = |sizes: &Sizes| limit_bytes == sizes.limit_bytes as u64 && numbers(sizes) == found;
        let own = factors.map(|factor| Sizes::new(config.limit_bytes, factor));
        let Some(&sizes) = own.iter().find(|sizes| fits(sizes)) else {
            let (theirs, ours) = (limit_bytes >> 20, own[0].limit_bytes >> 20);
            return Err(Refused::new(format!("it was left with a limit of {theirs} MiB, not {ours}")).into());
        };
        let len = kept.file().metadata()?.len();
        if len != file_len {
            return Err(Refused::new(format!("it has {len} bytes, of {file_len} that were left")).into());
        }
        let config = Config { hash_seed: reading.take()?, ..*config };
        let mut core = Self::open_with(&config, sizes, shards, &mut Ground::of(kept.file()))?;
        let note = reading.take_bytes()?;
        core.take_over(kept, &mut reading, mark)?;
        if !kept.is_lent() || mm_base::canary!("lent memory marked", 1) {
            // From here on the memory is in use: should the process end as it is, nobody takes it for what was left.
            core.arena.set_mark(0);
        }
        kept.put_found_note(note.to_vec());
        Ok(core)
    }

    /// Fills an empty store, whose memory another has left, from its book.
    fn take_over(&mut self, kept: &Kept, book: &mut Reading<'_>, mark: u64) -> Result<(), KeptError> {
        if self.arena.mark() != mark {
            let what = "its book is of another time: it was in use since, and not left in order";
            return Err(Refused::new(what).into());
        }
        let digested = book.take()? != 0;
        self.flushed_before = AtomicU64::new(book.take()?);
        let (items, item_bytes) = (book.take()?, book.take()?);
        self.index.restore(book, items, digested)?;
        kept.go_on()?;
        self.ghosts.restore(book, digested)?;
        self.segments.restore(&mut self.arena, book, digested, || kept.go_on())?;
        if !book.is_done() {
            return Err(Refused::book().into());
        }
        let expired: u64 =
            self.segments.ids().map(|id| u64::from(self.segments.get(id).expired_bytes())).sum();
        let counters = &self.counters[0];
        counters.items.add(items);
        counters.stored.add(items);
        counters.item_bytes.add(item_bytes);
        counters.expired_bytes.add(expired);
        Ok(())
    }

    /// Sees to it that all is in the file, and returns the book.
    fn leave_in_order(&mut self, kept: &Kept, digested: bool) -> io::Result<Option<Vec<u8>>> {
        if !kept.moves() {
            let file_len = kept.file().metadata()?.len();
            return Ok(self.book(digested, file_len, &kept.note()));
        }
        if !self.arena.is_at_rest() {
            return Ok(None);
        }
        let file = kept.file();
        let index_start = self.arena.move_to(file)?;
        let ghosts_start = self.index.move_to(file, index_start)?;
        let end = self.ghosts.move_to(file, ghosts_start)?;
        file.set_len(end)?;
        let book = self.book(false, end, &kept.note());
        file.write_all_at(&self.arena.mark().to_ne_bytes(), 0)?;
        Ok(book)
    }

    /// The book of the store; `None` where somebody still uses something of it.
    fn book(&mut self, digested: bool, file_len: u64, note: &[u8]) -> Option<Vec<u8>> {
        if !self.arena.is_at_rest() {
            return None;
        }
        let mut book = Writing::new(layout());
        book.put(self.sizes.limit_bytes as u64);
        numbers(&self.sizes).into_iter().for_each(|number| book.put(number));
        book.put(file_len);
        book.put(self.hash_seed);
        book.put_bytes(note);
        book.put(u64::from(digested));
        book.put(self.flushed_before.load(Ordering::Acquire));
        book.put(self.count_items() as u64);
        book.put(self.counted().item_bytes);
        self.index.save(&mut book, digested);
        self.ghosts.save(&mut book, digested);
        if !self.segments.save(&mut self.arena, &mut book, digested) {
            return None;
        }
        let (book, mark) = book.finish();
        self.arena.set_mark(mark);
        Some(book)
    }
}

/// Whether address space is reserved for a higher limit.
fn reserves(config: &Config) -> bool {
    cfg!(target_pointer_width = "64") && config.limit_bytes >= RESERVE_FROM_BYTES
}

impl<S: Sharing> Drop for Core<S> {
    /// Leaves the memory in order, where it is to be left.
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        kept.put_totals(self.totals());
        let leave = kept.wanted();
        if leave == Leave::Nothing {
            return;
        }
        if let Ok(Some(book)) = self.leave_in_order(&kept, leave == Leave::Checked) {
            kept.put_left(book);
        }
    }
}
