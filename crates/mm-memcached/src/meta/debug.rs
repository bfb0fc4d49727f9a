//! me.

use mm_proto::memcached::{Writer, base64};
use mm_store::Sharing;

use super::{Asked, is_key_encoded};
use crate::limits::HEADER_MAX_BYTES;
use crate::service::{Call, Memcached};
use crate::storing::item_bytes;

impl<S: Sharing> Memcached<S> {
    /// me: what is known of an item, without touching it.
    pub(super) fn meta_debug(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        self.counters.cmd_meta.count();
        let Ok(item) = self.store.peek(asked.key, call.time.now_s) else {
            return call.output.write(b"EN\r\n");
        };
        let bytes = item_bytes(item.key().len(), item.client_flags(), item.len());
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(b"ME ");
        if is_key_encoded(&item) {
            let mut room = [0; base64::ENCODED_MAX_BYTES];
            let len = base64::encode(item.key(), &mut room);
            writer.put(&room[..len]);
        } else {
            writer.put(item.key());
        }
        writer.put(b" exp=");
        if item.expiry_s() == 0 {
            writer.put(b"-1");
        } else {
            writer.put_number(call.time.left_s(item.expiry_s()));
        }
        writer.put(b" la=");
        writer.put_number(u64::from(call.time.now_s.saturating_sub(item.last_access_s())));
        writer.put(b" cas=");
        writer.put_number(item.cas());
        writer.put(if item.was_fetched() { b" fetch=yes" } else { b" fetch=no" });
        writer.put(b" cls=");
        writer.put_number(self.shared.classes.class_of(bytes) as u64);
        writer.put(b" size=");
        writer.put_number(bytes as u64);
        writer.put(b"\r\n");
        let written = writer.len();
        call.output.commit(written);
    }
}
