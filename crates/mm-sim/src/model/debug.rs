//! me.

use super::fetch::due;
use super::{Context, Held, Item, Model, Wrong};
use crate::answer::{encoded, number, shown};
use crate::op::KeyId;
use crate::requests::item_bytes;

impl Model {
    /// What is known of an item, which is none for certain, or told as it is.
    pub(super) fn debug(
        &mut self,
        (id, key): (KeyId, &[u8]),
        line: &[u8],
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        if line == b"EN\r\n" {
            return self.absent(id, context);
        }
        self.present(id, context)?;
        let Held::Present(item) = self.held(id, context) else { return Ok(()) };
        let wrong = |why: String| format!("key {id}: {why} in {}", shown(line));
        let cas = item.described((key, line), context).map_err(wrong)?;
        self.told.push((id, cas));
        Ok(())
    }
}

impl Item {
    /// Whether that is the line which tells what is known of it. Returns the CAS value that it tells.
    fn described(&mut self, (key, line): (&[u8], &[u8]), context: &Context<'_>) -> Result<u64, Wrong> {
        let mut words = line[..line.len() - 2].split(|&byte| byte == b' ');
        let mut next = |name: &str| {
            let word = words.next().and_then(|word| word.strip_prefix(name.as_bytes()));
            word.ok_or_else(|| format!("no {name}"))
        };
        let told = |word: &[u8]| number(word).ok_or_else(|| format!("{} is no number", shown(word)));
        next("ME")?;
        let due_key = if self.is_encoded { encoded(key) } else { key.to_vec() };
        due("a key", Some(next("")?), &due_key[..])?;
        let left_s = next("exp=")?;
        let left_s = if left_s == b"-1" { -1 } else { told(left_s)?.cast_signed() };
        due("seconds to live", Some(left_s), context.moment.left_s(self.expiry_s))?;
        self.idles(Some(told(next("la=")?)?), context)?;
        let cas = told(next("cas=")?)?;
        self.told_cas(cas)?;
        let fetched = self.fetched.map(|fetched| if fetched { &b"yes"[..] } else { b"no" });
        let told_fetched = next("fetch=")?;
        due("fetched", Some(told_fetched), fetched.unwrap_or(told_fetched))?;
        let bytes = item_bytes(key.len(), self.flags, self.value.len());
        due("a class", Some(told(next("cls=")?)?), class_of(bytes, context.item_size_max) as u64)?;
        due("a size", Some(told(next("size=")?)?), bytes as u64)?;
        words.next().map_or(Ok(cas), |word| Err(format!("{} is too much", shown(word))))
    }
}

/// The number of the class that memcached has an item of so many bytes in, where items have this many at most.
pub(super) fn class_of(bytes: usize, item_size_max: usize) -> usize {
    const SMALLEST_BYTES: usize = 96;
    const LARGEST_BYTES: usize = 512 * 1024;
    let largest = LARGEST_BYTES.min(item_size_max);
    let grown = |chunk: usize| chunk * 5 / 4;
    let (mut class, mut chunk) = (1, SMALLEST_BYTES);
    // The last class is that of the largest items.
    while grown(chunk) < largest && chunk.next_multiple_of(8) < bytes {
        (class, chunk) = (class + 1, grown(chunk.next_multiple_of(8)));
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_of_memcached() {
        assert_eq!(
            [57, 96, 97, 120, 121, 394_840, 394_841, 1 << 20].map(|bytes| class_of(bytes, 1 << 20)),
            [1, 1, 2, 2, 3, 38, 39, 39]
        );
    }
}
