//! delete, incr, decr, touch.

use mm_base::buffer::Output;
use mm_proto::memcached::{Arithmetic, Touch, Writer, lines};
use mm_store::{ArithmeticError, CasRule, Counted, Key, Operation, Sharing};

use crate::clock::Time;
use crate::service::{Call, Memcached};
use crate::storing::reply;

/// The longest number and the end of its line.
const NUMBER_LINE_BYTES: usize = 22;

impl<S: Sharing> Memcached<S> {
    /// delete.
    pub(crate) fn delete(&mut self, key: Key<'_>, noreply: bool, call: &mut Call<'_>) {
        self.observe_deletion(key, "delete", None);
        let deleted = self.store.delete(key, None, call.time.now_s);
        let line = match deleted {
            Ok(()) => {
                self.counters.delete_hits.count();
                lines::DELETED
            }
            Err(_) => {
                self.counters.delete_misses.count();
                lines::NOT_FOUND
            }
        };
        reply(call.output, noreply, line);
    }

    /// touch.
    pub(crate) fn touch(&mut self, key: Key<'_>, touch: &Touch<'_>, call: &mut Call<'_>) {
        let touched = self.store.touch(key, call.time.expiry_s(touch.exptime), call.time.now_s);
        let line = match touched {
            Ok(kept) => {
                self.counters.touch_hits.count();
                kept.map_or(lines::NO_MEMORY, |()| lines::TOUCHED)
            }
            Err(_) => {
                self.counters.touch_misses.count();
                lines::NOT_FOUND
            }
        };
        reply(call.output, touch.noreply, line);
    }

    /// incr and decr.
    pub(crate) fn arithmetic(&mut self, key: Key<'_>, request: &Arithmetic<'_>, call: &mut Call<'_>) {
        let operation = match request.decrement {
            true => Operation::Decrement(request.delta),
            false => Operation::Increment(request.delta),
        };
        let line = match self.count_number(key, (operation, None), CasRule::default(), &call.time) {
            Ok(Counted { number, .. }) => {
                if !request.noreply {
                    write_number_line(call.output, number);
                }
                return;
            }
            Err(ArithmeticError::Miss(_)) => lines::NOT_FOUND,
            Err(ArithmeticError::NotANumber) => lines::NON_NUMERIC,
            Err(ArithmeticError::Exists) => lines::EXISTS,
            Err(ArithmeticError::Put(_)) => lines::NO_MEMORY,
        };
        reply(call.output, request.noreply, line);
    }

    /// Changes a number, and when it expires where that is given, and counts hit or miss.
    pub(crate) fn count_number(
        &mut self,
        key: Key<'_>,
        (operation, expiry_s): (Operation, Option<u32>),
        cas: CasRule,
        time: &Time,
    ) -> Result<Counted, ArithmeticError> {
        let changed = self.store.count_touching(key, (operation, expiry_s), cas, time.now_s);
        let counters = &self.counters;
        let (hits, misses) = match operation {
            Operation::Increment(_) => (&counters.incr_hits, &counters.incr_misses),
            Operation::Decrement(_) => (&counters.decr_hits, &counters.decr_misses),
        };
        match changed {
            Ok(_) => hits.count(),
            Err(ArithmeticError::Miss(_)) => misses.count(),
            Err(_) => {}
        }
        changed
    }
}

fn write_number_line(output: &mut Output, number: u64) {
    let mut writer = Writer::new(output.spare(NUMBER_LINE_BYTES));
    writer.put_number(number);
    writer.put(b"\r\n");
    let written = writer.len();
    output.commit(written);
}
