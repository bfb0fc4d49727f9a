//! Dumps of all keys, in steps: `lru_crawler metadump`, `lru_crawler mgdump`, `stats cachedump`.

use mm_base::buffer::Output;
use mm_proto::memcached::limits::KEY_MAX_BYTES;
use mm_proto::memcached::number::parse_u32;
use mm_proto::memcached::{Writer, base64, lines};
use mm_store::{Cursor, Item, Sharing};

use crate::classes::Classes;
use crate::clock::Time;
use crate::limits::{CACHEDUMP_MAX_BYTES, DUMP_RECORDS, DUMP_STEPS_MAX};
use crate::long::Progress;
use crate::meta::is_key_encoded;
use crate::service::{Call, Memcached};
use crate::storing::item_bytes;

/// The longest line of a dump: a key with every byte written as three, and its numbers.
const LINE_BYTES: usize = KEY_MAX_BYTES * 3 + 256;

/// A dump under way.
#[derive(Debug)]
pub(crate) struct Dump {
    cursor: Cursor,
    form: Form,
    /// One bit for each class to be shown.
    classes: u64,
    /// Items that may still be shown.
    items_left: u32,
    /// Bytes that may still be shown.
    bytes_left: usize,
}

/// What a dump looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `lru_crawler metadump`.
    Meta,
    /// `lru_crawler mgdump`.
    Commands,
    /// `stats cachedump`.
    Cache,
}

impl Dump {
    /// A dump of everything in the classes.
    pub(crate) fn new(form: Form, classes: u64) -> Self {
        Self { cursor: Cursor::default(), form, classes, items_left: u32::MAX, bytes_left: usize::MAX }
    }

    /// A dump of one class, of at most so many items (0 for all).
    pub(crate) fn of_class(class: u32, items: u32) -> Self {
        let items_left = if items == 0 { u32::MAX } else { items };
        Self { items_left, bytes_left: CACHEDUMP_MAX_BYTES, ..Self::new(Form::Cache, 1 << class) }
    }

    fn show<S: Sharing>(
        &mut self,
        item: &Item<'_, S>,
        output: &mut Output,
        (time, classes): (&Time, &Classes),
    ) {
        let bytes = item_bytes(item.key().len(), item.client_flags(), item.len());
        let class = classes.class_of(bytes);
        let hidden = self.form == Form::Cache && is_key_encoded(item);
        if self.classes & 1 << class == 0 || self.items_left == 0 || hidden {
            return;
        }
        let mut writer = Writer::new(output.spare(LINE_BYTES));
        match self.form {
            Form::Meta => put_meta_line(&mut writer, item, (class, bytes), time),
            Form::Commands => put_command_line(&mut writer, item),
            Form::Cache => put_cache_line(&mut writer, item, time),
        }
        let written = writer.len();
        if written > self.bytes_left {
            self.items_left = 0;
            return;
        }
        self.items_left -= 1;
        self.bytes_left -= written;
        output.commit(written);
    }
}

/// The classes that a client names: `all`, `hash`, or numbers between commas. `None` where one is none.
pub(crate) fn parse_classes(words: &[u8]) -> Option<u64> {
    if matches!(words, b"all" | b"hash") {
        return Some(u64::MAX);
    }
    let class = |word| parse_u32(word).filter(|class| (1..64).contains(class));
    words.split(|&byte| byte == b',').try_fold(0, |all, word| Some(all | 1 << class(word)?))
}

impl<S: Sharing> Memcached<S> {
    /// Goes on with a dump.
    pub(crate) fn resume_dump(&mut self, dump: &mut Dump, call: &mut Call<'_>) -> Progress {
        let classes = &self.shared.classes;
        for _ in 0..DUMP_STEPS_MAX {
            if call.output.is_full() {
                mm_base::mark!("dump stopped at the output's cap");
                return Progress::Full;
            }
            let mut cursor = dump.cursor;
            let more = self.store.scan(&mut cursor, DUMP_RECORDS, call.time.now_s, |item| {
                dump.show(item, call.output, (&call.time, classes));
            });
            dump.cursor = cursor;
            if !more || dump.items_left == 0 {
                call.output.write(if dump.form == Form::Commands { b"EN\r\n" } else { lines::END });
                return Progress::Over;
            }
        }
        Progress::More
    }
}

fn put_meta_line<S: Sharing>(
    writer: &mut Writer<'_>,
    item: &Item<'_, S>,
    (class, bytes): (usize, usize),
    time: &Time,
) {
    writer.put(b"key=");
    put_encoded(writer, item.key());
    writer.put(b" exp=");
    if item.expiry_s() == 0 {
        writer.put(b"-1");
    } else {
        writer.put_number(time.date_of(item.expiry_s()));
    }
    writer.put(b" la=");
    writer.put_number(time.date_of(item.last_access_s()));
    writer.put(b" cas=");
    writer.put_number(item.current_cas());
    writer.put(if item.was_fetched() { b" fetch=yes cls=" } else { b" fetch=no cls=" });
    writer.put_number(class as u64);
    writer.put(b" size=");
    writer.put_number(bytes as u64);
    writer.put(b" flags=");
    writer.put_number(u64::from(item.client_flags()));
    writer.put(b" \n");
}

/// A key in the encoding of addresses of the web, as memcached writes it.
fn put_encoded(writer: &mut Writer<'_>, key: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            writer.put_byte(byte);
        } else {
            writer.put(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

fn put_command_line<S: Sharing>(writer: &mut Writer<'_>, item: &Item<'_, S>) {
    writer.put(b"mg ");
    if is_key_encoded(item) {
        let mut room = [0; base64::ENCODED_MAX_BYTES];
        let len = base64::encode(item.key(), &mut room);
        writer.put(&room[..len]);
        writer.put(b" b\r\n");
    } else {
        writer.put(item.key());
        writer.put(b"\r\n");
    }
}

fn put_cache_line<S: Sharing>(writer: &mut Writer<'_>, item: &Item<'_, S>, time: &Time) {
    writer.put(b"ITEM ");
    writer.put(item.key());
    writer.put(b" [");
    writer.put_number(item.len() as u64);
    writer.put(b" b; ");
    writer.put_number(if item.expiry_s() == 0 { 0 } else { time.date_of(item.expiry_s()) });
    writer.put(b" s]\r\n");
}
