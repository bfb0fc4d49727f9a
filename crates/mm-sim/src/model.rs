//! What every key must hold, by what has been answered so far.
//!
//! The order in which the server executes requests is known: shards take their turns on one thread, and a run of the
//! service executes the requests whose bytes it consumes, in their order. That order lies between the sending of each
//! request and its answer, so it is a linearization, and each answer can be held against one state. Only a loss
//! leaves a choice, because a cache may forget: it is allowed where the store has counted an eviction since the item
//! was last known to be there that explains no other loss, and not otherwise.

mod change;
pub(crate) mod claims;
mod debug;
mod dump;
mod fetch;
mod item;
mod stats;
mod store;
mod tally;
#[cfg(test)]
mod tests;

use mm_proto::memcached::lines;

use crate::answer::{Answer, Answers, Said};
use crate::model::claims::Claims;
use crate::op::{Dialect, Flaw, KeyId, Op, What};
use crate::time::Moment;
use item::Item;

/// Why an answer is wrong.
pub(crate) type Wrong = String;

/// What a key holds.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Absent,
    Present(Item),
    /// A command without an answer may have done one thing or another.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    held: Held,
    /// Evictions that the store had counted when this was last certain.
    sure_at: u64,
    /// How many changes there had been when it was last changed.
    changed: u64,
}

/// What one store must hold.
#[derive(Debug)]
pub(crate) struct Model {
    entries: Vec<Entry>,
    /// Changes of entries so far.
    changes: u64,
    /// When everything is to be forgotten; 0 for not.
    flush_s: u32,
    /// CAS values told lately, for clients to use.
    pub(crate) told: Vec<(KeyId, u64)>,
    /// Items that were gone where only the store's counters say why.
    pub(crate) lost: u64,
    /// The evictions that say why.
    evictions: Claims,
    /// Answers that there was no memory.
    pub(crate) no_memory: u64,
    /// The refusals that say why.
    refusals: Claims,
    /// Items of which nothing certain was known when they were asked for.
    pub(crate) unknown: u64,
    tally: tally::Tally,
}

/// The surroundings in which a request is executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) moment: Moment,
    /// The keys by their ids.
    pub(crate) keys: &'a [Vec<u8>],
    /// Bytes of an item at most, by memcached's measure.
    pub(crate) item_size_max: usize,
    /// Connections that the server may count at most.
    pub(crate) connections_max: u64,
    /// What the store had counted before this run, and after it.
    pub(crate) counted: (Counted, Counted),
}

/// What a store has counted, of all its shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Items removed to make room.
    pub(crate) evicted: u64,
    /// Values for which there was no memory.
    pub(crate) refused: u64,
    /// Items moved to where a walk over all may have been already.
    pub(crate) moved: u64,
}

/// Whether a request has been answered whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Whole,
    /// The rest comes in a later run.
    InPart,
}

impl Model {
    pub(crate) fn new(keys: usize) -> Self {
        let entries = (0..keys).map(|_| Entry { held: Held::Absent, sure_at: 0, changed: 0 }).collect();
        Self {
            entries,
            changes: 0,
            flush_s: 0,
            told: Vec::new(),
            lost: 0,
            evictions: Claims::default(),
            no_memory: 0,
            refusals: Claims::default(),
            unknown: 0,
            tally: tally::Tally::default(),
        }
    }

    /// A run begins: what is due by now happens.
    pub(crate) fn begin(&mut self, context: &Context<'_>) {
        if self.flush_s != 0 && self.flush_s <= context.moment.now_s {
            self.flush_s = 0;
            self.forget_all(context);
        }
    }

    /// Executes a request and holds its answer against what was due.
    pub(crate) fn execute(
        &mut self,
        op: &mut Op,
        answers: &mut Answers<'_>,
        context: &Context<'_>,
    ) -> Result<Answered, Wrong> {
        if let What::Dump(dump) = &mut op.what {
            return self.dump(dump, answers, context);
        }
        let op = &*op;
        let dialect = op.wire.dialect;
        let key = op.what.key().map_or(&[][..], |key| &context.keys[key]);
        match &op.what {
            What::Store(store) if store.flaw == Flaw::Refused => {}
            What::Debug { key: id } => {
                self.count_deeds(op, &Answer::bare(Said::Done), context);
                self.debug((*id, key), answers.line()?, context)?;
            }
            What::Line(line) => answers.expect(line)?,
            What::Plain => succeeds(answers.read(op, key)?.said)?,
            What::Stats(group) => return self.stats((*group, op.wire), answers, context),
            What::Watch => {
                answers.take_all();
                return Ok(Answered::InPart);
            }
            What::Quit if dialect == Dialect::Binary => succeeds(answers.read(op, key)?.said)?,
            What::Quit | What::Dump(_) => {}
            _ => {
                let answer = answers.read(op, key)?;
                self.count_deeds(op, &answer, context);
                self.answered(op, &answer, context)?;
            }
        }
        if matches!(&op.what, What::Get(get) if get.last) {
            answers.expect(lines::END)?;
        }
        Ok(Answered::Whole)
    }

