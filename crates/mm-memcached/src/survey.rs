//! What sizes items have: `stats items`, `stats slabs`, `stats sizes`.
//!
//! Items of all sizes lie in the same segments, and no request counts by size. Whoever asks has the store looked at: in
//! bounded steps, all of it where it is small, else the same number of records of each segment, which then stand for
//! the whole segment. So the answer costs the requests nothing and takes a bounded time however large the store is.

use std::collections::BTreeMap;

use mm_store::{Cursor, Item, Looked, Sharing};

use crate::classes::Classes;
use crate::limits::{CLASSES_MAX, SURVEY_RECORDS, SURVEY_SEGMENT_MAX, SURVEY_SEGMENT_MIN};
use crate::storing::item_bytes;

/// A step of `stats sizes`, in bytes.
const SIZE_STEP_BYTES: usize = 32;

/// What a record stands for, in parts of an item.
const WHOLE: u64 = 1 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Items,
    Slabs,
    Sizes,
}

/// A survey under way.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) subject: Subject,
    pub(crate) cursor: Cursor,
    /// Records of each segment that are looked at.
    per_segment: usize,
    /// Records of the present segment that were looked at.
    records: usize,
    /// The sizes of its items.
    seen: Vec<u32>,
    /// By class, in parts of items and bytes.
    classes: [Class; CLASSES_MAX],
    /// By steps of size, in parts of items.
    sizes: BTreeMap<usize, u64>,
    /// Everything was looked at.
    is_whole: bool,
}

/// What there is in a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) items: u64,
    /// Their bytes, by memcached's measure.
    pub(crate) bytes: u64,
    /// Seconds since the item was read that was not read for the longest time.
    pub(crate) age_s: u32,
}

/// The end of a survey.
#[derive(Debug)]
pub(crate) struct Findings {
    /// What there is in each class; the first is number 1.
    pub(crate) classes: [Class; CLASSES_MAX],
    /// How many items there are by size, in steps.
    pub(crate) sizes: Vec<(usize, u64)>,
}

impl Survey {
    /// A survey of a store of so many segments.
    pub(crate) fn new(subject: Subject, segments: u64) -> Self {
        let segments = usize::try_from(segments).unwrap_or(usize::MAX).max(1);
        Self {
            subject,
            cursor: Cursor::default(),
            per_segment: (SURVEY_RECORDS / segments).clamp(SURVEY_SEGMENT_MIN, SURVEY_SEGMENT_MAX),
            records: 0,
            seen: Vec::new(),
            classes: [Class::default(); CLASSES_MAX],
            sizes: BTreeMap::new(),
            is_whole: true,
        }
    }

    /// Records of the present segment that are still to be looked at.
    pub(crate) fn left(&self) -> usize {
        self.per_segment - self.records
    }

    /// Notes an item.
    pub(crate) fn see<S: Sharing>(&mut self, item: &Item<'_, S>, classes: &Classes, now_s: u32) {
        let bytes = item_bytes(item.key().len(), item.client_flags(), item.len());
        let class = &mut self.classes[classes.class_of(bytes) - 1];
        class.age_s = class.age_s.max(now_s.saturating_sub(item.last_access_s()));
        self.seen.push(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// So many records were looked at. Returns whether the segment is done with.
    pub(crate) fn looked(&mut self, records: usize, looked: Looked, classes: &Classes) -> bool {
        self.records += records;
        if looked.bytes < looked.of_bytes && self.left() > 0 {
            return false;
        }
        self.is_whole &= looked.bytes == looked.of_bytes;
        let weight = WHOLE * (looked.of_bytes as u64) / (looked.bytes as u64).max(1);
        for bytes in self.seen.drain(..) {
            let bytes = bytes as usize;
            let class = &mut self.classes[classes.class_of(bytes) - 1];
            class.items += weight;
            class.bytes += weight * bytes as u64;
            if self.subject == Subject::Sizes {
                *self.sizes.entry(bytes.div_ceil(SIZE_STEP_BYTES) * SIZE_STEP_BYTES).or_default() += weight;
            }
        }
        self.records = 0;
        true
    }

    /// The findings for a store of so many items and of so many bytes by memcached's measure. Where not everything was
    /// looked at, they are brought in line with these.
    pub(crate) fn finish(&self, items: u64, bytes: u64) -> Findings {
        let found = self.classes.iter().fold(Class::default(), |all, class| Class {
            items: all.items + class.items,
            bytes: all.bytes + class.bytes,
            age_s: 0,
        });
        let (items, bytes) =
            if self.is_whole { (found.items / WHOLE, found.bytes / WHOLE) } else { (items, bytes) };
        let mut classes = self.classes;
        for class in &mut classes {
            class.items = share(class.items, found.items, items);
            class.bytes = share(class.bytes, found.bytes, bytes);
        }
        // What rounding has lost belongs to the largest.
        let rest = |sum: u64, whole: u64| whole.saturating_sub(sum);
        let (lost_items, lost_bytes) = (
            rest(classes.iter().map(|class| class.items).sum(), items),
            rest(classes.iter().map(|class| class.bytes).sum(), bytes),
        );
        if let Some(largest) = classes.iter_mut().max_by_key(|class| class.items) {
            largest.items += lost_items;
            largest.bytes += lost_bytes;
        }
        let sizes = self.sizes.iter().map(|(&size, &part)| (size, share(part, found.items, items).max(1)));
        Findings { classes, sizes: sizes.collect() }
    }
}

/// `part` of `all`, as the same part of `whole`.
fn share(part: u64, all: u64, whole: u64) -> u64 {
    let share = u128::from(part) * u128::from(whole) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// A survey of segments, each given by the sizes of its items, their bytes that were looked at, and those it has.
    fn survey(segments: &[(&[u32], usize, usize)]) -> Survey {
        let classes = Classes::new(&Settings::default());
        let mut survey = Survey::new(Subject::Sizes, segments.len() as u64);
        for &(sizes, bytes, of_bytes) in segments {
            survey.seen.extend_from_slice(sizes);
            survey.records = survey.per_segment;
            assert!(survey.looked(0, Looked { bytes, of_bytes, is_last: false }, &classes));
        }
        survey
    }

    #[test]
    fn all_items_are_counted_where_all_were_looked_at() {
        let findings = survey(&[(&[60, 70, 100], 300, 300), (&[], 0, 0), (&[60], 80, 80)]).finish(99, 9_999);
        assert_eq!(findings.classes[0], Class { items: 3, bytes: 190, age_s: 0 });
        assert_eq!(findings.classes[1], Class { items: 1, bytes: 100, age_s: 0 });
        assert_eq!(findings.sizes, [(64, 2), (96, 1), (128, 1)]);
    }

    #[test]
    fn records_stand_for_their_segment() {
        // A tenth of one segment, the whole of another.
        let findings =
            survey(&[(&[60; 10], 1_000, 10_000), (&[600; 20], 12_000, 12_000)]).finish(120, 18_000);
        assert_eq!(findings.classes[0].items, 100);
        assert_eq!(findings.classes[8].items, 20);
        assert_eq!(findings.classes.iter().map(|class| class.bytes).sum::<u64>(), 18_000);
    }
}
