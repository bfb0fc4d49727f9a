//! `stats items`, `stats slabs` and `stats sizes`: memory as if it were divided into memcached's classes.
//!
//! How many items there are in each class, of how many bytes and how old, is found by a look at the store. What
//! requests and evictions have done is not counted by size: it stands in the class with the most items, so that sums
//! are right.

use mm_base::buffer::Output;
use mm_proto::memcached::lines;
use mm_store::Sharing;

use super::{class_stat, stat};
use crate::classes::PAGE_BYTES;
use crate::counters::{Counter, Counters};
use crate::datagrams::NOT_BY_UDP;
use crate::limits::ITEM_HEADER_BYTES;
use crate::long::{Long, Progress};
use crate::service::{Call, Memcached};
use crate::survey::{Class, Findings, Subject, Survey};

/// The lines of `stats sizes` that are still to be sent.
#[derive(Debug)]
pub(crate) struct SizeLines {
    sizes: std::vec::IntoIter<(usize, u64)>,
}

impl SizeLines {
    /// Sends some.
    pub(crate) fn resume(&mut self, output: &mut Output) -> Progress {
        for (size, items) in self.sizes.by_ref() {
            stat(output, &size.to_string(), items);
            if output.is_full() {
                return Progress::Full;
            }
        }
        output.write(lines::END);
        Progress::Over
    }
}

impl<S: Sharing> Memcached<S> {
    /// Begins a look at the sizes of items.
    pub(super) fn begin_survey(&self, subject: Subject, call: &mut Call<'_>) {
        if call.asking == 0 {
            return call.output.write(NOT_BY_UDP);
        }
        let segments = self.store.stats().segments;
        call.long = Some(Box::new(Long::Survey(Box::new(Survey::new(subject, segments)))));
    }

    /// Tells what a look at the store has found. Returns what follows in steps.
    pub(crate) fn show_survey(&self, survey: &Survey, call: &mut Call<'_>) -> Option<Long> {
        let store = self.store.stats();
        let bytes = store.item_bytes + store.items * ITEM_HEADER_BYTES as u64;
        let findings = survey.finish(store.items, bytes);
        match survey.subject {
            Subject::Items => self.stats_items(&findings, call.output),
            Subject::Slabs => self.stats_slabs(&findings, call.output),
            Subject::Sizes => return Some(Long::Sizes(SizeLines { sizes: findings.sizes.into_iter() })),
        }
        call.output.write(lines::END);
        None
    }

    fn stats_items(&self, findings: &Findings, output: &mut Output) {
        let store = self.store.stats();
        let hits = self.sum(|counters| &counters.get_hits);
        for (class, found, counted) in shown(findings) {
            let counted = |count: u64| if counted { count } else { 0 };
            for name_and_value in [
                ("number", found.items),
                ("number_hot", 0),
                ("number_warm", 0),
                ("number_cold", found.items),
                ("age_hot", 0),
                ("age_warm", 0),
                ("age", u64::from(found.age_s)),
                ("mem_requested", found.bytes),
                ("evicted", counted(store.evicted)),
                ("evicted_nonzero", counted(store.evicted_with_expiry)),
                ("evicted_time", counted(store.evicted_age_s)),
                ("outofmemory", counted(store.refused)),
                ("tailrepairs", 0),
                ("reclaimed", counted(store.reclaimed)),
                ("expired_unfetched", counted(store.expired_unfetched)),
                ("evicted_unfetched", counted(store.evicted_unfetched)),
                ("evicted_active", counted(store.evicted_active)),
                ("crawler_reclaimed", counted(store.reclaimed_by_search)),
                ("crawler_items_checked", 0),
                ("lrutail_reflocked", 0),
                ("moves_to_cold", 0),
                ("moves_to_warm", counted(store.moved)),
                ("moves_within_lru", 0),
                ("direct_reclaims", 0),
                ("hits_to_hot", 0),
                ("hits_to_warm", 0),
                ("hits_to_cold", counted(hits)),
                ("hits_to_temp", 0),
            ] {
                class_stat(output, "items:", class, name_and_value);
            }
        }
    }

    fn stats_slabs(&self, findings: &Findings, output: &mut Output) {
        let store = self.store.stats();
        for (class, found, counted) in shown(findings) {
            let counted = |counter: fn(&Counters) -> &Counter| if counted { self.sum(counter) } else { 0 };
            let chunk = self.shared.classes.chunk_of(class);
            let per_page = (PAGE_BYTES / chunk).max(1) as u64;
            let pages = found.items.div_ceil(per_page);
            for name_and_value in [
                ("chunk_size", chunk as u64),
                ("chunks_per_page", per_page),
                ("total_pages", pages),
                ("total_chunks", pages * per_page),
                ("used_chunks", found.items),
                ("free_chunks", pages * per_page - found.items),
                ("free_chunks_end", 0),
                ("get_hits", counted(|counters| &counters.get_hits)),
                ("cmd_set", counted(|counters| &counters.cmd_set)),
                ("delete_hits", counted(|counters| &counters.delete_hits)),
                ("incr_hits", counted(|counters| &counters.incr_hits)),
                ("decr_hits", counted(|counters| &counters.decr_hits)),
                ("cas_hits", counted(|counters| &counters.cas_hits)),
                ("cas_badval", counted(|counters| &counters.cas_badval)),
                ("touch_hits", counted(|counters| &counters.touch_hits)),
            ] {
                class_stat(output, "", class, name_and_value);
            }
        }
        stat(output, "active_slabs", shown(findings).count());
        stat(output, "total_malloced", store.segments * store.segment_bytes);
    }
}

/// The classes with items, each with its number and whether it is the one that is shown with all counts.
fn shown(findings: &Findings) -> impl Iterator<Item = (usize, Class, bool)> + '_ {
    let most = findings.classes.iter().map(|class| class.items).max().unwrap_or(0);
    let fullest = findings.classes.iter().position(|class| class.items == most);
    let all = findings.classes.iter().enumerate().filter(|(_, class)| class.items > 0);
    all.map(move |(index, class)| (index + 1, *class, Some(index) == fullest))
}
