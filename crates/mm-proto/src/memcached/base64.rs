//! Base64 for the keys of meta commands: the standard alphabet, padded.

/// The most bytes that [`encode`] makes of a key.
pub const ENCODED_MAX_BYTES: usize = super::limits::KEY_MAX_BYTES.div_ceil(3) * 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = 64;
const OTHER: u8 = 65;
const VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut values = [OTHER; 256];
    let mut value: u8 = 0;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values[b'=' as usize] = PAD;
    values
}

/// Decodes `text` into the start of `room`. Returns how many bytes, or `None` where `text` is no base64.
///
/// Like memcached, ignores bytes outside the alphabet and whatever follows the group with the padding. The
/// padding is required. `room` must have three bytes for every four of `text`.
#[must_use]
pub fn decode(text: &[u8], room: &mut [u8]) -> Option<usize> {
    let values = text.iter().map(|&byte| VALUES[usize::from(byte)]).filter(|&value| value != OTHER);
    let count = values.clone().count();
    if count == 0 || !count.is_multiple_of(4) {
        return None;
    }
    let mut written = 0;
    let mut group = [0u8; 4];
    for (index, value) in values.enumerate() {
        group[index % 4] = value;
        if index % 4 < 3 {
            continue;
        }
        let bytes = decode_group(group)?;
        let pads = group.iter().filter(|&&value| value == PAD).count();
        let part = 3 - pads;
        room.get_mut(written..written + part)?.copy_from_slice(&bytes[..part]);
        written += part;
        if pads > 0 {
            break;
        }
    }
    Some(written)
}

/// Three bytes of four values, or `None` where the padding is not one or two at the end.
fn decode_group(group: [u8; 4]) -> Option<[u8; 3]> {
    let [a, b, c, d] = group;
    if a == PAD || b == PAD || (c == PAD && d != PAD) {
        return None;
    }
    let (c, d) = (c & 63, d & 63);
    Some([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d])
}

/// Encodes `bytes` into the start of `room`, which must have four bytes for every three begun. Returns how
/// many.
pub fn encode(bytes: &[u8], room: &mut [u8]) -> usize {
    let mut written = 0;
    for (chunk, out) in bytes.chunks(3).zip(room.chunks_exact_mut(4)) {
        let byte = |index: usize| chunk.get(index).copied().unwrap_or(0);
        let symbol = |value: u8| ALPHABET[usize::from(value & 63)];
        out[0] = symbol(byte(0) >> 2);
        out[1] = symbol(byte(0) << 4 | byte(1) >> 4);
        out[2] = if chunk.len() > 1 { symbol(byte(1) << 2 | byte(2) >> 6) } else { b'=' };
        out[3] = if chunk.len() > 2 { symbol(byte(2)) } else { b'=' };
        written += 4;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        let mut room = [0; 256];
        decode(text.as_bytes(), &mut room).map(|len| room[..len].to_vec())
    }

    #[test]
    fn known_pairs() {
        for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()));
            let mut room = [0; 16];
            let len = encode(bytes.as_bytes(), &mut room);
            assert_eq!(&room[..len], text.as_bytes());
        }
        assert_eq!(decoded("Zm 9\tv").as_deref(), Some(b"foo".as_slice()));
        assert_eq!(decoded("//79").as_deref(), Some([0xff, 0xfe, 0xfd].as_slice()));
    }

    #[test]
    fn what_is_no_base64() {
        for text in ["", "Z", "Zg", "Zg=", "Zm9vY", "=Zg=", "Z===", "Zg=a", "....", "===="] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
