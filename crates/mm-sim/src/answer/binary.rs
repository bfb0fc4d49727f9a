//! Answers of the binary protocol.

use mm_proto::memcached::StoreVerb;
use mm_proto::memcached::binary::{RESPONSE_HEAD_BYTES, Status};

use super::{Answer, Answers, Said, by_silence, shown};
use crate::op::{Op, What};

/// The first byte of a response.
const MAGIC: u8 = 0x81;

/// A response taken apart.
struct Packet<'a> {
    status: u16,
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
    cas: u64,
}

impl<'a> Answers<'a> {
    /// The answer to a request of the binary protocol.
    pub(super) fn packet(&mut self, op: &Op, key: &[u8]) -> Result<Answer<'a>, String> {
        if op.wire.quiet && self.opaque() != Some(op.wire.opaque) {
            return Ok(by_silence(op));
        }
        let packet = self.next_packet(op.wire.opaque)?;
        let said =
            said(op, packet.status).ok_or_else(|| format!("status {} in answer to it", packet.status))?;
        if !packet.key.is_empty() && packet.key != key {
            return Err(format!("the key is {}, not {}", shown(packet.key), shown(key)));
        }
        let cas = Some(packet.cas).filter(|&cas| cas != 0);
        let mut answer = Answer { cas, ..Answer::bare(said) };
        if said != Said::Done {
            return Ok(answer);
        }
        match &op.what {
            What::Get(get) => {
                let flags = packet.extras.try_into().map_err(|_short| "no flags".to_owned())?;
                answer.flags = Some(u32::from_be_bytes(flags));
                answer.value = get.tells_value.then_some(packet.value);
            }
            What::Count(_) => {
                let number = packet.value.try_into().map_err(|_short| "no number".to_owned())?;
                answer.number = Some(u64::from_be_bytes(number));
            }
            _ => {}
        }
        Ok(answer)
    }

    /// Statistics up to the packet that has none. False where they break off before that.
    pub(crate) fn packets_to_end(
        &mut self,
        opaque: u32,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        while !self.is_empty() {
            let packet = self.next_packet(opaque)?;
            if packet.status != Status::Ok.code() {
                return Err(format!("status {} in answer to stat", packet.status));
            }
            if packet.key.is_empty() {
                return Ok(true);
            }
            each(packet.key, packet.value)?;
        }
        Ok(false)
    }

    /// The mark of the next packet.
    fn opaque(&self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.rest.get(12..)?.first_chunk()?))
    }

    fn next_packet(&mut self, opaque: u32) -> Result<Packet<'a>, String> {
        let wrong = || format!("not a response to {opaque}: {}", self.shown());
        let (head, rest) = self.rest.split_first_chunk::<RESPONSE_HEAD_BYTES>().ok_or_else(wrong)?;
        let [magic, _, k0, k1, extras, _, s0, s1, b0, b1, b2, b3, _, _, _, _, cas @ ..] = *head;
        let (key, extras) = (usize::from(u16::from_be_bytes([k0, k1])), usize::from(extras));
        let body = usize::try_from(u32::from_be_bytes([b0, b1, b2, b3])).map_err(|_large| wrong())?;
        if magic != MAGIC || self.opaque() != Some(opaque) || rest.len() < body || extras + key > body {
            return Err(wrong());
        }
        let (body, rest) = rest.split_at(body);
        self.rest = rest;
        let (extras, body) = body.split_at(extras);
        let (key, value) = body.split_at(key);
        Ok(Packet { status: u16::from_be_bytes([s0, s1]), extras, key, value, cas: u64::from_be_bytes(cas) })
    }
}

/// What a status says. Those of add and replace are not their own.
fn said(op: &Op, status: u16) -> Option<Said> {
    const TABLE: [(Status, Said); 7] = [
        (Status::Ok, Said::Done),
        (Status::NotFound, Said::NotFound),
        (Status::Exists, Said::Exists),
        (Status::TooLarge, Said::TooLarge),
        (Status::NotStored, Said::NotStored),
        (Status::NonNumeric, Said::NotANumber),
        (Status::NoMemory, Said::NoMemory),
    ];
    let (_, said) = TABLE.iter().find(|(known, _)| known.code() == status)?;
    let What::Store(store) = &op.what else { return Some(*said) };
    Some(match (store.verb, *said) {
        (StoreVerb::Add, Said::Exists) | (StoreVerb::Replace, Said::NotFound) => Said::NotStored,
        (_, said) => said,
    })
}
