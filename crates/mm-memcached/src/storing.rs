//! Storing values: what the classic and the meta commands have in common, and the classic ones.

use std::sync::atomic::Ordering;

use mm_base::buffer::Output;
use mm_proto::memcached::{Store as StoreLine, StoreVerb, lines};
use mm_store::{Key, Miss, Mode, Outcome, Put, PutError, Sharing, Upload};

use crate::clock::Time;
use crate::limits::ITEM_HEADER_BYTES;
use crate::service::{Call, Memcached};

/// What is to be done with a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) put: Put,
    pub(crate) how: How,
}

/// On what condition a value is stored, besides the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// None.
    Plain,
    /// Where there is no item, one is made.
    Vivify,
    /// If the item's CAS is this one; or, if it is greater, as a stale value that keeps the item's time.
    CasOrStale(u64),
}

/// The value of a [`Plan`].
pub(crate) enum Value<'a> {
    Whole(&'a [u8]),
    Uploaded(Upload),
}

impl Value<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Whole(value) => value.len(),
            Self::Uploaded(upload) => upload.len(),
        }
    }
}

impl<S: Sharing> Memcached<S> {
    /// A classic storage command whose data is there whole.
    #[inline]
    pub(crate) fn store_line(
        &mut self,
        key: Key<'_>,
        line: &StoreLine<'_>,
        data: &[u8],
        call: &mut Call<'_>,
    ) {
        let Some(value) = self.check_data(key, line.flags, data) else {
            return self.refuse_data(key, line, data, call);
        };
        self.counters.cmd_set.count();
        let plan = self.plan(line, &call.time);
        let outcome = match plan.put.mode {
            Mode::Cas(_) | Mode::Append | Mode::Prepend => {
                self.carry_out(key, &plan, Value::Whole(value), &call.time)
            }
            _ => self.store.put(key, &plan.put, value, call.time.now_s),
        };
        self.observe_store(key, &plan.put, value.len(), outcome);
        let said = self.outcome_line(key, line.verb, outcome, &call.time);
        reply(call.output, line.noreply, said);
    }

    /// The value of a data block, or `None` where it is too long or does not end as it should.
    #[inline]
    fn check_data<'a>(&self, key: Key<'_>, flags: u32, data: &'a [u8]) -> Option<&'a [u8]> {
        let value = data.strip_suffix(b"\r\n")?;
        self.fits(key, flags, value.len()).then_some(value)
    }

    /// Whether an item stays within the item size limit, by memcached's measure of items.
    #[inline]
    pub(crate) fn fits(&self, key: Key<'_>, flags: u32, len: usize) -> bool {
        item_bytes(key.bytes().len(), flags, len) <= self.shared.settings.items.item_size_max
    }

    #[cold]
    fn refuse_data(&mut self, key: Key<'_>, line: &StoreLine<'_>, data: &[u8], call: &mut Call<'_>) {
        if self.fits(key, line.flags, data.len() - 2) {
            self.counters.cmd_set.count();
            reply(call.output, line.noreply, lines::BAD_DATA_CHUNK);
        } else {
            let plan = self.plan(line, &call.time);
            self.observe_store(key, &plan.put, 0, Err(PutError::TooLarge));
            self.refuse_too_large(key, line.verb == StoreVerb::Set, &call.time);
            reply(call.output, line.noreply, lines::TOO_LARGE);
        }
    }

    /// Counts a value that is too large, and removes the old one so that it is not taken for the new.
    pub(crate) fn refuse_too_large(&mut self, key: Key<'_>, removes: bool, time: &Time) {
        mm_base::mark!("value too large");
        self.counters.store_too_large.count();
        if removes {
            let _missing_or_not = self.store.delete(key, None, time.now_s);
        }
    }

    /// The same for a value that there is no memory for.
    pub(crate) fn refuse_no_memory(&mut self, key: Key<'_>, removes: bool, time: &Time) {
        mm_base::mark!("no memory for a value");
        self.counters.store_no_memory.count();
        if self.shared.settings.items.evicts {
            self.shared.refusals.fetch_add(1, Ordering::Relaxed);
        }
        if removes {
            let _missing_or_not = self.store.delete(key, None, time.now_s);
        }
    }

