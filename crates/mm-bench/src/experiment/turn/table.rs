//! A million items behind a hash index: one cache line of bucket, then the item, both at random places.

use crate::floor::memory::{advise_huge_pages, prefetch};
use crate::load::{Sizes, Values};

/// Items in the table; the load asks for the same keys.
pub(super) const ITEMS: u64 = 1_000_000;

/// Bytes in each value.
pub(super) const VALUE_BYTES: usize = 100;

/// What every key begins with.
pub(super) const PREFIX: &str = "key:";

const BUCKETS: usize = 1 << 18;
const SLOTS: usize = 10;

/// One cache line: tags and item numbers; item number 0 is an empty slot.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    items: [u32; SLOTS],
    tags: [u16; SLOTS],
}

/// An item over two cache lines, as a key of 11 and a value of 100 bytes take.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Item {
    key_length: u8,
    key: [u8; 23],
    value: [u8; VALUE_BYTES],
}

/// The table.
pub(super) struct Table {
    buckets: Vec<Bucket>,
    items: Vec<Item>,
}

/// A key's hash.
#[derive(Clone, Copy, Default)]
pub(super) struct Hash(u64);

impl Hash {
    /// Multiplies and folds eight bytes at a time: as much work as a good hash of a short key.
    pub(super) fn of(key: &[u8]) -> Self {
        let mut state = key.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
        for chunk in key.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let product =
                u128::from(state ^ u64::from_le_bytes(word)) * 0xd1b5_4a32_d192_ed03_a076_1d64_78bd_642f;
            let [low, high] = [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
            state = low.unwrap_or(0) ^ high.unwrap_or(0);
        }
        Self(state)
    }

    fn bucket(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX) % BUCKETS
    }

    fn tag(self) -> u16 {
        let bytes = self.0.to_le_bytes();
        u16::from_le_bytes([bytes[6], bytes[7]])
    }
}

impl Table {
    /// The table with all items in it.
    pub(super) fn fill() -> Self {
        let mut buckets = Vec::with_capacity(BUCKETS);
        let mut items = Vec::with_capacity(usize::try_from(ITEMS).unwrap_or(0) + 1);
        advise_huge_pages(buckets.spare_capacity_mut());
        advise_huge_pages(items.spare_capacity_mut());
        buckets.resize(BUCKETS, Bucket { items: [0; SLOTS], tags: [0; SLOTS] });
        items.push(Item { key_length: 0, key: [0; 23], value: [0; VALUE_BYTES] });
        let mut table = Self { buckets, items };
        let values = Values::new(Sizes::fixed(VALUE_BYTES));
        for id in 0..ITEMS {
            table.insert(id, &values);
        }
        table
    }

    fn insert(&mut self, id: u64, values: &Values) {
        let mut value = Vec::with_capacity(VALUE_BYTES);
        values.write(id, &mut value);
        let key = format!("{PREFIX}{id}");
        let mut item = Item { key_length: 0, key: [0; 23], value: [0; VALUE_BYTES] };
        item.key_length = u8::try_from(key.len()).unwrap_or(0);
        item.key[..key.len()].copy_from_slice(key.as_bytes());
        item.value.copy_from_slice(&value);
        let number = u32::try_from(self.items.len()).unwrap_or(0);
        self.items.push(item);
        let hash = Hash::of(key.as_bytes());
        let mut bucket = hash.bucket();
        loop {
            if let Some(slot) = self.buckets[bucket].items.iter().position(|item| *item == 0) {
                self.buckets[bucket].items[slot] = number;
                self.buckets[bucket].tags[slot] = hash.tag();
                return;
            }
            bucket = (bucket + 1) % BUCKETS;
        }
    }

    /// Asks for the bucket of a key to be brought near.
    pub(super) fn prefetch_bucket(&self, hash: Hash) {
        prefetch(&self.buckets[hash.bucket()]);
    }

    /// Asks for the item of a key to be brought near; its bucket should be there by now.
    pub(super) fn prefetch_item(&self, hash: Hash) {
        let bucket = &self.buckets[hash.bucket()];
        if let Some(slot) = bucket.tags.iter().position(|tag| *tag == hash.tag()) {
            let item = &self.items[bucket.items[slot] as usize];
            prefetch(item);
            prefetch(&item.value[VALUE_BYTES - 1]);
        }
    }

    /// The value of a key.
    pub(super) fn find(&self, hash: Hash, key: &[u8]) -> Option<&[u8]> {
        let mut index = hash.bucket();
        loop {
            let bucket = &self.buckets[index];
            for (tag, number) in bucket.tags.iter().zip(bucket.items) {
                let item = &self.items[number as usize];
                if *tag == hash.tag() && number != 0 && &item.key[..usize::from(item.key_length)] == key {
                    return Some(&item.value);
                }
            }
            if bucket.items.contains(&0) {
                return None;
            }
            index = (index + 1) % BUCKETS;
        }
    }
}
