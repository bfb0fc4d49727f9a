//! delete, increment, decrement, flush.

use mm_proto::memcached::Writer;
use mm_proto::memcached::binary::{DO_NOT_CREATE, Request, Response, Status, Verb};
use mm_store::{ArithmeticError, CasRule, Counted, DeleteError, Key, Mode, Operation, Outcome, Put, Sharing};

use super::{done, refuse, respond};
use crate::service::{Call, Memcached};

/// The longest decimal number of 64 bits.
const DIGITS_MAX: usize = 20;

/// Bytes of the number in a response.
const NUMBER_BYTES: u32 = 8;

impl<S: Sharing> Memcached<S> {
    /// delete.
    pub(super) fn binary_delete(&mut self, key: Key<'_>, request: &Request<'_>, call: &mut Call<'_>) {
        let wanted = Some(request.head.cas).filter(|&cas| cas != 0);
        self.observe_deletion(key, "delete", wanted);
        match self.store.delete(key, wanted, call.time.now_s) {
            Ok(()) => {
                self.counters.delete_hits.count();
                done(request, 0, call.output);
            }
            Err(DeleteError::Exists) => refuse(call.output, request.head, Status::Exists),
            Err(DeleteError::Miss(_)) => {
                self.counters.delete_misses.count();
                refuse(call.output, request.head, Status::NotFound);
            }
        }
    }

    /// increment and decrement.
    pub(super) fn binary_arithmetic(&mut self, key: Key<'_>, request: &Request<'_>, call: &mut Call<'_>) {
        let Verb::Arithmetic { decrement, delta, initial, exptime } = request.verb else { return };
        let operation = if decrement { Operation::Decrement(delta) } else { Operation::Increment(delta) };
        let creates = exptime != DO_NOT_CREATE;
        self.store.ask_for_cas();
        let status = loop {
            // Without counting it a miss, which comes with the attempt to count where nothing can be made.
            if creates && self.store.peek(key, call.time.now_s).is_err() {
                match self.create_number(key, (initial, exptime), call) {
                    Ok(true) => return self.tell_number(request, initial, call),
                    // Another shard has made it just now.
                    Ok(false) => {}
                    Err(status) => break status,
                }
            }
            break match self.count_number(key, (operation, None), rule(request), &call.time) {
                Ok(Counted { number, .. }) => return self.tell_number(request, number, call),
                // It was there, and another shard has removed it.
                Err(ArithmeticError::Miss(_)) if creates => continue,
                Err(ArithmeticError::Miss(_)) => Status::NotFound,
                Err(ArithmeticError::NotANumber) => Status::NonNumeric,
                Err(ArithmeticError::Exists) => Status::Exists,
                Err(ArithmeticError::Put(_)) => Status::NoMemory,
            };
        };
        let _nothing_stored = self.store.told_cas();
        refuse(call.output, request.head, status);
    }

    /// Makes the number, unless there is one.
    fn create_number(
        &mut self,
        key: Key<'_>,
        (initial, exptime): (u64, u32),
        call: &Call<'_>,
    ) -> Result<bool, Status> {
        let mut digits = [0; DIGITS_MAX];
        let mut writer = Writer::new(&mut digits);
        writer.put_number(initial);
        let len = writer.len();
        let expiry_s = call.time.unsigned_expiry_s(exptime);
        let put = Put { mode: Mode::Add, expiry_s, ..Put::default() };
        match self.store.put(key, &put, &digits[..len], call.time.now_s) {
            Ok(outcome) => Ok(outcome == Outcome::Stored),
            Err(_) => Err(Status::NoMemory),
        }
    }

    fn tell_number(&mut self, request: &Request<'_>, number: u64, call: &mut Call<'_>) {
        let cas = self.told_cas();
        if request.quiet {
            return;
        }
        let response = Response { value: NUMBER_BYTES, cas, ..Response::OK };
        respond(call.output, request.head, &response, &[&number.to_be_bytes()]);
    }

    /// flush.
    pub(super) fn binary_flush(&mut self, request: &Request<'_>, exptime: u32, call: &mut Call<'_>) {
        if !self.shared.settings.allowed.flush {
            return refuse(call.output, request.head, Status::Denied);
        }
        self.counters.cmd_flush.count();
        if exptime > 0 {
            self.flush_at(call.time.unsigned_future_s(exptime), &call.time);
        } else {
            self.shared.set_flush(0);
            self.flush();
        }
        done(request, 0, call.output);
    }
}

/// What a request says of the item's CAS value.
fn rule(request: &Request<'_>) -> CasRule {
    let wanted = request.head.cas;
    CasRule { compare: (wanted != 0).then_some(wanted), assign: None }
}
