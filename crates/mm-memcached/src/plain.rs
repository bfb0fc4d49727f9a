//! The commonest requests in their commonest form, for which little is to be decided: set without flags and time, ms
//! without flags, mg for the value.

use mm_proto::memcached::{META_FRAME_BYTES, Meta, Options, put_meta_value};
use mm_store::{Key, Put, Sharing};

use crate::fetch::PLAIN_MAX_BYTES;
use crate::meta::{Asked, answer_hit};
use crate::service::{Call, Memcached};

impl<S: Sharing> Memcached<S> {
    /// Stores the value of a data block, without flags and time, and answers `said`. False, and nothing is done, where
    /// the block is not right or too long.
    #[inline(never)]
    pub(crate) fn store_plain(
        &mut self,
        key: &Key<'_>,
        data: &[u8],
        said: &'static [u8],
        call: &mut Call<'_>,
    ) -> bool {
        let Some(value) = data.strip_suffix(b"\r\n") else { return false };
        if !self.fits(*key, 0, value.len()) {
            return false;
        }
        self.counters.cmd_set.count();
        let outcome = self.store.set(*key, value, call.time.now_s);
        if self.is_observed() {
            self.observe_store(*key, &Put::default(), value.len(), outcome);
        }
        let said = match outcome {
            Ok(_) => said,
            Err(error) => self.refuse(*key, true, error, &call.time),
        };
        mm_base::short::copy(&mut call.output.spare(said.len())[..said.len()], said);
        call.output.commit(said.len());
        true
    }

    /// mg for the value and nothing else.
    #[inline(never)]
    pub(crate) fn get_plain(&mut self, key: &Key<'_>, meta: &Meta<'_>, call: &mut Call<'_>) {
        let asked = Asked { key: *key, meta, options: &Options::ONLY_VALUE };
        match self.store.get(*key, call.time.now_s) {
            Ok(item) => {
                match item.value() {
                    Some(value)
                        if value.len() <= PLAIN_MAX_BYTES && !item.is_stale() && !item.is_win_sent() =>
                    {
                        let room = call.output.spare(META_FRAME_BYTES + value.len());
                        let written = put_meta_value(room, value).unwrap_or_default();
                        call.output.commit(written);
                    }
                    _ => {
                        if !answer_hit(&asked, item, call) {
                            return self.meta_get(&asked, call);
                        }
                    }
                }
                self.counters.get_hits.count();
                self.observe_fetch(key, None);
            }
            Err(miss) => self.meta_missed(&asked, miss, call),
        }
    }
}
