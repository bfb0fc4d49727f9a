//! Values that arrive in pieces, written straight into the store.

use mm_proto::memcached::binary::{Head, Mode};
use mm_proto::memcached::{Meta, MetaVerb, Store as StoreLine, StoreVerb, lines};
use mm_server::{Step, Token};
use mm_store::{Key, PutError, Sharing, Store, Upload};

use crate::clock::Time;
use crate::limits::IDLE_UPLOADS_MAX;
use crate::meta::DECODED_MAX_BYTES;
use crate::parking::Waiting;
use crate::service::{Call, Connection, Memcached, after};
use crate::storing::{Plan, Value, reply};

/// A value on its way, and what is to be done with it when it is there.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// `None` where memory ran out.
    upload: Option<Upload>,
    plan: Plan,
    command: Command,
    /// The key, and for ms its flags.
    words: Vec<u8>,
    key_len: usize,
    /// Bytes that have not arrived, without the two at the end.
    missing: usize,
    now_s: u32,
}

/// Which command the value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Classic {
        verb: StoreVerb,
        noreply: bool,
    },
    /// ms, with its key as it came (which base64 may have been).
    Meta {
        encoded_len: usize,
    },
    /// One of the binary protocol's, with what its response repeats.
    Binary {
        head: Head,
        quiet: bool,
        mode: Mode,
    },
}

impl Incoming {
    /// Where the next bytes go.
    pub(crate) fn space<'a, S: Sharing>(
        &'a mut self,
        store: &'a mut Store<S>,
        waiting: &Waiting,
    ) -> &'a mut [u8] {
        let Some(mut upload) = self.upload.take() else { return &mut [] };
        if upload.missing() == 0 || store.must_wait() || waiting.puts_off(store, &upload) {
            self.upload = Some(upload);
            return &mut [];
        }
        if store.space(&mut upload, self.now_s).is_err() {
            store.abort(upload);
            return &mut [];
        }
        store.space(self.upload.insert(upload), self.now_s).unwrap_or_default()
    }

    /// So many bytes have been put there.
    pub(crate) fn filled<S: Sharing>(&mut self, store: &mut Store<S>, bytes: usize) {
        if let Some(upload) = &mut self.upload {
            store.filled(upload, bytes);
            self.missing = upload.missing();
        }
    }
}

/// For the binary protocol, whose commands are ended elsewhere.
impl Incoming {
    pub(crate) fn set_key(&mut self, key: &[u8]) {
        self.words.extend_from_slice(key);
        self.key_len = key.len();
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.words[..self.key_len]
    }

    pub(crate) fn command(&self) -> Command {
        self.command
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes that have not arrived.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// The upload, where bytes are still to come.
    pub(crate) fn under_way(&mut self, now_s: u32) -> Option<&Upload> {
        self.now_s = now_s;
        self.upload.as_ref().filter(|upload| upload.missing() > 0)
    }

    /// What has arrived. `None` where memory ran out.
    pub(crate) fn take_upload(&mut self) -> Option<Upload> {
        self.upload.take()
    }
}

impl<S: Sharing> Memcached<S> {
    /// The line of a classic storage command has come, and not all of its data.
    pub(crate) fn begin_store(
        &mut self,
        connection: &mut Connection,
        line: &StoreLine<'_>,
        call: &mut Call<'_>,
    ) {
        let Some(key) = self.store.key(line.key) else { return };
        let (removes, len) = (line.verb == StoreVerb::Set, line.bytes as usize);
        let plan = self.plan(line, &call.time);
        if !self.fits(key, line.flags, len) {
            self.observe_store(key, &plan.put, 0, Err(PutError::TooLarge));
            self.refuse_too_large(key, removes, &call.time);
            reply(call.output, line.noreply, lines::TOO_LARGE);
            return connection.parser.skip(u64::from(line.bytes) + 2);
        }
        let command = Command::Classic { verb: line.verb, noreply: line.noreply };
        match self.begin_upload(key, &plan, (len, command), &call.time) {
            Ok(mut incoming) => {
                self.counters.cmd_set.count();
                incoming.words.extend_from_slice(line.key);
                incoming.key_len = line.key.len();
                connection.incoming = Some(incoming);
            }
            Err(error) => {
                self.observe_store(key, &plan.put, 0, Err(error));
                let said = self.refuse(key, removes, error, &call.time);
                reply(call.output, line.noreply, said);
                connection.parser.skip(u64::from(line.bytes) + 2);
            }
        }
    }

    /// The line of ms has come, and not all of its data.
    pub(crate) fn begin_meta_set(
        &mut self,
        connection: &mut Connection,
        meta: &Meta<'_>,
        call: &mut Call<'_>,
    ) {
        let mut room = [0; DECODED_MAX_BYTES];
        let begun = self.try_begin_meta_set(meta, &mut room, &call.time);
        match begun {
            Ok(incoming) => {
                self.counters.cmd_set.count();
                connection.incoming = Some(incoming);
            }
            Err(line) => {
                call.output.write(line);
                connection.parser.skip(u64::from(meta.bytes) + 2);
            }
        }
    }

    fn try_begin_meta_set(
        &mut self,
        meta: &Meta<'_>,
        room: &mut [u8],
        time: &Time,
    ) -> Result<Box<Incoming>, &'static [u8]> {
        let options = meta.options()?;
        let key = match options.has(b'b') {
            true => self.decode_key(meta.key, room),
            false => self.store.key(meta.key),
        };
        let key = key.ok_or(lines::META_BAD_KEY)?;
        let plan = self.plan_meta_set(key, meta, &options, time)?;
        let command = Command::Meta { encoded_len: meta.key.len() };
        match self.begin_upload(key, &plan, (meta.bytes as usize, command), time) {
            Ok(mut incoming) => {
                incoming.key_len = key.bytes().len();
                for part in [key.bytes(), meta.key, meta.flags] {
                    incoming.words.extend_from_slice(part);
                }
                Ok(incoming)
            }
            Err(error) => {
                self.observe_store(key, &plan.put, 0, Err(error));
                Err(self.refuse(key, true, error, time))
            }
        }
    }

