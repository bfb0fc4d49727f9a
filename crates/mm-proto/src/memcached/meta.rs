//! The flags of meta commands.

use super::limits::{META_WORDS_MAX, OPAQUE_MAX_BYTES};
use super::lines;
use super::number::{parse_i32, parse_u32, parse_u64};
use super::request::{Meta, MetaVerb};
use super::token::{Tokens, tokens};

/// One flag: a letter and what is written behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag<'a> {
    /// The letter.
    pub letter: u8,
    /// The bytes after the letter, often none.
    pub argument: &'a [u8],
}

/// The flags of a line in their order, made by [`Meta::flags`].
#[derive(Clone, Debug)]
pub struct Flags<'a> {
    words: Tokens<'a>,
}

impl<'a> Iterator for Flags<'a> {
    type Item = Flag<'a>;

    #[inline]
    fn next(&mut self) -> Option<Flag<'a>> {
        let (&letter, argument) = self.words.next()?.split_first()?;
        Some(Flag { letter, argument })
    }
}

/// The flags of a line, read and checked. What a flag means depends on the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// One bit for each letter that is there, `A` being the lowest.
    letters: u64,
    /// `F`: client flags.
    pub client_flags: u32,
    /// `T`: expiration time as given.
    pub exptime: i32,
    /// `N`: expiration time of an item that is created because it is missing.
    pub vivify_exptime: i32,
    /// `R`: the remaining time below which the value is to be made anew.
    pub recache_exptime: i32,
    /// `C`: the CAS to compare with.
    pub cas: u64,
    /// `E`: the CAS to give.
    pub new_cas: u64,
    /// `D`: how much ma adds or subtracts. 1 where not given.
    pub delta: u64,
    /// `J`: the value of a number that ma creates.
    pub initial: u64,
    /// `M`: the first byte of the mode; 0 where there is no `M`.
    pub mode: u8,
}

impl Options {
    /// Those of a request for the value and nothing else.
    pub const ONLY_VALUE: Self = Self {
        letters: bit(b'v'),
        client_flags: 0,
        exptime: 0,
        vivify_exptime: 0,
        recache_exptime: 0,
        cas: 0,
        new_cas: 0,
        delta: 1,
        initial: 0,
        mode: 0,
    };

    /// Whether a flag is there.
    #[inline]
    #[must_use]
    pub const fn has(&self, letter: u8) -> bool {
        self.letters & bit(letter) != 0
    }

    /// Whether one of several flags is there.
    #[inline]
    #[must_use]
    pub const fn has_any(&self, letters: &[u8]) -> bool {
        self.letters & bits(letters) != 0
    }
}

/// The bit of a letter; 0 for what is none.
#[inline]
const fn bit(letter: u8) -> u64 {
    let index = letter.wrapping_sub(b'A');
    if index < 58 { 1 << index } else { 0 }
}

#[inline(always)]
const fn bits(letters: &[u8]) -> u64 {
    let mut all = 0;
    let mut index = 0;
    while index < letters.len() {
        all |= bit(letters[index]);
        index += 1;
    }
    all
}

/// The flags of a request for the value and nothing else.
const ONLY_VALUE: &[u8] = b" v";

/// The key is in base64.
const ENCODED: Flag<'_> = Flag { letter: b'b', argument: b"" };

/// The letters that mean something, to one command at least.
const KNOWN: u64 = bits(b"bcfhklqstuvxCDEFIJLMNOPRT");
/// The letters that need nothing but to be there.
const PLAIN: u64 = bits(b"bcfhklqstuvxILP");

