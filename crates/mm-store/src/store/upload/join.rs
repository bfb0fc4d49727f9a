//! Values that are put before or behind those of items: both are copied to an upload of their own.

use super::Upload;
use crate::limits::JOIN_TRIES;
use crate::memory::Location;
use crate::sharing::Sharing;
use crate::store::{Key, Mode, Outcome, Put, PutError, Store};

impl<S: Sharing> Store<S> {
    /// Stores the value of an item and that of an upload as one.
    pub(super) fn join(&mut self, key: Key<'_>, upload: Upload) -> Result<Outcome, PutError> {
        mm_base::mark!("values joined");
        let mode = upload.mode;
        let own_cas =
            self.core.arena.record(upload.head.location()).stored_cas().filter(|_| upload.has_own_cas);
        let added = self.publish(upload);
        let mut joined = Ok(None);
        for _ in 0..JOIN_TRIES {
            joined = self.try_join(key, added, (mode, own_cas));
            if !matches!(joined, Ok(None)) {
                break;
            }
        }
        self.discard_chain(added);
        self.release_chain(added);
        joined.and_then(|outcome| outcome.ok_or(PutError::NoMemory))
    }

    /// The same; `None` where the item has changed meanwhile.
    fn try_join(
        &mut self,
        key: Key<'_>,
        added: Location,
        (mode, cas): (Mode, Option<u64>),
    ) -> Result<Option<Outcome>, PutError> {
        let Ok(before) = self.find(key) else { return Ok(Some(Outcome::NotStored)) };
        if mode.compared().is_some_and(|cas| cas != self.cas_at(before.location)) {
            return Ok(Some(Outcome::Exists));
        }
        let put = self.put_joined(before.location, cas);
        let len = self.total_len(before.location) + self.total_len(added);
        let mut upload = self.reserve(key, &put, len, self.now_s)?;
        if let Err(error) = self.open_extents(&mut upload) {
            self.abort(upload);
            return Err(error);
        }
        // From here on nothing is emptied, so what is found now can be read. Making room may have moved it.
        let old = self.find(key).ok().filter(|old| {
            let now = self.put_joined(old.location, cas);
            let is_it = mode.compared().is_none_or(|cas| cas == self.cas_at(old.location));
            is_it && now == put && self.total_len(old.location) + self.total_len(added) == len
        });
        let Some(old) = old else {
            self.abort(upload);
            return Ok(None);
        };
        for part in if mode.appends() { [old.location, added] } else { [added, old.location] } {
            self.copy_chain(&mut upload, part)?;
        }
        let locked = self.core.index.lock(key.hash);
        // It may be in another slot by now, and have another expiry.
        let now = self.find_locked(key, &locked).ok();
        let Some(now) =
            now.filter(|now| now.location == old.location && self.put_joined(now.location, cas) == put)
        else {
            self.core.index.unlock(locked);
            self.abort(upload);
            return Ok(None);
        };
        self.finish((key, locked), upload, Some(now))?;
        Ok(Some(Outcome::Stored))
    }

    /// How to store the item at `location` joined with another value.
    fn put_joined(&self, location: Location, cas: Option<u64>) -> Put {
        Put { stale: false, win_sent: false, cas, ..self.put_of(location) }
    }

    /// Copies the value of the item at `from` to an upload whose extents are open.
    fn copy_chain(&mut self, upload: &mut Upload, from: Location) -> Result<(), PutError> {
        let mut next = Some(from);
        while let Some(at) = next {
            let record = self.core.arena.record(at);
            let len = record.value().len();
            next = record.next();
            let mut copied = 0;
            while copied < len {
                if upload.filled == upload.piece_len() {
                    self.next_extent(upload)?;
                }
                let filled = upload.filled;
                let piece = (upload.piece_len() - filled).min(len - copied);
                self.core.arena.copy_value(upload.piece(), filled, at, copied..copied + piece);
                upload.filled += piece;
                copied += piece;
            }
        }
        Ok(())
    }

    fn total_len(&self, location: Location) -> usize {
        self.core.arena.record(location).total_len()
    }
}
