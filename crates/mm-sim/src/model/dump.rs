//! Dumps of keys.

use std::collections::HashSet;

use mm_proto::memcached::lines;

use super::debug::class_of;
use super::fetch::due;
use super::{Answered, Context, Held, Item, Model, Wrong};
use crate::answer::{Answers, encoded, number, shown};
use crate::op::{Dump, DumpForm, KeyId, Shown};
use crate::requests::item_bytes;

/// What `stats cachedump` shows at most, in bytes.
const CACHE_BYTES_MAX: usize = 2 << 20;

/// No line of it is longer, in bytes.
const CACHE_LINE_BYTES_MAX: usize = 400;

impl Model {
    /// Each line is that of an item that there may be, as it is. Items that nothing has happened to since the dump
    /// began are in it.
    pub(super) fn dump(
        &mut self,
        dump: &mut Dump,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<Answered, Wrong> {
        let Dump { form, class, lines_max, .. } = *dump;
        if dump.shown.is_none() && form != DumpForm::Cache {
            answers.expect(lines::OK)?;
        }
        let changes = self.changes;
        let (counted, keys) = (context.counted.0, HashSet::new());
        let seen = dump.shown.get_or_insert_with(|| Shown { counted, changes, lines: 0, bytes: 0, keys });
        let end = if form == DumpForm::Commands { b"EN\r\n" } else { lines::END };
        let is_whole = answers.lines_to_end(end, |line| {
            (seen.lines, seen.bytes) = (seen.lines + 1, seen.bytes + line.len());
            let id = self
                .dumped((form, class), line, context)
                .map_err(|wrong| format!("{wrong} in {}", shown(line)))?;
            seen.keys.insert(id);
            Ok(())
        })?;
        if lines_max != 0 && seen.lines > lines_max {
            return Err(format!("{} lines, where {lines_max} were asked for", seen.lines));
        }
        let is_cut = form == DumpForm::Cache
            && (lines_max != 0 || seen.bytes > CACHE_BYTES_MAX - CACHE_LINE_BYTES_MAX);
        if is_whole && !is_cut && seen.counted.moved == context.counted.1.moved {
            self.has_all((form, class), seen, context)?;
        }
        Ok(if is_whole { Answered::Whole } else { Answered::InPart })
    }

    /// Whether a dump has shown all that there was while it went on. Items that have been moved meanwhile it may have
    /// missed, so none were.
    fn has_all(
        &mut self,
        (form, class): (DumpForm, usize),
        seen: &Shown,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        for id in 0..self.entries.len() {
            let is_sure = self.entries[id].changed <= seen.changes && !self.may_be_lost(id, context);
            let Some(item) = self.item(id, context) else { continue };
            let key = &context.keys[id];
            let is_meant = class == 0 || class == item.class(key, context);
            let is_hidden = form == DumpForm::Cache && item.is_encoded;
            if is_sure && is_meant && !is_hidden && !seen.keys.contains(&id) {
                return Err(format!("key {id} was there all the time, and is in no line"));
            }
        }
        Ok(())
    }

    /// A line of an item, which there has to be.
    fn dumped(
        &mut self,
        (form, class): (DumpForm, usize),
        line: &[u8],
        context: &Context<'_>,
    ) -> Result<KeyId, Wrong> {
        let told = match form {
            DumpForm::Meta => told_by_meta(line),
            DumpForm::Commands => told_by_command(line),
            DumpForm::Cache => told_by_cache(line),
        };
        let (name, told) = told.ok_or("something that is no line of it")?;
        let id = context.keys.iter().position(|key| *key == name).ok_or("a key that there is not")?;
        self.present(id, context)?;
        if let Held::Present(item) = self.held(id, context) {
            let of_class = item.class(&name, context);
            due("a class", Some(of_class), if class == 0 { of_class } else { class })?;
            item.is_dumped((&name, form), &told, context)?;
        }
        Ok(id)
    }
}

/// What a line tells of an item.
#[derive(Debug, Default)]
struct Told {
    /// A date; `Some(None)` for never.
    expiry: Option<Option<u64>>,
    used: Option<u64>,
    cas: Option<u64>,
    fetched: Option<bool>,
    class: Option<usize>,
    /// By memcached's measure.
    bytes: Option<usize>,
    flags: Option<u32>,
    len: Option<usize>,
    encoded: bool,
}

impl Item {
    /// The number of its class.
    fn class(&self, key: &[u8], context: &Context<'_>) -> usize {
        class_of(item_bytes(key.len(), self.flags, self.value.len()), context.item_size_max)
    }

