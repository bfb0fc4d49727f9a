//! What goes to the main queue without having been read enough in the small one.
//!
//! A key that comes back soon after the small queue dropped it belongs in main if main keeps items for about as long as
//! it took to come back: what is asked for less often would be dropped again before it is read. How long is too long is
//! learnt from those that came back before: most of them should be read while they are in main. Where next to nothing
//! comes back, as in a loop that is longer than the memory, any part that stays is better than none, and small items
//! are most hits for the memory.
//!
//! Time is counted in *drops*, items that the small queue gave up: that is what the order of ghosts tells.

use crate::limits::{
    LUCKY_ONE_IN, LUCKY_ONE_IN_WHILE_READ, LUCKY_RARER_MAX, MAIN_WEIGHT, RETURNED_READ_ENOUGH,
    RETURNED_READ_LEAST, RETURNED_TRIED, SHARE_UNIT, TIDE_LOW, TIDE_WEIGHT, TOLERANCE_HALVINGS_MAX,
    TOLERATED_STAYS,
};

/// A share of the latest events, in parts of [`SHARE_UNIT`]; one of the last `WEIGHT` counts most.
#[derive(Debug, Clone, Copy, Default)]
struct Share<const WEIGHT: u32>(u32);

impl<const WEIGHT: u32> Share<WEIGHT> {
    /// One more event, of which `counts` tells whether it belongs to the share.
    const fn note(&mut self, counts: bool) {
        self.0 -= self.0 / WEIGHT;
        if counts {
            self.add();
        }
    }

    /// One of the events noted belongs to the share after all.
    const fn add(&mut self) {
        let sum = self.0 + SHARE_UNIT / WEIGHT;
        self.0 = if sum < SHARE_UNIT { sum } else { SHARE_UNIT };
    }
}

/// What became in main of those that came back.
#[derive(Debug, Clone, Copy, Default)]
struct Returned {
    /// Whose turn has come.
    tried: u32,
    /// Those of them that were read.
    read: u32,
    /// How often the time that is tolerated was halved for it.
    halvings: u32,
}

impl Returned {
    /// The turn of one has come. Where main's items are not read any more, newer ones are not to be kept out.
    fn note(&mut self, was_read: bool, main_stay: Share<MAIN_WEIGHT>) {
        self.tried += 1;
        self.read += u32::from(was_read);
        if self.tried < RETURNED_TRIED {
            return;
        }
        if self.read >= RETURNED_READ_ENOUGH || main_stay.0 <= SHARE_UNIT / 4 {
            self.halvings = self.halvings.saturating_sub(1);
        } else if self.read < RETURNED_READ_LEAST {
            self.halvings = (self.halvings + 1).min(TOLERANCE_HALVINGS_MAX);
        }
        (self.tried, self.read) = (0, 0);
    }
}

/// What a shard knows for it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Admission {
    /// Drops that are not in the store's count yet.
    uncounted: u32,
    /// For how many drops the oldest segment of main had been there lately; `None` while main is empty.
    main_took: Option<u32>,
    /// How many of those that leave the small queue are read enough, or come back.
    tide: Share<TIDE_WEIGHT>,
    /// How many of main's items stay when their turn comes.
    stay: Share<MAIN_WEIGHT>,
    /// Unread items until the next lucky one.
    unlucky: u32,
    /// One in two to the power of this of them is lucky, beside the first factor of two.
    rarer: u32,
    /// Items of main that went unread since that was changed.
    in_vain: u32,
    /// About how many main has.
    main_items: u32,
    /// Those that came back.
    returned: Returned,
}

impl Admission {
    /// A segment is about to be emptied: for how many drops main's oldest one has been there, and how many items main
    /// has, about.
    pub(super) const fn begin(&mut self, main_took: Option<u32>, main_items: u32) {
        (self.main_took, self.main_items) = (main_took, main_items);
    }

    /// An item leaves the small queue because it was read often enough.
    pub(super) const fn was_read(&mut self) {
        self.tide.note(true);
    }

    /// The turn of an item of main has come.
    pub(super) fn main_decided(&mut self, stays: bool) {
        self.stay.note(stays);
        self.in_vain = if stays { 0 } else { self.in_vain + 1 };
        if self.in_vain > self.main_items {
            // All of main went before it was asked for again: fewer are to come in, so that they stay for longer.
            self.in_vain = 0;
            self.rarer = (self.rarer + 1).min(LUCKY_RARER_MAX);
        }
    }

    /// An item that was not read often enough leaves the small queue: whether it goes to main all the same. It may
    /// where it was not read at all and is not above the mean size.
    pub(super) fn is_lucky(&mut self, may_be: bool) -> bool {
        self.tide.note(false);
        if self.tide.0 >= TIDE_LOW {
            self.rarer = 0;
        }
        if !may_be || self.tide.0 >= TIDE_LOW {
            return false;
        }
        // Main's items that are read are not to be driven out by those of which nothing is known.
        let one_in =
            if self.stay.0 > SHARE_UNIT / 4 { LUCKY_ONE_IN_WHILE_READ } else { LUCKY_ONE_IN << self.rarer };
        self.unlucky = self.unlucky.min(one_in).checked_sub(1).unwrap_or(one_in - 1);
        self.unlucky == 0
    }

    /// The first turn has come of an item that is in main because its key came back.
    pub(super) fn returned_decided(&mut self, was_read: bool) {
        self.returned.note(was_read, self.stay);
    }

    /// An item was dropped from the small queue.
    pub(super) const fn dropped(&mut self) {
        self.uncounted += 1;
    }

