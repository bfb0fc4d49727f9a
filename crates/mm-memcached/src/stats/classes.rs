//! `stats items` and `stats slabs`: memory as if it were divided into memcached's classes.
//!
//! Items of all sizes lie in the same segments here, so there is nothing stored that these groups could tell. They
//! show all items in the class of their mean size, so that sums are right.

use mm_base::buffer::Output;
use mm_store::Sharing;

use super::{class_stat, stat};
use crate::classes::{chunk_of, class_of};
use crate::limits::ITEM_HEADER_BYTES;
use crate::service::Memcached;

/// A page of memcached's.
const PAGE_BYTES: u64 = 1 << 20;

impl<S: Sharing> Memcached<S> {
    /// The class that all items are shown in; none where there are none.
    fn shown_class(&self) -> Option<usize> {
        let store = self.store.stats();
        let mean = store.item_bytes.checked_div(store.items)?;
        Some(class_of(usize::try_from(mean).unwrap_or(usize::MAX).saturating_add(ITEM_HEADER_BYTES)))
    }

    /// `stats items`.
    pub(super) fn stats_items(&self, output: &mut Output) {
        let Some(class) = self.shown_class() else { return };
        let store = self.store.stats();
        let counters = self.counters();
        for name_and_value in [
            ("number", store.items),
            ("number_hot", 0),
            ("number_warm", 0),
            ("number_cold", store.items),
            ("age_hot", 0),
            ("age_warm", 0),
            ("age", 0),
            ("mem_requested", store.item_bytes + store.items * ITEM_HEADER_BYTES as u64),
            ("evicted", store.evicted),
            ("evicted_nonzero", store.evicted_with_expiry),
            ("evicted_time", 0),
            ("outofmemory", store.refused),
            ("tailrepairs", 0),
            ("reclaimed", store.reclaimed),
            ("expired_unfetched", store.expired_unfetched),
            ("evicted_unfetched", store.evicted_unfetched),
            ("evicted_active", 0),
            ("crawler_reclaimed", 0),
            ("crawler_items_checked", 0),
            ("lrutail_reflocked", 0),
            ("moves_to_cold", 0),
            ("moves_to_warm", store.moved),
            ("moves_within_lru", 0),
            ("direct_reclaims", 0),
            ("hits_to_hot", 0),
            ("hits_to_warm", 0),
            ("hits_to_cold", counters.get_hits.get()),
            ("hits_to_temp", 0),
        ] {
            class_stat(output, "items:", class, name_and_value);
        }
    }

    /// `stats slabs`.
    pub(super) fn stats_slabs(&self, output: &mut Output) {
        let store = self.store.stats();
        // All memory of items is mapped at the start, though it becomes resident as it is used.
        let malloced = store.limit_bytes;
        let Some(class) = self.shown_class() else {
            stat(output, "active_slabs", 0);
            return stat(output, "total_malloced", malloced);
        };
        let counters = self.counters();
        let chunk = chunk_of(class) as u64;
        let per_page = (PAGE_BYTES / chunk).max(1);
        let pages = store.items.div_ceil(per_page);
        for name_and_value in [
            ("chunk_size", chunk),
            ("chunks_per_page", per_page),
            ("total_pages", pages),
            ("total_chunks", pages * per_page),
            ("used_chunks", store.items),
            ("free_chunks", pages * per_page - store.items),
            ("free_chunks_end", 0),
            ("get_hits", counters.get_hits.get()),
            ("cmd_set", counters.cmd_set.get()),
            ("delete_hits", counters.delete_hits.get()),
            ("incr_hits", counters.incr_hits.get()),
            ("decr_hits", counters.decr_hits.get()),
            ("cas_hits", counters.cas_hits.get()),
            ("cas_badval", counters.cas_badval.get()),
            ("touch_hits", counters.touch_hits.get()),
        ] {
            class_stat(output, "", class, name_and_value);
        }
        stat(output, "active_slabs", 1);
        stat(output, "total_malloced", malloced);
    }
}
