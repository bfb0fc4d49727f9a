//! Storing values: what the classic and the meta commands have in common, and the classic ones.

use mm_base::buffer::Output;
use mm_proto::memcached::{Store as StoreLine, StoreVerb, lines};
use mm_store::{Key, Miss, Mode, Outcome, Put, PutError, Sharing, State, Upload};

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
    /// If the item's CAS is this one.
    Compare(u64),
    /// The same where a CAS is given; and where there is no item, an empty one is made first.
    Vivify(Option<u64>),
    /// If the item's CAS is this one; or, if it is greater, as a stale value that keeps the item's time.
    CasOrStale(u64),
}

/// The value of a [`Plan`].
pub(crate) enum Value<'a> {
    Whole(&'a [u8]),
    Uploaded(Upload),
}

/// What the store is to do, once the present item has been looked at.
#[derive(Default)]
struct Decision {
    /// The time to keep and whether a win was sent, for a value that is stale from the start.
    stale: Option<(u32, bool)>,
    /// Whether an empty item has to be there first.
    vivify: bool,
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
        self.counters().cmd_set.count();
        let plan = self.plan(line, &call.time);
        let outcome = match plan.put.mode {
            Mode::Cas(_) => self.carry_out(key, &plan, Value::Whole(value), &call.time),
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
            self.counters().cmd_set.count();
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
        self.counters().store_too_large.count();
        if removes {
            let _missing_or_not = self.store.delete(key, None, time.now_s);
        }
    }

    /// The same for a value that there is no memory for.
    pub(crate) fn refuse_no_memory(&mut self, key: Key<'_>, removes: bool, time: &Time) {
        mm_base::mark!("no memory for a value");
        self.counters().store_no_memory.count();
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

    /// Stores a value as planned.
    pub(crate) fn carry_out(
        &mut self,
        key: Key<'_>,
        plan: &Plan,
        value: Value<'_>,
        time: &Time,
    ) -> Result<Outcome, PutError> {
        let decision = match self.decide(key, plan, time) {
            Ok(decision) => decision,
            Err(outcome) => {
                self.drop_value(value);
                return Ok(outcome);
            }
        };
        if decision.vivify {
            let empty = Put { mode: Mode::Add, ..plan.put };
            let made = self.store.put(key, &empty, &[], time.now_s);
            if made.is_err() {
                self.drop_value(value);
                return made;
            }
        }
        let outcome = match value {
            Value::Whole(value) => self.store.put(key, &plan.put, value, time.now_s),
            Value::Uploaded(upload) => self.store.commit(upload, time.now_s),
        }?;
        if let (Outcome::Stored, Some((expiry_s, win_sent))) = (outcome, decision.stale) {
            // The item is there: it was stored in this call.
            let _there = self.store.touch(key, expiry_s, time.now_s);
            let _there = self.store.set_state(key, State { stale: true, win_sent }, time.now_s);
        }
        self.count_cas(plan, outcome);
        Ok(outcome)
    }

    fn drop_value(&mut self, value: Value<'_>) {
        if let Value::Uploaded(upload) = value {
            self.store.abort(upload);
        }
    }

    /// Looks at the present item where the store alone cannot decide.
    fn decide(&mut self, key: Key<'_>, plan: &Plan, time: &Time) -> Result<Decision, Outcome> {
        let plain = Ok(Decision::default());
        match plan.how {
            How::Plain if matches!(plan.put.mode, Mode::Cas(_)) && !self.shared.settings.items.has_cas => {
                let outcome = self.present(key, time).map_or(Outcome::NotFound, |_| Outcome::Exists);
                self.count_cas(plan, outcome);
                Err(outcome)
            }
            How::Plain => plain,
            How::Compare(cas) => match self.present(key, time) {
                Ok(present) if present.cas == cas => plain,
                Ok(_) => Err(Outcome::Exists),
                Err(_) => Err(Outcome::NotStored),
            },
            How::Vivify(cas) => match self.present(key, time) {
                Ok(present) if cas.is_none_or(|cas| present.cas == cas) => plain,
                Ok(_) => Err(Outcome::Exists),
                Err(_) => Ok(Decision { vivify: true, ..Decision::default() }),
            },
            How::CasOrStale(cas) => match self.present(key, time) {
                Ok(present) if cas == present.cas => plain,
                Ok(present) if cas < present.cas => {
                    Ok(Decision { stale: Some((present.expiry_s, present.win_sent)), vivify: false })
                }
                present => {
                    let outcome = present.map_or(Outcome::NotFound, |_| Outcome::Exists);
                    self.count_cas(plan, outcome);
                    Err(outcome)
                }
            },
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
            Outcome::Stored => self.counters().cas_hits.count(),
            Outcome::NotFound => self.counters().cas_misses.count(),
            Outcome::Exists | Outcome::NotStored => self.counters().cas_badval.count(),
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
