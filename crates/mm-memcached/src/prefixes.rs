//! `stats detail`: what was done to the keys of each prefix.

use std::collections::HashMap;

use mm_base::buffer::Output;
use mm_proto::memcached::{Writer, limits::KEY_MAX_BYTES, lines};

use crate::limits::PREFIXES_MAX;

/// The longest line of a dump without its prefix.
const LINE_BYTES: usize = 128;

/// Counts by prefix, while they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
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

    /// Writes all counts, by the order of prefixes.
    pub(crate) fn dump(&self, output: &mut Output) {
        let mut all: Vec<(&[u8], &Counts)> =
            self.counts.iter().map(|(prefix, counts)| (&**prefix, counts)).collect();
        all.sort_unstable_by_key(|&(prefix, _)| prefix);
        for (prefix, counts) in all {
            let mut writer = Writer::new(output.spare(LINE_BYTES + KEY_MAX_BYTES));
            writer.put(b"PREFIX ");
            writer.put(prefix);
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