    fn is_dumped(
        &mut self,
        (key, form): (&[u8], DumpForm),
        told: &Told,
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let expiry = (self.expiry_s != 0).then(|| context.moment.date_of(self.expiry_s));
        due("when it expires", told.expiry, expiry)?;
        // A dump does not make an item keep the CAS value that it shows, other than whoever is told that of one.
        if let Some(cas) = told.cas {
            self.clone().told_cas(cas)?;
        }
        due("fetched", told.fetched.filter(|_| self.fetched.is_some()), self.fetched.unwrap_or_default())?;
        due("a class", told.class, self.class(key, context))?;
        due("a size", told.bytes, item_bytes(key.len(), self.flags, self.value.len()))?;
        due("flags", told.flags, self.flags)?;
        due("a value's length", told.len, self.value.len())?;
        due("key in base64", Some(told.encoded), self.is_encoded && form == DumpForm::Commands)?;
        if form == DumpForm::Cache && self.is_encoded {
            return Err("a key that was given in base64".to_owned());
        }
        let now = context.moment.date_of(context.moment.now_s);
        self.idles(told.used.map(|used| now.saturating_sub(used)), context)
    }
}

/// `key=<key> exp=<date> la=<date> cas=<number> fetch=<yes or no> cls=<number> size=<bytes> flags=<number> `
fn told_by_meta(line: &[u8]) -> Option<(Vec<u8>, Told)> {
    let mut words = line.strip_suffix(b" \n")?.split(|&byte| byte == b' ');
    let mut next = |name: &str| words.next()?.strip_prefix(name.as_bytes());
    let key = decoded(next("key=")?)?;
    let expiry = next("exp=")?;
    let told = Told {
        expiry: Some(if expiry == b"-1" { None } else { Some(number(expiry)?) }),
        used: Some(number(next("la=")?)?),
        cas: Some(number(next("cas=")?)?),
        fetched: Some(match next("fetch=")? {
            b"yes" => true,
            b"no" => false,
            _ => return None,
        }),
        class: Some(usize::try_from(number(next("cls=")?)?).ok()?),
        bytes: Some(usize::try_from(number(next("size=")?)?).ok()?),
        flags: Some(u32::try_from(number(next("flags=")?)?).ok()?),
        ..Told::default()
    };
    words.next().is_none().then_some((key, told))
}

/// `mg <key>`, or `mg <key in base64> b`.
fn told_by_command(line: &[u8]) -> Option<(Vec<u8>, Told)> {
    let key = line.strip_prefix(b"mg ")?.strip_suffix(b"\r\n")?;
    match key.strip_suffix(b" b") {
        None => Some((key.to_vec(), Told::default())),
        Some(key) => {
            let mut room = vec![0; key.len()];
            let len = mm_proto::memcached::base64::decode(key, &mut room)?;
            let is_it = encoded(&room[..len]) == key;
            is_it.then(|| (room[..len].to_vec(), Told { encoded: true, ..Told::default() }))
        }
    }
}

/// `ITEM <key> [<bytes> b; <date> s]`, where the date is 0 for never.
fn told_by_cache(line: &[u8]) -> Option<(Vec<u8>, Told)> {
    let mut words = line.strip_prefix(b"ITEM ")?.strip_suffix(b" s]\r\n")?.split(|&byte| byte == b' ');
    let key = words.next()?.to_vec();
    let len = usize::try_from(number(words.next()?.strip_prefix(b"[")?)?).ok()?;
    let is_bytes = words.next()? == b"b;";
    let date = number(words.next()?)?;
    let told = Told { len: Some(len), expiry: Some(Some(date).filter(|&date| date != 0)), ..Told::default() };
    (is_bytes && words.next().is_none()).then_some((key, told))
}

/// A key out of the encoding of addresses of the web, in which a byte is written in one way only.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: &u8| b"0123456789ABCDEF".iter().position(|known| known == digit);
    let mut key = Vec::new();
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let is_encoded = byte == b'%';
        let byte = match is_encoded {
            true => u8::try_from(digit(rest.next()?)? << 4 | digit(rest.next()?)?).ok()?,
            false => byte,
        };
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        key.push(Some(byte).filter(|_| is_plain != is_encoded)?);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_the_encoding_of_addresses() {
        assert_eq!(decoded(b"k1-_%3Aa"), Some(b"k1-_:a".to_vec()));
        for wrong in [&b"k:"[..], b"k%3a", b"k%61", b"k%3"] {
            assert_eq!(decoded(wrong), None);
        }
    }
}
