//! get, gat, touch.

use mm_base::buffer::Output;
use mm_proto::memcached::Writer;
use mm_proto::memcached::binary::{Head, RESPONSE_HEAD_BYTES, Request, Response, Status, put_head};
use mm_store::{Item, Key, Sharing};

use super::{length, refuse, respond};
use crate::fetch::write_pieces;
use crate::limits::COPY_MAX_BYTES;
use crate::service::{Call, Memcached};

/// Bytes of the extras: the client's flags.
const FLAGS_BYTES: u8 = 4;

impl<S: Sharing> Memcached<S> {
    /// get, getk.
    pub(super) fn binary_get(
        &mut self,
        key: Key<'_>,
        request: &Request<'_>,
        tells_key: bool,
        call: &mut Call<'_>,
    ) {
        let has_cas = self.shared.settings.items.has_cas;
        match self.store.get(key, call.time.now_s) {
            Ok(item) => {
                let cas = if has_cas { item.cas() } else { 0 };
                write_item(request.head, &item, (tells_key, true, cas), call.output);
                self.counters.get_hits.count();
                self.observe_fetch(&key, None);
            }
            Err(miss) => {
                self.counters.get_misses.count();
                self.observe_fetch(&key, Some(miss));
                missed(request, tells_key, call.output);
            }
        }
    }

    /// gat, gatk, touch.
    pub(super) fn binary_touch(
        &mut self,
        key: Key<'_>,
        request: &Request<'_>,
        (tells_key, tells_value, exptime): (bool, bool, u32),
        call: &mut Call<'_>,
    ) {
        let has_cas = self.shared.settings.items.has_cas;
        match self.store.get_touching(key, call.time.unsigned_expiry_s(exptime), call.time.now_s) {
            Ok((item, _)) => {
                let cas = if has_cas { item.cas() } else { 0 };
                write_item(request.head, &item, (tells_key, tells_value, cas), call.output);
                self.counters.touch_hits.count();
                self.observe_fetch(&key, None);
            }
            Err(miss) => {
                self.counters.touch_misses.count();
                self.observe_fetch(&key, Some(miss));
                missed(request, tells_key, call.output);
            }
        }
    }
}

/// Says that there is no such item, unless that is not wanted. Where the response has a key, it has no text.
fn missed(request: &Request<'_>, tells_key: bool, output: &mut Output) {
    if request.quiet {
        return;
    }
    if !tells_key {
        return refuse(output, request.head, Status::NotFound);
    }
    let key = u16::try_from(request.key.len()).unwrap_or(u16::MAX);
    let response = Response { status: Status::NotFound, key, ..Response::OK };
    respond(output, request.head, &response, &[request.key]);
}

/// Writes an item, with or without its key and its value.
fn write_item<S: Sharing>(
    head: Head,
    item: &Item<'_, S>,
    (tells_key, tells_value, cas): (bool, bool, u64),
    output: &mut Output,
) {
    let key = if tells_key { item.key() } else { &[] };
    let value_bytes = if tells_value { item.len() } else { 0 };
    let response = Response {
        extras: FLAGS_BYTES,
        key: u16::try_from(key.len()).unwrap_or(u16::MAX),
        value: length(value_bytes),
        cas,
        ..Response::OK
    };
    let before_value = RESPONSE_HEAD_BYTES + usize::from(FLAGS_BYTES) + key.len();
    let value = item.value().filter(|value| tells_value && value.len() <= COPY_MAX_BYTES);
    let mut writer = Writer::new(output.spare(before_value + value.map_or(0, <[u8]>::len)));
    put_head(&mut writer, head, &response);
    writer.put(&item.client_flags().to_be_bytes());
    writer.put(key);
    writer.put(value.unwrap_or_default());
    let written = writer.len();
    output.commit(written);
    if tells_value && value.is_none() {
        write_pieces(item, output);
    }
}
