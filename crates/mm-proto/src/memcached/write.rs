//! Responses, written in place.

/// The pairs of digits from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number: u8 = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// How many digits `number` has.
#[inline]
#[must_use]
pub const fn decimal_len(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// Writes into room that the caller has made sure suffices.
///
/// What does not fit is left out; in debug builds that is an assertion that fails.
#[derive(Debug)]
pub struct Writer<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// A writer that begins at the start of `room`.
    #[inline]
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    /// How many bytes have been written.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.take(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Appends one byte.
    #[inline]
    pub fn put_byte(&mut self, byte: u8) {
        if let Some([room]) = self.take(1) {
            *room = byte;
        }
    }

    /// Appends `number` in decimal.
    #[inline]
    pub fn put_number(&mut self, number: u64) {
        match u8::try_from(number) {
            Ok(digit @ 0..10) => self.put_byte(b'0' + digit),
            Ok(pair @ 10..100) => self.put(&PAIRS[usize::from(pair)]),
            _ => self.put_digits(number),
        }
    }

    fn put_digits(&mut self, mut number: u64) {
        let Some(room) = self.take(decimal_len(number)) else { return };
        let mut pairs = room.rchunks_exact_mut(2);
        for pair in pairs.by_ref() {
            pair.copy_from_slice(&PAIRS[usize::try_from(number % 100).unwrap_or_default()]);
            number /= 100;
        }
        if let [first] = pairs.into_remainder() {
            *first = b'0' + u8::try_from(number % 10).unwrap_or_default();
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let room = self.room.get_mut(self.len..self.len + bytes);
        debug_assert!(room.is_some(), "{bytes} bytes too many");
        if room.is_some() {
            self.len += bytes;
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length() {
        let mut number: u64 = 0;
        let mut numbers = vec![0, u64::MAX];
        for digit in [1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 9, 8, 7, 6, 5, 4, 3, 2] {
            number = number * 10 + digit;
            numbers.extend([number, number + 1, number - 1]);
        }
        for number in numbers {
            let mut room = [0; 20];
            let mut writer = Writer::new(&mut room);
            writer.put_number(number);
            let len = writer.len();
            assert_eq!(&room[..len], number.to_string().as_bytes());
            assert_eq!(len, decimal_len(number));
        }
    }
}
