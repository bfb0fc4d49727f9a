//! Time as memcached counts it.

use std::sync::atomic::{AtomicU64, Ordering};

use mm_base::Now;

/// The longest expiration time that counts from now: 30 days. Beyond, it is a date.
const RELATIVE_MAX_S: i32 = 60 * 60 * 24 * 30;

/// The time at which the server counts itself as started, in its own seconds: memcached's.
pub(crate) const START_S: u32 = 2;

/// An expiry that is over. The store's seconds begin later.
const OVER_S: u32 = 1;

/// When a server started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// On the monotonic clock.
    pub(crate) monotonic_ms: u64,
    /// In the store's seconds: [`START_S`], or later where the store is older than the server.
    pub(crate) store_s: u32,
}

/// The date at which the store's seconds began.
///
/// A second of the calendar begins within one of the store's, so in a part of each the difference of the two is one
/// more than in the rest. Counted from the larger, an item would be gone up to a second before the date it was given;
/// from the smaller it never is.
#[derive(Debug, Default)]
pub(crate) struct Calendar(AtomicU64);

impl Clone for Calendar {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl Calendar {
    /// The date, where the clocks differ by this much now.
    fn started_unix_s(&self, difference_s: u64) -> u64 {
        let known_s = self.0.load(Ordering::Relaxed);
        // By more, an operator has moved the calendar.
        if (known_s..=known_s.saturating_add(1)).contains(&difference_s) {
            return known_s;
        }
        self.0.store(difference_s, Ordering::Relaxed);
        difference_s
    }
}

/// The time of one call, in the store's seconds, which begin when the first server that has the store starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since shortly before the start.
    pub(crate) now_s: u32,
    /// What a date has to be diminished by to become one of these seconds.
    started_unix_s: u64,
    /// Seconds since 1970.
    pub(crate) unix_s: u64,
}

impl Time {
    /// The time `now` of a server that started so, whose clock was moved by `moved_s`.
    pub(crate) fn new(now: Now, started: Started, calendar: &Calendar, moved_s: i64) -> Self {
        let running_s =
            u64::from(started.store_s) + now.monotonic_ms.saturating_sub(started.monotonic_ms) / 1000;
        let now_s = running_s.saturating_add_signed(moved_s).max(u64::from(START_S));
        Self {
            now_s: u32::try_from(now_s).unwrap_or(u32::MAX),
            started_unix_s: calendar.started_unix_s(now.unix_s.saturating_sub(running_s)),
            unix_s: now.unix_s,
        }
    }

    /// `seconds` of the store's as a date.
    pub(crate) fn date_of(&self, seconds: u32) -> u64 {
        self.started_unix_s + u64::from(seconds)
    }

    /// Moves the time on, or back.
    pub(crate) fn move_on(&mut self, seconds: i64) {
        let now_s = u64::from(self.now_s).saturating_add_signed(seconds).max(u64::from(START_S));
        self.now_s = u32::try_from(now_s).unwrap_or(u32::MAX);
    }

    /// When an item given `exptime` expires, in the store's seconds; 0 for never.
    pub(crate) fn expiry_s(&self, exptime: i32) -> u32 {
        match exptime {
            0 => 0,
            ..0 => OVER_S,
            1..=RELATIVE_MAX_S => self.now_s.saturating_add_signed(exptime),
            _ => self.date_expiry_s(exptime.unsigned_abs()),
        }
    }

    /// The same for a number that cannot be negative, as the binary protocol's.
    pub(crate) fn unsigned_expiry_s(&self, exptime: u32) -> u32 {
        i32::try_from(exptime).map_or_else(|_| self.date_expiry_s(exptime), |exptime| self.expiry_s(exptime))
    }

    fn date_expiry_s(&self, date: u32) -> u32 {
        let expiry_s = u64::from(date).saturating_sub(self.started_unix_s).max(u64::from(OVER_S));
        u32::try_from(expiry_s).unwrap_or(u32::MAX)
    }

    /// When a delay is over, in the store's seconds; 0 for a date that has passed.
    pub(crate) fn future_s(&self, delay: i32) -> u32 {
        Self::unless_over_s(self.expiry_s(delay))
    }

