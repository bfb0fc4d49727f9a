//! Requests of the binary protocol.

use mm_base::choice::Choices;
use mm_proto::memcached::StoreVerb;
use mm_proto::memcached::binary::{DO_NOT_CREATE, REQUEST_MAGIC};

use crate::op::{Store, What, Wire};

/// The numbers of the commands, and of those that answer only what is unusual.
mod opcode {
    pub(super) const GET: [u8; 2] = [0x00, 0x09];
    pub(super) const GETK: [u8; 2] = [0x0c, 0x0d];
    pub(super) const GAT: [u8; 2] = [0x1d, 0x1e];
    pub(super) const GATK: [u8; 2] = [0x23, 0x24];
    pub(super) const SET: [u8; 2] = [0x01, 0x11];
    pub(super) const ADD: [u8; 2] = [0x02, 0x12];
    pub(super) const REPLACE: [u8; 2] = [0x03, 0x13];
    pub(super) const APPEND: [u8; 2] = [0x0e, 0x19];
    pub(super) const PREPEND: [u8; 2] = [0x0f, 0x1a];
    pub(super) const DELETE: [u8; 2] = [0x04, 0x14];
    pub(super) const INCREMENT: [u8; 2] = [0x05, 0x15];
    pub(super) const DECREMENT: [u8; 2] = [0x06, 0x16];
    pub(super) const FLUSH: [u8; 2] = [0x08, 0x18];
    pub(super) const TOUCH: u8 = 0x1c;
    pub(super) const NOOP: u8 = 0x0a;
    pub(super) const VERSION: u8 = 0x0b;
    pub(super) const STAT: u8 = 0x10;
    pub(super) const QUIT: u8 = 0x07;
}

/// A request up to its value.
pub(super) fn head(what: &What, wire: Wire, key: &[u8], choices: &mut Choices) -> Vec<u8> {
    let quiet = usize::from(wire.quiet);
    let exptime = |exptime: i32| exptime.cast_unsigned().to_be_bytes();
    let (mut cas, mut value_bytes, mut extras, mut key) = (0, 0, Vec::new(), key);
    let opcode = match what {
        What::Get(get) => {
            extras.extend(get.exptime.map(exptime).into_iter().flatten());
            match (get.exptime, choices.one_in(2)) {
                (None, false) => opcode::GET[quiet],
                (None, true) => opcode::GETK[quiet],
                (Some(_), false) => opcode::GAT[quiet],
                (Some(_), true) => opcode::GATK[quiet],
            }
        }
        What::Store(store) => {
            (cas, value_bytes) = (store.cas, store.value.len());
            if !matches!(store.verb, StoreVerb::Append | StoreVerb::Prepend) {
                extras.extend(store.flags.to_be_bytes());
                extras.extend(exptime(store.exptime));
            }
            store_opcode(store)[quiet]
        }
        What::Delete(delete) => {
            cas = delete.cas;
            opcode::DELETE[quiet]
        }
        What::Count(count) => {
            let (initial, life) = count.creates.unwrap_or_default();
            cas = count.cas;
            extras.extend(count.delta.to_be_bytes());
            extras.extend(initial.to_be_bytes());
            extras.extend(if count.creates.is_some() { exptime(life) } else { DO_NOT_CREATE.to_be_bytes() });
            if count.decrement { opcode::DECREMENT[quiet] } else { opcode::INCREMENT[quiet] }
        }
        What::Touch { exptime: life, .. } => {
            extras.extend(exptime(*life));
            opcode::TOUCH
        }
        What::Flush { delay_s } => {
            extras.extend(exptime(*delay_s));
            opcode::FLUSH[quiet]
        }
        What::Stats(group) => {
            key = group.words().as_bytes();
            opcode::STAT
        }
        What::Quit => opcode::QUIT,
        _ if choices.one_in(4) => opcode::VERSION,
        _ => opcode::NOOP,
    };
    let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes();
    let extras_bytes = u8::try_from(extras.len()).unwrap_or(u8::MAX);
    let body = u32::try_from(extras.len() + key.len() + value_bytes).unwrap_or(u32::MAX);
    let mut packet = vec![REQUEST_MAGIC, opcode, key_bytes[0], key_bytes[1], extras_bytes, 0, 0, 0];
    packet.extend(body.to_be_bytes());
    packet.extend(wire.opaque.to_be_bytes());
    packet.extend(cas.to_be_bytes());
    packet.extend(extras);
    packet.extend_from_slice(key);
    packet
}

fn store_opcode(store: &Store) -> [u8; 2] {
    match store.verb {
        StoreVerb::Set | StoreVerb::Cas => opcode::SET,
        StoreVerb::Add => opcode::ADD,
        StoreVerb::Replace => opcode::REPLACE,
        StoreVerb::Append => opcode::APPEND,
        StoreVerb::Prepend => opcode::PREPEND,
    }
}