    /// What a classic storage command is to do.
    #[inline]
    pub(crate) fn plan(&self, line: &StoreLine<'_>, time: &Time) -> Plan {
        let mode = match line.verb {
            StoreVerb::Set => Mode::Set,
            StoreVerb::Add => Mode::Add,
            StoreVerb::Replace => Mode::Replace,
            StoreVerb::Append => Mode::Append,
            StoreVerb::Prepend => Mode::Prepend,
            StoreVerb::Cas => Mode::Cas(line.cas),
        };
        let expiry_s = time.expiry_s(line.exptime);
        let put = Put { mode, client_flags: line.flags, expiry_s, ..Put::default() };
        Plan { put, how: How::Plain }
    }

    /// Stores a value as planned. Where the item changes between the look at it and the store, which another shard can
    /// do, it is looked at again.
    pub(crate) fn carry_out(
        &mut self,
        key: Key<'_>,
        plan: &Plan,
        value: Value<'_>,
        time: &Time,
    ) -> Result<Outcome, PutError> {
        let outcome = match (plan.how, value) {
            (_, value) if self.outgrows(key, &plan.put, value.len(), time) => {
                self.drop_value(value);
                Ok(Outcome::NotStored)
            }
            (How::Plain, value) if matches!(plan.put.mode, Mode::Cas(_)) && !self.has_cas() => {
                self.drop_value(value);
                Ok(self.present(key, time).map_or(Outcome::NotFound, |_| Outcome::Exists))
            }
            (How::Plain, Value::Whole(value)) => self.store.put(key, &plan.put, value, time.now_s),
            (How::Plain, Value::Uploaded(upload)) => self.store.commit(upload, time.now_s),
            (How::Vivify, value) => self.store_or_vivify(key, plan, value, time),
            (How::CasOrStale(cas), value) => self.store_perhaps_stale((key, plan), cas, value, time),
        }?;
        self.count_cas(plan, outcome);
        Ok(outcome)
    }

    /// Whether `put` would join a value of so many bytes with an item that is too large for it by memcached's measure.
    fn outgrows(&mut self, key: Key<'_>, put: &Put, len: usize, time: &Time) -> bool {
        let compared = match put.mode {
            Mode::Append | Mode::Prepend => None,
            Mode::AppendTo(cas) | Mode::PrependTo(cas) => Some(cas),
            _ => return false,
        };
        let Ok(item) = self.store.peek(key, time.now_s) else { return false };
        let (item_len, flags, cas) = (item.len(), item.client_flags(), item.current_cas());
        // That the item has changed comes before that it is large.
        compared.is_none_or(|wanted| wanted == cas) && !self.fits(key, flags, item_len + len)
    }

    fn has_cas(&self) -> bool {
        self.shared.settings.items.has_cas
    }

    fn drop_value(&mut self, value: Value<'_>) {
        if let Value::Uploaded(upload) = value {
            self.store.abort(upload);
        }
    }

    /// append and prepend that make the item where there is none. Where other shards make and remove it meanwhile, it
    /// is tried again.
    fn store_or_vivify(
        &mut self,
        key: Key<'_>,
        plan: &Plan,
        value: Value<'_>,
        time: &Time,
    ) -> Result<Outcome, PutError> {
        let mut value = value;
        loop {
            for mode in [Mode::Add, plan.put.mode] {
                value = match self.try_store(key, &Put { mode, ..plan.put }, value, time) {
                    Ok(done) => return done,
                    Err((Outcome::NotStored, value)) => value,
                    Err((outcome, value)) => {
                        self.drop_value(value);
                        return Ok(outcome);
                    }
                };
            }
        }
    }

