//! md.

use mm_proto::memcached::{Writer, lines};
use mm_store::{Put, PutError, Sharing};

use super::Asked;
use crate::clock::Time;
use crate::limits::HEADER_MAX_BYTES;
use crate::service::{Call, Memcached};

impl<S: Sharing> Memcached<S> {
    /// md.
    pub(super) fn meta_delete(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        let Asked { key, options, .. } = *asked;
        let present = self.store.peek(key, call.time.now_s).map(|item| item.current_cas());
        let status = match present {
            Err(_) => {
                self.counters().delete_misses.count();
                b"NF"
            }
            Ok(cas) if options.has(b'C') && cas != options.cas => {
                self.counters().delete_misses.count();
                b"EX"
            }
            Ok(_) => {
                self.observe_deletion(key, "md");
                if self.delete_or_mark(asked, &call.time).is_err() {
                    return call.output.write(lines::NO_MEMORY);
                }
                if options.has(b'q') {
                    return;
                }
                b"HD"
            }
        };
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(status);
        asked.put_echoes(&mut writer);
        writer.put(b"\r\n");
        let written = writer.len();
        call.output.commit(written);
    }

    /// Deletes an item that is there; or, by flags, takes its value away, or marks it as out of date, or both.
    fn delete_or_mark(&mut self, asked: &Asked<'_>, time: &Time) -> Result<(), PutError> {
        let Asked { key, options, .. } = *asked;
        let is_marked = options.has(b'I');
        if options.has(b'x') {
            let put = Put {
                client_flags: options.client_flags,
                expiry_s: time.expiry_s(options.exptime),
                binary_key: options.has(b'b'),
                cas: options.has(b'E').then_some(options.new_cas),
                stale: is_marked,
                ..Put::default()
            };
            self.store.put(key, &put, &[], time.now_s)?;
        } else if is_marked {
            let expiry_s = options.has(b'T').then(|| time.expiry_s(options.exptime));
            let cas = options.has(b'E').then_some(options.new_cas);
            self.store.mark_stale(key, expiry_s, cas, time.now_s).unwrap_or(Ok(()))?;
        } else {
            let _there = self.store.delete(key, time.now_s);
        }
        if !is_marked {
            self.counters().delete_hits.count();
        }
        Ok(())
    }
}