impl<'a> Meta<'a> {
    /// The flags in their order.
    #[must_use]
    pub fn flags(&self) -> Flags<'a> {
        Flags { words: tokens(self.flags) }
    }

    /// Whether it is mg for the value and nothing else: with [`Options::ONLY_VALUE`].
    #[inline(always)]
    #[must_use]
    pub fn is_get_of_value(&self) -> bool {
        self.verb == MetaVerb::Get && self.flags == ONLY_VALUE
    }

    /// Whether it is ms without flags.
    #[inline(always)]
    #[must_use]
    pub fn is_plain_set(&self) -> bool {
        self.verb == MetaVerb::Set && self.flags.is_empty()
    }

    /// Reads and checks the flags.
    ///
    /// # Errors
    ///
    /// The line that is to be sent where something is wrong with them. Where several things are, it is about
    /// the one that memcached names.
    pub fn options(&self) -> Result<Options, &'static [u8]> {
        let mut options = Options { delta: 1, ..Options::default() };
        if self.verb == MetaVerb::Debug {
            // It looks for a key in base64 and ignores whatever else is there.
            options.letters = if self.flags().next() == Some(ENCODED) { bit(b'b') } else { 0 };
            return Ok(options);
        }
        // What most ask for.
        if self.flags.is_empty() || self.flags == ONLY_VALUE {
            options.letters = if self.flags.is_empty() { 0 } else { bit(b'v') };
            return Ok(options);
        }
        let mut fault = None;
        let mut words = 2 + usize::from(self.verb == MetaVerb::Set);
        // As `flags` would, which is not used here because it costs most of the time of a short line.
        let mut rest = self.flags;
        while let Some((&letter, after)) = rest.split_first() {
            if letter == b' ' {
                rest = after;
                continue;
            }
            let len = after.iter().position(|&byte| byte == b' ').unwrap_or(after.len());
            let (argument, after) = after.split_at(len);
            rest = after;
            let bit = bit(letter);
            if bit & KNOWN == 0 || bit & options.letters != 0 {
                return Err(self.word_fault(bit & options.letters != 0));
            }
            options.letters |= bit;
            words += 1;
            if bit & PLAIN == 0 {
                fault = options.read(letter, argument).err().or(fault);
            }
        }
        if words > META_WORDS_MAX {
            return Err(self.fault(lines::META_TOO_MANY_FLAGS));
        }
        fault.map_or(Ok(options), |line| Err(self.fault(line)))
    }

    /// What to say about a word that ends the reading.
    #[cold]
    fn word_fault(&self, duplicate: bool) -> &'static [u8] {
        if !all_words_are_flags(self.flags) {
            return lines::BAD_FORMAT;
        }
        let words = 2 + usize::from(self.verb == MetaVerb::Set) + self.flags().count();
        if words > META_WORDS_MAX {
            self.fault(lines::META_TOO_MANY_FLAGS)
        } else if duplicate {
            self.fault(lines::META_DUPLICATE_FLAG)
        } else {
            self.fault(lines::META_INVALID_FLAG)
        }
    }

    /// `line`, or what ma says to every fault but one.
    #[cold]
    fn fault(&self, line: &'static [u8]) -> &'static [u8] {
        let kept = self.verb != MetaVerb::Arithmetic || line == lines::META_OPAQUE_TOO_LONG;
        if kept { line } else { lines::META_INVALID_OR_DUPLICATE }
    }
}

impl Options {
    /// Reads the argument of a flag that has one.
    fn read(&mut self, letter: u8, argument: &[u8]) -> Result<(), &'static [u8]> {
        let bad = lines::META_BAD_TOKEN;
        match letter {
            b'T' => self.exptime = parse_i32(argument).ok_or(bad)?,
            b'N' => self.vivify_exptime = parse_i32(argument).ok_or(bad)?,
            b'R' => self.recache_exptime = parse_i32(argument).ok_or(bad)?,
            b'C' => self.cas = parse_u64(argument).ok_or(bad)?,
            b'E' => self.new_cas = parse_u64(argument).ok_or(bad)?,
            b'F' => self.client_flags = parse_u32(argument).ok_or(lines::BAD_FORMAT)?,
            b'J' => self.initial = parse_u64(argument).ok_or(lines::META_BAD_INITIAL)?,
            b'D' => self.delta = parse_u64(argument).ok_or(lines::META_BAD_DELTA)?,
            b'M' => self.mode = argument.first().copied().unwrap_or(b' '),
            b'O' if argument.len() >= OPAQUE_MAX_BYTES => return Err(lines::META_OPAQUE_TOO_LONG),
            _ => {}
        }
        Ok(())
    }
}

/// Whether every word begins with something that could be a flag. memcached refuses a line where one does not
/// before it looks at anything else.
pub(super) fn all_words_are_flags(flags: &[u8]) -> bool {
    tokens(flags).all(|word| word[0].is_ascii_digit() || (65..=122).contains(&word[0]))
}
