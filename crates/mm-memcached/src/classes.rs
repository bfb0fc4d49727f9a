//! memcached's classes of item sizes, which its tools show. Nothing is kept by them here: they are a view.

use arrayvec::ArrayVec;

use crate::limits::CLASSES_MAX;
use crate::settings::Settings;

/// memcached's header of an item, which `-n` does not count.
const HEADER_BYTES: usize = 48;

/// memcached's largest piece of a value, and half of a page.
const LARGEST_BYTES: usize = 512 << 10;

/// A multiple of this is the size of every class.
const ALIGNMENT_BYTES: usize = 8;

/// A page of memcached's, which a class is given at a time.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// The largest item of each class in bytes, by memcached's measure. Classes are numbered from 1.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    chunks: ArrayVec<usize, CLASSES_MAX>,
}

impl Classes {
    /// The classes that memcached has with these flags (`-f`, `-n`, `-I`).
    pub(crate) fn new(settings: &Settings) -> Self {
        let largest = LARGEST_BYTES.min(settings.items.item_size_max);
        let factor = settings.growth_factor;
        let mut chunks = ArrayVec::new();
        let mut bytes =
            HEADER_BYTES.saturating_add(usize::try_from(settings.chunk_size).unwrap_or(usize::MAX));
        // One place is kept for the last class. Those of a factor of nearly 1 come to an end by their number.
        while chunks.len() + 1 < CLASSES_MAX && grown(bytes, factor) < largest {
            bytes = bytes.next_multiple_of(ALIGNMENT_BYTES);
            chunks.push(bytes);
            bytes = grown(bytes, factor);
        }
        chunks.push(largest);
        Self { chunks }
    }

    /// How many classes there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// The largest item of a class, in bytes.
    pub(crate) fn chunk_of(&self, class: usize) -> usize {
        self.chunks[class.clamp(1, self.chunks.len()) - 1]
    }

    /// The number of the class that an item of so many bytes would be in. Longer ones are in the last.
    pub(crate) fn class_of(&self, bytes: usize) -> usize {
        self.chunks.partition_point(|&chunk| chunk < bytes).min(self.chunks.len() - 1) + 1
    }
}

/// `bytes` times the growth factor, rounded down as memcached does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the factor is above 1; what exceeds a usize becomes the greatest one, which is larger than any class"
)]
fn grown(bytes: usize, factor: f64) -> usize {
    (bytes as f64 * factor) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut Settings)) -> Classes {
        let mut settings = Settings::default();
        change(&mut settings);
        Classes::new(&settings)
    }

    #[test]
    fn the_classes_of_memcached() {
        let default = [
            96, 120, 152, 192, 240, 304, 384, 480, 600, 752, 944, 1184, 1480, 1856, 2320, 2904, 3632, 4544,
            5680, 7104, 8880, 11104, 13880, 17352, 21696, 27120, 33904, 42384, 52984, 66232, 82792, 103_496,
            129_376, 161_720, 202_152, 252_696, 315_872, 394_840, 524_288,
        ];
        assert_eq!(of(|_| {}).chunks[..], default);
        let doubling = of(|settings| (settings.growth_factor, settings.chunk_size) = (2.0, 80));
        assert_eq!(
            doubling.chunks[..],
            [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131_072, 524_288]
        );
        assert_eq!(of(|settings| settings.growth_factor = 1.001).len(), CLASSES_MAX);
        assert_eq!(of(|settings| settings.items.item_size_max = 1024).chunk_of(99), 1024);
        assert_eq!(of(|settings| settings.chunk_size = u64::MAX).len(), 1);
    }

    #[test]
    fn an_item_is_in_the_smallest_class_that_holds_it() {
        let classes = of(|_| {});
        assert_eq!([57, 96, 97, 1 << 20].map(|bytes| classes.class_of(bytes)), [1, 1, 2, 39]);
    }
}
