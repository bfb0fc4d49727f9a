//! Responses, written in place.

use mm_base::short::copy;

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
    /// What has not been written yet.
    room: &'a mut [u8],
    bytes: usize,
}

impl<'a> Writer<'a> {
    /// A writer that begins at the start of `room`.
    #[inline]
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { bytes: room.len(), room }
    }

    /// How many bytes have been written.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes - self.room.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.take(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Appends `word`, which often has 8 to 32 bytes: these are copied in place, without a call.
    #[inline]
    pub fn put_word(&mut self, word: &[u8]) {
        let Some(room) = self.take(word.len()) else { return };
        copy(room, word);
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
        if number < 10 {
            self.put_byte(b'0' + (number & 0xf) as u8);
        } else if number < 10_000 {
            self.put_four(number);
        } else {
            self.put_digits(number);
        }
    }

    /// Appends a number below 10,000: its four digits are made together, and noughts at their front cut off.
    #[inline]
    fn put_four(&mut self, number: u64) {
        let (digits, len) = four_digits(number);
        if let Some(room) = self.room.first_chunk_mut() {
            *room = digits.to_le_bytes();
            self.take(len as usize);
        } else {
            self.put(&digits.to_le_bytes()[..len as usize]);
        }
    }

    #[inline(never)]
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
    fn take(&mut self, bytes: usize) -> Option<&'a mut [u8]> {
        debug_assert!(bytes <= self.room.len(), "{bytes} bytes into {}", self.room.len());
        if bytes > self.room.len() {
            return None;
        }
        let (taken, room) = std::mem::take(&mut self.room).split_at_mut(bytes);
        self.room = room;
        Some(taken)
    }
}

/// The digits of a number below 10,000, in the order of bytes, and how many they are.
#[inline(always)]
const fn four_digits(number: u64) -> (u32, u32) {
    let number = (number % 10_000) as usize;
    let ([a, b], [c, d]) = (PAIRS[number / 100], PAIRS[number % 100]);
    let len = 1 + (number > 9) as u32 + (number > 99) as u32 + (number > 999) as u32;
    (u32::from_le_bytes([a, b, c, d]) >> (8 * (4 - len)), len)
}

/// The digits of the numbers below 1,000 in three bytes, and how many they are in the fourth.
const SHORT: [u32; 1000] = {
    let mut table = [0; 1000];
    let mut number = 0;
    while number < table.len() {
        let (digits, len) = four_digits(number as u64);
        table[number] = digits | len << 24;
        number += 1;
    }
    table
};

/// The digits of a number below 10,000, in the order of bytes, and how many they are.
#[inline(always)]
fn digits_of(number: usize) -> (u32, u32) {
    match SHORT.get(number) {
        Some(short) => (short & 0xff_ffff, short >> 24),
        None => four_digits(number as u64),
    }
}

/// Writes the answer to get for one key whose item has no client flags, and the end of the whole answer where
/// this is the `last` key. Returns how many bytes that were.
///
/// `None` for a value above 9,999 bytes, and where `room` does not exceed [`VALUE_FRAME_BYTES`] with key and value.
#[inline(always)]
pub fn put_plain_value(room: &mut [u8], key: &[u8], value: &[u8], last: bool) -> Option<usize> {
    if value.len() > 9_999 || room.len() < VALUE_FRAME_BYTES + key.len() + value.len() {
        return None;
    }
    let (command, room) = room.split_first_chunk_mut()?;
    *command = *b"VALUE ";
    let (word, room) = room.split_at_mut_checked(key.len())?;
    copy(word, key);
    let header_len = put_length(room, *b" 0 ", value.len())?;
    let (copied, room) = room.get_mut(header_len..)?.split_at_mut_checked(value.len())?;
    copy(copied, value);
    *room.first_chunk_mut()? = *b"\r\nEND\r\n\0";
    let end_len = if last { b"\r\nEND\r\n".len() } else { b"\r\n".len() };
    Some(b"VALUE ".len() + key.len() + header_len + value.len() + end_len)
}