    /// A key comes back `age` drops after it was dropped itself, with an item of `bytes`, where the mean is
    /// `mean_bytes`: whether it goes to main. A large item has to come back sooner, because for as long as it stays it
    /// keeps several others out, and a small one may take longer.
    #[inline(never)]
    pub(super) fn comes_back(&mut self, age: u64, bytes: u64, mean_bytes: u64) -> bool {
        self.tide.add();
        let Some(main_took) = self.main_took else { return true };
        let longest = TOLERATED_STAYS * u64::from(main_took);
        // `age * (size / mean size) <= longest / 2^halvings`.
        let age = age.saturating_mul(1 << self.returned.halvings);
        u128::from(age) * u128::from(bytes) <= u128::from(longest) * u128::from(mean_bytes)
    }

    /// Drops since the last call.
    pub(super) const fn take_drops(&mut self) -> u32 {
        std::mem::replace(&mut self.uncounted, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many unread items of the small queue go to main.
    fn lucky(admission: &mut Admission, unread: u32) -> usize {
        (0..unread).filter(|_| admission.is_lucky(true)).count()
    }

    #[test]
    fn what_comes_back_goes_to_main_if_main_would_have_kept_it() {
        let mut admission = Admission::default();
        assert!(admission.comes_back(u64::from(u32::MAX), 1, 1), "an empty main keeps everything");
        admission.begin(Some(1000), 100);
        assert!(admission.comes_back(TOLERATED_STAYS * 1000, 100, 100));
        assert!(!admission.comes_back(TOLERATED_STAYS * 1000 + 1, 100, 100));
        assert!(admission.comes_back(TOLERATED_STAYS * 4000, 25, 100));
        assert!(!admission.comes_back(TOLERATED_STAYS * 4000 + 1, 25, 100), "small, and gone all the same");
        assert!(admission.comes_back(TOLERATED_STAYS * 250, 400, 100));
        assert!(!admission.comes_back(TOLERATED_STAYS * 250 + 1, 400, 100), "large");
    }

    #[test]
    fn what_comes_back_and_is_not_read_then_has_to_come_back_sooner() {
        let mut admission = Admission::default();
        admission.begin(Some(1000), 100);
        let longest = TOLERATED_STAYS * 1000;
        let try_all = |admission: &mut Admission, read: u32| {
            (0..RETURNED_TRIED).for_each(|i| admission.returned_decided(i < read));
        };
        try_all(&mut admission, RETURNED_READ_LEAST);
        assert!(admission.comes_back(longest, 1, 1), "as many were read as should be");
        try_all(&mut admission, 0);
        assert!(admission.comes_back(longest, 1, 1), "main is not read either");
        (0..MAIN_WEIGHT).for_each(|_| admission.main_decided(true));
        try_all(&mut admission, RETURNED_READ_LEAST - 1);
        assert!(admission.comes_back(longest / 2, 1, 1));
        assert!(!admission.comes_back(longest / 2 + 1, 1, 1), "too few were");
        for _ in 0..2 * TOLERANCE_HALVINGS_MAX {
            try_all(&mut admission, 0);
        }
        assert!(admission.comes_back(longest >> TOLERANCE_HALVINGS_MAX, 1, 1), "some always");
        for _ in 0..TOLERANCE_HALVINGS_MAX {
            assert!(!admission.comes_back(longest, 1, 1));
            try_all(&mut admission, RETURNED_READ_ENOUGH);
        }
        assert!(admission.comes_back(longest, 1, 1), "forgiven");
    }

    #[test]
    fn a_part_of_what_never_comes_back_is_kept() {
        let mut admission = Admission::default();
        assert_eq!(lucky(&mut admission, 10_000), 10_000 / LUCKY_ONE_IN as usize);
        assert_eq!((0..10_000).filter(|_| admission.is_lucky(false)).count(), 0, "read, or large");
    }

    #[test]
    fn nothing_is_left_to_luck_while_some_come_back() {
        let mut admission = Admission::default();
        for _ in 0..TIDE_WEIGHT {
            admission.was_read();
        }
        assert_eq!(lucky(&mut admission, 100), 0);
        let mut admission = Admission::default();
        let mut lucky = 0;
        for round in 0..10_000 {
            lucky += usize::from(admission.is_lucky(true));
            if round % 20 == 0 {
                admission.comes_back(1, 1, 1);
            }
        }
        assert!(lucky < 200, "{lucky}: one in twenty comes back");
    }

    #[test]
    fn a_main_queue_that_is_read_is_left_in_peace() {
        let mut admission = Admission::default();
        for _ in 0..MAIN_WEIGHT {
            admission.main_decided(true);
        }
        admission.begin(Some(1000), 1000);
        let few = 10_000 / LUCKY_ONE_IN_WHILE_READ as usize;
        assert!(lucky(&mut admission, 10_000) <= few + 1);
        for _ in 0..2 * MAIN_WEIGHT {
            admission.main_decided(false);
        }
        assert!(lucky(&mut admission, 10_000) >= 10_000 / LUCKY_ONE_IN as usize, "not read any more");
    }

    #[test]
    fn fewer_come_in_while_main_turns_over_in_vain() {
        let mut admission = Admission::default();
        admission.begin(Some(1000), 99);
        for rarer in 1..=LUCKY_RARER_MAX {
            (0..100).for_each(|_| admission.main_decided(false));
            assert_eq!(lucky(&mut admission, 1 << 14), (1 << 14) / (LUCKY_ONE_IN << rarer) as usize);
        }
        (0..1000).for_each(|_| admission.main_decided(false));
        assert!(lucky(&mut admission, 1 << 14) > 0, "some always");
    }

    #[test]
    fn drops_are_counted_once() {
        let mut admission = Admission::default();
        (0..7).for_each(|_| admission.dropped());
        assert_eq!((admission.take_drops(), admission.take_drops()), (7, 0));
    }
}
