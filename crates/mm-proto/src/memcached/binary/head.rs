//! Headers of requests and responses.

use super::super::Writer;
use super::RESPONSE_MAGIC;

/// Bytes of the header of a request.
pub(super) const REQUEST_HEAD_BYTES: usize = 24;

/// Bytes of the header of a response.
pub const RESPONSE_HEAD_BYTES: usize = 24;

/// What a response repeats of its request, and the CAS value that the request gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is asked for.
    pub opcode: u8,
    /// The client's own mark.
    pub opaque: u32,
    /// The CAS value that the item must have; 0 for any.
    pub cas: u64,
}

/// A request's header, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) head: Head,
    pub(super) key: usize,
    pub(super) extras: usize,
    pub(super) body: u32,
}

impl Lengths {
    pub(super) fn of(header: &[u8; REQUEST_HEAD_BYTES]) -> Self {
        let [_, opcode, k0, k1, extras, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, cas @ ..] = *header;
        Self {
            head: Head { opcode, opaque: u32::from_be_bytes([o0, o1, o2, o3]), cas: u64::from_be_bytes(cas) },
            key: usize::from(u16::from_be_bytes([k0, k1])),
            extras: usize::from(extras),
            body: u32::from_be_bytes([b0, b1, b2, b3]),
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// There is no such item.
    NotFound,
    /// The item has another CAS value, or is there when it must not be.
    Exists,
    /// The item would be larger than allowed.
    TooLarge,
    /// The request makes no sense.
    Invalid,
    /// There is nothing to append to.
    NotStored,
    /// What is to be counted is not a number.
    NonNumeric,
    /// Not allowed.
    Denied,
    /// There is no such command.
    Unknown,
    /// There is no memory.
    NoMemory,
}

impl Status {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 0x00,
            Self::NotFound => 0x01,
            Self::Exists => 0x02,
            Self::TooLarge => 0x03,
            Self::Invalid => 0x04,
            Self::NotStored => 0x05,
            Self::NonNumeric => 0x06,
            Self::Denied => 0x20,
            Self::Unknown => 0x81,
            Self::NoMemory => 0x82,
        }
    }

    /// What stands in the body of a response that has nothing else to say. memcached's words.
    #[must_use]
    pub const fn text(self) -> &'static [u8] {
        match self {
            Self::Ok => b"",
            Self::NotFound => b"Not found",
            Self::Exists => b"Data exists for key.",
            Self::TooLarge => b"Too large.",
            Self::Invalid => b"Invalid arguments",
            Self::NotStored => b"Not stored.",
            Self::NonNumeric => b"Non-numeric server-side value for incr or decr",
            Self::Denied => b"Auth failure.",
            Self::Unknown => b"Unknown command",
            Self::NoMemory => b"Out of memory",
        }
    }
}

/// What the header of a response says beyond what it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// What became of the request.
    pub status: Status,
    /// Bytes of the extras.
    pub extras: u8,
    /// Bytes of the key.
    pub key: u16,
    /// Bytes of the value.
    pub value: u32,
    /// The item's CAS value; 0 where there is none to tell.
    pub cas: u64,
}

impl Response {
    /// The request is done, and there is nothing to tell.
    pub const OK: Self = Self { status: Status::Ok, extras: 0, key: 0, value: 0, cas: 0 };
}

/// Writes the header of a response to the request that began with `head`.
#[inline]
pub fn put_head(writer: &mut Writer<'_>, head: Head, response: &Response) {
    let body = u32::from(response.extras) + u32::from(response.key) + response.value;
    writer.put(&[RESPONSE_MAGIC, head.opcode]);
    writer.put(&response.key.to_be_bytes());
    writer.put(&[response.extras, 0]);
    writer.put(&response.status.code().to_be_bytes());
    writer.put(&body.to_be_bytes());
    writer.put(&head.opaque.to_be_bytes());
    writer.put(&response.cas.to_be_bytes());
}
