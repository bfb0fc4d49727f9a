//! Changing items in place, removing them, flushing.

use super::relocate::Rewrite;
use super::{CAS_BYTES, Key, Miss, Mode, Put, PutError, Store};
use crate::index::mark;
use crate::memory::{Location, flag};
use crate::sharing::Sharing;

/// What to do with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Adds, modulo 2^64.
    Increment(u64),
    /// Subtracts, down to 0.
    Decrement(u64),
}

/// What a change has to do with CAS values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CasRule {
    /// The item must have this one.
    pub compare: Option<u64>,
    /// The item gets this one instead of the store's own.
    pub assign: Option<u64>,
}

/// Why a number cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticError {
    /// There is no item.
    Miss(Miss),
    /// The item has another CAS value.
    Exists,
    /// The value is not a decimal number below 2^64.
    NotANumber,
    /// The new value could not be stored.
    Put(PutError),
}

/// Room that a rewritten record may need more than it had: an expiry and a CAS value.
const OPTIONS_BYTES: usize = 4 + CAS_BYTES;

/// Longest decimal number of 64 bits.
const DIGITS_MAX: usize = 20;

impl<S: Sharing> Store<S> {
    /// Removes an item.
    ///
    /// # Errors
    /// Why there is none.
    pub fn delete(&mut self, key: Key<'_>, now_s: u32) -> Result<(), Miss> {
        self.now_s = now_s;
        let found = self.find(key)?;
        self.remove(found);
        Ok(())
    }

    /// Changes when an item expires. Its CAS value stays.
    ///
    /// # Errors
    /// Why there is no item; no memory for it where it had no expiry before and has to be written anew.
    pub fn touch(&mut self, key: Key<'_>, expiry_s: u32, now_s: u32) -> Result<Result<(), PutError>, Miss> {
        self.now_s = now_s;
        let found = self.find(key)?;
        let record = self.arena.record(found.location);
        if record.flags() & flag::EXPIRES != 0 && expiry_s != 0 {
            record.set_expiry(expiry_s);
            self.note_expiry(found.location, expiry_s);
            return Ok(Ok(()));
        }
        if expiry_s == record.expiry() {
            return Ok(Ok(()));
        }
        // The record has no room for an expiry, or no use for it any more: it is written anew, CAS value kept.
        self.index.set_mark(found.slot, self.index.mark(found.slot) | mark::CAS_SEEN);
        Ok(self.rewrite(key, Rewrite { expiry_s, cas: None }))
    }

    fn rewrite(&mut self, key: Key<'_>, change: Rewrite) -> Result<(), PutError> {
        let Ok(found) = self.find(key) else { return Ok(()) };
        let bytes = self.arena.record(found.location).bytes() + OPTIONS_BYTES;
        let queue = self.queue_for(key, Some(found));
        let place = self.place(queue, change.expiry_s);
        let room = self.open_with_room(place, bytes);
        if room.is_none() {
            self.make_room(place, bytes)?;
        }
        // Making room may have moved or evicted the item.
        let Ok(found) = self.find(key) else { return Ok(()) };
        let mark = self.index.mark(found.slot);
        if self.rewrite_item(found, queue, change) {
            self.index.set_mark(found.slot, mark);
            self.keep_pace(bytes);
            Ok(())
        } else {
            Err(PutError::NoMemory)
        }
    }

    /// Counts a decimal number up or down; the item keeps client flags and expiry and gets a new CAS value.
    ///
    /// The number is read as memcached reads it: blanks and a sign `+` before it, and anything behind a blank, are
    /// ignored.
    ///
    /// # Errors
    /// [`ArithmeticError`]; nothing is changed then.
    pub fn arithmetic(
        &mut self,
        key: Key<'_>,
        operation: Operation,
        cas: CasRule,
        now_s: u32,
    ) -> Result<u64, ArithmeticError> {
        self.now_s = now_s;
        let found = self.find(key).map_err(ArithmeticError::Miss)?;
        if cas.compare.is_some_and(|cas| cas != self.cas_at(found.location)) {
            return Err(ArithmeticError::Exists);
        }
        let record = self.arena.record(found.location);
        let is_chained = record.flags() & flag::CHAINED != 0;
        let number = if is_chained { None } else { parse_number(record.value()) };
        let number = match (number.ok_or(ArithmeticError::NotANumber)?, operation) {
            (number, Operation::Increment(by)) => number.wrapping_add(by),
            (number, Operation::Decrement(by)) => number.saturating_sub(by),
        };
        let put = Put { cas: cas.assign, ..self.put_of(found.location) };
        let mut digits = [0; DIGITS_MAX];
        let text = format_number(number, &mut digits);
        self.put(key, &put, text, now_s).map_err(ArithmeticError::Put)?;
        Ok(number)
    }

    /// Marks an item as stale or not, and its win as sent or not. The CAS value stays.
    ///
    /// # Errors
    /// Why there is no item.
    pub fn set_state(&mut self, key: Key<'_>, state: State, now_s: u32) -> Result<(), Miss> {
        self.now_s = now_s;
        let found = self.find(key)?;
        let bits = |stale: bool, win_sent: bool| {
            (if stale { flag::STALE } else { 0 }) | (if win_sent { flag::WIN_SENT } else { 0 })
        };
        let set = bits(state.stale, state.win_sent);
        self.arena.record(found.location).change_flags(set, bits(true, true) & !set);
        Ok(())
    }

    /// Marks an item as out of date under a new CAS value, its win as not sent, and changes its expiry where one is
    /// given.
    ///
    /// # Errors
    /// Why there is no item; no memory to write it anew.
    pub fn mark_stale(
        &mut self,
        key: Key<'_>,
        expiry_s: Option<u32>,
        cas: Option<u64>,
        now_s: u32,
    ) -> Result<Result<(), PutError>, Miss> {
        self.set_state(key, State { stale: true, win_sent: false }, now_s)?;
        let found = self.find(key)?;
        let expiry_s = expiry_s.unwrap_or_else(|| self.arena.record(found.location).expiry());
        let cas = cas.unwrap_or_else(|| self.fresh_cas(Some(found)));
        Ok(self.rewrite(key, Rewrite { expiry_s, cas: Some(cas) }))
    }

    /// Removes every item stored up to now. The memory is free again as writes and [`Store::maintain`] work it off.
    pub fn flush_all(&mut self) {
        mm_base::mark!("flush");
        for head in &mut self.heads {
            if let Some(full) = head.take() {
                self.segments.seal(full);
            }
        }
        self.flushed_before = self.segments.next_sequence();
        self.finish_flush();
        self.countdown = 0;
    }

    /// How to store the item at `location` again, its CAS value left out.
    pub(super) fn put_of(&self, location: Location) -> Put {
        let record = self.arena.record(location);
        let flags = record.flags();
        Put {
            mode: Mode::Set,
            client_flags: record.client_flags(),
            expiry_s: record.expiry(),
            binary_key: flags & flag::BINARY_KEY != 0,
            cas: None,
            stale: flags & flag::STALE != 0,
            win_sent: flags & flag::WIN_SENT != 0,
        }
    }
}

/// Refresh state of an item, as memcached's meta commands keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// The value is out of date.
    pub stale: bool,
    /// A reader was told to fetch a new one.
    pub win_sent: bool,
}

/// A decimal number with blanks or a `+` before it and anything behind a blank.
fn parse_number(text: &[u8]) -> Option<u64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let text = text[start..].strip_prefix(b"+").unwrap_or_else(|| &text[start..]);
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    text[..end].iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Writes `number` in decimal into the end of `digits`.
fn format_number(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