    /// A request has been executed, and this was answered.
    fn answered(&mut self, op: &Op, answer: &Answer<'_>, context: &Context<'_>) -> Result<(), Wrong> {
        match &op.what {
            What::Get(get) => self.get((*get, op.wire), answer, context),
            What::Store(store) => self.store(op, store, answer, context),
            What::Delete(delete) => self.delete((delete, op.wire), answer, context),
            What::Count(count) => self.count((count, op.wire), answer, context),
            What::Touch { key, exptime } => self.touch((*key, *exptime), answer, context),
            What::Flush { delay_s } => {
                self.flush(*delay_s, context);
                succeeds(answer.said)
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self, delay_s: i32, context: &Context<'_>) {
        self.flush_s = 0;
        if delay_s > 0 {
            self.flush_s = context.moment.expiry_s(delay_s);
        } else {
            self.forget_all(context);
        }
    }

    pub(crate) fn forget_all(&mut self, context: &Context<'_>) {
        self.changes += 1;
        let entry =
            || Entry { held: Held::Absent, sure_at: context.counted.0.evicted, changed: self.changes };
        self.entries.fill_with(entry);
    }

    /// What a key holds now, expired items gone.
    fn held(&mut self, key: KeyId, context: &Context<'_>) -> &mut Held {
        let held = &mut self.entries[key].held;
        if matches!(held, Held::Present(item) if item.is_expired(context)) {
            *held = Held::Absent;
        }
        held
    }

    /// The item of a key, where there is one for certain or almost.
    fn item(&mut self, key: KeyId, context: &Context<'_>) -> Option<&mut Item> {
        match self.held(key, context) {
            Held::Present(item) => Some(item),
            Held::Absent | Held::Unknown => None,
        }
    }

    /// The key is known to hold this.
    fn set(&mut self, key: KeyId, held: Held, context: &Context<'_>) {
        self.changes += 1;
        self.entries[key] = Entry { held, sure_at: context.counted.0.evicted, changed: self.changes };
    }

    /// Whether the item that a key holds may have been evicted.
    fn may_be_lost(&self, key: KeyId, context: &Context<'_>) -> bool {
        context.counted.1.evicted > self.entries[key].sure_at
    }

    /// Whether there was no memory for something in this run.
    fn is_refused(context: &Context<'_>) -> bool {
        context.counted.1.refused > context.counted.0.refused
    }

    /// The server says that there was no memory for what began when the store had refused so much.
    fn lacks_memory(&mut self, refused: u64, context: &Context<'_>) -> Result<(), Wrong> {
        if !self.refusals.claim(refused, context.counted.1.refused) {
            return Err("no memory, and the store has refused nothing meanwhile".to_owned());
        }
        self.no_memory += 1;
        Ok(())
    }

    /// The server says that there is no item.
    fn absent(&mut self, key: KeyId, context: &Context<'_>) -> Result<(), Wrong> {
        if let Held::Present(item) = self.held(key, context) {
            let len = item.value.len();
            if !self.may_be_lost(key, context) {
                return Err(format!("the item of key {key} ({len} bytes) is gone, and nothing was evicted"));
            }
            let (sure_at, evicted) = (self.entries[key].sure_at, context.counted.1.evicted);
            if !self.evictions.claim(sure_at, evicted) {
                let lost = self.lost;
                return Err(format!(
                    "the item of key {key} ({len} bytes) is gone, and what was evicted since explains others of the \
                     {lost} lost so far"
                ));
            }
            self.lost += 1;
        }
        self.set(key, Held::Absent, context);
        Ok(())
    }

    /// The server says that there is an item.
    fn present(&mut self, key: KeyId, context: &Context<'_>) -> Result<(), Wrong> {
        match self.held(key, context) {
            Held::Absent => Err(format!("key {key} should hold nothing")),
            Held::Present(_) => {
                self.entries[key].sure_at = context.counted.0.evicted;
                Ok(())
            }
            Held::Unknown => {
                self.unknown += 1;
                Ok(())
            }
        }
    }
}

/// Something that cannot fail has not failed.
fn succeeds(said: Said) -> Result<(), Wrong> {
    if matches!(said, Said::Done | Said::Nothing) { Ok(()) } else { Err(format!("{said:?} in answer to it")) }
}
