//! What the commands have done, as `stats` has to count it.

use mm_proto::memcached::StoreVerb;

use super::{Context, Held, Model, Wrong};
use crate::answer::{Answer, Said, number, shown};
use crate::op::{Count, Delete, Dialect, Flaw, Op, Store, What};

/// How often something was done. Where nothing is answered, it may have been done or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    least: u64,
    most: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    GetHit,
    GetMiss,
    TouchHit,
    TouchMiss,
    Set,
    DeleteHit,
    DeleteMiss,
    IncrHit,
    IncrMiss,
    DecrHit,
    DecrMiss,
    CasHit,
    CasMiss,
    CasBad,
    Flush,
    Meta,
    TooLarge,
}

/// The names under which `stats` tells sums of what is counted.
const NAMES: &[(&[u8], &[Deed])] = &[
    (b"cmd_get", &[Deed::GetHit, Deed::GetMiss]),
    (b"cmd_touch", &[Deed::TouchHit, Deed::TouchMiss]),
    (b"get_hits", &[Deed::GetHit]),
    (b"get_misses", &[Deed::GetMiss]),
    (b"touch_hits", &[Deed::TouchHit]),
    (b"touch_misses", &[Deed::TouchMiss]),
    (b"cmd_set", &[Deed::Set]),
    (b"delete_hits", &[Deed::DeleteHit]),
    (b"delete_misses", &[Deed::DeleteMiss]),
    (b"incr_hits", &[Deed::IncrHit]),
    (b"incr_misses", &[Deed::IncrMiss]),
    (b"decr_hits", &[Deed::DecrHit]),
    (b"decr_misses", &[Deed::DecrMiss]),
    (b"cas_hits", &[Deed::CasHit]),
    (b"cas_misses", &[Deed::CasMiss]),
    (b"cas_badval", &[Deed::CasBad]),
    (b"cmd_flush", &[Deed::Flush]),
    (b"cmd_meta", &[Deed::Meta]),
    (b"store_too_large", &[Deed::TooLarge]),
];

/// What one server has to have counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    times: [Times; Deed::TooLarge as usize + 1],
    /// The number of the server.
    pub(super) server: u64,
}

impl Tally {
    fn did(&mut self, deed: Deed) {
        self.may_have_done(deed);
        self.times[deed as usize].least += 1;
    }

    fn may_have_done(&mut self, deed: Deed) {
        self.times[deed as usize].most += 1;
    }
}

impl Model {
    /// Another server goes on, which has counted nothing yet.
    pub(crate) fn begin_server(&mut self) {
        self.tally = Tally { server: self.tally.server + 1, ..Tally::default() };
    }

    /// The line of a storage command was seen, whose value is still to come. Returns the number of the server.
    pub(crate) fn begin_store(&mut self) -> u64 {
        self.tally.may_have_done(Deed::Set);
        self.tally.server
    }

    /// A request is executed, of which this was answered, before the model learns that.
    pub(super) fn count_deeds(&mut self, op: &Op, answer: &Answer<'_>, context: &Context<'_>) {
        let (said, dialect) = (answer.said, op.wire.dialect);
        match &op.what {
            What::Get(get) => self.tally.did(match (said == Said::Done, get.exptime.is_some()) {
                (true, true) => Deed::TouchHit,
                (true, false) => Deed::GetHit,
                (false, true) if dialect != Dialect::Meta => Deed::TouchMiss,
                (false, _) => Deed::GetMiss,
            }),
            What::Touch { .. } => match said {
                Said::Nothing => {
                    self.tally.may_have_done(Deed::TouchHit);
                    self.tally.may_have_done(Deed::TouchMiss);
                }
                Said::NotFound => self.tally.did(Deed::TouchMiss),
                _ => self.tally.did(Deed::TouchHit),
            },
            What::Delete(delete) => self.count_delete(delete, said, dialect),
            What::Count(count) => self.count_count(count, said, context),
            What::Store(store) => self.count_store(store, said, context),
            What::Flush { .. } => self.tally.did(Deed::Flush),
            What::Debug { .. } => self.tally.did(Deed::Meta),
            _ => {}
        }
    }

