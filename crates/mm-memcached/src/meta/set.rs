//! ms.

use mm_proto::memcached::{Meta, Options, Writer, lines};
use mm_store::{Key, Mode, Outcome, Put, PutError, Sharing, Told};

use super::{Asked, put_numbered, put_opaque};
use crate::clock::Time;
use crate::limits::HEADER_MAX_BYTES;
use crate::service::{Call, Memcached};
use crate::storing::{How, Plan, Value, reply};

impl<S: Sharing> Memcached<S> {
    /// ms, whose data is there whole.
    pub(super) fn meta_set(&mut self, asked: &Asked<'_>, data: &[u8], call: &mut Call<'_>) {
        let plan = match plan(asked.options, &call.time) {
            Ok(plan) => plan,
            Err(line) => return call.output.write(line),
        };
        let len = data.len() - 2;
        if !self.fits(asked.key, plan.put.client_flags, len) {
            self.observe_store(asked.key, &plan.put, 0, Err(PutError::TooLarge));
            self.refuse_too_large(asked.key, true, &call.time);
            return call.output.write(lines::TOO_LARGE);
        }
        self.counters.cmd_set.count();
        let Some(value) = data.strip_suffix(b"\r\n") else { return call.output.write(lines::BAD_DATA_CHUNK) };
        let asks = asked.options.has(b'c') || asked.options.has(b's') && joins(asked.options);
        if asks {
            self.store.ask_for_cas();
        }
        let outcome = match (plan.how, plan.put.mode) {
            (How::Plain, Mode::Set) => self.store.put(asked.key, &plan.put, value, call.time.now_s),
            _ => self.carry_out(asked.key, &plan, Value::Whole(value), &call.time),
        };
        let told = if asks { self.store.told() } else { None };
        self.observe_store(asked.key, &plan.put, len, outcome);
        self.write_meta_set(asked, (outcome, told), call);
    }

    /// What ms is to do whose data is yet to come, or the line that refuses it.
    pub(crate) fn plan_meta_set(
        &mut self,
        key: Key<'_>,
        meta: &Meta<'_>,
        options: &Options,
        time: &Time,
    ) -> Result<Plan, &'static [u8]> {
        let plan = plan(options, time)?;
        if self.fits(key, plan.put.client_flags, meta.bytes as usize) {
            return Ok(plan);
        }
        self.observe_store(key, &plan.put, 0, Err(PutError::TooLarge));
        self.refuse_too_large(key, true, time);
        Err(lines::TOO_LARGE)
    }

    /// Tells what became of a value that came in pieces, and what was stored. `key` is the key as it is stored.
    pub(crate) fn answer_meta_set(
        &mut self,
        key: Key<'_>,
        meta: &Meta<'_>,
        outcome: (Result<Outcome, PutError>, Option<Told>),
        call: &mut Call<'_>,
    ) {
        match meta.options() {
            Ok(options) => self.write_meta_set(&Asked { key, meta, options: &options }, outcome, call),
            Err(line) => call.output.write(line),
        }
    }

    fn write_meta_set(
        &mut self,
        asked: &Asked<'_>,
        (outcome, told): (Result<Outcome, PutError>, Option<Told>),
        call: &mut Call<'_>,
    ) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let line = self.refuse(asked.key, true, error, &call.time);
                return call.output.write(line);
            }
        };
        let stored = outcome == Outcome::Stored;
        if stored && asked.options.has(b'q') {
            return;
        }
        if stored && asked.meta.flags.is_empty() {
            return reply(call.output, false, b"HD\r\n");
        }
        // Of a value that was joined with another, that of both; another shard may have stored another one since.
        let len = told.filter(|_| stored).map_or_else(|| u64::from(asked.meta.bytes), |told| told.len as u64);
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(match outcome {
            Outcome::Stored => b"HD",
            Outcome::NotStored => b"NS",
            Outcome::Exists => b"EX",
            Outcome::NotFound => b"NF",
        });
        for flag in asked.meta.flags() {
            match flag.letter {
                b'O' => put_opaque(&mut writer, flag.argument),
                b'k' => asked.put_key(&mut writer),
                b'c' => put_numbered(&mut writer, b'c', told.map_or(0, |told| told.cas)),
                b's' => put_numbered(&mut writer, b's', len),
                _ => {}
            }
        }
        writer.put(b"\r\n");
        let written = writer.len();
        call.output.commit(written);
    }
}

/// Whether the value is to be put before or behind one that is there.
const fn joins(options: &Options) -> bool {
    matches!(options.mode, b'A' | b'P')
}

/// What the flags of ms say is to be done.
fn plan(options: &Options, time: &Time) -> Result<Plan, &'static [u8]> {
    let cas = options.has(b'C').then_some(options.cas);
    let mode = match options.mode {
        0 | b'S' => Mode::Set,
        b'E' => Mode::Add,
        b'A' => Mode::Append,
        b'P' => Mode::Prepend,
        b'R' => Mode::Replace,
        _ => return Err(lines::META_BAD_SET_MODE),
    };
    let mut exptime = options.exptime;
    // A CAS of 0 is none to those who join; to the others it is one that no item has.
    let mode = match (mode, cas) {
        (Mode::Append | Mode::Prepend, Some(0)) => mode,
        (Mode::Set | Mode::Replace, Some(cas)) => Mode::Cas(cas),
        (Mode::Append, Some(cas)) => Mode::AppendTo(cas),
        (Mode::Prepend, Some(cas)) => Mode::PrependTo(cas),
        _ => mode,
    };
    let joins = joins(options);
    if joins && options.has(b'N') {
        exptime = options.vivify_exptime;
    }
    let put = Put {
        mode,
        client_flags: options.client_flags,
        expiry_s: time.expiry_s(exptime),
        binary_key: options.has(b'b'),
        cas: (options.new_cas != 0).then_some(options.new_cas),
        ..Put::default()
    };
    let how = match mode {
        Mode::Cas(cas) if cas != 0 && options.has(b'I') => How::CasOrStale(cas),
        _ if joins && options.has(b'N') => How::Vivify,
        _ => How::Plain,
    };
    Ok(Plan { put, how })
}
