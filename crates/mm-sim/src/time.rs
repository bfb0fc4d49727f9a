//! Time as memcached counts it, written down once more for the model.

use mm_base::Now;

/// The time of a run of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Seconds since two before the server's start.
    pub(crate) now_s: u32,
    unix_s: u64,
    /// The date at which these seconds began.
    began_unix_s: u64,
}

impl Moment {
    /// The time `now` of a server that was first asked for something at `start_ms`.
    pub(crate) fn new(now: Now, start_ms: i64) -> Self {
        let now_s = 2 + now.monotonic_ms.saturating_sub_signed(start_ms) / 1000;
        Self {
            now_s: u32::try_from(now_s).unwrap_or(u32::MAX),
            unix_s: now.unix_s,
            began_unix_s: now.unix_s.saturating_sub(now_s),
        }
    }

    /// Counts dates from when the service took the seconds to have begun, unless the calendar has been set since. Its
    /// seconds and those counted here do not begin together, so that seems to be now a second earlier, now later; the
    /// earlier one holds.
    pub(crate) fn keep_calendar(mut self, began_unix_s: &mut Option<u64>) -> Self {
        let known_s = began_unix_s.filter(|&known_s| self.began_unix_s.checked_sub(known_s) == Some(1));
        self.began_unix_s = *began_unix_s.insert(known_s.unwrap_or(self.began_unix_s));
        self
    }

    /// When a server would have started that has reached this moment and as many seconds of the calendar more by now.
    pub(crate) fn start_ms_after(&self, pause_s: u64, now: Now) -> i64 {
        let passed_s = u64::from(self.now_s) - 2 + pause_s;
        now.monotonic_ms.cast_signed() - (passed_s * 1000).cast_signed()
    }

    /// When an item given `exptime` expires; 0 for never. Up to 30 days count from now, more is a date.
    pub(crate) fn expiry_s(&self, exptime: i32) -> u32 {
        let seconds = i64::from(exptime);
        let expiry_s = match seconds {
            0 => return 0,
            ..0 => 1,
            1..=2_592_000 => i64::from(self.now_s) + seconds,
            _ => (seconds - i64::try_from(self.began_unix_s).unwrap_or(i64::MAX)).max(1),
        };
        u32::try_from(expiry_s).unwrap_or(u32::MAX)
    }

    /// Seconds left to live; -1 for an item that does not expire.
    pub(crate) fn left_s(&self, expiry_s: u32) -> i64 {
        if expiry_s == 0 { -1 } else { i64::from(expiry_s.saturating_sub(self.now_s)) }
    }

    /// One of the store's seconds as a date.
    pub(crate) fn date_of(&self, seconds: u32) -> u64 {
        self.began_unix_s + u64::from(seconds)
    }

    /// A date so many seconds from now.
    pub(crate) fn date(&self, seconds: i64) -> i32 {
        i32::try_from(self.unix_s.saturating_add_signed(seconds)).unwrap_or(i32::MAX)
    }
}