    /// The same for a number that cannot be negative.
    pub(crate) fn unsigned_future_s(&self, delay: u32) -> u32 {
        Self::unless_over_s(self.unsigned_expiry_s(delay))
    }

    const fn unless_over_s(expiry_s: u32) -> u32 {
        if expiry_s > OVER_S { expiry_s } else { 0 }
    }

    /// Seconds left until `expiry_s`.
    pub(crate) fn left_s(&self, expiry_s: u32) -> u64 {
        u64::from(expiry_s.saturating_sub(self.now_s))
    }
}

/// What a server leaves to the one that takes over its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The store's second.
    pub(crate) now_s: u32,
    /// The same second of the calendar.
    pub(crate) unix_s: u64,
    /// When the store is to be flushed, in its seconds; 0 for not.
    pub(crate) flush_s: u32,
    /// The memory limit, in bytes; 0 where a server of an earlier version wrote this, which did not tell.
    pub(crate) limit_bytes: u64,
}

impl Left {
    /// The store's second now. A calendar that was set back counts as one that stood still.
    pub(crate) fn store_s(&self, now: Now) -> u32 {
        let pause_s = u32::try_from(now.unix_s.saturating_sub(self.unix_s)).unwrap_or(u32::MAX);
        self.now_s.max(START_S).saturating_add(pause_s)
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let numbers = [u64::from(self.now_s), self.unix_s, u64::from(self.flush_s), self.limit_bytes];
        numbers.into_iter().flat_map(u64::to_ne_bytes).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let (&[now_s, unix_s, flush_s], limit) = numbers.split_first_chunk()?;
        let limit_bytes = match limit {
            [] => 0,
            &[bytes] => u64::from_ne_bytes(bytes),
            _ => return None,
        };
        let second = |bytes| u32::try_from(u64::from_ne_bytes(bytes)).ok();
        let unix_s = u64::from_ne_bytes(unix_s);
        Some(Self { now_s: second(now_s)?, unix_s, flush_s: second(flush_s)?, limit_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{NoHost, Settings, Shared};

    const DAY_S: i32 = 86_400;
    const STARTED: Started = Started { monotonic_ms: 5_000, store_s: START_S };

    #[test]
    fn expiration_times() {
        let time =
            Time::new(Now { monotonic_ms: 105_000, unix_s: 1_000_000_000 }, STARTED, &Calendar::default(), 0);
        assert_eq!(time.now_s, 102);
        assert_eq!(time.expiry_s(0), 0);
        assert_eq!(time.expiry_s(-1), OVER_S);
        assert_eq!(time.expiry_s(1), 103);
        assert_eq!(time.expiry_s(30 * DAY_S), 102 + 2_592_000);
        assert_eq!(time.expiry_s(30 * DAY_S + 1), OVER_S);
        assert_eq!(time.expiry_s(1_000_000_010), 112);
        assert_eq!(time.expiry_s(999_999_999), 101);
        assert_eq!(time.expiry_s(999_999_000), OVER_S);
        assert_eq!((time.unsigned_expiry_s(0), time.unsigned_expiry_s(1)), (0, 103));
        assert_eq!(time.unsigned_expiry_s(u32::MAX), u32::MAX - 1_000_000_000 + 102);
        assert_eq!((time.future_s(-1), time.unsigned_future_s(10)), (0, 112));
        assert_eq!(time.date_of(112), 1_000_000_010);
        assert_eq!((time.left_s(112), time.left_s(100)), (10, 0));
    }

    /// For how many milliseconds what is stored then, with that expiry, lives by this clock.
    fn lives_ms(clock: impl Fn(u64) -> Time, stored_ms: u64, expiry: impl Fn(&Time) -> u32) -> u64 {
        let expiry_s = expiry(&clock(stored_ms));
        (0_u64..).find(|ms| expiry_s <= clock(stored_ms + ms).now_s).unwrap()
    }

    /// A clock of which the store's seconds begin `phase_ms` after those of the calendar.
    fn clock(phase_ms: u64) -> impl Fn(u64) -> Time {
        let calendar = Calendar::default();
        move |ms| {
            let now = Now { monotonic_ms: 5_000 + ms, unix_s: (1_000_000_000_000 + phase_ms + ms) / 1000 };
            Time::new(now, STARTED, &calendar, 0)
        }
    }

    #[test]
    fn a_second_to_live_ends_with_the_stores_second() {
        for ms in [0, 1, 500, 999, 1000, 60_001] {
            let lives_ms = lives_ms(clock(300), ms, |time| time.expiry_s(1));
            assert_eq!(lives_ms, 1000 - ms % 1000, "stored at {ms} ms");
        }
        assert_eq!(lives_ms(clock(300), 999, |time| time.expiry_s(2)), 1001);
    }

    #[test]
    fn no_item_is_gone_before_its_date_and_none_stays_a_second_longer() {
        for phase_ms in [0, 300, 700, 999] {
            let clock = clock(phase_ms);
            for stored_ms in (0..3000).step_by(37) {
                let date_s = clock(stored_ms).unix_s + 2;
                let until_ms = date_s * 1000 - (1_000_000_000_000 + phase_ms + stored_ms);
                let date = i32::try_from(date_s).unwrap();
                let lives_ms = lives_ms(&clock, stored_ms, |time| time.expiry_s(date));
                assert!(
                    (until_ms..until_ms + 1000).contains(&lives_ms),
                    "phase {phase_ms}, stored at {stored_ms}: {lives_ms} instead of {until_ms} ms",
                );
            }
        }
    }

    #[test]
    fn a_moved_calendar_moves_dates() {
        let calendar = Calendar::default();
        let at = |ms: u64, unix_s| Time::new(Now { monotonic_ms: 5_000 + ms, unix_s }, STARTED, &calendar, 0);
        assert_eq!(at(0, 1_000_000_000).expiry_s(1_000_000_010), 12);
        assert_eq!(at(1_000, 1_000_003_601).expiry_s(1_000_003_611), 13);
        assert_eq!(at(2_000, 1_000_000_002).expiry_s(1_000_000_012), 14);
    }

    #[test]
    fn a_moved_clock_moves_expiry_and_no_dates() {
        let now = Now { monotonic_ms: 5_000, unix_s: 1_000_000_000 };
        let time = Time::new(now, STARTED, &Calendar::default(), 100);
        assert_eq!((time.now_s, time.expiry_s(10)), (102, 112));
        assert_eq!(time.expiry_s(1_000_000_010), 12);
        assert_eq!(Time::new(now, STARTED, &Calendar::default(), -100).now_s, 2);
    }

    #[test]
    fn the_stores_clock_goes_on_by_the_calendar() {
        let left = Left { now_s: 100, unix_s: 1_000_000, flush_s: 150, limit_bytes: 1 << 20 };
        for (unix_s, store_s) in [(1_000_000, 100), (1_000_030, 130), (999_000, 100), (u64::MAX, u32::MAX)] {
            let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
            assert!(shared.resume(&left.to_bytes()));
            let now = Now { monotonic_ms: 77_000, unix_s };
            let time = shared.time(now);
            assert_eq!((time.now_s, shared.uptime_s(&time)), (store_s, START_S));
            assert_eq!(shared.is_flush_due(&time), store_s >= 150);
        }
        let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
        assert!(!shared.resume(b"something else") && !shared.resume(&[0; 25]) && !shared.resume(&[0; 40]));
        assert_eq!(Left::from_bytes(&left.to_bytes()), Some(left));
        assert_eq!(Left::from_bytes(&left.to_bytes()[..24]), Some(Left { limit_bytes: 0, ..left }));
    }

    #[test]
    fn the_next_server_of_a_process_goes_on_with_its_clock() {
        let at = |seconds: u64| Now { monotonic_ms: 5_000 + seconds * 1000, unix_s: 1_000_000 + seconds };
        let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
        shared.time(at(0));
        shared.move_clock(100);
        shared.verbosity.store(1, Ordering::Relaxed);
        let note = shared.note(at(10));
        let next = shared.next(Box::new(NoHost));
        assert!(next.resume(&note));
        let time = next.time(at(20));
        assert_eq!((time, next.uptime_s(&time)), (shared.time(at(20)), START_S + 120));
        assert_eq!(next.verbosity.load(Ordering::Relaxed), 1);
    }
}