    fn count_delete(&mut self, delete: &Delete, said: Said, dialect: Dialect) {
        match said {
            Said::Done if !delete.marks => self.tally.did(Deed::DeleteHit),
            Said::NotFound => self.tally.did(Deed::DeleteMiss),
            Said::Exists if dialect == Dialect::Meta => self.tally.did(Deed::DeleteMiss),
            Said::Nothing => {
                self.tally.may_have_done(Deed::DeleteHit);
                self.tally.may_have_done(Deed::DeleteMiss);
            }
            _ => {}
        }
    }

    fn count_count(&mut self, count: &Count, said: Said, context: &Context<'_>) {
        let (hit, miss) = match count.decrement {
            true => (Deed::DecrHit, Deed::DecrMiss),
            false => (Deed::IncrHit, Deed::IncrMiss),
        };
        let may_be_made = count.creates.is_some() && self.may_be_lost(count.key, context);
        match (said, self.held(count.key, context)) {
            (Said::Nothing, _) => {
                self.tally.may_have_done(hit);
                self.tally.may_have_done(miss);
            }
            (Said::NotFound, _) => self.tally.did(miss),
            // It has been made, which is no hit.
            (Said::Done, Held::Absent) => {}
            (Said::Done, Held::Unknown) if count.creates.is_some() => self.tally.may_have_done(hit),
            (Said::Done, _) if may_be_made => self.tally.may_have_done(hit),
            (Said::Done, _) => self.tally.did(hit),
            _ => {}
        }
    }

    fn count_store(&mut self, store: &Store, said: Said, context: &Context<'_>) {
        let is_refused = said == Said::Nothing && Self::is_refused(context);
        match (said, store.flaw) {
            (Said::TooLarge, _) | (Said::Nothing, Flaw::TooLarge) => return self.tally.did(Deed::TooLarge),
            (Said::NoMemory, _) => return self.tally.may_have_done(Deed::Set),
            _ => {}
        }
        let set = &mut self.tally.times[Deed::Set as usize];
        match store.begun {
            // It was counted when it began, by the server that there was then.
            Some(begun) => set.least += u64::from(begun.server == self.tally.server && !is_refused),
            None if is_refused => set.most += 1,
            None => (set.least, set.most) = (set.least + 1, set.most + 1),
        }
        let is_cas = store.verb == StoreVerb::Cas && store.flaw == Flaw::None;
        match said {
            Said::Done if is_cas => self.tally.did(Deed::CasHit),
            Said::NotFound if is_cas => self.tally.did(Deed::CasMiss),
            Said::Exists if is_cas => self.tally.did(Deed::CasBad),
            Said::Nothing if is_cas => {
                [Deed::CasHit, Deed::CasMiss, Deed::CasBad]
                    .iter()
                    .for_each(|&deed| self.tally.may_have_done(deed));
            }
            _ => {}
        }
    }

    /// A number that `stats` tells is that of what was done.
    pub(super) fn check_stat(
        &mut self,
        (name, value): (&[u8], &[u8]),
        context: &Context<'_>,
    ) -> Result<(), Wrong> {
        let sum = |deeds: &[Deed]| {
            deeds.iter().fold(Times::default(), |sum, &deed| {
                let times = self.tally.times[deed as usize];
                Times { least: sum.least + times.least, most: sum.most + times.most }
            })
        };
        let due = match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, deeds)) => sum(deeds),
            None if name == b"curr_items" => self.items(context),
            // The one that asks is among them.
            None if name == b"curr_connections" => Times { least: 1, most: context.connections_max },
            None => return Ok(()),
        };
        let told = number(value).ok_or_else(|| format!("{} is no number", shown(value)))?;
        if (due.least..=due.most).contains(&told) {
            return Ok(());
        }
        Err(format!("{} is told to be {told}, {due:?} was due", shown(name)))
    }

    /// How many items there are: at least those that are there for certain, at most one of each key. The dead ones that
    /// nobody has met count.
    fn items(&mut self, context: &Context<'_>) -> Times {
        let all = self.entries.len();
        let sure =
            (0..all).filter(|&key| self.item(key, context).is_some() && !self.may_be_lost(key, context));
        Times { least: sure.count() as u64, most: all as u64 }
    }
}
