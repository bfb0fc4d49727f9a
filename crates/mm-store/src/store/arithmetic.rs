//! Counting numbers.

use super::write::{Short, head_of};
use super::{CAS_BYTES, CasRule, Key, Miss, Put, PutError, Store};
use crate::index::{Locked, mark};
use crate::memory::{Head, flag};
use crate::segment::Queue;
use crate::sharing::Sharing;
use crate::whole::whole;

/// What to do with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Adds, modulo 2^64.
    Increment(u64),
    /// Subtracts, down to 0.
    Decrement(u64),
}

/// A number that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// What it is now.
    pub number: u64,
    /// When its item was to expire before, in the store's seconds; 0 for never.
    pub before_s: u32,
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

/// Why a number is not counted.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    Error(ArithmeticError),
    /// There is too little of something for so many bytes.
    Short(Short, usize),
}

impl From<ArithmeticError> for Obstacle {
    fn from(error: ArithmeticError) -> Self {
        Self::Error(error)
    }
}

/// Longest decimal number of 64 bits.
const DIGITS_MAX: usize = 20;

impl<S: Sharing> Store<S> {
    /// Counts a decimal number up or down; the item keeps client flags, expiry and whether it was read, and gets
    /// a new CAS value.
    ///
    /// The number is read as memcached reads it: blanks and a sign `+` before it, and anything behind a blank or a NUL,
    /// are ignored.
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
        self.count_touching(key, (operation, None), cas, now_s).map(|counted| counted.number)
    }

    /// The same, and changes when the item expires, at once, where a new expiry is given.
    ///
    /// # Errors
    /// [`ArithmeticError`]; nothing is changed then.
    pub fn count_touching(
        &mut self,
        key: Key<'_>,
        change: (Operation, Option<u32>),
        cas: CasRule,
        now_s: u32,
    ) -> Result<Counted, ArithmeticError> {
        self.begin(now_s);
        whole(|| self.count(key, change, cas))
    }

    fn count(
        &mut self,
        key: Key<'_>,
        change: (Operation, Option<u32>),
        cas: CasRule,
    ) -> Result<Counted, ArithmeticError> {
        let mut queue = None;
        loop {
            let locked = self.core.index.lock(key.hash);
            let counted = self.try_arithmetic((key, &locked), change, cas, &mut queue);
            self.core.index.unlock(locked);
            match counted {
                Ok(counted) => {
                    self.after_write(key.bytes.len() + DIGITS_MAX);
                    return Ok(counted);
                }
                Err(Obstacle::Error(error)) => {
                    // What was there may have been dead.
                    self.follow_removals();
                    return Err(error);
                }
                Err(Obstacle::Short(short, bytes)) => {
                    self.make_up_for(short, bytes).map_err(ArithmeticError::Put)?;
                }
            }
        }
    }

    fn try_arithmetic(
        &mut self,
        (key, locked): (Key<'_>, &Locked),
        (operation, expiry_s): (Operation, Option<u32>),
        cas: CasRule,
        queue: &mut Option<Queue>,
    ) -> Result<Counted, Obstacle> {
        let found = self.find_locked(key, locked).map_err(ArithmeticError::Miss)?;
        if cas.compare.is_some_and(|cas| cas != self.cas_at(found.location)) {
            return Err(ArithmeticError::Exists.into());
        }
        let record = self.core.arena.record(found.location);
        let is_chained = record.flags() & flag::CHAINED != 0;
        let number = if is_chained { None } else { parse_number(record.value()) };
        let number = match (number.ok_or(ArithmeticError::NotANumber)?, operation) {
            (number, Operation::Increment(by)) => number.wrapping_add(by),
            (number, Operation::Decrement(by)) => number.saturating_sub(by),
        };
        let before_s = record.expiry();
        let expiry_s = expiry_s.unwrap_or(before_s);
        let put = Put { cas: cas.assign, expiry_s, ..self.put_of(found.location) };
        let mut digits = [0; DIGITS_MAX];
        let text = format_number(number, &mut digits);
        let head = Head { value_len: text.len(), ..head_of(key, &put) };
        let bytes = head.layout().bytes() + CAS_BYTES;
        let was_fetched = self.core.index.mark(found.slot) & mark::FETCHED;
        match self.try_store((key, locked), Some(found), (&head, text), queue) {
            Ok(stored) => stored.map_err(ArithmeticError::Put)?,
            Err(short) => return Err(Obstacle::Short(short, bytes)),
        }
        if let Ok(now) = self.find_locked(key, locked) {
            if self.is_flushed_meanwhile(found, now) {
                return Err(ArithmeticError::Miss(Miss::Flushed).into());
            }
            // Other than a new value, a number that was counted is one that was read.
            let index = &self.core.index;
            index.set_mark(now.slot, index.mark(now.slot) | was_fetched);
        }
        Ok(Counted { number, before_s })
    }
}

/// A decimal number with blanks or a `+` before it and anything behind a blank or a NUL, with which some clients end
/// what they store.
fn parse_number(text: &[u8]) -> Option<u64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let text = text[start..].strip_prefix(b"+").unwrap_or_else(|| &text[start..]);
    let end = text.iter().position(|byte| is_blank(byte) || *byte == 0).unwrap_or(text.len());
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
