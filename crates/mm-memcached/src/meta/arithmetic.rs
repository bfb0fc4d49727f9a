//! ma.

use mm_proto::memcached::{Writer, decimal_len, lines};
use mm_store::{ArithmeticError, CasRule, Counted, Mode, Operation, Outcome, Put, Sharing};

use super::{Asked, put_numbered, put_opaque, put_time_left};
use crate::clock::Time;
use crate::limits::HEADER_MAX_BYTES;
use crate::service::{Call, Memcached};

/// The longest decimal number of 64 bits.
const DIGITS_MAX: usize = 20;

/// What ma has done.
enum Done {
    /// The number was there.
    Counted(Counted),
    /// It was not, and is this now.
    Created(u64),
    /// A status of two letters.
    Status(&'static [u8; 2]),
    /// A line.
    Line(&'static [u8]),
}

/// What the response tells of the item.
struct After {
    number: u64,
    created: bool,
    cas: u64,
    /// When the item was to expire before.
    before_s: u32,
}

impl<S: Sharing> Memcached<S> {
    /// ma.
    pub(super) fn meta_arithmetic(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        self.store.ask_for_cas();
        let done = self.meta_count(asked, &call.time);
        let cas = self.store.told_cas().unwrap_or(0);
        let after = |number, created, before_s| After { number, created, cas, before_s };
        let status = match done {
            Done::Line(line) => return call.output.write(line),
            Done::Status(status) => status,
            Done::Counted(Counted { number, before_s }) => {
                return write_number(asked, &after(number, false, before_s), call);
            }
            Done::Created(number) => return write_number(asked, &after(number, true, 0), call),
        };
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(status);
        asked.put_echoes(&mut writer);
        writer.put(b"\r\n");
        let written = writer.len();
        call.output.commit(written);
    }

    fn meta_count(&mut self, asked: &Asked<'_>, time: &Time) -> Done {
        let Asked { key, options, .. } = *asked;
        let operation = match options.mode {
            0 | b'I' | b'+' => Operation::Increment(options.delta),
            b'D' | b'-' => Operation::Decrement(options.delta),
            _ => return Done::Line(lines::META_BAD_ARITHMETIC_MODE),
        };
        let cas = CasRule {
            // A CAS of 0 is not compared, other than by the other commands.
            compare: (options.cas != 0).then_some(options.cas),
            assign: options.has(b'E').then_some(options.new_cas),
        };
        let expiry_s = options.has(b'T').then(|| time.expiry_s(options.exptime));
        loop {
            if options.has(b'N')
                && self.store.peek(key, time.now_s).is_err()
                && let Some(done) = self.vivify_number(asked, time)
            {
                return done;
            }
            return match self.count_number(key, (operation, expiry_s), cas, time) {
                Ok(counted) => Done::Counted(counted),
                // One shard has made it meanwhile, and another one has removed it.
                Err(ArithmeticError::Miss(_)) if options.has(b'N') => continue,
                Err(ArithmeticError::Miss(_)) => Done::Status(b"NF"),
                Err(ArithmeticError::Exists) => Done::Status(b"EX"),
                Err(ArithmeticError::NotANumber) => Done::Line(lines::NON_NUMERIC),
                Err(ArithmeticError::Put(_)) => Done::Line(lines::NO_MEMORY),
            };
        }
    }

    /// Makes the number. Nothing where another shard has made it just now.
    fn vivify_number(&mut self, asked: &Asked<'_>, time: &Time) -> Option<Done> {
        let Asked { key, meta, options } = *asked;
        let mut exptime = options.vivify_exptime;
        for flag in meta.flags() {
            match flag.letter {
                b'T' => exptime = options.exptime,
                b'N' => exptime = options.vivify_exptime,
                _ => {}
            }
        }
        let put = Put {
            mode: Mode::Add,
            expiry_s: time.expiry_s(exptime),
            binary_key: options.has(b'b'),
            cas: options.has(b'E').then_some(options.new_cas),
            ..Put::default()
        };
        let mut digits = [0; DIGITS_MAX];
        let mut writer = Writer::new(&mut digits);
        writer.put_number(options.initial);
        let len = writer.len();
        match self.store.put(key, &put, &digits[..len], time.now_s) {
            Ok(Outcome::Stored) => Some(Done::Created(options.initial)),
            Ok(_) => None,
            Err(_) => Some(Done::Line(lines::NO_MEMORY_VIVIFY)),
        }
    }
}

fn write_number(asked: &Asked<'_>, after: &After, call: &mut Call<'_>) {
    let options = asked.options;
    if options.has(b'q') {
        return;
    }
    let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
    if options.has(b'v') {
        writer.put(b"VA ");
        writer.put_number(decimal_len(after.number) as u64);
    } else {
        writer.put(b"HD");
    }
    let mut expiry_s = after.before_s;
    for flag in asked.meta.flags() {
        match flag.letter {
            b'T' => expiry_s = call.time.expiry_s(options.exptime),
            b'N' if after.created => expiry_s = call.time.expiry_s(options.vivify_exptime),
            b't' => put_time_left(&mut writer, expiry_s, &call.time),
            b'c' => put_numbered(&mut writer, b'c', after.cas),
            b'O' => put_opaque(&mut writer, flag.argument),
            b'k' => asked.put_key(&mut writer),
            _ => {}
        }
    }
    writer.put(b"\r\n");
    if options.has(b'v') {
        writer.put_number(after.number);
        writer.put(b"\r\n");
    }
    let written = writer.len();
    call.output.commit(written);
}
