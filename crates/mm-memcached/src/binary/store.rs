//! set, add, replace, append, prepend: with the value at hand, or while it arrives.

use mm_proto::memcached::binary::{Head, Mode as Verb, Request, Status, Verb as Asked};
use mm_server::Step;
use mm_store::{Key, Mode, Outcome, Put, PutError, Sharing};

use super::{Wire, done, refuse};
use crate::clock::Time;
use crate::service::{Call, Connection, Memcached, after};
use crate::storing::{How, Plan, Value};
use crate::upload::Command;

impl<S: Sharing> Memcached<S> {
    /// A storage command whose value is there whole.
    pub(super) fn binary_store(
        &mut self,
        key: Key<'_>,
        request: &Request<'_>,
        value: &[u8],
        call: &mut Call<'_>,
    ) {
        let Asked::Store { mode, flags, exptime, .. } = request.verb else { return };
        let plan = binary_plan(mode, request.head, (flags, call.time.unsigned_expiry_s(exptime)));
        if !self.fits(key, flags, value.len()) {
            self.observe_store(key, &plan.put, 0, Err(PutError::TooLarge));
            self.refuse_too_large(key, mode == Verb::Set, &call.time);
            return refuse(call.output, request.head, Status::TooLarge);
        }
        self.counters.cmd_set.count();
        self.store.ask_for_cas();
        let outcome = self.carry_out(key, &plan, Value::Whole(value), &call.time);
        let cas = self.told_cas();
        self.observe_store(key, &plan.put, value.len(), outcome);
        self.answer_binary_store(key, (request, mode), (outcome, cas), call);
    }

    fn answer_binary_store(
        &mut self,
        key: Key<'_>,
        (request, mode): (&Request<'_>, Verb),
        (outcome, cas): (Result<Outcome, PutError>, u64),
        call: &mut Call<'_>,
    ) {
        let status = match outcome {
            Ok(Outcome::Stored) if request.quiet => return,
            Ok(Outcome::Stored) => return done(request, cas, call.output),
            Ok(Outcome::Exists) => Status::Exists,
            Ok(Outcome::NotFound) => Status::NotFound,
            Ok(Outcome::NotStored) => match mode {
                Verb::Add => Status::Exists,
                Verb::Replace => Status::NotFound,
                Verb::Set | Verb::Append | Verb::Prepend => Status::NotStored,
            },
            Err(error) => self.binary_refusal(key, mode, error, &call.time),
        };
        refuse(call.output, request.head, status);
    }

    /// Counts a refusal by the store, and removes the old value where it would be taken for the new.
    fn binary_refusal(&mut self, key: Key<'_>, mode: Verb, error: PutError, time: &Time) -> Status {
        let removes = mode == Verb::Set;
        match error {
            PutError::TooLarge => {
                self.refuse_too_large(key, removes, time);
                Status::TooLarge
            }
            PutError::NoMemory => {
                self.refuse_no_memory(key, removes, time);
                Status::NoMemory
            }
        }
    }

    /// The CAS value of an item that has just been stored, after it was asked for; 0 if none was, or there are none.
    pub(super) fn told_cas(&mut self) -> u64 {
        let cas = self.store.told_cas().unwrap_or(0);
        if self.shared.settings.items.has_cas { cas } else { 0 }
    }

    /// A storage command has come, and not all of its value. Says whether the value is wanted.
    pub(super) fn begin_binary_store(
        &mut self,
        connection: &mut Connection,
        request: &Request<'_>,
        call: &mut Call<'_>,
    ) -> bool {
        let Asked::Store { mode, flags, exptime, bytes } = request.verb else { return false };
        let Some(key) = self.store.key(request.key) else { return false };
        let len = bytes as usize;
        let plan = binary_plan(mode, request.head, (flags, call.time.unsigned_expiry_s(exptime)));
        if !self.fits(key, flags, len) {
            self.observe_store(key, &plan.put, 0, Err(PutError::TooLarge));
            self.refuse_too_large(key, mode == Verb::Set, &call.time);
            refuse(call.output, request.head, Status::TooLarge);
            return false;
        }
        let command = Command::Binary { head: request.head, quiet: request.quiet, mode };
        match self.begin_upload(key, &plan, (len, command), &call.time) {
            Ok(mut incoming) => {
                self.counters.cmd_set.count();
                incoming.set_key(request.key);
                connection.incoming = Some(incoming);
                true
            }
            Err(error) => {
                self.observe_store(key, &plan.put, 0, Err(error));
                let status = self.binary_refusal(key, mode, error, &call.time);
                refuse(call.output, request.head, status);
                false
            }
        }
    }

    /// Goes on where an upload stands.
    pub(super) fn resume_binary_upload(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Step {
        let (Some(mut incoming), Wire::Binary(mut parser)) = (connection.incoming.take(), connection.wire)
        else {
            return Step::Read { consumed: 0 };
        };
        if let Some(upload) = incoming.under_way(call.time.now_s) {
            let is_put_off = self.is_put_off(upload);
            connection.incoming = Some(incoming);
            return self.read_on(connection.token, is_put_off);
        }
        let Command::Binary { head, quiet, mode } = incoming.command() else {
            return Step::Close { consumed: 0 };
        };
        match incoming.take_upload() {
            Some(upload) => match self.store.key(incoming.key()) {
                Some(key) => {
                    let len = upload.len();
                    self.store.ask_for_cas();
                    let outcome = self.carry_out(key, incoming.plan(), Value::Uploaded(upload), &call.time);
                    let cas = self.told_cas();
                    self.observe_store(key, &incoming.plan().put, len, outcome);
                    let verb = Asked::Store { mode, flags: 0, exptime: 0, bytes: 0 };
                    let request = Request { head, verb, key: key.bytes(), quiet };
                    self.answer_binary_store(key, (&request, mode), (outcome, cas), call);
                }
                None => self.store.abort(upload),
            },
            None => {
                refuse(call.output, head, Status::NoMemory);
                self.note_lost_upload(&incoming, &call.time);
                parser.skip(u32::try_from(incoming.missing()).unwrap_or(u32::MAX));
            }
        }
        self.keep_idle(incoming);
        connection.wire = Wire::Binary(parser);
        if call.output.is_full() {
            return Step::Read { consumed: 0 };
        }
        after(0, self.serve_binary(connection, parser, input, call))
    }
}

/// What a storage command is to do.
fn binary_plan(mode: Verb, head: Head, (client_flags, expiry_s): (u32, u32)) -> Plan {
    let mode = match mode {
        Verb::Append if head.cas != 0 => Mode::AppendTo(head.cas),
        Verb::Prepend if head.cas != 0 => Mode::PrependTo(head.cas),
        Verb::Append => Mode::Append,
        Verb::Prepend => Mode::Prepend,
        _ if head.cas != 0 => Mode::Cas(head.cas),
        Verb::Set => Mode::Set,
        Verb::Add => Mode::Add,
        Verb::Replace => Mode::Replace,
    };
    Plan { put: Put { mode, client_flags, expiry_s, ..Put::default() }, how: How::Plain }
}
