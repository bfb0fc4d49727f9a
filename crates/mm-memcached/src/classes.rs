//! memcached's classes of item sizes, which its tools show. Nothing here depends on them.

/// How many classes there are.
pub(crate) const CLASSES: i32 = 39;

/// The largest item of each class in bytes, by memcached's measure and with its default settings; the classes are
/// numbered from 1.
const CHUNKS: [usize; 39] = [
    96, 120, 152, 192, 240, 304, 384, 480, 600, 752, 944, 1184, 1480, 1856, 2320, 2904, 3632, 4544, 5680,
    7104, 8880, 11104, 13880, 17352, 21696, 27120, 33904, 42384, 52984, 66232, 82792, 103_496, 129_376,
    161_720, 202_152, 252_696, 315_872, 394_840, 524_288,
];

/// The largest item of a class, in bytes.
pub(crate) fn chunk_of(class: usize) -> usize {
    CHUNKS[class.clamp(1, CHUNKS.len()) - 1]
}

/// The number of the class that an item of so many bytes would be in. Longer ones are in the last.
pub(crate) fn class_of(bytes: usize) -> usize {
    CHUNKS.partition_point(|&chunk| chunk < bytes).min(CHUNKS.len() - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_in_the_smallest_class_that_holds_it() {
        assert_eq!([class_of(57), class_of(96), class_of(97), class_of(1 << 20)], [1, 1, 2, 39]);
    }
}