/// Writes the answer to mg for a value and nothing else. Returns how many bytes that were.
///
/// `None` for a value above 9,999 bytes, and where `room` does not exceed [`META_FRAME_BYTES`] with the value.
#[inline(always)]
pub fn put_meta_value(room: &mut [u8], value: &[u8]) -> Option<usize> {
    if value.len() > 9_999 || room.len() < META_FRAME_BYTES + value.len() {
        return None;
    }
    let header_len = put_length(room, *b"VA ", value.len())?;
    let (copied, room) = room.get_mut(header_len..)?.split_at_mut_checked(value.len())?;
    copy(copied, value);
    *room.first_chunk_mut()? = *b"\r\n";
    Some(header_len + value.len() + b"\r\n".len())
}

/// What [`put_meta_value`] may write beside the value.
pub const META_FRAME_BYTES: usize = b"VA 9999\r\n\r\n".len();

/// Writes three bytes, a number below 10,000 and a line end. Returns how many bytes that were.
#[inline(always)]
fn put_length(room: &mut [u8], [first, second, third]: [u8; 3], number: usize) -> Option<usize> {
    // What does not go into the first eight bytes is the second one of the line end behind four digits.
    let (digits, len) = digits_of(number);
    let line_end = u64::from(u16::from_le_bytes(*b"\r\n"));
    let header = u64::from(u32::from_le_bytes([first, second, third, 0])) | u64::from(digits) << 24;
    *room.first_chunk_mut()? = (header | line_end << (24 + 8 * len)).to_le_bytes();
    if len == 4 {
        *room.get_mut(8)? = b'\n';
    }
    Some(5 + len as usize)
}

/// What [`put_plain_value`] may write beside key and value.
pub const VALUE_FRAME_BYTES: usize = b"VALUE  0 9999\r\n\r\nEND\r\n\0".len();

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

    #[test]
    fn words_of_every_length() {
        let word: Vec<u8> = (0..100).collect();
        for len in 0..=word.len() {
            let mut room = [0xff; 101];
            let mut writer = Writer::new(&mut room);
            writer.put_word(&word[..len]);
            assert_eq!(writer.len(), len);
            assert_eq!((&room[..len], room[len]), (&word[..len], 0xff));
        }
    }

    #[test]
    fn short_numbers_in_scarce_room() {
        for number in (0..11_000).step_by(7).chain([9, 10, 99, 100, 999, 1000, 9999]) {
            let text = number.to_string();
            let mut room = vec![0; text.len()];
            let mut writer = Writer::new(&mut room);
            writer.put_number(number);
            assert_eq!(writer.len(), text.len());
            assert_eq!(room, text.as_bytes());
        }
    }

    #[test]
    fn meta_values_are_written_as_piece_by_piece() {
        for len in (0..9_999).step_by(13).chain([9, 10, 99, 100, 999, 1000, 9999]) {
            let value = vec![b'v'; len];
            let mut room = vec![0; META_FRAME_BYTES + len];
            let written = put_meta_value(&mut room, &value).unwrap();
            assert_eq!(&room[..written], [format!("VA {len}\r\n").as_bytes(), &value, b"\r\n"].concat());
            room.pop();
            assert_eq!(put_meta_value(&mut room, &value), None);
        }
        assert_eq!(put_meta_value(&mut [0; 11_000], &[0; 10_000]), None);
    }

    #[test]
    fn plain_values_are_written_as_piece_by_piece() {
        for (len, key_len) in
            (0..9_999).step_by(13).chain([9, 10, 99, 100, 999, 1000, 9999]).zip((1..=250).cycle())
        {
            let (key, value) = (vec![b'k'; key_len], vec![b'v'; len]);
            for last in [false, true] {
                let mut room = vec![0; VALUE_FRAME_BYTES + key_len + len];
                let written = put_plain_value(&mut room, &key, &value, last);
                let end = if last { "END\r\n" } else { "" };
                let header = format!("VALUE {} 0 {len}\r\n", "k".repeat(key_len));
                let expected = [header.as_bytes(), &value, b"\r\n", end.as_bytes()].concat();
                assert_eq!(&room[..written.unwrap()], expected);
                room.pop();
                assert_eq!(put_plain_value(&mut room, &key, &value, last), None);
            }
        }
        assert_eq!(put_plain_value(&mut [0; 11_000], b"k", &[0; 10_000], true), None);
    }
}
