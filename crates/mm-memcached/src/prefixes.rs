//! `stats detail`: what was done to the keys of each prefix.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_base::buffer::Output;
use mm_proto::memcached::{Writer, limits::KEY_MAX_BYTES, lines};

use crate::limits::PREFIXES_MAX;

/// The longest line of a dump without its prefix.
const LINE_BYTES: usize = 128;

/// One shard's counts by prefix, while they are wanted. Another shard takes the lock only to show or clear them.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(Mutex<Counted>);

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    counts: HashMap<Box<[u8]>, Counts>,
}

/// What was done to the keys of a prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Hit,
    Miss,
    Set,
    Delete,
}

impl Prefixes {
    /// Waits for nobody for long: what is done under the lock is bounded.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the sums over all shards, by the order of prefixes.
    pub(crate) fn dump(shards: &[Self], output: &mut Output) {
        let mut all: BTreeMap<Box<[u8]>, Counts> = BTreeMap::new();
        for shard in shards {
            for (prefix, counts) in &shard.lock().counts {
                all.entry(prefix.clone()).or_default().add(counts);
            }
        }
        for (prefix, counts) in all {
            let mut writer = Writer::new(output.spare(LINE_BYTES + KEY_MAX_BYTES));
            writer.put(b"PREFIX ");
            writer.put(&prefix);
            for (name, number) in [
                (b" get ".as_slice(), counts.gets),
                (b" hit ", counts.hits),
                (b" set ", counts.sets),
                (b" del ", counts.deletes),
            ] {
                writer.put(name);
                writer.put_number(number);
            }
            writer.put(b"\r\n");
            let written = writer.len();
            output.commit(written);
        }
        output.write(lines::END);
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.hits += other.hits;
        self.sets += other.sets;
        self.deletes += other.deletes;
    }
}

impl Counted {
    /// Counts a deed, if the key has a prefix, which `delimiter` ends. Prefixes beyond the bound are not counted.
    pub(crate) fn count(&mut self, key: &[u8], delimiter: u8, deed: Deed) {
        let Some(len) = key.iter().position(|&byte| byte == delimiter) else { return };
        let prefix = &key[..len];
        if !self.counts.contains_key(prefix) {
            if self.counts.len() >= PREFIXES_MAX {
                return;
            }
            self.counts.insert(prefix.into(), Counts::default());
        }
        let Some(counts) = self.counts.get_mut(prefix) else { return };
        match deed {
            Deed::Hit => {
                counts.gets += 1;
                counts.hits += 1;
            }
            Deed::Miss => counts.gets += 1,
            Deed::Set => counts.sets += 1,
            Deed::Delete => counts.deletes += 1,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
    }
}