    /// Reserves room for a value of this length, which is on its way.
    pub(crate) fn begin_upload(
        &mut self,
        key: Key<'_>,
        plan: &Plan,
        (len, command): (usize, Command),
        time: &Time,
    ) -> Result<Box<Incoming>, PutError> {
        let upload = self.store.reserve(key, &plan.put, len, time.now_s)?;
        mm_base::mark!("upload begun");
        let (upload, now_s) = (Some(upload), time.now_s);
        let new = |words| Incoming { upload, plan: *plan, command, words, key_len: 0, missing: len, now_s };
        let Some(mut idle) = self.idle_uploads.pop() else { return Ok(Box::new(new(Vec::new()))) };
        idle.words.clear();
        let words = std::mem::take(&mut idle.words);
        *idle = new(words);
        Ok(idle)
    }

    /// Goes on where an upload stands.
    pub(crate) fn resume_upload(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        call: &mut Call<'_>,
    ) -> Step {
        let Some(mut incoming) = connection.incoming.take() else { return Step::Read { consumed: 0 } };
        incoming.now_s = call.time.now_s;
        let mut consumed = 0;
        match incoming.upload.take() {
            Some(upload) if upload.missing() > 0 => {
                let is_put_off = self.is_put_off(&upload);
                incoming.upload = Some(upload);
                connection.incoming = Some(incoming);
                return self.read_on(connection.token, is_put_off);
            }
            Some(upload) => {
                let Some(end) = input.first_chunk::<2>() else {
                    incoming.upload = Some(upload);
                    connection.incoming = Some(incoming);
                    return Step::Read { consumed: 0 };
                };
                consumed = end.len();
                self.finish_upload(&incoming, upload, *end == *b"\r\n", call);
            }
            None => {
                let noreply = matches!(incoming.command, Command::Classic { noreply: true, .. });
                reply(call.output, noreply, lines::NO_MEMORY_READING);
                self.note_lost_upload(&incoming, &call.time);
                connection.parser.skip(incoming.missing as u64 + 2);
            }
        }
        self.keep_idle(incoming);
        if call.output.is_full() {
            return Step::Read { consumed };
        }
        after(consumed, self.serve(connection, &input[consumed..], call))
    }

    /// More bytes of an upload are to come, as soon as there is memory for them.
    pub(crate) fn read_on(&mut self, token: Token, is_put_off: bool) -> Step {
        if self.store.must_wait() {
            self.park(token, 0)
        } else if is_put_off {
            self.park_for_memory(token, 0)
        } else {
            Step::ReadInto { consumed: 0 }
        }
    }

    /// There was no memory for the rest of a value: it is counted, and the old one goes where it would be taken for the
    /// new.
    pub(crate) fn note_lost_upload(&mut self, incoming: &Incoming, time: &Time) {
        let removes = match incoming.command {
            Command::Classic { verb, .. } => verb == StoreVerb::Set,
            Command::Meta { .. } => true,
            Command::Binary { mode, .. } => mode == Mode::Set,
        };
        if let Some(key) = self.store.key(incoming.key()) {
            self.refuse_no_memory(key, removes, time);
        }
    }

    fn finish_upload(&mut self, incoming: &Incoming, upload: Upload, ends_well: bool, call: &mut Call<'_>) {
        let (key, rest) = incoming.words.split_at(incoming.key_len);
        if !ends_well {
            mm_base::mark!("upload with a bad end");
            self.store.abort(upload);
            let noreply = matches!(incoming.command, Command::Classic { noreply: true, .. });
            return reply(call.output, noreply, lines::BAD_DATA_CHUNK);
        }
        let Some(key) = self.store.key(key) else { return self.store.abort(upload) };
        let len = upload.len();
        self.store.ask_for_cas();
        let outcome = self.carry_out(key, &incoming.plan, Value::Uploaded(upload), &call.time);
        let told = self.store.told();
        self.observe_store(key, &incoming.plan.put, len, outcome);
        match incoming.command {
            Command::Classic { verb, noreply } => {
                let said = self.outcome_line(key, verb, outcome, &call.time);
                reply(call.output, noreply, said);
            }
            Command::Binary { .. } => {}
            Command::Meta { encoded_len } => {
                let (encoded, flags) = rest.split_at(encoded_len);
                let bytes = u32::try_from(len).unwrap_or(u32::MAX);
                let meta = Meta { key: encoded, flags, verb: MetaVerb::Set, bytes };
                self.answer_meta_set(key, &meta, (outcome, told), call);
            }
        }
    }

    /// An upload ends with its connection.
    pub(crate) fn give_up(&mut self, mut incoming: Box<Incoming>) {
        if let Some(upload) = incoming.upload.take() {
            mm_base::mark!("upload ended with its connection");
            self.store.abort(upload);
        }
        self.keep_idle(incoming);
    }

    /// Keeps the memory of an upload that has ended for another.
    pub(crate) fn keep_idle(&mut self, incoming: Box<Incoming>) {
        if self.idle_uploads.len() < IDLE_UPLOADS_MAX {
            self.idle_uploads.push(incoming);
        }
    }
}
