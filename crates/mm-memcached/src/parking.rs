//! Requests that are put off: because other shards may be reading all memory, or because a value is to go into memory
//! that is not there yet.
//!
//! Memory that was never used has to be found and cleared by the system, which takes milliseconds where a host has to
//! give it to a virtual machine. A thread of the program sees to that ahead of the uploads. One that has come to where
//! the thread is waits, so that the shard can serve the others; but where the thread gets nowhere, the shard takes the
//! memory itself.

use std::collections::VecDeque;

use mm_proto::memcached::Parser;
use mm_server::{Step, Token};
use mm_store::{Sharing, Store, Upload};

use crate::limits::{MEMORY_PATIENCE_MS, MEMORY_WAKES_MAX, WAIT_MAX_BYTES};
use crate::service::{Call, Connection, Memcached};

/// The uploads that wait for memory to be populated.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    tokens: VecDeque<Token>,
    /// [`Store::populated`] as last seen.
    seen: usize,
    /// Since when that is so.
    since_ms: Option<u64>,
    /// What that was when they had waited long enough: nobody waits until it is another.
    given_up_at: Option<usize>,
}

impl Waiting {
    /// Whether an upload is put off before its next bytes.
    pub(crate) fn puts_off<S: Sharing>(&self, store: &Store<S>, upload: &Upload) -> bool {
        store.awaits_memory(upload) && self.hopes(store)
    }

    /// Whether memory is being populated as far as is known.
    fn hopes<S: Sharing>(&self, store: &Store<S>) -> bool {
        self.given_up_at != Some(store.populated())
    }

    /// The time has come to look. Gives how many may go on.
    fn look(&mut self, populated: usize, now_ms: u64) -> usize {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if self.seen != populated {
            (self.seen, self.since_ms, self.given_up_at) = (populated, Some(now_ms), None);
        } else if now_ms >= since_ms + MEMORY_PATIENCE_MS {
            self.given_up_at = Some(populated);
        } else if self.given_up_at.is_none() {
            return 0;
        }
        self.tokens.len().min(MEMORY_WAKES_MAX)
    }
}

impl<S: Sharing> Memcached<S> {
    /// Puts a request off until shards have rested that may be reading all memory.
    #[cold]
    pub(crate) fn park(&mut self, token: Token, consumed: usize) -> Step {
        self.parked.push(token);
        Step::Park { consumed }
    }

    /// The same for what follows byte `end` of the input, where the parser is this one.
    pub(crate) fn park_after(&mut self, connection: &mut Connection, (end, parser): (usize, Parser)) -> Step {
        connection.parser = parser;
        self.park(connection.token, end)
    }

    /// Has the connections run again whose requests were put off, if they need not be any more. False if they do.
    pub(crate) fn wake_parked(&mut self) -> bool {
        if !S::IS_SHARED || self.parked.is_empty() {
            return true;
        }
        let is_over = !self.store.must_wait();
        if is_over {
            self.parked.drain(..).for_each(|token| self.ready.wake(token));
        }
        is_over
    }

    /// Of a command at `start` only a part of its value, of so many bytes, has arrived: what it waits for before it is
    /// begun.
    pub(crate) fn put_off(
        &mut self,
        token: Token,
        (start, bytes): (usize, u32),
        call: &mut Call<'_>,
    ) -> Option<Step> {
        if self.can_wait(bytes) {
            mm_base::mark!("short value waited for");
            call.waits_for_value = true;
            Some(Step::Read { consumed: start })
        } else if self.store.must_wait() {
            Some(self.park(token, start))
        } else if self.puts_off(bytes) {
            Some(self.park_for_memory(token, start))
        } else {
            None
        }
    }

    /// Whether a value that is not there whole is waited for, instead of being streamed into the store.
    fn can_wait(&self, bytes: u32) -> bool {
        usize::try_from(bytes).is_ok_and(|bytes| bytes <= WAIT_MAX_BYTES)
            && self.shared.settings.items.item_size_max > WAIT_MAX_BYTES * 2
    }

    /// Whether a value of so many bytes, which is on its way, is put off before its first.
    fn puts_off(&self, bytes: u32) -> bool {
        self.store.awaits_memory_for(bytes as usize) && self.waiting.hopes(&self.store)
    }

    /// Whether an upload is still to be put off.
    pub(crate) fn is_put_off(&self, upload: &Upload) -> bool {
        self.waiting.puts_off(&self.store, upload)
    }

    /// Puts an upload off until memory was populated.
    #[cold]
    pub(crate) fn park_for_memory(&mut self, token: Token, consumed: usize) -> Step {
        mm_base::mark!("upload put off for memory");
        self.counters.upload_waits.count();
        if self.waiting.tokens.back() != Some(&token) {
            self.waiting.tokens.push_back(token);
        }
        Step::Park { consumed }
    }

    /// Has the uploads that wait for memory go on, some at a time: some memory has come, or none has for long. False
    /// while there are others.
    pub(crate) fn wake_waiting(&mut self, now_ms: u64) -> bool {
        if self.waiting.tokens.is_empty() {
            self.waiting.since_ms = None;
            return true;
        }
        let count = self.waiting.look(self.store.populated(), now_ms);
        self.waiting.tokens.drain(..count).for_each(|token| self.ready.wake(token));
        false
    }
}
