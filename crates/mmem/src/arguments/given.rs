//! A flag's value as it was typed, and the conversions that refuse what does not fit.

use std::fmt;
use std::ops::RangeInclusive;

use crate::refusal::{Refusal, exit};

/// A flag (or suboption) and its value as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    flag: &'a str,
    text: &'a str,
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text, self.flag.strip_prefix("-o ")) {
            ("", _) => f.write_str(self.flag),
            (text, Some(_)) => write!(f, "{}={text}", self.flag),
            (text, None) => write!(f, "{} {text}", self.flag),
        }
    }
}

impl<'a> Given<'a> {
    /// A flag as messages show it, and its value; empty for none.
    pub(super) fn new(flag: &'a str, text: &'a str) -> Self {
        Self { flag, text }
    }

    /// The value as typed.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// A refusal of this value.
    pub(super) fn refuse(&self, code: u8, why: impl fmt::Display) -> Refusal {
        Refusal::new(code, format!("{self}: {why}"))
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// A [`Refusal`] with the given exit code, if it is no number or outside.
    pub(super) fn integer(&self, bounds: RangeInclusive<i64>, code: u8) -> Result<i64, Refusal> {
        match self.text.trim().parse::<i64>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            Ok(_) | Err(_) => {
                let (low, high) = (bounds.start(), bounds.end());
                let why = match *high {
                    i64::MAX => format!("must be a whole number, at least {low}"),
                    high if high == *low => format!("only {low} is supported"),
                    high => format!("must be a whole number from {low} to {high}"),
                };
                Err(self.refuse(code, why))
            }
        }
    }

    /// [`Self::integer`] for a field of 32 bits; the upper bound is the field's if the given one is larger.
    pub(super) fn integer_u32(&self, bounds: RangeInclusive<i64>, code: u8) -> Result<u32, Refusal> {
        let number = self.integer(bounds, code)?;
        u32::try_from(number).map_err(|error| self.refuse(code, error))
    }

    /// A number with a fraction that is larger than `above`.
    ///
    /// # Errors
    /// A [`Refusal`] with exit code 1 otherwise.
    pub(super) fn fraction(&self, above: f64) -> Result<f64, Refusal> {
        let number =
            self.text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number > above);
        number.ok_or_else(|| self.refuse(exit::FAILURE, format!("must be a number greater than {above}")))
    }

    /// A size in bytes: a whole number with one of the suffixes k, m, g, t, or of `unit` bytes without one.
    ///
    /// # Errors
    /// A [`Refusal`] if it is none, or outside the bounds (in bytes).
    pub(super) fn size(&self, unit: u64, bounds: RangeInclusive<u64>) -> Result<u64, Refusal> {
        let text = self.text.trim();
        let shift = match text.chars().next_back().map(|last| last.to_ascii_lowercase()) {
            Some('k') => Some(10),
            Some('m') => Some(20),
            Some('g') => Some(30),
            Some('t') => Some(40),
            _ => None,
        };
        let (digits, factor) = match shift {
            Some(shift) => (&text[..text.len() - 1], 1_u64 << shift),
            None => (text, unit),
        };
        let bytes = digits.parse::<u64>().ok().map(|number| number.saturating_mul(factor));
        let Some(bytes) = bytes else {
            return Err(
                self.refuse(exit::USAGE, "must be a whole number, with k, m, g or t behind it if you like")
            );
        };
        if !bounds.contains(&bytes) {
            let why = format!("must be from {} to {}", show_size(*bounds.start()), show_size(*bounds.end()));
            return Err(self.refuse(exit::USAGE, why));
        }
        Ok(bytes)
    }
}

/// A size in the largest unit that shows it whole.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(40, "t"), (30, "g"), (20, "m"), (10, "k")];
    for (shift, suffix) in units {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    format!("{bytes}")
}
