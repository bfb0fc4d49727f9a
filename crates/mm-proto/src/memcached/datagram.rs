//! The frame of memcached's datagrams: eight bytes before the text or binary protocol's.

/// Bytes of the frame.
pub const FRAME_BYTES: usize = 8;

/// The longest datagram of a response, its frame included. memcached's: it fits a packet of Ethernet.
pub const DATAGRAM_MAX_BYTES: usize = 1400;

/// The number of a request in a datagram, and the request. `None` for a datagram that is not a whole request: too
/// short, or one of several.
#[must_use]
pub fn open(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let ([r0, r1, _, _, t0, t1, _, _], request) = datagram.split_first_chunk::<FRAME_BYTES>()?;
    let total = u16::from_be_bytes([*t0, *t1]);
    (total == 1 && !request.is_empty()).then_some((u16::from_be_bytes([*r0, *r1]), request))
}

/// The frame of datagram `number` (from nought) of the `total` that are the response to `request`.
#[must_use]
pub fn frame(request: u16, number: u16, total: u16) -> [u8; FRAME_BYTES] {
    let ([r0, r1], [n0, n1], [t0, t1]) = (request.to_be_bytes(), number.to_be_bytes(), total.to_be_bytes());
    [r0, r1, n0, n1, t0, t1, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_requests_are_opened() {
        assert_eq!(
            open(b"\x01\x02\x00\x00\x00\x01\x00\x00get a\r\n"),
            Some((0x0102, b"get a\r\n".as_slice()))
        );
        // The sequence number and the last two bytes are not looked at.
        assert_eq!(open(b"\x01\x02\x09\x09\x00\x01\x09\x09x"), Some((0x0102, b"x".as_slice())));
        for dropped in [
            &b""[..],
            b"\x01\x02\x00\x00\x00\x01\x00",
            b"\x01\x02\x00\x00\x00\x01\x00\x00",
            b"\0\0\0\0\0\x02\0\0x",
        ] {
            assert_eq!(open(dropped), None, "{dropped:?}");
        }
    }

    #[test]
    fn a_response_has_the_number_of_its_request() {
        assert_eq!(frame(0x0102, 0x0304, 0x0506), [1, 2, 3, 4, 5, 6, 0, 0]);
    }
}
