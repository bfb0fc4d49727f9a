//! md.

use mm_proto::memcached::{Writer, lines};
use mm_store::{CasRule, DeleteError, Miss, Mode, Outcome, Put, PutError, Sharing};

use super::Asked;
use crate::clock::Time;
use crate::limits::HEADER_MAX_BYTES;
use crate::service::{Call, Memcached};

impl<S: Sharing> Memcached<S> {
    /// md.
    pub(super) fn meta_delete(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        let Asked { key, options, .. } = *asked;
        // What is marked as out of date stays.
        if self.is_observed() && !options.has(b'I') {
            let compare = options.has(b'C').then_some(options.cas);
            let is_it = |cas| compare.is_none_or(|wanted| wanted == cas);
            if self.store.peek(key, call.time.now_s).is_ok_and(|item| is_it(item.current_cas())) {
                self.observe_deletion(key, "md", None);
            }
        }
        let done = self.delete_or_mark(asked, &call.time);
        let status = match done {
            Ok(Ok(())) if options.has(b'q') => return,
            Ok(Ok(())) => b"HD",
            Ok(Err(_)) => return call.output.write(lines::NO_MEMORY),
            Err(refused) => {
                self.counters.delete_misses.count();
                if refused == DeleteError::Exists { b"EX" } else { b"NF" }
            }
        };
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(status);
        asked.put_echoes(&mut writer);
        writer.put(b"\r\n");
        let written = writer.len();
        call.output.commit(written);
    }

    /// Deletes an item; or, by flags, takes its value away, or marks it as out of date, or both.
    fn delete_or_mark(
        &mut self,
        asked: &Asked<'_>,
        time: &Time,
    ) -> Result<Result<(), PutError>, DeleteError> {
        let Asked { key, options, .. } = *asked;
        let is_marked = options.has(b'I');
        let compare = options.has(b'C').then_some(options.cas);
        let assign = options.has(b'E').then_some(options.new_cas);
        let done = if options.has(b'x') {
            let put = Put {
                mode: compare.map_or(Mode::Replace, Mode::Cas),
                client_flags: options.client_flags,
                expiry_s: time.expiry_s(options.exptime),
                binary_key: options.has(b'b'),
                cas: assign,
                stale: is_marked,
                ..Put::default()
            };
            match self.store.put(key, &put, &[], time.now_s) {
                Ok(Outcome::Stored) => Ok(()),
                Ok(Outcome::Exists) => return Err(DeleteError::Exists),
                Ok(_) => return Err(DeleteError::Miss(Miss::Absent)),
                Err(error) => Err(error),
            }
        } else if is_marked {
            let expiry_s = options.has(b'T').then(|| time.expiry_s(options.exptime));
            self.store.mark_stale(key, expiry_s, CasRule { compare, assign }, time.now_s)?
        } else {
            self.store.delete(key, compare, time.now_s)?;
            Ok(())
        };
        if done.is_ok() && !is_marked {
            self.counters.delete_hits.count();
        }
        Ok(done)
    }
}