    /// Stores a value, which goes back with the outcome where it is not stored.
    #[expect(clippy::result_large_err, reason = "the upload goes back to where it came from")]
    fn try_store<'a>(
        &mut self,
        key: Key<'_>,
        put: &Put,
        value: Value<'a>,
        time: &Time,
    ) -> Result<Result<Outcome, PutError>, (Outcome, Value<'a>)> {
        match value {
            Value::Whole(bytes) => match self.store.put(key, put, bytes, time.now_s) {
                Ok(outcome) if outcome != Outcome::Stored => Err((outcome, value)),
                done => Ok(done),
            },
            Value::Uploaded(mut upload) => {
                upload.set_mode(put.mode);
                let committed = self.store.try_commit(upload, time.now_s);
                committed.map_err(|(outcome, upload)| (outcome, Value::Uploaded(upload)))
            }
        }
    }

    /// Stores a value over the item with this CAS value; or over one with a greater, as a stale value that keeps the
    /// item's time and whether somebody was told to fetch a new one.
    fn store_perhaps_stale(
        &mut self,
        (key, plan): (Key<'_>, &Plan),
        cas: u64,
        value: Value<'_>,
        time: &Time,
    ) -> Result<Outcome, PutError> {
        let mut value = value;
        loop {
            let present = match self.present(key, time) {
                Ok(present) if cas <= present.cas => present,
                present => {
                    self.drop_value(value);
                    return Ok(present.map_or(Outcome::NotFound, |_| Outcome::Exists));
                }
            };
            let Present { cas: its_cas, expiry_s, win_sent } = present;
            let put = match cas == its_cas {
                true => Put { mode: Mode::Cas(cas), ..plan.put },
                false => {
                    let mode = Mode::CasAndState { cas: its_cas, expiry_s, win_sent };
                    Put { mode, expiry_s, win_sent, stale: true, ..plan.put }
                }
            };
            value = match value {
                Value::Whole(value) => match self.store.put(key, &put, value, time.now_s)? {
                    // Another shard was faster. It has made the CAS value greater, or changed what a stale value keeps,
                    // so this ends.
                    Outcome::Exists => Value::Whole(value),
                    outcome => return Ok(outcome),
                },
                Value::Uploaded(mut upload) => {
                    if put.stale {
                        upload.set_stale(its_cas, expiry_s, win_sent);
                    } else {
                        upload.set_mode(put.mode);
                    }
                    match self.store.try_commit(upload, time.now_s) {
                        Ok(done) => return done,
                        Err((Outcome::Exists, upload)) => Value::Uploaded(upload),
                        Err((outcome, upload)) => {
                            self.store.abort(upload);
                            return Ok(outcome);
                        }
                    }
                }
            }
        }
    }

    fn present(&mut self, key: Key<'_>, time: &Time) -> Result<Present, Miss> {
        let item = self.store.peek(key, time.now_s)?;
        Ok(Present { cas: item.current_cas(), expiry_s: item.expiry_s(), win_sent: item.is_win_sent() })
    }

    fn count_cas(&self, plan: &Plan, outcome: Outcome) {
        if !matches!((plan.put.mode, plan.how), (Mode::Cas(_), _) | (_, How::CasOrStale(_))) {
            return;
        }
        match outcome {
            Outcome::Stored => self.counters.cas_hits.count(),
            Outcome::NotFound => self.counters.cas_misses.count(),
            Outcome::Exists | Outcome::NotStored => self.counters.cas_badval.count(),
        }
    }

    /// What to say to a classic client about what became of its value.
    #[inline]
    pub(crate) fn outcome_line(
        &mut self,
        key: Key<'_>,
        verb: StoreVerb,
        outcome: Result<Outcome, PutError>,
        time: &Time,
    ) -> &'static [u8] {
        match outcome {
            Ok(Outcome::Stored) => lines::STORED,
            Ok(Outcome::NotStored) => lines::NOT_STORED,
            Ok(Outcome::Exists) => lines::EXISTS,
            Ok(Outcome::NotFound) => lines::NOT_FOUND,
            Err(error) => self.refuse(key, verb == StoreVerb::Set, error, time),
        }
    }

    /// Counts a refusal by the store and removes the old value where `removes`. Returns what to say.
    #[cold]
    pub(crate) fn refuse(
        &mut self,
        key: Key<'_>,
        removes: bool,
        error: PutError,
        time: &Time,
    ) -> &'static [u8] {
        match error {
            PutError::TooLarge => {
                self.refuse_too_large(key, removes, time);
                lines::TOO_LARGE
            }
            PutError::NoMemory => {
                self.refuse_no_memory(key, removes, time);
                lines::NO_MEMORY_STORING
            }
        }
    }
}

/// What matters of an item that a value is compared with.
struct Present {
    cas: u64,
    expiry_s: u32,
    win_sent: bool,
}

/// The bytes of an item by memcached's measure.
pub(crate) const fn item_bytes(key_len: usize, flags: u32, len: usize) -> usize {
    let flags_bytes = if flags == 0 { 0 } else { 4 };
    ITEM_HEADER_BYTES + flags_bytes + key_len + 1 + len + 2
}

/// Sends `line`, unless no answer is wanted.
#[inline]
pub(crate) fn reply(output: &mut Output, noreply: bool, line: &[u8]) {
    if !noreply {
        output.spare(line.len())[..line.len()].copy_from_slice(line);
        output.commit(line.len());
    }
}
