//! What the value of a key is: every byte of it follows from the key, so every byte can be checked.

use super::random::{Random, mix};
use super::sizes::Sizes;

/// Two keys' values begin at different places of the pattern, unless their hashes agree modulo this.
const PATTERN_SHIFTS: usize = 4_096;

/// Writes values and recognizes them: the key's number and a bar, then random bytes from a place that depends on
/// the key.
#[derive(Debug)]
pub(crate) struct Values {
    sizes: Sizes,
    pattern: Vec<u8>,
}

impl Values {
    /// Values of these lengths.
    pub(crate) fn new(sizes: Sizes) -> Self {
        let mut random = Random::new(1);
        let mut pattern = Vec::new();
        while pattern.len() < sizes.most() + PATTERN_SHIFTS {
            pattern.extend_from_slice(&random.bits().to_le_bytes());
        }
        Self { sizes, pattern }
    }

    /// The length of the value of key `id`.
    pub(super) fn length(&self, id: u64) -> usize {
        self.sizes.length(id)
    }

    /// The longest value.
    pub(super) fn longest(&self) -> usize {
        self.sizes.most()
    }

    /// Appends the value of key `id`.
    pub(crate) fn write(&self, id: u64, output: &mut Vec<u8>) {
        let mut number = [0; DIGITS];
        let (label, rest) = self.parts(id, &mut number);
        output.extend_from_slice(label);
        output.extend_from_slice(rest);
    }

    /// Whether `value` is the value of key `id`.
    pub(super) fn check(&self, id: u64, value: &[u8]) -> bool {
        let mut number = [0; DIGITS];
        let (label, rest) = self.parts(id, &mut number);
        value.len() == label.len() + rest.len() && value.starts_with(label) && value[label.len()..] == *rest
    }

    fn parts<'a>(&'a self, id: u64, number: &'a mut [u8; DIGITS]) -> (&'a [u8], &'a [u8]) {
        let length = self.sizes.length(id);
        let label = decimal(id, number);
        let label = &label[..label.len().min(length)];
        let start = usize::try_from(mix(id)).unwrap_or(usize::MAX) % PATTERN_SHIFTS;
        (label, &self.pattern[start..start + length - label.len()])
    }
}

/// Room for the longest number and a bar.
const DIGITS: usize = 21;

/// `id` in decimal with a bar behind it.
fn decimal(id: u64, room: &mut [u8; DIGITS]) -> &[u8] {
    room[DIGITS - 1] = b'|';
    let start = write_decimal(id, &mut room[..DIGITS - 1]);
    &room[start..]
}

/// Writes `number` to the end of `room`, 20 bytes at least; gives where it begins.
fn write_decimal(mut number: u64, room: &mut [u8]) -> usize {
    let mut start = room.len();
    loop {
        start -= 1;
        room[start] = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        if number == 0 {
            return start;
        }
    }
}

/// Appends a number in decimal.
pub(super) fn append_decimal(number: u64, output: &mut Vec<u8>) {
    let mut room = [0; 20];
    let start = write_decimal(number, &mut room);
    output.extend_from_slice(&room[start..]);
}

#[cfg(test)]
mod tests {
    use super::Values;
    use crate::load::Sizes;

    #[test]
    fn a_value_is_recognized_by_its_key_only() {
        let values = Values::new("0-300".parse().unwrap());
        for id in [0, 1, 9, 10, 12_345, u64::MAX] {
            let mut value = Vec::new();
            values.write(id, &mut value);
            assert!(values.check(id, &value));
            assert_eq!(value.len(), values.length(id));
        }
    }

    #[test]
    fn another_keys_value_a_changed_byte_and_a_cut_value_are_refused() {
        let values = Values::new(Sizes::fixed(100));
        let mut value = Vec::new();
        values.write(77, &mut value);
        assert!(!values.check(78, &value));
        assert!(!values.check(77, &value[..99]));
        for position in 0..100 {
            value[position] ^= 1;
            assert!(!values.check(77, &value), "byte {position}");
            value[position] ^= 1;
        }
    }
}
