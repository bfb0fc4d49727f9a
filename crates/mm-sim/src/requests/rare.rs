//! What is asked for now and then.

use mm_base::choice::Choices;

use crate::op::{Dump, DumpForm, What};
use crate::plan::Work;
use crate::time::Moment;

/// Of what meta commands alone can ask for.
#[derive(Clone, Copy)]
pub(super) struct Rare {
    /// One of so many asks for each. 0: none.
    pub(super) rate: u64,
    short_lives: u64,
    /// Nothing is asked for that may be answered in more ways than one.
    pub(super) is_recorded: bool,
    moment: Moment,
}

impl Rare {
    pub(super) fn new(work: &Work, moment: Moment) -> Self {
        let Work { rare: rate, short_lives, is_recorded, .. } = *work;
        Self { rate, short_lives, is_recorded, moment }
    }

    pub(super) fn exptime(&self, choices: &mut Choices) -> i32 {
        exptime(self.short_lives, self.moment, choices)
    }

    /// A CAS value to give: one that the store itself does not give so soon, or any.
    pub(super) fn new_cas(&self, choices: &mut Choices) -> Option<u64> {
        if !choices.one_in(self.rate) {
            return None;
        }
        let most = if choices.one_in(2) { 1 << 8 } else { 1 << 60 };
        Some(choices.between(1, most))
    }
}

/// A time to live: one in so many is a short one.
pub(super) fn exptime(short_lives: u64, moment: Moment, choices: &mut Choices) -> i32 {
    if !choices.one_in(short_lives) {
        return if choices.one_in(10) { 1_000_000 } else { 0 };
    }
    match choices.below(10) {
        0 => -1,
        1 => moment.date(i64::try_from(choices.below(8)).unwrap_or(0) - 2),
        2 => 2_592_000,
        _ => i32::try_from(choices.between(1, 5)).unwrap_or(1),
    }
}

/// A dump of everything, or of one of the classes that most items are in.
pub(super) fn dump(choices: &mut Choices) -> What {
    let form = [DumpForm::Meta, DumpForm::Commands, DumpForm::Cache][choices.index(3)];
    let is_cache = form == DumpForm::Cache;
    let class = if is_cache || choices.one_in(4) { 1 + choices.index(4) } else { 0 };
    let lines_max = if is_cache && choices.one_in(2) { choices.index(50) } else { 0 };
    What::Dump(Dump { form, class, lines_max, shown: None })
}
