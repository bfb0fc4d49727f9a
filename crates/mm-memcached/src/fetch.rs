//! get, gets, gat, gats.

use mm_base::buffer::Output;
use mm_proto::memcached::{Fetch, Get, VALUE_FRAME_BYTES, Writer, lines, put_plain_value};
use mm_store::{Item, Key, Miss, Sharing};

use crate::limits::COPY_MAX_BYTES;
use crate::service::{Call, Memcached};

/// The longest rest of a header behind the key, the line end of the value, and the end of the response.
const FRAME_BYTES: usize = b"VALUE  4294967295 4294967295 18446744073709551615\r\n\r\nEND\r\n".len();

/// A value up to this length whose item has no client flags is written in one go.
pub(crate) const PLAIN_MAX_BYTES: usize = if COPY_MAX_BYTES < 9_999 { COPY_MAX_BYTES } else { 9_999 };

impl<S: Sharing> Memcached<S> {
    /// One key of get.
    #[inline(always)]
    pub(crate) fn fetch_plainly(&mut self, key: &Key<'_>, get: &Get<'_>, call: &mut Call<'_>) {
        match self.store.get(*key, call.time.now_s) {
            Ok(item) => {
                self.counters.get_hits.count();
                if item.is_plain(PLAIN_MAX_BYTES) {
                    let value = item.first_piece();
                    let room = call.output.spare(VALUE_FRAME_BYTES + key.bytes().len() + value.len());
                    let written = put_plain_value(room, key.bytes(), value, get.last).unwrap_or_default();
                    call.output.commit(written);
                } else {
                    write_value(key.bytes(), item, (None, get.last), call.output);
                }
                if self.is_observed() {
                    self.observe_fetch(key, None);
                }
            }
            Err(miss) => self.missed(key, miss, get.last, call),
        }
    }

    /// One key of get or gets.
    pub(crate) fn fetch(&mut self, key: Key<'_>, get: &Get<'_>, call: &mut Call<'_>) {
        match self.store.get(key, call.time.now_s) {
            Ok(item) => {
                let mut cas = None;
                if get.fetch.tells_cas() {
                    cas = if self.shared.settings.items.has_cas { item.shown_cas() } else { Some(0) };
                    if S::IS_SHARED && cas.is_none() {
                        return self.fetch_again(key, get, call);
                    }
                }
                self.counters.get_hits.count();
                write_value(key.bytes(), item, (cas, get.last), call.output);
                if self.is_observed() {
                    self.observe_fetch(&key, None);
                }
            }
            Err(miss) => self.missed(&key, miss, get.last, call),
        }
    }

    /// The key of a get or gets is not there.
    #[inline(never)]
    fn missed(&mut self, key: &Key<'_>, miss: Miss, last: bool, call: &mut Call<'_>) {
        self.counters.get_misses.count();
        if last {
            call.output.write(lines::END);
        }
        self.observe_fetch(key, Some(miss));
    }

    /// The same, once more: another shard has changed the item while it was read.
    #[cold]
    #[inline(never)]
    fn fetch_again(&mut self, key: Key<'_>, get: &Get<'_>, call: &mut Call<'_>) {
        self.fetch(key, get, call);
    }

    /// One key of gat or gats.
    pub(crate) fn fetch_touching(&mut self, key: Key<'_>, fetch: Fetch, exptime: i32, call: &mut Call<'_>) {
        let has_cas = self.shared.settings.items.has_cas;
        match self.store.get_touching(key, call.time.expiry_s(exptime), call.time.now_s) {
            Ok((item, _)) => {
                let cas = fetch.tells_cas().then(|| if has_cas { item.cas() } else { 0 });
                write_value(key.bytes(), item, (cas, false), call.output);
                self.counters.touch_hits.count();
                self.observe_fetch(&key, None);
            }
            Err(miss) => {
                self.counters.touch_misses.count();
                self.observe_fetch(&key, Some(miss));
            }
        }
    }
}

/// Writes an item's header and value, and the end of the response where this is the last. It takes a copy, so that
/// those who do not call need not have the item in memory.
#[inline(never)]
fn write_value<S: Sharing>(
    key: &[u8],
    item: Item<'_, S>,
    (cas, last): (Option<u64>, bool),
    output: &mut Output,
) {
    match item.value() {
        Some(value) if value.len() <= COPY_MAX_BYTES => {
            let flags = item.client_flags();
            let room = output.spare(FRAME_BYTES + key.len() + value.len());
            let written = put_value(room, key, (flags, value), (cas, last));
            output.commit(written);
        }
        _ => write_long(key, &item, (cas, last), output),
    }
}

/// The same for a value in one piece, into `room`, which suffices. Returns how many bytes were written.
#[inline]
fn put_value(
    room: &mut [u8],
    key: &[u8],
    (flags, value): (u32, &[u8]),
    (cas, last): (Option<u64>, bool),
) -> usize {
    let mut writer = Writer::new(room);
    put_header(&mut writer, key, (flags, value.len()), cas);
    writer.put(value);
    writer.put(if last { b"\r\nEND\r\n" } else { b"\r\n" });
    writer.len()
}

/// The same for a value that is not copied in one go.
#[inline(never)]
fn write_long<S: Sharing>(
    key: &[u8],
    item: &Item<'_, S>,
    (cas, last): (Option<u64>, bool),
    output: &mut Output,
) {
    let mut writer = Writer::new(output.spare(FRAME_BYTES + key.len()));
    put_header(&mut writer, key, (item.client_flags(), item.len()), cas);
    let written = writer.len();
    output.commit(written);
    write_pieces(item, output);
    output.write(if last { b"\r\nEND\r\n" } else { b"\r\n" });
}

fn put_header(writer: &mut Writer<'_>, key: &[u8], (flags, len): (u32, usize), cas: Option<u64>) {
    writer.put(b"VALUE ");
    writer.put_word(key);
    writer.put_byte(b' ');
    writer.put_number(u64::from(flags));
    writer.put_byte(b' ');
    writer.put_number(len as u64);
    if let Some(cas) = cas {
        writer.put_byte(b' ');
        writer.put_number(cas);
    }
    writer.put(b"\r\n");
}

/// Writes a value that is long or in pieces: copied where it is short all the same, or else sent from where it lies.
pub(crate) fn write_pieces<S: Sharing>(item: &Item<'_, S>, output: &mut Output) {
    if item.len() <= COPY_MAX_BYTES {
        for piece in item.pieces() {
            output.write(piece);
        }
    } else {
        item.pin(|pinned| output.pin(pinned));
    }
}
