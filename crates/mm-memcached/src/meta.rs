//! The meta commands.

mod arithmetic;
mod debug;
mod delete;
mod get;
mod set;

pub(crate) use get::answer_hit;

use mm_proto::memcached::{Meta, MetaVerb, Options, Writer, base64, limits, lines};
use mm_store::{Item, Key, Sharing};

use crate::clock::Time;
use crate::service::{Call, Memcached};

/// The most bytes that a key in base64 stands for.
pub(crate) const DECODED_MAX_BYTES: usize = limits::KEY_MAX_BYTES / 4 * 3 + 3;

/// A meta command with its flags read and its key as it is stored.
pub(crate) struct Asked<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) meta: &'a Meta<'a>,
    pub(crate) options: &'a Options,
}

impl<S: Sharing> Memcached<S> {
    /// A meta command, whose data, if it has any, is there whole. `key` is the key as it came.
    #[inline]
    pub(crate) fn meta(&mut self, key: Key<'_>, meta: &Meta<'_>, data: &[u8], call: &mut Call<'_>) {
        let options = match meta.options() {
            Ok(options) => options,
            Err(line) => return call.output.write(line),
        };
        if options.has(b'b') {
            return self.meta_decoded(meta, &options, data, call);
        }
        self.meta_asked(&Asked { key, meta, options: &options }, data, call);
    }

    /// The same, with a key in base64.
    #[inline(never)]
    fn meta_decoded(&mut self, meta: &Meta<'_>, options: &Options, data: &[u8], call: &mut Call<'_>) {
        let mut room = [0; DECODED_MAX_BYTES];
        match self.decode_key(meta.key, &mut room) {
            Some(key) => self.meta_asked(&Asked { key, meta, options }, data, call),
            None => call.output.write(match meta.verb {
                MetaVerb::Arithmetic => lines::META_INVALID_OR_DUPLICATE,
                MetaVerb::Debug => lines::BAD_FORMAT,
                _ => lines::META_BAD_KEY,
            }),
        }
    }

    /// A key in base64.
    pub(crate) fn decode_key<'a>(&self, encoded: &[u8], room: &'a mut [u8]) -> Option<Key<'a>> {
        let len = base64::decode(encoded, room)?;
        self.store.key(&room[..len])
    }

    #[inline]
    fn meta_asked(&mut self, asked: &Asked<'_>, data: &[u8], call: &mut Call<'_>) {
        match asked.meta.verb {
            MetaVerb::Get => self.meta_get(asked, call),
            MetaVerb::Set => self.meta_set(asked, data, call),
            MetaVerb::Delete => self.meta_delete(asked, call),
            MetaVerb::Arithmetic => self.meta_arithmetic(asked, call),
            MetaVerb::Debug => self.meta_debug(asked, call),
        }
    }
}

impl Asked<'_> {
    /// Writes what the request wants back whatever became of it: opaque token and key.
    fn put_echoes(&self, writer: &mut Writer<'_>) {
        for flag in self.meta.flags() {
            match flag.letter {
                b'O' => put_opaque(writer, flag.argument),
                b'k' => self.put_key(writer),
                _ => {}
            }
        }
    }

    /// Writes the key as the request gave it.
    fn put_key(&self, writer: &mut Writer<'_>) {
        writer.put(b" k");
        if self.options.has(b'b') {
            put_encoded(writer, self.key.bytes());
        } else {
            writer.put(self.key.bytes());
        }
    }
}

/// Writes an opaque token.
#[inline]
fn put_opaque(writer: &mut Writer<'_>, token: &[u8]) {
    writer.put(b" O");
    writer.put(token);
}

/// Whether an item's key is told in base64: it came so, or cannot stand in a line, as keys of the binary protocol may
/// not.
pub(crate) fn is_key_encoded<S: Sharing>(item: &Item<'_, S>) -> bool {
    item.is_binary_key() || item.key().iter().any(|byte| matches!(byte, b' ' | b'\n'))
}

/// Writes a key in base64, and the flag that says so.
fn put_encoded(writer: &mut Writer<'_>, key: &[u8]) {
    let mut room = [0; base64::ENCODED_MAX_BYTES];
    let len = base64::encode(key, &mut room);
    writer.put(&room[..len]);
    writer.put(b" b");
}

/// Writes ` t` and the seconds left, or -1 for an item that does not expire.
fn put_time_left(writer: &mut Writer<'_>, expiry_s: u32, time: &Time) {
    if expiry_s == 0 {
        writer.put(b" t-1");
    } else {
        writer.put(b" t");
        writer.put_number(time.left_s(expiry_s));
    }
}

/// Writes a space, a letter and a number.
#[inline]
fn put_numbered(writer: &mut Writer<'_>, letter: u8, number: u64) {
    writer.put(&[b' ', letter]);
    writer.put_number(number);
}
