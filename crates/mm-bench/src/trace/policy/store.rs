//! The real store as a policy: what the table says of it is what a server would answer.

use std::io;

use mm_store::{Config, Put, Store};

use super::Policy;
use crate::trace::request::Request;

/// Length of the keys given to objects, shorter where an item is.
const KEY_BYTES: usize = 10;
/// Records that background work looks at in one go.
const MAINTAIN_RECORDS: usize = 512;
/// Rounds of background work between two seconds of a trace, at most.
const MAINTAIN_ROUNDS: usize = 1 << 16;
/// Seed of the store's hash.
const HASH_SEED: u64 = 7;

/// Longer values are reserved and committed unwritten, so that traces of large objects end in time.
const WRITTEN_BYTES: usize = 2048;

/// A store that a trace is replayed on.
#[derive(Debug)]
pub(crate) struct RealStore {
    store: Store,
    now_s: u32,
}

impl RealStore {
    /// An empty store with this limit.
    ///
    /// # Errors
    /// The system's where address space cannot be had.
    pub(crate) fn open(limit_bytes: u64) -> io::Result<Self> {
        let limit = crate::trace::number::to_usize(limit_bytes);
        Ok(Self { store: Store::open(&Config::new(limit, HASH_SEED))?, now_s: 1 })
    }

    /// Calls `act` with the key of an object.
    fn with_key<T>(
        &mut self,
        object: u32,
        act: impl FnOnce(&mut Store, mm_store::Key<'_>, u32) -> T,
    ) -> Option<T> {
        let mut bytes = [b'0'; KEY_BYTES];
        let mut rest = object;
        for byte in bytes.iter_mut().rev() {
            *byte += u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let key = self.store.key(&bytes)?;
        Some(act(&mut self.store, key, self.now_s))
    }
}

/// Stores a value of this length without writing it.
fn upload(
    store: &mut Store,
    key: mm_store::Key<'_>,
    put: &Put,
    len: usize,
    now_s: u32,
) -> Result<(), mm_store::PutError> {
    let mut upload = store.reserve(key, put, len, now_s)?;
    while upload.missing() != 0 {
        match store.space(&mut upload, now_s).map(|space| space.len()) {
            Ok(space) => store.filled(&mut upload, space),
            Err(error) => {
                store.abort(upload);
                return Err(error);
            }
        }
    }
    store.commit(upload, now_s).map(|_| ())
}

impl Policy for RealStore {
    fn advance(&mut self, now_s: u32) {
        if now_s < self.now_s {
            return;
        }
        self.now_s = now_s + 1;
        for _ in 0..MAINTAIN_ROUNDS {
            if !self.store.maintain(MAINTAIN_RECORDS, self.now_s) {
                break;
            }
        }
    }

    fn get(&mut self, _at: u32, object: u32) -> bool {
        self.with_key(object, |store, key, now_s| store.get(key, now_s).is_ok()).unwrap_or(false)
    }

    fn put(&mut self, _at: u32, request: &Request) {
        let len = (request.bytes as usize).saturating_sub(KEY_BYTES);
        let expiry_s = if request.ttl_s == 0 { 0 } else { self.now_s + request.ttl_s };
        let put = Put { expiry_s, ..Put::default() };
        let store = |store: &mut Store, key: mm_store::Key<'_>, now_s| {
            if len <= WRITTEN_BYTES {
                store.put(key, &put, &[0; WRITTEN_BYTES][..len], now_s).map(|_| ())
            } else {
                upload(store, key, &put, len, now_s)
            }
        };
        let _too_large = self.with_key(request.object, store);
    }

    fn remove(&mut self, object: u32) {
        let _absent = self.with_key(object, |store, key, now_s| store.delete(key, None, now_s));
    }

    /// The store finds out by itself.
    fn expire(&mut self, _object: u32) {}

    fn copied_bytes(&self) -> u64 {
        self.store.stats().moved_bytes
    }
}
