//! memcached's datagrams: a frame before the text or the binary protocol.

use mm_base::buffer::Output;
use mm_proto::memcached::binary::{Parsed, Parser, REQUEST_MAGIC, Status};
use mm_proto::memcached::datagram::{DATAGRAM_MAX_BYTES, FRAME_BYTES, frame, open};
use mm_server::datagrams::{Framing, Part};

use crate::binary::refuse;
use crate::limits::DATAGRAM_REPLY_MAX_BYTES;

/// What is answered in text instead of a reply beyond the bound.
const TOO_LONG: &[u8] = b"SERVER_ERROR response too large for UDP\r\n";

/// What is answered to a datagram that asks for what is told in steps between other requests: a datagram is answered in
/// one.
pub(crate) const NOT_BY_UDP: &[u8] = b"SERVER_ERROR these statistics are not told by UDP\r\n";

/// How memcached's protocols travel in datagrams.
///
/// Each has a frame of eight bytes with the client's number for the request. All responses to a datagram are one reply,
/// in datagrams of at most 1,400 bytes that are numbered from nought.
#[derive(Clone, Copy, Debug)]
pub struct Framed;

impl Framing for Framed {
    fn open<'a>(&self, datagram: &'a [u8]) -> Option<(u64, &'a [u8])> {
        open(datagram).map(|(number, request)| (u64::from(number), request))
    }

    fn header_bytes(&self) -> usize {
        FRAME_BYTES
    }

    fn seal(&self, part: &Part, header: &mut [u8]) {
        // The mark is the number that the frame gave.
        let number = u16::try_from(part.mark).unwrap_or(u16::MAX);
        if let Some(place) = header.first_chunk_mut() {
            *place = frame(number, part.number, part.total);
        }
    }

    fn datagram_bytes_max(&self) -> usize {
        DATAGRAM_MAX_BYTES
    }

    fn reply_bytes_max(&self) -> usize {
        DATAGRAM_REPLY_MAX_BYTES
    }

    fn refuse(&self, request: &[u8], output: &mut Output) {
        if request.first() != Some(&REQUEST_MAGIC) {
            return output.write(TOO_LONG);
        }
        if let Parsed::Request(request) = Parser::new().next(request).parsed {
            refuse(output, request.head, Status::TooLarge);
        }
    }
}
